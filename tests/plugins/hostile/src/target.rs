//! The honest part: how a well-behaved connector would treat the suite's target.

use serde_json::Value;

use crate::bindings::exeunt::connector::credentials::{self, AccessToken, Encoding, Grant, GrantError};
use crate::bindings::exeunt::connector::http::{self, HttpError, Method, Request};
use crate::bindings::exeunt::connector::types::{Account, Failure, Refusal, Response, Standing};
use crate::settings::Settings;

/// A GET without query.
pub(crate) fn get(path: &str) -> Request {
    request(Method::Get, "api", path)
}

/// A request without query, headers and body.
pub(crate) fn request(method: Method, endpoint: &str, path: &str) -> Request {
    Request {
        endpoint: endpoint.to_owned(),
        method,
        path: path.to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
        body: None,
    }
}

pub(crate) fn signing(lifetime: Option<u64>) -> Grant {
    Grant {
        key: "signing".to_owned(),
        scope: "all".to_owned(),
        encoding: Encoding::Form,
        lifetime,
    }
}

pub(crate) fn mint(settings: &Settings) -> Result<AccessToken, Failure> {
    let minted = match settings.token.as_str() {
        "jwt" => credentials::jwt_bearer(&signing(None)),
        "client" => credentials::client_credentials("client", "all"),
        _ => credentials::api_key("static"),
    };
    minted.map_err(no_token)
}

pub(crate) fn no_token(error: GrantError) -> Failure {
    match error {
        GrantError::Denied(text) => Failure::Denied(text),
        GrantError::Unreachable(text) => Failure::Unavailable(text),
        GrantError::Rejected(response) => Failure::Unexpected(seen(&response)),
    }
}

pub(crate) fn failure(error: HttpError) -> Failure {
    match error {
        HttpError::Denied(text) => Failure::Denied(text),
        HttpError::NotSent(text) | HttpError::NoAnswer(text) | HttpError::TooLarge(text) => Failure::Unavailable(text),
    }
}

/// Everything that a guest can see of an answer.
pub(crate) fn seen(response: &Response) -> String {
    let body = String::from_utf8_lossy(&response.body);
    format!("{} {:?} {body}", response.status, response.headers)
}

pub(crate) fn find(email: &str, token: &AccessToken) -> Result<Vec<Account>, Failure> {
    let mut request = get("/users");
    request.query.push(("email".to_owned(), email.to_owned()));
    let answer = ask(&request, token)?;
    let users = answer
        .as_array()
        .ok_or_else(|| Failure::Unexpected("not a list".to_owned()))?;
    Ok(users.iter().map(account).collect())
}

pub(crate) fn read(id: &str, token: &AccessToken) -> Result<Option<Account>, Failure> {
    let answer = ask(&get(&format!("/users/{id}")), token)?;
    Ok(answer.is_object().then(|| account(&answer)))
}

pub(crate) fn close(id: &str, token: &AccessToken) -> Result<(), Failure> {
    let request = request(Method::Delete, "api", &format!("/users/{id}"));
    ask(&request, token).map(drop)
}

fn ask(request: &Request, token: &AccessToken) -> Result<Value, Failure> {
    let response = http::send(request, Some(token)).map_err(failure)?;
    match response.status {
        200 => serde_json::from_slice(&response.body).map_err(|error| Failure::Unexpected(error.to_string())),
        404 => Ok(Value::Null),
        401 => Err(Failure::Unauthorized("401".to_owned())),
        status => Err(Failure::Refused(Refusal {
            code: status.to_string(),
            message: seen(&response),
        })),
    }
}

/// An account as the target writes it.
fn account(user: &Value) -> Account {
    let text = |name: &str| user[name].as_str().unwrap_or_default();
    made(text("id"), text("email"), text("status") == "closed")
}

/// An account of one's own making.
pub(crate) fn made(id: &str, email: &str, closed: bool) -> Account {
    Account {
        id: id.to_owned(),
        email: Some(email.to_owned()),
        name: None,
        standing: if closed { Standing::Closed } else { Standing::Active },
        native_status: if closed { "closed" } else { "active" }.to_owned(),
        admin: false,
        externally_managed: false,
        attributes: Vec::new(),
    }
}
