//! What it means for a job that a verb call gave no answer.

use super::live::Connector;
use super::stop::Stop;
use crate::sandbox::{Failure, Fault};

/// Why a verb call gave no answer.
#[derive(Debug)]
pub(super) enum Problem {
    /// The plugin said so.
    Failure(Failure),
    /// The plugin did not come to an answer.
    Fault(Fault),
}

impl Problem {
    /// What it means for the job.
    pub(super) fn into_stop(self, connector: &Connector) -> Stop {
        match self {
            Self::Failure(failure) => connector.stop(failure),
            Self::Fault(fault) => Stop::from_fault(&fault),
        }
    }

    /// What it means where it is `mint` that gave no token.
    ///
    /// Nobody has been looked for yet. A failure that would end one person's job in another verb would here end every
    /// waiting job of the connector: ten minutes of nonsense from a proxy in front of the sign-in would fail them all. So
    /// it is worth another attempt, also where the guest trapped.
    pub(super) fn into_stop_without_token(self, connector: &Connector) -> Stop {
        let is_denied = matches!(self, Self::Failure(Failure::Denied(_)));
        match self.into_stop(connector) {
            // Mostly by what the operator has bound or not granted, which a reload changes.
            Stop::Failed(reason) if is_denied => Stop::Misconfigured(reason),
            Stop::Failed(reason) => Stop::Unavailable(reason),
            other => other,
        }
    }

    /// Whether the plugin stopped for a reason that has nothing to do with this account, and that stays.
    pub(super) fn is_of_its_own(&self) -> bool {
        !matches!(
            self,
            Self::Fault(_) | Self::Failure(Failure::Unavailable(_) | Failure::Unexpected(_) | Failure::Refused(_))
        )
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Failure(
                Failure::Misconfigured(text)
                | Failure::ConsentRequired(text)
                | Failure::Unauthorized(text)
                | Failure::Unavailable(text)
                | Failure::Unexpected(text)
                | Failure::Denied(text),
            ) => f.write_str(text),
            Self::Failure(Failure::RateLimited(limit)) => f.write_str(&limit.message),
            Self::Failure(Failure::Refused(refusal)) => f.write_str(&refusal.message),
        }
    }
}
