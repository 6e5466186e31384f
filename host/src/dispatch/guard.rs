//! Guard: whose accounts are never touched, and when a person must decide.

use super::gate::Gate;
use super::live::Connector;
use super::stop::Stop;
use crate::intake::{self, folded_address};
use crate::sandbox::{Account, Fault, Standing};

/// Why an administrator's account is held.
pub const HOLD_ADMINISTRATOR: &str = "administrator";
/// Why several open accounts are held.
pub const HOLD_SEVERAL: &str = "several-accounts";

/// Checks what was found against policy.
///
/// # Errors
///
/// [`Stop::Refused`] for protected people and for the account that the connector itself works with, whatever their
/// standing; [`Stop::Held`] for administrators, and for several open accounts unless `close_all`, where an operator who
/// was shown all of these accounts has not released the job from that already.
pub(super) async fn check(
    connector: &Connector,
    person: &intake::Person,
    accounts: &[Account],
    gate: &Gate<'_>,
) -> Result<(), Stop> {
    refuse_protected(connector, person, accounts).await?;
    let own: Vec<&str> = connector.grant.own_accounts().collect();
    if let Some(account) = accounts
        .iter()
        .find(|account| own.iter().any(|id| id.eq_ignore_ascii_case(&account.id)))
    {
        let text = format!(
            "account {} is the one that the connector itself works with; closing it would lock the connector out",
            account.id
        );
        return Err(Stop::Refused(text));
    }
    let open: Vec<&Account> = accounts
        .iter()
        .filter(|account| account.standing != Standing::Closed)
        .collect();
    if let Some(admin) = open.iter().find(|account| account.admin)
        && !gate.is_released(HOLD_ADMINISTRATOR, &open)
    {
        let mut reason = format!("account {} is an administrator's", admin.id);
        // A release lets all of them go.
        if open.len() > 1 {
            reason = format!("{reason}; {}", several(&open));
        }
        return Err(Stop::Held {
            why: HOLD_ADMINISTRATOR,
            reason,
        });
    }
    if open.len() > 1 && !connector.close_all && !gate.is_released(HOLD_SEVERAL, &open) {
        let reason = format!(
            "{}; to close all of them, write close_all = true under [connectors.{}]",
            several(&open),
            connector.name
        );
        return Err(Stop::Held {
            why: HOLD_SEVERAL,
            reason,
        });
    }
    Ok(())
}

fn several(open: &[&Account]) -> String {
    let ids: Vec<&str> = open.iter().map(|account| account.id.as_str()).collect();
    format!("{} open accounts fit the person: {}", open.len(), ids.join(", "))
}

/// Protection is by the person and by every account found: an alias in the event must not get around it.
///
/// Between two accounts other tasks have their turn: a plugin may find a hundred, each to be compared with ten thousand
/// patterns.
async fn refuse_protected(connector: &Connector, person: &intake::Person, accounts: &[Account]) -> Result<(), Stop> {
    let protected = &connector.policy.protected;
    let refuse = |values: &[Option<&String>]| {
        let mut fits = values.iter().flatten().map(|value| (value, protected.matches(value)));
        fits.find_map(|(value, pattern)| Some(format!("{value} is protected by `{}` in [policy]", pattern?)))
            .map_or(Ok(()), |reason| Err(Stop::Refused(reason)))
    };
    refuse(&[&person.email, &person.id, &person.target_id, &person.name].map(Option::as_ref))?;
    for (number, account) in accounts.iter().enumerate() {
        if number > 0 {
            tokio::task::yield_now().await;
        }
        refuse(&[Some(&account.id), account.email.as_ref(), account.name.as_ref()])?;
    }
    Ok(())
}

/// Checks that the accounts are the person's and that none stands there twice, whatever the plugin says.
///
/// # Errors
///
/// [`Stop::Failed`]: one wrong account means that the plugin's search cannot be trusted at all.
pub(super) fn recheck(person: &intake::Person, accounts: &[Account]) -> Result<(), Stop> {
    for (number, account) in accounts.iter().enumerate() {
        let is_same = |other: &Account| other.id.eq_ignore_ascii_case(&account.id);
        if accounts[..number].iter().any(is_same) {
            let text = format!("`find` returned the account {} twice", account.id);
            return Err(Stop::from_fault(&Fault::Contract(text)));
        }
        if let Some(id) = &person.target_id
            && !id.eq_ignore_ascii_case(&account.id)
        {
            return Err(Stop::Failed(format!(
                "the plugin found account {} for the id {id}",
                account.id
            )));
        }
        let fits = |email: &String| account.email.as_ref().is_some_and(|held| same_address(held, email));
        if let Some(email) = &person.email
            && !fits(email)
        {
            let held = account.email.as_deref().unwrap_or("no address");
            return Err(Stop::Failed(format!(
                "account {} belongs to {held}, not to {email}",
                account.id
            )));
        }
    }
    Ok(())
}

fn same_address(one: &str, other: &str) -> bool {
    folded_address(one) == folded_address(other)
}

#[cfg(test)]
mod tests {
    use super::same_address;

    #[test]
    fn addresses_differ_by_more_than_case_or_not_at_all() {
        assert!(same_address("Ann.English@Example.com", "ann.english@example.COM"));
        assert!(same_address("JÖRG@example.com", "jörg@example.com"));
        assert!(!same_address("ann+x@example.com", "ann@example.com"));
        assert!(!same_address("annenglish@example.com", "ann.english@example.com"));
        assert!(!same_address("\u{212a}atja@example.com", "katja@example.com"));
        assert!(!same_address("\u{130}nci@example.com", "i\u{307}nci@example.com"));
    }
}
