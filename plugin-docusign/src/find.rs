//! Finding a person's users, and reading one.

use crate::reply::quote;
use crate::settings::is_guid;
use crate::user::same_address;
use crate::users::Users;
use crate::{Account, Failure, Host, Level, Person, Refusal, Standing};

/// Most users of one address. DocuSign allows one that is open; years of rehiring leave some closed ones beside it.
const MAX_ACCOUNTS: usize = 100;

/// How many users a search by address is followed through: ten pages, so that a filter that does nothing is noticed
/// before the whole account has been read.
const MAX_SEARCHED: u64 = 1000;

/// Finds all users of a person, closed ones too, by target id or else by e-mail address.
///
/// Where both are given, the user with that id must have that address.
///
/// # Errors
///
/// Any failure to look: a lost membership of the caller, a limit, an outage, an answer that makes no sense; and
/// `refused` where the event's id and address do not belong together or cannot be searched for.
pub fn find<H: Host>(host: &H, person: &Person, token: &H::Token) -> Result<Vec<Account>, Failure> {
    let users = Users::new(host, token)?;
    match (&person.target_id, &person.email) {
        (Some(id), email) => by_id(&users, id, email.as_deref()),
        (None, Some(email)) => by_email(&users, email).map(|found| found.accounts),
        (None, None) => Err(refused(
            "NOBODY_NAMED",
            "the event names neither a DocuSign user ID nor an e-mail address".into(),
        )),
    }
}

/// Reads one user by id; none where the account has no such user.
///
/// # Errors
///
/// As [`find`].
pub fn read<H: Host>(host: &H, id: &str, token: &H::Token) -> Result<Option<Account>, Failure> {
    if !is_guid(id) {
        return Err(not_a_guid(id));
    }
    Ok(Users::new(host, token)?.get(id)?.map(|(account, _)| account))
}

fn by_id<H: Host>(users: &Users<'_, H>, id: &str, email: Option<&str>) -> Result<Vec<Account>, Failure> {
    if !is_guid(id) {
        return Err(not_a_guid(id));
    }
    match (users.get(id)?, email) {
        (None, None) => Ok(Vec::new()),
        (None, Some(email)) => {
            nobody_else_open(users, email, &format!("DocuSign knows no user {id}"))?;
            Ok(Vec::new())
        }
        (Some((account, reply)), Some(email)) if !has_address(&account, email) => {
            let held = account.email.as_deref().map_or("none".into(), quote);
            let message = format!(
                "user {id} has the address {held} at DocuSign, and the event says {}; check the mapping of person.target_id \
                 and person.email ({})",
                quote(email),
                reply.place()
            );
            Err(refused("EMAIL_DOES_NOT_FIT", message))
        }
        // Somebody who was hired again may have a new user, and the source still the id of the old one.
        (Some((account, _)), Some(email)) if account.standing == Standing::Closed => {
            nobody_else_open(users, email, &format!("user {id} is closed"))?;
            Ok(vec![account])
        }
        (Some((account, _)), _) => Ok(vec![account]),
    }
}

/// For an id that leads to nobody, or to a closed user: an open user of the address would stay open, so the id is wrong.
fn nobody_else_open<H: Host>(users: &Users<'_, H>, email: &str, found: &str) -> Result<(), Failure> {
    let others = by_email(users, email)?;
    match others.accounts.iter().find(|other| other.standing != Standing::Closed) {
        None => Ok(()),
        Some(other) => Err(refused(
            "TARGET_ID_DOES_NOT_FIT",
            format!(
                "{found}, but the event's address has the open user {}; map person.target_id to the DocuSign User ID of \
                 today, or leave it out to search by address ({})",
                other.id, others.place
            ),
        )),
    }
}

/// What a search by address gave.
#[derive(Default)]
struct Found {
    accounts: Vec<Account>,
    /// Where to look the last answer up.
    place: String,
}

fn by_email<H: Host>(users: &Users<'_, H>, email: &str) -> Result<Found, Failure> {
    if !is_address(email) {
        return Err(refused(
            "INVALID_EMAIL",
            format!("`{}` is not an e-mail address", quote(email)),
        ));
    }
    let Found {
        mut accounts,
        mut place,
    } = Found::default();
    let mut start = Some(0);
    while let Some(position) = start {
        let Some(listing) = users.with_email(email, position)? else {
            return if position == 0 {
                Ok(Found::default())
            } else {
                Err(not_whole(&place))
            };
        };
        place = listing.reply.place();
        let listed = listing.accounts.len();
        let theirs: Vec<Account> = listing
            .accounts
            .into_iter()
            .filter(|account| has_address(account, email))
            .collect();
        if theirs.len() < listed {
            // DocuSign's filter is said not to be exact, so the first hit is not always the right one.
            let others = (listed - theirs.len()).to_string();
            let fields = listing.reply.fields(&[("users", &others)]);
            users.host.log(
                Level::Warn,
                "left out users with another address than the one asked for",
                &fields,
            );
        }
        for account in theirs {
            // A user that joins meanwhile shifts the pages, and one may come twice.
            if !accounts.iter().any(|known| known.id.eq_ignore_ascii_case(&account.id)) {
                accounts.push(account);
            }
        }
        start = listing.next;
        if accounts.len() > MAX_ACCOUNTS || start.is_some_and(|next| next >= MAX_SEARCHED) {
            return Err(listing.reply.unexpected("lists more users than one address can have"));
        }
    }
    Ok(Found { accounts, place })
}

/// Whether `text` can be searched for. An empty filter would list everybody.
fn is_address(text: &str) -> bool {
    text.contains('@')
        && !text
            .chars()
            .any(|character| character.is_control() || character.is_whitespace())
}

fn not_whole(place: &str) -> Failure {
    Failure::Unexpected(format!(
        "DocuSign announced more users of the address ({place}), and knows none when asked for them"
    ))
}

fn has_address(account: &Account, email: &str) -> bool {
    account.email.as_deref().is_some_and(|held| same_address(held, email))
}

fn not_a_guid(id: &str) -> Failure {
    refused(
        "INVALID_USER_ID",
        format!(
            "`{}` is not a DocuSign User ID (a GUID); map person.target_id to it, or leave it out to search by address",
            quote(id)
        ),
    )
}

pub(crate) fn refused(code: &str, message: String) -> Failure {
    Failure::Refused(Refusal {
        code: code.into(),
        message,
    })
}
