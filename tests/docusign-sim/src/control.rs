//! `/_sim/…`: the state, to be read and changed from outside. See `README.md` for the list.

use std::time::Duration;

use http::header::ALLOW;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::{Call, Reply};
use crate::faults::Fault;
use crate::server::Shared;
use crate::state::State;
use crate::{Account, User};

/// What is wrong with a control request, in words for whoever wrote it.
struct Problem {
    status: u16,
    text: String,
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        bad(format!("{error:#}"))
    }
}

type Answer = Result<Value, Problem>;

const ROUTES: &str = "state, users, users/{id}, groups, signing-groups, accounts, accounts/{id}, requests, faults, \
                      faults/{id}, switches, limits, clock, consent, keys, keys/{id}, tokens, reset";

/// Answers a control request: 200 with JSON, or a status with `{"problem": "…"}`.
pub(crate) fn answer(shared: &Shared, call: &Call) -> Reply {
    match route(shared, call) {
        Ok(body) => Reply::json(200, &body),
        Err(problem) => {
            let mut reply = Reply::json(problem.status, &json!({ "problem": problem.text }));
            if problem.status == 405 {
                reply
                    .headers
                    .insert(ALLOW, http::HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE"));
            }
            reply
        }
    }
}

fn route(shared: &Shared, call: &Call) -> Answer {
    let segments = call.segments();
    let ["_sim", route @ ..] = segments.as_slice() else {
        return Err(unknown(call));
    };
    let mut guard = shared.lock();
    let state = &mut *guard;
    match (call.method.as_str(), route) {
        ("GET", ["state"]) => Ok(everything(state, shared)),
        ("POST", ["reset"]) => {
            *state = shared.seed.state();
            Ok(json!({}))
        }
        (_, ["users" | "groups" | "signing-groups", ..]) => members(state, shared, call, route),
        (_, ["accounts", ..]) => accounts(state, call, route),
        (_, ["faults", ..]) => faults(state, call, route),
        (_, ["consent"]) => consent(state, shared, call),
        (_, ["keys", ..]) => keys(state, shared, call, route),
        ("GET", ["requests"]) => Ok(requests(state, call)),
        ("DELETE", ["requests"]) => {
            state.log.clear();
            Ok(json!({}))
        }
        ("DELETE", ["tokens"]) => Ok(json!({ "revoked": state.revoke_tokens() })),
        ("GET", ["switches"]) => Ok(json!(state.switches)),
        ("PATCH", ["switches"]) => {
            let switches: crate::Switches = merged(&state.switches, call)?;
            if let Some(problem) = switches.problem() {
                return Err(bad(problem));
            }
            state.switches = switches;
            Ok(json!(state.switches))
        }
        ("GET", ["limits"]) => Ok(json!(state.limits)),
        ("PATCH", ["limits"]) => {
            state.limits = merged(&state.limits, call)?;
            Ok(json!(state.limits))
        }
        ("GET", ["clock"]) => Ok(clock(state)),
        ("POST", ["clock"]) => set_clock(state, call),
        (_, ["state" | "reset" | "requests" | "tokens" | "switches" | "limits" | "clock"]) => Err(no_method(call)),
        _ => Err(unknown(call)),
    }
}

fn members(state: &mut State, shared: &Shared, call: &Call, route: &[&str]) -> Answer {
    let account_id = call.param("account").unwrap_or_else(|| shared.seed.account_id.clone());
    let account = state.account_mut(&account_id);
    let account = account.ok_or_else(|| missing(format!("there is no account {account_id}: see /_sim/accounts")))?;
    match (call.method.as_str(), route) {
        ("GET", ["users"]) => Ok(json!({ "users": account.users() })),
        ("POST", ["users"]) => {
            let users = many(call)?.into_iter().map(new_user).collect::<Result<Vec<_>, _>>()?;
            let ids: Vec<String> = users.into_iter().map(|user| account.add(user)).collect();
            Ok(json!({ "user_ids": ids }))
        }
        ("GET", ["users", id]) => user(account, id),
        ("PUT", ["users", id]) => {
            let id = account.add(new_user(body(call)?)?.with_id(id));
            user(account, &id)
        }
        ("PATCH", ["users", id]) => {
            let changed: User = merged(account.user(id).ok_or_else(|| no_user(id))?, call)?;
            account.update(id, |user| *user = changed);
            user(account, id)
        }
        ("POST", ["groups"]) => {
            let new: NewGroup = body(call)?;
            let members: Vec<&str> = new.users.iter().map(String::as_str).collect();
            Ok(json!({ "id": account.add_group(&new.name, &members) }))
        }
        ("POST", ["signing-groups"]) => {
            let new: NewSigningGroup = body(call)?;
            let members: Vec<&str> = new.emails.iter().map(String::as_str).collect();
            Ok(json!({ "id": account.add_signing_group(&new.name, &members) }))
        }
        (_, [_] | ["users", _]) => Err(no_method(call)),
        _ => Err(unknown(call)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGroup {
    name: String,
    #[serde(default)]
    users: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSigningGroup {
    name: String,
    #[serde(default)]
    emails: Vec<String>,
}

fn user(account: &Account, id: &str) -> Answer {
    account.user(id).map(|user| json!(user)).ok_or_else(|| no_user(id))
}

/// A user with defaults for everything but the address.
fn new_user(given: Value) -> Result<User, Problem> {
    let email = given.get("email").and_then(Value::as_str);
    let email = email.ok_or_else(|| bad("a user needs \"email\", a string".to_owned()))?;
    overlay(&User::new(email), given)
}

fn accounts(state: &mut State, call: &Call, route: &[&str]) -> Answer {
    match (call.method.as_str(), route) {
        ("GET", ["accounts"]) => Ok(json!({ "accounts": state.accounts.iter().map(account_json).collect::<Vec<_>>() })),
        ("POST", ["accounts"]) => {
            let new: AccountChange = body(call)?;
            let mut account = Account::new(new.name.as_deref().unwrap_or("Another Ltd"));
            new.apply(&mut account);
            let answer = account_json(&account);
            state.add_account(account);
            Ok(answer)
        }
        ("PATCH", ["accounts", id]) => {
            let change: AccountChange = body(call)?;
            let account = state
                .account_mut(id)
                .ok_or_else(|| missing(format!("there is no account {id}")))?;
            change.apply(account);
            Ok(account_json(account))
        }
        (_, [_] | [_, _]) => Err(no_method(call)),
        _ => Err(unknown(call)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountChange {
    name: Option<String>,
    base_uri: Option<String>,
}

impl AccountChange {
    fn apply(self, account: &mut Account) {
        account.name = self.name.unwrap_or_else(|| account.name.clone());
        account.base_uri = self.base_uri.unwrap_or_else(|| account.base_uri.clone());
    }
}

fn account_json(account: &Account) -> Value {
    json!({
        "account_id": account.account_id,
        "name": account.name,
        "base_uri": account.base_uri,
        "groups": account.groups,
        "signing_groups": account.signing_groups,
    })
}

fn faults(state: &mut State, call: &Call, route: &[&str]) -> Answer {
    match (call.method.as_str(), route) {
        ("GET", ["faults"]) => Ok(json!({ "faults": state.faults.armed })),
        ("POST", ["faults"]) => {
            let faults = many(call)?.into_iter().map(parse).collect::<Result<Vec<Fault>, _>>()?;
            let ids = faults
                .into_iter()
                .map(|fault| state.arm(fault))
                .collect::<anyhow::Result<Vec<u64>>>()?;
            Ok(json!({ "ids": ids }))
        }
        ("DELETE", ["faults"]) => {
            state.clear_faults();
            Ok(json!({}))
        }
        ("DELETE", ["faults", id]) => {
            let before = state.faults.armed.len();
            state.faults.armed.retain(|armed| armed.id.to_string() != **id);
            let is_gone = state.faults.armed.len() < before;
            if is_gone {
                Ok(json!({}))
            } else {
                Err(missing(format!("there is no fault {id}")))
            }
        }
        (_, [_] | [_, _]) => Err(no_method(call)),
        _ => Err(unknown(call)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Consent {
    integration_key: Option<String>,
    user_id: Option<String>,
    /// Space separated; empty revokes.
    scopes: String,
}

fn consent(state: &mut State, shared: &Shared, call: &Call) -> Answer {
    let seed = &shared.seed;
    match call.method.as_str() {
        "GET" => {}
        "POST" => {
            let new: Consent = body(call)?;
            let key = new.integration_key.as_deref().unwrap_or(&seed.integration_key);
            state.set_consent(key, new.user_id.as_deref().unwrap_or(&seed.user_id), &new.scopes);
        }
        "DELETE" => {
            let user = call.param("user_id").unwrap_or_else(|| seed.user_id.clone());
            let key = call
                .param("integration_key")
                .unwrap_or_else(|| seed.integration_key.clone());
            state.set_consent(&key, &user, "");
        }
        _ => return Err(no_method(call)),
    }
    Ok(json!({ "consents": consents(state) }))
}

fn consents(state: &State) -> Vec<Value> {
    let all = state.consents.iter();
    all.map(|((key, user), scopes)| json!({ "integration_key": key, "user_id": user, "scopes": scopes }))
        .collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    integration_key: Option<String>,
    /// PEM.
    public_key: String,
}

fn keys(state: &mut State, shared: &Shared, call: &Call, route: &[&str]) -> Answer {
    match (call.method.as_str(), route) {
        ("GET", ["keys"]) => Ok(json!({ "keys": key_list(state) })),
        ("POST", ["keys"]) => {
            let new: NewKey = body(call)?;
            let owner = new.integration_key.as_deref().unwrap_or(&shared.seed.integration_key);
            Ok(json!({ "id": state.add_public_key(owner, &new.public_key)? }))
        }
        ("DELETE", ["keys", id]) => {
            let number = id
                .parse()
                .map_err(|_| bad(format!("{id} is not a key's number: see /_sim/keys")))?;
            if state.remove_public_key(number) {
                Ok(json!({}))
            } else {
                Err(missing(format!("there is no key {id}")))
            }
        }
        (_, [_] | [_, _]) => Err(no_method(call)),
        _ => Err(unknown(call)),
    }
}

fn key_list(state: &State) -> Vec<Value> {
    let all = state.integration_keys.iter();
    all.flat_map(|(owner, keys)| {
        keys.iter()
            .map(move |key| json!({ "id": key.id, "integration_key": owner }))
    })
    .collect()
}

fn requests(state: &State, call: &Call) -> Value {
    let since: u64 = call.param("since").and_then(|since| since.parse().ok()).unwrap_or(0);
    let requests: Vec<_> = state.requests().filter(|record| record.seq > since).collect();
    json!({ "requests": requests, "counters": state.counters })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockChange {
    advance_seconds: Option<i64>,
    offset_seconds: Option<i64>,
}

fn set_clock(state: &mut State, call: &Call) -> Answer {
    let change: ClockChange = body(call)?;
    match (change.advance_seconds, change.offset_seconds) {
        (Some(by), None) => {
            let by = u64::try_from(by).map_err(|_| bad("advance_seconds must be 0 or more".to_owned()))?;
            state.clock.advance(Duration::from_secs(by));
        }
        (None, Some(offset)) => state.clock.set_offset_ms(offset.saturating_mul(1000)),
        _ => return Err(bad("send one of \"advance_seconds\" and \"offset_seconds\"".to_owned())),
    }
    Ok(clock(state))
}

fn clock(state: &State) -> Value {
    json!({ "now": state.clock.now(), "offset_seconds": state.clock.offset_ms().div_euclid(1000) })
}

fn everything(state: &State, shared: &Shared) -> Value {
    let accounts = state.accounts.iter().map(|account| {
        let mut body = account_json(account);
        body["users"] = json!(account.users());
        body
    });
    json!({
        "integration_key": shared.seed.integration_key,
        "user_id": shared.seed.user_id,
        "account_id": shared.seed.account_id,
        "clock": clock(state),
        "accounts": accounts.collect::<Vec<_>>(),
        "keys": key_list(state),
        "consents": consents(state),
        "faults": state.faults.armed,
        "switches": state.switches,
        "limits": state.limits,
        "counters": state.counters,
    })
}

fn body<T: DeserializeOwned>(call: &Call) -> Result<T, Problem> {
    serde_json::from_slice(&call.body)
        .map_err(|error| bad(format!("the body is not what {} takes: {error}", call.path)))
}

/// One object, or an array of them.
fn many(call: &Call) -> Result<Vec<Value>, Problem> {
    Ok(match body(call)? {
        Value::Array(items) => items,
        item => vec![item],
    })
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_json::from_value(value).map_err(|error| bad(error.to_string()))
}

/// `current` with the members of the request's body in place of its own.
fn merged<T: Serialize + DeserializeOwned>(current: &T, call: &Call) -> Result<T, Problem> {
    overlay(current, body(call)?)
}

fn overlay<T: Serialize + DeserializeOwned>(current: &T, change: Value) -> Result<T, Problem> {
    let Value::Object(change) = change else {
        return Err(bad("the body must be a JSON object".to_owned()));
    };
    let mut whole = json!(current);
    for (name, value) in change {
        whole[name] = value;
    }
    parse(whole)
}

fn bad(text: String) -> Problem {
    Problem { status: 400, text }
}

fn missing(text: String) -> Problem {
    Problem { status: 404, text }
}

fn no_user(id: &str) -> Problem {
    missing(format!("there is no user {id} in this account: see /_sim/users"))
}

fn no_method(call: &Call) -> Problem {
    Problem {
        status: 405,
        text: format!("{} is not served at {}", call.method, call.path),
    }
}

fn unknown(call: &Call) -> Problem {
    missing(format!("{} does not exist; below /_sim there are: {ROUTES}", call.path))
}
