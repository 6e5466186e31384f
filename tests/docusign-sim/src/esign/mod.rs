//! The eSignature server: routes, who calls, and limits. Each resource has a file.

mod close;
mod groups;
mod users;

use http::Method;
use serde_json::{Value, json};

use crate::call::{Call, Reply};
use crate::limits;
use crate::state::State;
use crate::{Account, Delegation, User};

const LACKS_MEMBERSHIP: &str = "USER_LACKS_MEMBERSHIP";
const LACKS_MEMBERSHIP_TEXT: &str = "The UserID does not have a valid membership in this Account.";

/// An error as the answer; boxed, since a reply is large beside what it stands in for.
type Refused = Box<Reply>;

/// Who calls, and about which account.
struct Caller {
    user_id: String,
    account: usize,
}

/// Answers a request at the eSignature server.
pub(crate) fn answer(state: &mut State, call: &Call) -> Reply {
    let segments = call.segments();
    let ["restapi", "v2.1", "accounts", account_id, resource @ ..] = segments.as_slice() else {
        return not_found();
    };
    within_account(state, call, account_id, call.host(), |state, caller| {
        route(state, call, caller, resource)
    })
}

/// The article's shape: one user, named in the path, on the account server.
pub(crate) fn article_close(state: &mut State, call: &Call) -> Reply {
    let segments = call.segments();
    let ["restapi", "v2.1", "accounts", account_id, "users", user_id] = segments.as_slice() else {
        return Reply::html(404);
    };
    let host = state
        .account(account_id)
        .map(|account| account.host().to_owned())
        .unwrap_or_default();
    within_account(state, call, account_id, &host, |state, caller| {
        close::one(state, caller, user_id)
    })
}

fn route(state: &mut State, call: &Call, caller: &Caller, resource: &[&str]) -> Reply {
    let account = &state.accounts[caller.account];
    match (call.method.as_str(), resource) {
        ("GET", []) => Reply::json(200, &account_information(account)),
        ("GET", ["users"]) => users::list(state, call, caller),
        ("DELETE", ["users"]) => close::list(state, call, caller),
        (_, ["users"]) => Reply::method_not_allowed("GET, DELETE"),
        ("GET", ["users", user_id]) => users::get(state, caller, user_id),
        ("PUT", ["users", user_id]) => users::put(state, call, caller, user_id),
        // The path exists, closing by it does not.
        (_, ["users", _]) => Reply::method_not_allowed("GET, PUT"),
        ("GET", ["groups"]) => groups::groups(account),
        ("GET", ["groups", group_id, "users"]) => groups::group_users(account, group_id),
        ("GET", ["signing_groups"]) => groups::signing_groups(account, call),
        ("GET", ["signing_groups", group_id, "users"]) => groups::signing_group_users(account, group_id),
        ("GET", ["permission_profiles"]) => groups::permission_profiles(account),
        (_, ["groups" | "signing_groups" | "permission_profiles", ..]) if call.method != Method::GET => {
            Reply::method_not_allowed("GET")
        }
        _ => not_found(),
    }
}

/// Checks token, host, limits and membership, then answers. Rate headers are on every answer that was counted.
fn within_account(
    state: &mut State,
    call: &Call,
    account_id: &str,
    host: &str,
    answer: impl FnOnce(&mut State, &Caller) -> Reply,
) -> Reply {
    let caller = match authenticate(state, call, account_id, host) {
        Ok(caller) => caller,
        Err(reply) => return *reply,
    };
    let now_ms = state.clock.now_ms();
    let broken = state.accounts[caller.account].meter.count(&state.limits, now_ms);
    let mut reply = match broken {
        Some(which) => limits::exceeded(which, &state.limits, &state.switches),
        None if !is_member(state, &caller) => lacks_membership(state),
        None => answer(state, &caller),
    };
    state.accounts[caller.account]
        .meter
        .write(&state.limits, now_ms, &mut reply);
    reply
}

fn authenticate(state: &State, call: &Call, account_id: &str, host: &str) -> Result<Caller, Refused> {
    const INVALID: &str = "The access token provided is expired, revoked or malformed.";
    const FAILED: &str = "One or both of Username and Password are invalid. Invalid access token";
    let token = state
        .bearer(call)
        .filter(|token| token.user_id.is_none() || token.scopes.contains("signature"));
    let refused = |code: &str, message| Box::new(Reply::error(401, code, message));
    let token = token.ok_or_else(|| refused("AUTHORIZATION_INVALID_TOKEN", INVALID))?;
    // Application tokens are for the Admin API.
    let user_id = token
        .user_id
        .clone()
        .ok_or_else(|| refused("USER_AUTHENTICATION_FAILED", FAILED))?;
    let account = state
        .accounts
        .iter()
        .position(|account| account.account_id.eq_ignore_ascii_case(account_id));
    let account = account.filter(|at| state.accounts[*at].host().eq_ignore_ascii_case(host));
    // A host that does not hold the account does not say so.
    let account = account.ok_or_else(|| refused(&state.switches.wrong_host_code, FAILED))?;
    Ok(Caller { user_id, account })
}

fn is_member(state: &State, caller: &Caller) -> bool {
    !state.switches.caller_lost_membership
        && state.accounts[caller.account]
            .user(&caller.user_id)
            .is_some_and(User::is_open)
}

/// Whether the caller may administer users at all.
fn may_administer(state: &State, caller: &Caller) -> bool {
    let user = state.accounts[caller.account].user(&caller.user_id);
    user.is_some_and(|user| user.is_admin || user.delegation != Delegation::None)
}

/// Whether the caller is an administrator of the account, by no delegated right.
fn is_administrator(state: &State, caller: &Caller) -> bool {
    let user = state.accounts[caller.account].user(&caller.user_id);
    user.is_some_and(|user| user.is_admin)
}

fn lacks_permission(state: &State) -> Reply {
    Reply::error(
        state.switches.lacks_permission_status,
        "USER_LACKS_PERMISSIONS",
        "This User lacks sufficient permissions.",
    )
}

fn lacks_membership(state: &State) -> Reply {
    Reply::error(state.switches.no_match_status, LACKS_MEMBERSHIP, LACKS_MEMBERSHIP_TEXT)
}

fn not_found() -> Reply {
    Reply::error(
        404,
        "RESOURCE_NOT_FOUND",
        "The URL provided does not resolve to a resource.",
    )
}

fn bad_parameter(message: &str) -> Refused {
    Box::new(Reply::error(400, "INVALID_REQUEST_PARAMETER", message))
}

fn account_information(account: &Account) -> Value {
    json!({
        "accountIdGuid": account.account_id,
        "accountName": account.name,
        "currentPlanId": "c1fb3e2f-7d43-4b40-9d3a-6a4f0c6a1d11",
    })
}
