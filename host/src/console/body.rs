//! What a request brings: an id in its path, and a small JSON object, most of all a reason.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::problem::Problem;

/// Largest body: 16 KiB. A reason at its limit and some names need a tenth of it.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// How long a body may take: ten seconds, as for an event. Its sender holds a connection meanwhile.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Longest reason: 1,000 bytes. It is shown in tables, and kept for ever.
pub const MAX_REASON_BYTES: usize = 1000;

/// The id in a path; nobody's where it is not UTF-8 once decoded.
#[derive(Debug)]
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let path = Path::from_request_parts(parts, state).await;
        Ok(Self(path.map(|Path(id)| id).unwrap_or_default()))
    }
}

/// A JSON object of a known form.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

/// The whole body, within its size and its time.
pub(super) async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    let arrived = timeout(BODY_TIME, Bytes::from_request(request, state)).await;
    let in_time = arrived.map_err(|_| {
        let text = format!("the body did not arrive within {} s", BODY_TIME.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, text)
    })?;
    in_time.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is over {MAX_BODY_BYTES} bytes, the limit"),
        ),
        status => Problem::new(status, "the body did not arrive whole"),
    })
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = whole(request, state).await?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Problem::invalid(format!("the body is not the expected JSON object: {error}")))
    }
}

/// Why somebody does something. Asked for always: an act without a reason is what an auditor stops at.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Reason(String);

impl Reason {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Reason {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("`reason` is empty, and must say why".to_owned());
        }
        if text.len() > MAX_REASON_BYTES {
            return Err(format!("`reason` is over {MAX_REASON_BYTES} bytes, the limit"));
        }
        if text.chars().any(char::is_control) {
            return Err("`reason` holds a control character; write one line of text".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_within_its_limit() {
        let accepted = |text: &str| Reason::try_from(text.to_owned()).is_ok();
        assert!(accepted(&"x".repeat(MAX_REASON_BYTES)));
        assert!(!accepted(&"x".repeat(MAX_REASON_BYTES + 1)));
        for wrong in ["", "  ", "a\nb", "a\u{1b}[2Jb", "a\0"] {
            assert!(!accepted(wrong), "{wrong:?}");
        }
        assert_eq!(
            Reason::try_from("  ticket 17 \n".to_owned()).unwrap().as_str(),
            "ticket 17"
        );
    }
}
