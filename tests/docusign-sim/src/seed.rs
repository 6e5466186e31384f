//! What the simulator holds when it starts, and again after a reset.

use anyhow::Context as _;

use crate::keys::ClientKey;
use crate::state::State;
use crate::{Account, Delegation, Options, Status, User, ids};

/// Scopes that the API user consented to: what a leaver connector asks for.
const CONSENT: &str = "signature impersonation";

/// Identifiers, the client's key and the options that make the first state.
pub(crate) struct Seed {
    pub(crate) integration_key: String,
    pub(crate) user_id: String,
    pub(crate) account_id: String,
    pub(crate) key: ClientKey,
    options: Options,
}

impl Seed {
    pub(crate) fn new(options: Options) -> anyhow::Result<Self> {
        let key = match &options.private_key {
            Some(pem) => ClientKey::from_pem(pem).context("failed to read the private key")?,
            None => ClientKey::generate()?,
        };
        if let Some(problem) = options.switches.problem() {
            anyhow::bail!("{problem}");
        }
        Ok(Self {
            integration_key: guid("integration key", options.integration_key.as_deref())?,
            user_id: guid("user id", options.user_id.as_deref())?,
            account_id: guid("account id", options.account_id.as_deref())?,
            key,
            options,
        })
    }

    /// The first state.
    pub(crate) fn state(&self) -> State {
        let mut state = State::new(&self.options);
        let mut account = Account::new("Acme Ltd").with_id(&self.account_id);
        account.add(
            User::new("docusign.api@acme.example")
                .with_id(&self.user_id)
                .with_name("Exeunt Service")
                .admin(),
        );
        if self.options.sample {
            populate(&mut account);
        }
        state.add_account(account);
        state.register(&self.integration_key, self.key.public.clone());
        state.set_consent(&self.integration_key, &self.user_id, CONSENT);
        state
    }
}

fn guid(what: &str, given: Option<&str>) -> anyhow::Result<String> {
    match given {
        None => Ok(ids::guid()),
        Some(text) if ids::is_guid(text) => Ok(text.to_ascii_lowercase()),
        Some(text) => anyhow::bail!("the {what} must be a GUID like {}, not {text:?}", ids::guid()),
    }
}

/// A small company: every status, two administrators, duplicates of an address, mixed case, a SCIM membership.
fn populate(account: &mut Account) {
    let first_admin = account.add(User::new("Grace.Admin@acme.example").with_name("Grace Admin").admin());
    let mut alternate = User::new("alan.alternate@acme.example").with_name("Alan Alternate");
    alternate.is_alternate_admin = true;
    account.add(alternate);
    let helpdesk = User::new("helpdesk@acme.example").with_name("Help Desk");
    account.add(helpdesk.with_delegation(Delegation::UsersAndGroups));
    let leaver = account.add(User::new("Ann.Lee@Acme.example").with_name("Ann Lee"));
    account.add(User::new("ann.lee@acme.example.org").with_name("Ann Lee"));
    account.add(
        User::new("bob.pending@acme.example")
            .with_name("Bob Pending")
            .with_status(Status::ActivationSent),
    );
    account.add(
        User::new("cleo.new@acme.example")
            .with_name("Cleo New")
            .with_status(Status::ActivationRequired),
    );
    let locked = account.add(
        User::new("dan.locked@acme.example")
            .with_name("Dan Locked")
            .with_status(Status::Disabled),
    );
    for _ in 0..2 {
        account.add(
            User::new("eve.gone@acme.example")
                .with_name("Eve Gone")
                .with_status(Status::Closed),
        );
    }
    account.add(
        User::new("finn.back@acme.example")
            .with_name("Finn Back")
            .with_status(Status::Closed),
    );
    let returned = account.add(User::new("Finn.Back@acme.example").with_name("Finn Back"));
    account.add(User::new("gil.twice@acme.example").with_name("Gil Twice"));
    account.add(
        User::new("gil.twice@acme.example")
            .with_name("Gil Twice")
            .with_status(Status::ActivationSent),
    );
    account.add(User::new("hana.scim@acme.example").with_name("Hana Scim").scim());
    account.add(User::new("ida+contracts@acme.example").with_name("Ida Contracts"));
    account.add(User::new("ceo@acme.example").with_name("Ira Chief"));
    account.add_group("Administrators", &[&first_admin]);
    account.add_group("Sales", &[&leaver, &returned, &locked]);
    account.add_signing_group("Sales signatures", &["Ann.Lee@Acme.example", "finn.back@acme.example"]);
}
