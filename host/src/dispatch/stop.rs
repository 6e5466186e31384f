//! Why a job cannot go on, and what is done about it.

use jiff::{Timestamp, ToSpan, Unit};

use crate::sandbox::{Failure, Fault, Limit, LimitKind};

/// A burst allowance without a time is fresh after this; DocuSign counts bursts over 30 s.
const BURST_SECONDS: i64 = 45;
/// A target that names a later time than this is not believed; a lane must not sleep for a year over one header.
const LONGEST_WAIT_SECONDS: i64 = 24 * 3600;

/// Why a job cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Policy forbids it.
    Refused(String),
    /// A person must decide.
    Held {
        /// A word for it, by which such jobs are listed and released.
        why: &'static str,
        /// Why, in one sentence.
        reason: String,
    },
    /// An operator paused the host, the tenant or the connector.
    Paused(String),
    /// Somebody else has the job now: nothing more may be done, and nothing written.
    LeaseLost,
    /// The connector waits for its operator.
    Misconfigured(String),
    /// The target asks to wait.
    Limited {
        /// Until when.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// Worth another attempt.
    Unavailable(String),
    /// It will not get better by trying again.
    Failed(String),
}

impl Stop {
    /// In words, for logs and people.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused(reason)
            | Self::Held { reason, .. }
            | Self::Paused(reason)
            | Self::Misconfigured(reason)
            | Self::Limited { reason, .. }
            | Self::Unavailable(reason)
            | Self::Failed(reason) => reason,
            Self::LeaseLost => "the lease was lost; another host has the job",
        }
    }

    /// What a plugin's failure means for the job.
    #[must_use]
    pub fn from_failure(failure: Failure, now: Timestamp) -> Self {
        match failure {
            Failure::Misconfigured(text) => Self::Misconfigured(text),
            Failure::ConsentRequired(text) => Self::Misconfigured(format!("consent is required: {text}")),
            Failure::Unauthorized(text) => {
                Self::Misconfigured(format!("the target does not accept a token that is fresh: {text}"))
            }
            Failure::RateLimited(limit) => Self::limited(limit, now),
            Failure::Unavailable(text) => Self::Unavailable(text),
            Failure::Refused(refusal) if refusal.message.contains(&refusal.code) => {
                Self::Failed(format!("the target refused: {}", refusal.message))
            }
            Failure::Refused(refusal) => {
                Self::Failed(format!("the target refused: {}: {}", refusal.code, refusal.message))
            }

            Failure::Unexpected(text) => Self::Failed(format!("the target's answer makes no sense: {text}")),
            Failure::Denied(text) => Self::Failed(format!("denied: {text}")),
        }
    }

    /// What a fault means for the job. A slow call may be quicker next time; a trap would trap again.
    #[must_use]
    pub fn from_fault(fault: &Fault) -> Self {
        match fault {
            Fault::WallClock(_) => Self::Unavailable(fault.to_string()),
            Fault::Trap(_) | Fault::Limit(_) | Fault::Contract(_) => Self::Failed(fault.to_string()),
        }
    }

    fn limited(limit: Limit, now: Timestamp) -> Self {
        let told = limit
            .until
            .and_then(|until| Timestamp::from_second(i64::try_from(until).ok()?).ok());
        let until = told.filter(|until| *until > now).unwrap_or_else(|| match limit.kind {
            LimitKind::Burst => later(now, BURST_SECONDS),
            LimitKind::Quota => top_of_next_hour(now),
        });
        Self::Limited {
            until: until.min(later(now, LONGEST_WAIT_SECONDS)),
            reason: limit.message,
        }
    }
}

fn later(now: Timestamp, seconds: i64) -> Timestamp {
    now.checked_add(seconds.seconds()).unwrap_or(Timestamp::MAX)
}

/// Allowances by the hour are reset at the top of the clock hour.
fn top_of_next_hour(now: Timestamp) -> Timestamp {
    let next = jiff::TimestampRound::new()
        .smallest(Unit::Hour)
        .mode(jiff::RoundMode::Trunc);
    later(now.round(next).unwrap_or(now), 3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(kind: LimitKind, until: Option<u64>) -> i64 {
        let now = Timestamp::from_second(1_800_000_123).unwrap();
        let limit = Limit {
            kind,
            until,
            message: "slow down".to_owned(),
        };
        match Stop::from_failure(Failure::RateLimited(limit), now) {
            Stop::Limited { until, .. } => until.as_second() - now.as_second(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wait_is_the_targets_own_or_the_usual_one_and_never_longer_than_a_day() {
        assert_eq!(limited(LimitKind::Quota, Some(1_800_000_223)), 100);
        assert_eq!(limited(LimitKind::Burst, None), BURST_SECONDS);
        assert_eq!(limited(LimitKind::Quota, None), 3600 - 123);
        assert_eq!(
            limited(LimitKind::Burst, Some(5)),
            BURST_SECONDS,
            "a time in the past is no time"
        );
        assert_eq!(limited(LimitKind::Quota, Some(u64::MAX)), 3600 - 123);
        assert_eq!(limited(LimitKind::Quota, Some(1_900_000_000)), LONGEST_WAIT_SECONDS);
    }
}
