//! Wrong answers, and closures that are none.

use super::{Visit, each_denied, ended};
use crate::attacks::Attack;
use crate::bindings::exeunt::connector::http::{self, HttpError, Method, Request};
use crate::bindings::exeunt::connector::types::{Account, Failure, Person, Refusal};
use crate::bindings::exports::exeunt::connector::user_closure::Accounts;
use crate::target::{self, made, request};

type Attacked = Result<(), Failure>;

/// What `find` answers, where that is the attack.
pub(crate) fn found(visit: &Visit<'_>, person: &Person) -> Option<Vec<Account>> {
    let settings = &visit.settings;
    let email = person.email.as_deref().unwrap_or_default();
    match (settings.attack?, settings.kind.as_str()) {
        (Attack::WrongAccount, "id") => Some(vec![made("bystander", email, false)]),
        (Attack::WrongAccount, "email") => Some(vec![made("leaver", "bystander@acme.example", false)]),
        (Attack::WrongAccount, "twice") => Some(vec![made("leaver", email, false), made("LEAVER", email, false)]),
        // Both as if they were the person's; reading tells better.
        (Attack::WrongAccount, "disguised") => {
            Some(vec![made("leaver", email, false), made("bystander", email, false)])
        }
        (Attack::WrongAccount, _) => Some(vec![
            made("leaver", email, false),
            made("bystander", "bystander@acme.example", false),
        ]),
        (Attack::ManyAccounts, _) => Some(many(settings.amount, email)),
        (Attack::OddId, _) => Some(vec![made(&"x".repeat(settings.amount), email, false)]),
        // These must not touch the network: their tests hold the time still.
        (Attack::LieClosed, "found") => Some(vec![made("leaver", email, true)]),
        (Attack::LieClosed | Attack::ReadAnother, _) => Some(vec![made("leaver", email, false)]),
        _ => None,
    }
}

fn many(amount: usize, email: &str) -> Vec<Account> {
    (0..amount)
        .map(|number| made(&format!("account-{number}"), email, false))
        .collect()
}

/// What `read` answers, where that is the attack.
pub(crate) fn read(visit: &Visit<'_>, id: &str) -> Option<Account> {
    match visit.settings.attack? {
        Attack::ReadAnother => Some(made("another", "leaver@acme.example", true)),
        Attack::LieClosed => Some(made(id, "leaver@acme.example", false)),
        _ => None,
    }
}

/// What `page` answers, where that is the attack.
pub(crate) fn paged(visit: &Visit<'_>) -> Option<Accounts> {
    let settings = &visit.settings;
    match settings.attack? {
        Attack::ManyAccounts => Some(Accounts {
            items: many(settings.amount, "all@acme.example"),
            next: None,
        }),
        Attack::OddId => Some(Accounts {
            items: Vec::new(),
            next: Some("x".repeat(settings.amount)),
        }),
        _ => None,
    }
}

/// Whether `close` closes.
pub(crate) fn closes(visit: &Visit<'_>) -> bool {
    !matches!(visit.settings.attack, Some(Attack::LieClosed | Attack::ReadAnother))
}

/// What `close` does when it has closed.
pub(crate) fn after_close(visit: &Visit<'_>) -> Attacked {
    match (visit.settings.attack, visit.settings.kind.as_str()) {
        (Some(Attack::TrapAfterClose), _) => trap(),
        (Some(Attack::LieOpen), "unavailable") => Err(Failure::Unavailable("it did not work".to_owned())),
        (Some(Attack::LieOpen), "unauthorized") => Err(Failure::Unauthorized("it did not work".to_owned())),
        (Some(Attack::LieOpen), _) => Err(Failure::Refused(Refusal {
            code: "NO".to_owned(),
            message: "it did not work".to_owned(),
        })),
        _ => Ok(()),
    }
}

pub(super) fn trap() -> Attacked {
    core::arch::wasm32::unreachable()
}

pub(super) fn long_failure(bytes: usize) -> Attacked {
    Err(Failure::Unexpected(format!("\u{1b}[2J\r\n{}", "x".repeat(bytes))))
}

fn id<'a>(visit: &Visit<'a>) -> &'a str {
    visit.id.unwrap_or_default()
}

/// Closes whom it should, then somebody else in the same words.
pub(super) fn close_twice(visit: &Visit<'_>) -> Attacked {
    target::close(id(visit), visit.token.expect("close has a token"))?;
    let mut second = post(&format!(r#"{{"id":"{}"}}"#, id(visit)));
    match http::send(&second, visit.token) {
        Err(HttpError::Denied(text)) => {
            second.path = format!("/users/{}", id(visit));
            second.method = Method::Delete;
            each_denied([second], visit.token).and(Err(Failure::Denied(text)))
        }
        other => ended(&format!("{:?}", other.map(|response| response.status))),
    }
}

pub(super) fn close_nameless(visit: &Visit<'_>) -> Attacked {
    let mut in_query = request(Method::Post, "api", "/close");
    in_query.query.push(("id".to_owned(), id(visit).to_owned()));
    let mut in_header = request(Method::Post, "api", "/close");
    in_header.headers.push(("prefer".to_owned(), id(visit).to_owned()));
    let requests = [
        request(Method::Post, "api", "/close"),
        post(""),
        post("{}"),
        post(r#"{"all":true}"#),
        in_query,
        in_header,
    ];
    each_denied(requests, visit.token)
}

pub(super) fn close_another(visit: &Visit<'_>) -> Attacked {
    let id = id(visit);
    let requests = [
        request(Method::Delete, "api", "/users/bystander"),
        request(Method::Delete, "api", &format!("/users/{id}/..")),
        request(Method::Delete, "api", &format!("/users/{id}%20")),
        post(r#"{"id":"bystander"}"#),
        post(&format!(r#"{{"id":"{id}0"}}"#)),
        post(&format!(r#"{{"id":"not-{id}"}}"#)),
        post(&format!(r#"{{"email":"{id}@acme.example"}}"#)),
    ];
    each_denied(requests, visit.token)
}

fn post(body: &str) -> Request {
    let mut request = request(Method::Post, "api", "/close");
    request.body = Some(body.as_bytes().to_vec());
    request
}
