//! Closing one user's membership.
//!
//! eSignature closes users by a DELETE of the list with a body, and only so: there is no DELETE of a single user. Its
//! answer is 200 even where every user in it failed; what happened stands in each item.

use serde_json::Value;

use crate::descriptor::{ACCOUNT, ESIGN};
use crate::find::refused;
use crate::reply::{Complaint, Reply};
use crate::settings::is_guid;
use crate::user::text;
use crate::users::Users;
use crate::{Failure, Host, Level, Method, Request, Wire, errors};

/// Closes one user. Success means that DocuSign said so; whether it is true, a read tells.
///
/// # Errors
///
/// `refused` in DocuSign's words; `unavailable` where the answer was lost or cannot be read, since the user may be
/// closed then; `unexpected` where the answer is about something else.
pub fn close<H: Host>(host: &H, id: &str, token: &H::Token) -> Result<(), Failure> {
    let users = Users::new(host, token)?;
    if !is_guid(id) {
        return Err(refused(
            "INVALID_USER_ID",
            "the id is not a DocuSign User ID (a GUID)".into(),
        ));
    }
    if id.eq_ignore_ascii_case(&users.settings.user_id) {
        return Err(refused(
            "OWN_USER",
            "this is the user that the connector acts as; closing it would lock us out".into(),
        ));
    }
    let request = match users.settings.wire {
        Wire::Current => documented(&users, id),
        Wire::Article => literal(&users, id),
    };
    let reply = Reply::to(host, &request, token)?;
    judge(&users, id, &reply)?;
    host.log(
        Level::Info,
        "DocuSign accepted the closure",
        &reply.fields(&[("user_id", id)]),
    );
    Ok(())
}

/// The documented request (eSignature, `Users: delete`). The body is mandatory, also on DELETE.
fn documented<H: Host>(users: &Users<'_, H>, id: &str) -> Request {
    let removed = &users.settings.also_remove;
    let query = if removed.is_empty() {
        Vec::new()
    } else {
        vec![("delete".to_owned(), removed.join(","))]
    };
    Request {
        endpoint: ESIGN.into(),
        method: Method::Delete,
        path: users.path(),
        query,
        headers: vec![
            ("accept".to_owned(), "application/json".to_owned()),
            ("content-type".to_owned(), "application/json".to_owned()),
        ],
        // The id is a GUID, so there is nothing in it to escape.
        body: Some(format!(r#"{{"users":[{{"userId":"{id}"}}]}}"#).into_bytes()),
    }
}

/// The article's request: a DELETE of the user itself, on the host that signs in.
fn literal<H: Host>(users: &Users<'_, H>, id: &str) -> Request {
    Request {
        endpoint: ACCOUNT.into(),
        method: Method::Delete,
        path: format!("{}/{id}", users.path()),
        query: Vec::new(),
        headers: vec![("accept".to_owned(), "application/json".to_owned())],
        body: None,
    }
}

fn judge<H: Host>(users: &Users<'_, H>, id: &str, reply: &Reply) -> Result<(), Failure> {
    let is_literal = users.settings.wire == Wire::Article;
    if !reply.is_success() {
        return Err(match reply.status() {
            404 | 405 if is_literal => Failure::Misconfigured(format!(
                "the article's request is not served here; write wire = \"current\" in the settings: {}",
                reply.words()
            )),
            _ => errors::failure(users.host, reply),
        });
    }
    // The article's answer is not documented anywhere: none at all will do, since a read follows.
    if is_literal && !reply.has_body() {
        return Ok(());
    }
    let Some(answer) = reply.value() else {
        return Err(Failure::Unavailable(format!(
            "DocuSign's answer to the closure cannot be read, so what it did is not known: {}",
            reply.words()
        )));
    };
    match answer.get("users").and_then(Value::as_array) {
        Some(items) if !items.is_empty() => items.iter().try_for_each(|item| judge_item(id, item, reply)),
        _ if error_of(&answer).is_some() => Err(item_refused(&answer, reply)),
        _ if is_literal => Ok(()),
        _ => Err(reply.unexpected("names no user")),
    }
}

fn judge_item(id: &str, item: &Value, reply: &Reply) -> Result<(), Failure> {
    // Errors come first: a failed item repeats the user's id, and may repeat its status.
    if error_of(item).is_some() {
        return Err(item_refused(item, reply));
    }
    match (text(item, "userId"), text(item, "userStatus")) {
        (Some(user), _) if !user.eq_ignore_ascii_case(id) => {
            Err(reply.unexpected("is about another user than the one to close"))
        }
        (Some(_), Some(status)) if status.eq_ignore_ascii_case("closed") => Ok(()),
        _ => Err(reply.unexpected("does not say that the user is closed")),
    }
}

/// The error that an answer or one of its items carries. Some of DocuSign's lists say `SUCCESS` in its place.
fn error_of(value: &Value) -> Option<Complaint> {
    let details = value.get("errorDetails").unwrap_or(value);
    let complaint = Complaint::of(details);
    (!complaint.code.is_empty() && !complaint.is(&["SUCCESS"])).then_some(complaint)
}

/// Refusals of one user concern that user: a missing permission among them may be about administrators only.
fn item_refused(value: &Value, reply: &Reply) -> Failure {
    let complaint = error_of(value).unwrap_or_default();
    refused(&complaint.code.clone(), format!("{complaint} ({})", reply.place()))
}
