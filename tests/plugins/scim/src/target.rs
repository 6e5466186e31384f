//! Requests to the SCIM service, and what its answers mean.

use serde_json::Value;

use crate::bindings::exeunt::connector::clock;
use crate::bindings::exeunt::connector::credentials::AccessToken;
use crate::bindings::exeunt::connector::http::{self, HttpError, Method, Request};
use crate::bindings::exeunt::connector::types::{Account, Failure, Limit, LimitKind, Response, Standing};

pub(crate) fn send(
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    token: &AccessToken,
    body: Option<Vec<u8>>,
) -> Result<Response, Failure> {
    let header = |name: &str| (name.to_owned(), "application/scim+json".to_owned());
    let headers = [Some(header("accept")), body.as_ref().map(|_| header("content-type"))];
    let request = Request {
        endpoint: "scim".into(),
        method,
        path,
        query,
        headers: headers.into_iter().flatten().collect(),
        body,
    };
    http::send(&request, Some(token)).map_err(|error| match error {
        HttpError::Denied(text) => Failure::Denied(text),
        HttpError::TooLarge(text) => Failure::Unexpected(text),
        HttpError::NotSent(text) | HttpError::NoAnswer(text) => Failure::Unavailable(text),
    })
}

/// One user, or none where the target knows none with this id.
pub(crate) fn get(id: &str, token: &AccessToken) -> Result<Option<Value>, Failure> {
    let answer = send(Method::Get, format!("/Users/{}", segment(id)), Vec::new(), token, None)?;
    match answer.status {
        404 => Ok(None),
        _ => parsed(&answer).map(Some),
    }
}

/// Users, and how many there are in all.
pub(crate) fn listing(query: Vec<(String, String)>, token: &AccessToken) -> Result<(Vec<Value>, usize), Failure> {
    let answer = send(Method::Get, "/Users".into(), query, token, None)?;
    let mut body = parsed(&answer)?;
    let total = body["totalResults"].as_u64().and_then(|total| total.try_into().ok());
    match (body["Resources"].take(), total) {
        (Value::Array(users), Some(total)) => Ok((users, total)),
        (Value::Null, Some(total)) => Ok((Vec::new(), total)),
        _ => Err(unexpected(format!("the answer is no list: {}", words(&answer)))),
    }
}

fn parsed(answer: &Response) -> Result<Value, Failure> {
    if answer.status != 200 {
        return Err(failure(answer));
    }
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    body.filter(Value::is_object)
        .ok_or_else(|| unexpected(format!("the answer is not a JSON object: {}", words(answer))))
}

/// All addresses of a user, the primary one first.
fn addresses(user: &Value) -> Vec<&str> {
    let mut emails: Vec<&Value> = user["emails"].as_array().into_iter().flatten().collect();
    emails.sort_by_key(|email| email["primary"] != true);
    let name = user["userName"].as_str().filter(|name| name.contains('@'));
    emails
        .iter()
        .filter_map(|email| email["value"].as_str())
        .chain(name)
        .collect()
}

pub(crate) fn holds(user: &Value, address: &str) -> bool {
    addresses(user).iter().any(|held| held.eq_ignore_ascii_case(address))
}

/// The user as the contract has it, with the address that was `wanted` where it has it.
pub(crate) fn account(user: &Value, wanted: Option<&str>) -> Result<Account, Failure> {
    let id = user["id"]
        .as_str()
        .ok_or_else(|| unexpected("the answer has a user without id".into()))?;
    let held = addresses(user);
    let fits = |address: &&&str| wanted.is_some_and(|wanted| address.eq_ignore_ascii_case(wanted));
    let user_name = user["userName"].as_str().map(str::to_owned);
    let is_admin = |role: &Value| {
        role["value"]
            .as_str()
            .is_some_and(|role| role.to_ascii_lowercase().contains("admin"))
    };
    let active = &user["active"];
    Ok(Account {
        id: id.into(),
        email: held
            .iter()
            .find(fits)
            .or(held.first())
            .map(|address| (*address).to_owned()),
        name: user["displayName"].as_str().map(str::to_owned).or(user_name.clone()),
        // RFC 7643 leaves `active` to the service. Where it is not said, the user counts as open.
        standing: if active == false {
            Standing::Closed
        } else {
            Standing::Active
        },
        native_status: if active.is_null() {
            "active absent".into()
        } else {
            format!("active={active}")
        },
        admin: user["roles"].as_array().into_iter().flatten().any(is_admin),
        externally_managed: false,
        attributes: user_name.into_iter().map(|name| ("userName".into(), name)).collect(),
    })
}

/// The target's error (RFC 7644 section 3.12), where the body is one.
pub(crate) fn complaint(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

pub(crate) fn words(answer: &Response) -> String {
    let start = answer.body.get(..300).unwrap_or(&answer.body);
    let said = match complaint(answer)["detail"].as_str() {
        Some(detail) => detail.to_owned(),
        None if start.is_empty() => "empty body".to_owned(),
        None => String::from_utf8_lossy(start).into_owned(),
    };
    format!("{said} (HTTP {})", answer.status)
}

pub(crate) fn unexpected(text: String) -> Failure {
    Failure::Unexpected(text)
}

/// What the host is to do about an answer that is no success.
pub(crate) fn failure(answer: &Response) -> Failure {
    let said = words(answer);
    match answer.status {
        401 => Failure::Unauthorized(said),
        403 => Failure::Misconfigured(format!("the token may not do this; give it the right to: {said}")),
        404 | 300..=399 => Failure::Misconfigured(format!(
            "there is no SCIM service at endpoint `scim`; bind its base URL: {said}"
        )),
        429 => {
            let wait = answer.headers.iter().find(|(name, _)| name == "retry-after");
            let wait: Option<u64> = wait.and_then(|(_, seconds)| seconds.parse().ok());
            Failure::RateLimited(Limit {
                kind: LimitKind::Burst,
                until: wait.map(|seconds| clock::now().saturating_add(seconds)),
                message: said,
            })
        }
        408 | 500.. => Failure::Unavailable(said),
        _ => unexpected(said),
    }
}

/// One segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = |byte: u8| {
        if is_plain(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(encoded).collect()
}
