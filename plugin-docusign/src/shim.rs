//! Joins the logic to the contract: exports call functions, the trait calls imports, nothing is decided here.

use crate::bindings::exeunt::connector::credentials::{self, AccessToken};
use crate::bindings::exeunt::connector::{clock, http, log, settings};
use crate::bindings::exports::exeunt::connector::{descriptor, token_minting, user_closure};
use crate::{Account, Accounts, Failure, Grant, GrantError, Host, HttpError, Level, Person, Request, Response};

/// The host as the sandbox's imports present it.
struct Imports;

impl Host for Imports {
    type Token = AccessToken;

    fn send(&self, request: &Request, token: Option<&AccessToken>) -> Result<Response, HttpError> {
        http::send(request, token)
    }

    fn jwt_bearer(&self, grant: &Grant) -> Result<AccessToken, GrantError> {
        credentials::jwt_bearer(grant)
    }

    fn settings(&self) -> String {
        settings::get()
    }

    fn endpoint(&self, name: &str) -> Option<String> {
        settings::endpoint(name)
    }

    fn now(&self) -> u64 {
        clock::now()
    }

    fn log(&self, level: Level, message: &str, fields: &[(String, String)]) {
        log::write(level, message, fields);
    }
}

/// The component's exports.
pub(crate) struct Connector;

impl descriptor::Guest for Connector {
    fn describe() -> descriptor::Descriptor {
        crate::describe()
    }
}

impl token_minting::Guest for Connector {
    fn mint() -> Result<AccessToken, Failure> {
        crate::mint(&Imports)
    }
}

impl user_closure::Guest for Connector {
    fn find(person: Person, token: &AccessToken) -> Result<Vec<Account>, Failure> {
        crate::find(&Imports, &person, token)
    }

    fn read(id: String, token: &AccessToken) -> Result<Option<Account>, Failure> {
        crate::read(&Imports, &id, token)
    }

    fn close(id: String, token: &AccessToken) -> Result<(), Failure> {
        crate::close(&Imports, &id, token)
    }

    fn page(cursor: Option<String>, token: &AccessToken) -> Result<Accounts, Failure> {
        crate::page(&Imports, cursor.as_deref(), token)
    }
}
