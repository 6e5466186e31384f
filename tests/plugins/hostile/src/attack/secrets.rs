//! Attacks on tokens and what is behind them.

use super::{Visit, each_denied, ended};
use crate::attacks::Attack;
use crate::bindings::exeunt::connector::credentials::{self, AccessToken, GrantError};
use crate::bindings::exeunt::connector::http::{self, Method};
use crate::bindings::exeunt::connector::log;
use crate::bindings::exeunt::connector::types::Failure;
use crate::bindings::{forged, number};
use crate::target::{self, get, request};

type Attacked = Result<(), Failure>;

/// Tells all that it sees, in the log and in its failure.
fn leak(text: String) -> Attacked {
    for piece in text.as_bytes().chunks(2000) {
        let piece = String::from_utf8_lossy(piece).into_owned();
        log::write(log::Level::Info, &piece, &[(piece.clone(), piece.clone())]);
    }
    ended(&text)
}

pub(super) fn echo(visit: &Visit<'_>) -> Attacked {
    let answer = http::send(&get("/hostile/echo"), visit.token).map_err(target::failure)?;
    leak(target::seen(&answer))
}

/// What the plugin author's own server sends, where no key goes: guesses, of which a right one would be blanked.
pub(super) fn guess(_: &Visit<'_>) -> Attacked {
    let answer = http::send(&request(Method::Get, "other", "/users"), None).map_err(target::failure)?;
    leak(target::seen(&answer))
}

/// One of the target's pages on which secrets stand.
pub(super) fn echo_page(visit: &Visit<'_>, page: &str) -> Attacked {
    let answer = http::send(&get(&format!("/hostile/{page}")), visit.token).map_err(target::failure)?;
    leak(target::seen(&answer))
}

/// The token, which the target shows backwards.
pub(crate) fn unscrambled(visit: &Visit<'_>) -> String {
    let answer = http::send(&get("/hostile/reversed"), visit.token).expect("the page is there");
    String::from_utf8_lossy(&answer.body).chars().rev().collect()
}

/// Once decoded it goes wherever the guest can write: into a request, the log and the failure.
pub(super) fn unscramble(visit: &Visit<'_>) -> Attacked {
    let token = unscrambled(visit);
    let mut request = get("/hostile/ok");
    request.query.push((token.clone(), token.clone()));
    http::send(&request, visit.token).map_err(target::failure)?;
    leak(token)
}

/// A target that shows in one place what it was sent in another.
pub(super) fn echo_later(visit: &Visit<'_>) -> Attacked {
    http::send(&get("/hostile/remember"), visit.token).map_err(target::failure)?;
    let answer = http::send(&get("/hostile/recall"), None).map_err(target::failure)?;
    leak(target::seen(&answer))
}

/// The target's token endpoint echoes what it is sent, or gives the token in a header too; all is recalled afterwards.
pub(super) fn echo_assertion(visit: &Visit<'_>) -> Attacked {
    let minted = match visit.settings.token.as_str() {
        "client" => credentials::client_credentials("client", "all"),
        _ => credentials::jwt_bearer(&target::signing(None)),
    };
    let first = match &minted {
        Ok(_) => String::new(),
        Err(GrantError::Rejected(response)) => target::seen(response),
        Err(error) => return ended(&format!("no exchange: {error:?}")),
    };
    let answer = http::send(&get("/hostile/recall"), None).map_err(target::failure)?;
    leak(format!("{first} {}", target::seen(&answer)))
}

pub(super) fn use_after_drop() -> Attacked {
    let token = credentials::api_key("static").map_err(target::no_token)?;
    let handle = number(&token);
    drop(token);
    ended(&format!("expires at {:?}", forged(handle).expires_at()))
}

pub(super) fn drop_twice(visit: &Visit<'_>) -> Attacked {
    if let Some(token) = visit.token {
        drop(forged(number(token)));
        drop(forged(number(token)));
    }
    ended("dropped twice")
}

pub(super) fn forge_handle(handle: usize) -> Attacked {
    let token = forged(handle as u32);
    let answer = http::send(&get("/hostile/ok"), Some(&token));
    std::mem::forget(token);
    ended(&format!("{:?}", answer.map(|answer| answer.status)))
}

pub(super) fn token_elsewhere(visit: &Visit<'_>) -> Attacked {
    let places = ["nowhere", "other"];
    each_denied(
        places.map(|endpoint| request(Method::Get, endpoint, "/users")),
        visit.token,
    )
}

pub(super) fn two_tokens() -> Attacked {
    let first = credentials::api_key("static").map_err(target::no_token)?;
    let second = credentials::jwt_bearer(&target::signing(None)).map_err(target::no_token)?;
    ended(&format!("{} and {}", number(&first), number(&second)))
}

/// What `mint` hands over, where it is the attack: a handle that it made up.
pub(crate) fn stray_token(visit: &Visit<'_>) -> Option<AccessToken> {
    let attack = visit.settings.attack_on(visit.verb);
    (attack == Some(Attack::StrayToken)).then(|| forged(visit.settings.amount as u32))
}

pub(super) fn grant_while_reading() -> Attacked {
    let asked = [
        credentials::api_key("static"),
        credentials::jwt_bearer(&target::signing(None)),
        credentials::client_credentials("client", "all"),
    ];
    for answer in asked {
        match answer {
            Err(GrantError::Denied(_)) => {}
            other => return ended(&format!("{:?}", other.map(|token| number(&token)))),
        }
    }
    Err(Failure::Denied("all three".to_owned()))
}

pub(super) fn long_assertion(seconds: usize) -> Attacked {
    match credentials::jwt_bearer(&target::signing(Some(seconds as u64))) {
        Err(error) => Err(target::no_token(error)),
        Ok(_) => ended("an assertion went out"),
    }
}
