//! A connector that does whatever a hostile one would.
//!
//! Without an attack in its settings it behaves, so that one component serves as attacker and as the neighbour who must
//! not notice. Attacks come from the settings (`{"attack": "Spin", "verb": "find"}`) and not from builds of their own,
//! since that would be some sixty builds; lies about the descriptor, which sees no settings, come from a mark in the
//! component's data that the suite overwrites.

#![cfg(target_arch = "wasm32")]

mod attack;
mod attacks;
mod bindings;
mod descriptor;
mod settings;
mod target;

use attack::Visit;
use bindings::exeunt::connector::credentials::AccessToken;
use bindings::exeunt::connector::types::{Account, Failure, Person};
use bindings::exports::exeunt::connector::descriptor::{Descriptor, Guest as Describes, Verb};
use bindings::exports::exeunt::connector::token_minting::Guest as Mints;
use bindings::exports::exeunt::connector::user_closure::{Accounts, Guest as Closes};

struct Connector;

impl Describes for Connector {
    fn describe() -> Descriptor {
        descriptor::describe()
    }
}

impl Mints for Connector {
    fn mint() -> Result<AccessToken, Failure> {
        let visit = Visit::new(Verb::Mint, None, None);
        visit.attack()?;
        match attack::stray_token(&visit) {
            Some(token) => Ok(token),
            None => target::mint(&visit.settings),
        }
    }
}

impl Closes for Connector {
    fn find(person: Person, token: &AccessToken) -> Result<Vec<Account>, Failure> {
        let visit = Visit::new(Verb::Find, None, Some(token));
        visit.attack()?;
        match attack::found(&visit, &person) {
            Some(accounts) => Ok(accounts),
            None => target::find(person.email.as_deref().unwrap_or_default(), token),
        }
    }

    fn read(id: String, token: &AccessToken) -> Result<Option<Account>, Failure> {
        let visit = Visit::new(Verb::Read, Some(&id), Some(token));
        visit.attack()?;
        match attack::read(&visit, &id) {
            Some(account) => Ok(Some(account)),
            None => target::read(&id, token),
        }
    }

    fn close(id: String, token: &AccessToken) -> Result<(), Failure> {
        let visit = Visit::new(Verb::Close, Some(&id), Some(token));
        visit.attack()?;
        if attack::closes(&visit) {
            target::close(&id, token)?;
        }
        attack::after_close(&visit)
    }

    fn page(_cursor: Option<String>, token: &AccessToken) -> Result<Accounts, Failure> {
        let visit = Visit::new(Verb::Page, None, Some(token));
        visit.attack()?;
        match attack::paged(&visit) {
            Some(accounts) => Ok(accounts),
            None => Ok(Accounts {
                items: target::find("", token)?,
                next: None,
            }),
        }
    }
}
