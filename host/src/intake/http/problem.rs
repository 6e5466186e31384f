//! What a caller is told when a request is not taken: RFC 9457 problem details.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::journal::JournalError;
use crate::problem_details::problem_details;

/// Seconds after which to try again where the journal is busy. A group commit takes milliseconds.
const AFTER_BUSY: u64 = 1;

/// Seconds after which to try again where the database is away. A failover takes some of them.
const AFTER_OUTAGE: u64 = 5;

/// A refusal. Never holds a secret, nor anything that the caller did not send or may not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    detail: String,
    retry_after: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// 401, the same for an unknown tenant, an unknown source, and credentials that are wrong or missing.
    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "the credentials do not fit this address")
    }

    /// 503 or 429: later it may go well.
    pub(super) fn later(status: StatusCode, seconds: u64, detail: impl Into<String>) -> Self {
        Self {
            retry_after: Some(seconds.max(1)),
            ..Self::new(status, detail)
        }
    }

    /// 503: there is no room at the moment.
    pub(super) fn busy(detail: impl Into<String>) -> Self {
        Self::later(StatusCode::SERVICE_UNAVAILABLE, AFTER_BUSY, detail)
    }

    /// The word for it in metrics.
    pub(super) fn word(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::TOO_MANY_REQUESTS => "rate_limited",
            StatusCode::REQUEST_TIMEOUT => "timeout",
            status if status.is_server_error() => "unavailable",
            _ => "invalid",
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = problem_details(self.status, &self.detail);
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            for scheme in ["Bearer realm=\"exeunt\"", "Basic realm=\"exeunt\""] {
                headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        }
        if self.status == StatusCode::PAYLOAD_TOO_LARGE {
            // What was not read ends the connection, and a client must not send its next event into that end.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl Problem {
    /// The journal cannot say what is there already. Unlike the other journal errors, nothing was to be recorded.
    pub(super) fn unread(error: &JournalError) -> Self {
        tracing::warn!(%error, "an event could not be read");
        let detail = "the journal cannot be read at the moment; nothing has changed";
        Self::later(StatusCode::SERVICE_UNAVAILABLE, AFTER_OUTAGE, detail)
    }
}

/// Of a write.
impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        match &error {
            JournalError::Busy => Self::busy(error.to_string()),
            JournalError::Unavailable(_) | JournalError::Broken(_) => {
                tracing::warn!(%error, "an event could not be recorded");
                // A commit may have been made whose answer was lost.
                let detail = "the journal does not answer at the moment, so nobody knows whether the event was recorded: \
                              send it again, with the same id or `Idempotency-Key` where it has one";
                Self::later(StatusCode::SERVICE_UNAVAILABLE, AFTER_OUTAGE, detail)
            }
            _ => {
                tracing::error!(%error, "an event could not be recorded");
                let detail = "the event was not recorded; the server's log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
        }
    }
}
