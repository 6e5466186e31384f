//! A SCIM 2.0 connector (RFC 7643, RFC 7644): finds a leaver's users and deactivates them.
//!
//! The host keeps the key, sends the requests and decides what happens; this file only speaks the target's language.

#![cfg(target_arch = "wasm32")]

mod bindings;
mod target;

use bindings::exeunt::connector::credentials::{self, AccessToken, GrantError};
use bindings::exeunt::connector::http::Method;
use bindings::exeunt::connector::settings;
use bindings::exeunt::connector::types::{Account, Failure, Person, Refusal, Standing};
use bindings::exports::exeunt::connector::descriptor::{
    self, Descriptor, Endpoint, Key, KeyKind, Method as Declared, Placement, Reach, Verb,
};
use bindings::exports::exeunt::connector::{token_minting, user_closure};
use serde_json::Value;
use target::{account, failure, get, holds, listing, segment, send, unexpected, words};

/// Settings: which attributes may hold the address that an event names.
const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "match": {
      "description": "Attributes that may hold the leaver's address. Default: userName and emails.value",
      "type": "array",
      "minItems": 1,
      "items": { "enum": ["userName", "emails.value"] }
    }
  }
}"#;
const DEACTIVATE: &str = r#"{
  "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
  "Operations": [{ "op": "replace", "path": "active", "value": false }]
}"#;
const PAGE: usize = 100;

struct Connector;

impl descriptor::Guest for Connector {
    fn describe() -> Descriptor {
        let line = |verb, method, path: &str, body: Option<&str>| Reach {
            verb,
            endpoint: "scim".into(),
            method,
            path: path.into(),
            query: Vec::new(),
            body: body.map(Into::into),
            optional: false,
        };
        Descriptor {
            name: "scim".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            settings_schema: SCHEMA.into(),
            endpoints: vec![Endpoint {
                name: "scim".into(),
                purpose: "the SCIM service, such as https://acme.example/scim/v2".into(),
                default_base_url: None,
            }],
            keys: vec![Key {
                name: "token".into(),
                purpose: "bearer token of the SCIM service".into(),
                kind: KeyKind::ApiKey(Placement::Bearer),
                usable_at: vec!["scim".into()],
            }],
            reach: vec![
                line(Verb::Find, Declared::Get, "/Users", None),
                line(Verb::Find, Declared::Get, "/Users/{any}", None),
                line(Verb::Read, Declared::Get, "/Users/{account}", None),
                line(Verb::Close, Declared::Patch, "/Users/{account}", Some(DEACTIVATE)),
                line(Verb::Page, Declared::Get, "/Users", None),
            ],
            trace_header: None,
        }
    }
}

impl token_minting::Guest for Connector {
    fn mint() -> Result<AccessToken, Failure> {
        credentials::api_key("token").map_err(|error| match error {
            GrantError::Denied(text) => Failure::Denied(text),
            _ => Failure::Unavailable("there is no token".into()),
        })
    }
}

impl user_closure::Guest for Connector {
    fn find(person: Person, token: &AccessToken) -> Result<Vec<Account>, Failure> {
        let email = person.email.as_deref();
        let Some(id) = &person.target_id else {
            // The host asks for nobody of whom it has neither.
            return search(email.unwrap_or_default(), token);
        };
        let user = get(id, token)?;
        let known: Vec<Account> = user.iter().map(|user| account(user, email)).collect::<Result<_, _>>()?;
        // An id that leads to nobody, or to a closed user, is wrong where the address has an open one.
        if let Some(email) = email.filter(|_| known.iter().all(is_closed))
            && let Some(open) = search(email, token)?.iter().find(|other| !is_closed(other))
        {
            let message = format!(
                "the event's id {id} is not of {}, the open user of its address",
                open.id
            );
            return Err(refused("TARGET_ID_DOES_NOT_FIT", message));
        }
        Ok(known)
    }

    fn read(id: String, token: &AccessToken) -> Result<Option<Account>, Failure> {
        get(&id, token)?.map(|user| account(&user, None)).transpose()
    }

    fn close(id: String, token: &AccessToken) -> Result<(), Failure> {
        let path = format!("/Users/{}", segment(&id));
        let answer = send(Method::Patch, path, Vec::new(), token, Some(DEACTIVATE.into()))?;
        match answer.status {
            200..=299 => Ok(()),
            status @ (400 | 404 | 409 | 412 | 422 | 501) => {
                let said = target::complaint(&answer);
                let code = said["scimType"].as_str().map_or(format!("HTTP {status}"), Into::into);
                Err(refused(&code, words(&answer)))
            }
            _ => Err(failure(&answer)),
        }
    }

    fn page(cursor: Option<String>, token: &AccessToken) -> Result<user_closure::Accounts, Failure> {
        let start: usize = cursor
            .map_or(Ok(1), |cursor| cursor.parse())
            .map_err(|_| unexpected("the cursor is not a position in the list".into()))?;
        let query = vec![
            ("startIndex".into(), start.to_string()),
            ("count".into(), PAGE.to_string()),
        ];
        let (users, total) = listing(query, token)?;
        if users.is_empty() && start <= total {
            return Err(unexpected(format!(
                "the list of {total} users ends before user {start}"
            )));
        }
        let after = start + users.len();
        Ok(user_closure::Accounts {
            items: users
                .iter()
                .map(|user| account(user, None))
                .collect::<Result<_, Failure>>()?,
            next: (after <= total).then(|| after.to_string()),
        })
    }
}

/// All users that have an address, in any of the attributes that may hold it.
fn search(email: &str, token: &AccessToken) -> Result<Vec<Account>, Failure> {
    let mut found: Vec<Account> = Vec::new();
    for attribute in attributes() {
        // A string of a SCIM filter is written as in JSON.
        let filter = format!("{attribute} eq {}", Value::from(email));
        let query = vec![("filter".into(), filter), ("count".into(), PAGE.to_string())];
        let (users, total) = listing(query, token)?;
        if total > users.len() {
            return Err(unexpected(format!("the target lists {total} users for one address")));
        }
        // Filters are not exact everywhere.
        for user in users.iter().filter(|user| holds(user, email)) {
            let user = account(user, Some(email))?;
            if !found.iter().any(|known| known.id == user.id) {
                found.push(user);
            }
        }
    }
    Ok(found)
}

fn is_closed(account: &Account) -> bool {
    account.standing == Standing::Closed
}

fn refused(code: &str, message: String) -> Failure {
    let code = code.into();
    Failure::Refused(Refusal { code, message })
}

/// The setting `match`, which the host has held against the schema.
fn attributes() -> Vec<String> {
    let settings: Value = serde_json::from_str(&settings::get()).unwrap_or_default();
    match settings["match"].as_array() {
        Some(names) => names.iter().filter_map(Value::as_str).map(Into::into).collect(),
        None => vec!["userName".into(), "emails.value".into()],
    }
}
