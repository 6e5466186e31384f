//! The account server: tokens and userinfo, and nothing of eSignature.

use http::Method;
use serde_json::{Value, json};

use crate::call::{Call, Reply};
use crate::state::State;
use crate::{Account, User, esign, grant, ids};

/// Answers a request at the account server.
pub(crate) fn answer(state: &mut State, call: &Call) -> Reply {
    match (call.method.as_str(), call.path.as_str()) {
        ("POST", "/oauth/token") => grant::exchange(state, call),
        ("GET", "/oauth/userinfo") => userinfo(state, call),
        (_, "/oauth/token") => Reply::method_not_allowed("POST"),
        (_, "/oauth/userinfo") => Reply::method_not_allowed("GET"),
        _ if state.article && call.method == Method::DELETE => esign::article_close(state, call),
        _ => Reply::html(404),
    }
}

fn userinfo(state: &mut State, call: &Call) -> Reply {
    let Some(user_id) = state.bearer(call).and_then(|token| token.user_id.clone()) else {
        return unauthorized();
    };
    if is_over_the_limit(state, &user_id) {
        return Reply::json(429, &json!({ "error": "too_many_requests" }));
    }
    let memberships: Vec<(&Account, &User)> = state
        .accounts
        .iter()
        .filter_map(|account| Some((account, account.user(&user_id).filter(|user| user.is_open())?)))
        .collect();
    // Who lost every membership still is somebody: the list is empty then.
    let known = state.accounts.iter().find_map(|account| account.user(&user_id));
    let Some(user) = known else {
        return unauthorized();
    };
    let (given, family) = user.user_name.rsplit_once(' ').unwrap_or((&user.user_name, ""));
    Reply::json(
        200,
        &json!({
            "sub": user.user_id,
            "name": user.user_name,
            "given_name": given,
            "family_name": family,
            "created": user.created,
            "email": user.email,
            "accounts": memberships.iter().enumerate().map(|(at, (account, _))| json!({
                "account_id": account.account_id,
                "is_default": at == 0,
                "account_name": account.name,
                "base_uri": account.base_uri,
            })).collect::<Vec<Value>>(),
        }),
    )
}

/// DocuSign's answer to a bad token reads like an outage of its own, and is none.
fn unauthorized() -> Reply {
    Reply::json(
        401,
        &json!({ "error": "internal_server_error", "reference_id": ids::guid() }),
    )
}

fn is_over_the_limit(state: &mut State, user_id: &str) -> bool {
    let Some(limit) = state.switches.userinfo_hourly else {
        return false;
    };
    let hour = state.clock.now().div_euclid(3600);
    let (seen_in, calls) = state.userinfo_calls.entry(user_id.to_owned()).or_default();
    if *seen_in != hour {
        (*seen_in, *calls) = (hour, 0);
    }
    *calls += 1;
    *calls > limit
}
