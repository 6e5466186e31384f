//! Why a job cannot go on, and what is done about it.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{Timestamp, ToSpan, Unit};

use crate::capability::{STRAY_SECRETS, TENANT_MEMORY};
use crate::sandbox::{Failure, Fault, Limit, LimitKind};

/// A burst allowance without a time is fresh after this; DocuSign counts bursts over 30 s.
const BURST_SECONDS: i64 = 30;
/// Lanes that met one burst limit come back spread over so many further seconds, so that they do not meet it again.
const BURST_SPREAD_SECONDS: u64 = 15;
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
    /// Another job is closing one of these accounts.
    Busy(String),
    /// The journal cannot be reached, so nothing may be closed: the target has no part in it.
    JournalAway(String),
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
            | Self::Busy(reason)
            | Self::JournalAway(reason)
            | Self::Misconfigured(reason)
            | Self::Limited { reason, .. }
            | Self::Unavailable(reason)
            | Self::Failed(reason) => reason,
            Self::LeaseLost => "the lease was lost; another host has the job",
        }
    }

    /// What a plugin's failure means for a job of the lane `tenant` and `connector`.
    #[must_use]
    pub fn from_failure(failure: Failure, now: Timestamp, lane: (&str, &str)) -> Self {
        match failure {
            Failure::Misconfigured(text) => Self::Misconfigured(text),
            Failure::ConsentRequired(text) => Self::Misconfigured(format!("consent is required: {text}")),
            Failure::Unauthorized(text) => {
                Self::Misconfigured(format!("the target does not accept a token that is fresh: {text}"))
            }
            Failure::RateLimited(limit) => Self::limited(limit, now, lane),
            Failure::Unavailable(text) => Self::Unavailable(text),
            Failure::Refused(refusal) if refusal.message.contains(&refusal.code) => {
                Self::Failed(format!("the connector reports a refusal: {}", refusal.message))
            }
            Failure::Refused(refusal) => Self::Failed(format!(
                "the connector reports a refusal: {}: {}",
                refusal.code, refusal.message
            )),
            Failure::Unexpected(text) => Self::Failed(format!("the target's answer makes no sense: {text}")),
            Failure::Denied(text) => Self::Failed(format!("denied: {text}")),
        }
    }

    /// What a fault means for the job. A slow call may be quicker next time, and one may find more memory; a trap would
    /// trap again.
    #[must_use]
    pub fn from_fault(fault: &Fault) -> Self {
        match fault {
            Fault::WallClock(_) => Self::Unavailable(fault.to_string()),
            Fault::Limit(reached) if reached.limit == TENANT_MEMORY => Self::Unavailable(fault.to_string()),
            // Each right guess would be worth a job; so the connector waits for somebody to look.
            Fault::Limit(reached) if reached.limit == STRAY_SECRETS => Self::Misconfigured(format!(
                "an endpoint answered with a secret of this connector that it was never sent: it was guessed, or is so short \
                 that it stands there by chance; see what the connector logged, and rotate the secret ({fault})"
            )),
            Fault::Trap(_) | Fault::Limit(_) | Fault::Contract(_) => Self::Failed(fault.to_string()),
        }
    }

    fn limited(limit: Limit, now: Timestamp, lane: (&str, &str)) -> Self {
        let told = limit
            .until
            .and_then(|until| Timestamp::from_second(i64::try_from(until).ok()?).ok());
        let until = told.filter(|until| *until > now).unwrap_or_else(|| match limit.kind {
            LimitKind::Burst => later(now, BURST_SECONDS + spread(now, lane)),
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

/// Seconds from 0 to [`BURST_SPREAD_SECONDS`]. Drawn from the lane and the time and not at random: lanes need to differ
/// from one another, and nothing more.
fn spread(now: Timestamp, lane: (&str, &str)) -> i64 {
    let mut hasher = DefaultHasher::new();
    (now.as_second(), lane).hash(&mut hasher);
    i64::try_from(hasher.finish() % (BURST_SPREAD_SECONDS + 1)).unwrap_or(0)
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
    use std::collections::BTreeSet;

    use super::*;
    use crate::capability::LimitReached;

    fn limited_in(lane: (&str, &str), kind: LimitKind, until: Option<u64>) -> i64 {
        let now = Timestamp::from_second(1_800_000_123).unwrap();
        let limit = Limit {
            kind,
            until,
            message: "slow down".to_owned(),
        };
        match Stop::from_failure(Failure::RateLimited(limit), now, lane) {
            Stop::Limited { until, .. } => until.as_second() - now.as_second(),
            other => panic!("{other:?}"),
        }
    }

    fn limited(kind: LimitKind, until: Option<u64>) -> i64 {
        limited_in(("acme", "docusign"), kind, until)
    }

    #[test]
    fn a_wait_is_the_targets_own_or_the_usual_one_and_never_longer_than_a_day() {
        let burst = limited(LimitKind::Burst, None);
        assert!((30..=45).contains(&burst), "{burst}");
        assert_eq!(limited(LimitKind::Quota, Some(1_800_000_223)), 100);
        assert_eq!(limited(LimitKind::Quota, None), 3600 - 123);
        assert_eq!(
            limited(LimitKind::Burst, Some(5)),
            burst,
            "a time in the past is no time"
        );
        assert_eq!(limited(LimitKind::Quota, Some(u64::MAX)), 3600 - 123);
        assert_eq!(limited(LimitKind::Quota, Some(1_900_000_000)), LONGEST_WAIT_SECONDS);
    }

    #[test]
    fn only_the_limit_that_passes_by_itself_is_tried_again() {
        let stop = |limit| Stop::from_fault(&Fault::Limit(LimitReached { limit, allowed: 1 }));
        assert!(matches!(stop(TENANT_MEMORY), Stop::Unavailable(_)));
        assert!(matches!(stop("memory"), Stop::Failed(_)));
    }

    #[test]
    fn lanes_that_met_one_burst_limit_do_not_come_back_at_once() {
        let tenants: Vec<String> = (0..1000).map(|number| format!("tenant-{number}")).collect();
        let waits: BTreeSet<i64> = tenants
            .iter()
            .map(|tenant| limited_in((tenant, "docusign"), LimitKind::Burst, None))
            .collect();
        assert_eq!(waits, (30..=45).collect());
    }
}
