//! What went wrong, for the caller: RFC 9457 problem details.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::journal::JournalError;
use crate::problem_details::problem_details;

/// Seconds after which to try again where the journal is busy or away. A group commit takes milliseconds, a failover
/// some seconds; the caller's own backoff does the rest.
const RETRY_AFTER: &str = "1";

/// An error as the caller sees it. Never holds a secret, nor anything of another tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }

    /// 400: the request makes no sense.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: no token, or one that is not known. Which of the two is not said.
    pub(super) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "send `Authorization: Bearer TOKEN` with a token that `exeunt token new` made and nobody revoked",
        )
    }

    /// 403: the token may not do this.
    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404: there is no such thing, or it is another tenant's.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    /// 404 that repeats what was asked for, so that whoever swapped or mistyped names sees it.
    pub(super) fn unknown(what: &str, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {what} `{name}`"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = problem_details(self.status, &self.detail);
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"exeunt\""),
            );
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        response
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        match &error {
            JournalError::NoSuchJob(_) => Self::not_found("job"),
            JournalError::Invalid(message) => Self::invalid(message),
            JournalError::WrongState { .. } | JournalError::LeaseLost(_) => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            JournalError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            JournalError::Unavailable(_) | JournalError::Broken(_) => {
                tracing::warn!(%error, "the console could not ask the journal");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    // A commit may have been made whose answer was lost.
                    "the journal does not answer at the moment; before you repeat what was to change something, look \
                     whether it has",
                )
            }
            _ => {
                tracing::error!(%error, "the console could not ask the journal");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the journal refused this; the server's log says why",
                )
            }
        }
    }
}
