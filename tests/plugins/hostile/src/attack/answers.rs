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
        (Attack::OddAccount, "twice") => Some(vec![made("leaver", email, false), made("leaver", email, true)]),
        (Attack::OddAccount, kind) => Some(vec![odd(kind, settings.amount)]),
        (Attack::Unscramble, "account") => {
            let token = super::secrets::unscrambled(visit);
            let mut account = made(&token, &token, false);
            account.name = Some(token.clone());
            account.attributes.push((token.clone(), token));
            Some(vec![account])
        }
        // These must not touch the network: their tests hold the time still.
        (Attack::LieClosed, "found") => Some(vec![made("leaver", email, true)]),
        (Attack::ReadAnother, "unfound") => Some(Vec::new()),
        (Attack::LieClosed | Attack::ReadAnother, _) => Some(vec![made("leaver", email, false)]),
        _ => None,
    }
}

fn many(amount: usize, email: &str) -> Vec<Account> {
    (0..amount)
        .map(|number| made(&format!("account-{number}"), email, false))
        .collect()
}

/// An account in which one thing is odd.
fn odd(kind: &str, amount: usize) -> Account {
    let mut account = made("leaver", "leaver@acme.example", false);
    let evil = "quiet\r\n2026-01-01 closed\u{2028}\u{202e}\u{1b}[2J".to_owned();
    let long = "x".repeat(amount);
    match kind {
        "id-line" => account.id = evil,
        "email-line" => account.email = Some(evil),
        "status-line" => account.native_status = evil,
        "name-line" => {
            account.name = Some(evil.clone());
            account.attributes.push((evil.clone(), evil));
        }
        "email" => account.email = Some(long),
        "name" => account.name = Some(long),
        "status" => account.native_status = long,
        "attribute" => account.attributes.push((String::new(), long)),
        _ => account.attributes = vec![(String::new(), String::new()); amount],
    }
    account
}

/// What `read` answers, where that is the attack.
pub(crate) fn read(visit: &Visit<'_>, id: &str) -> Option<Account> {
    match visit.settings.attack? {
        Attack::ReadAnother => Some(made("another", "leaver@acme.example", true)),
        Attack::OddAccount => Some(odd(&visit.settings.kind, visit.settings.amount)),
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
        post(&format!(r#"{{"note":"{id}","id":"bystander"}}"#)),
        post(&format!(r#"{{"id":"{id}","id":"bystander"}}"#)),
        post(&format!(r#"{{"id":["{id}","bystander"]}}"#)),
        post(&format!(r#"{{"users":[{{"id":"{id}"}},{{"id":"bystander"}}]}}"#)),
        post(&format!(r#"{{"id":"{id}","also":"bystander"}}"#)),
        post(&format!("id={id}&id=bystander")),
        with_query(post(&right(id)), "id", "bystander"),
        with_query(
            request(Method::Delete, "api", &format!("/users/{id}")),
            "id",
            "bystander",
        ),
        with_kind(post(&right(id)), "application/x-www-form-urlencoded"),
        with_body(
            request(Method::Delete, "api", &format!("/users/{id}")),
            r#"{"id":"bystander"}"#,
        ),
    ];
    each_denied(requests, visit.token)
}

/// One server takes the first of two, another the last.
pub(super) fn close_doubled(visit: &Visit<'_>) -> Attacked {
    let mut doubled = post(&format!(r#"{{ "id":"bystander", "id" : "{}" }}"#, id(visit)));
    doubled.query.push(("notify".to_owned(), "no".to_owned()));
    match http::send(&doubled, visit.token) {
        Ok(response) => ended(&response.status.to_string()),
        Err(error) => Err(target::failure(error)),
    }
}

fn right(id: &str) -> String {
    format!(r#"{{"id":"{id}"}}"#)
}

fn with_query(mut request: Request, name: &str, value: &str) -> Request {
    request.query.push((name.to_owned(), value.to_owned()));
    request
}

fn with_kind(mut request: Request, kind: &str) -> Request {
    request.headers.push(("content-type".to_owned(), kind.to_owned()));
    request
}

fn with_body(mut request: Request, body: &str) -> Request {
    request.body = Some(body.as_bytes().to_vec());
    request
}

fn post(body: &str) -> Request {
    with_body(request(Method::Post, "api", "/close"), body)
}
