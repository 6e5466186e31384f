//! Hourly and burst limits, per account.

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::call::Reply;
use crate::faults::LimitKind;
use crate::switches::Switches;

const HOUR: i64 = 3600;

/// DocuSign's burst window in milliseconds.
const BURST_WINDOW_MS: i64 = 30_000;

/// How many calls an account may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Calls a clock hour; none: no limit and no headers.
    pub hourly: Option<u32>,
    /// Calls in 30 seconds; none: no limit and no headers.
    pub burst: Option<u32>,
}

impl Limits {
    /// No limits: for benchmarks.
    #[must_use]
    pub fn none() -> Self {
        Self {
            hourly: None,
            burst: None,
        }
    }
}

impl Default for Limits {
    /// 3,000 an hour and 200 in 30 seconds: a demo account.
    fn default() -> Self {
        Self {
            hourly: Some(3000),
            burst: Some(200),
        }
    }
}

/// What one account has used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Meter {
    hour: i64,
    used: u32,
    burst_start_ms: i64,
    burst_used: u32,
}

impl Meter {
    /// Counts one call at `now_ms`, and says which limit it broke.
    pub(crate) fn count(&mut self, limits: &Limits, now_ms: i64) -> Option<LimitKind> {
        let hour = now_ms.div_euclid(HOUR * 1000);
        if hour != self.hour {
            (self.hour, self.used) = (hour, 0);
        }
        if !(self.burst_start_ms..self.burst_start_ms + BURST_WINDOW_MS).contains(&now_ms) {
            (self.burst_start_ms, self.burst_used) = (now_ms, 0);
        }
        self.used = self.used.saturating_add(1);
        self.burst_used = self.burst_used.saturating_add(1);
        if limits.hourly.is_some_and(|limit| self.used > limit) {
            Some(LimitKind::Hourly)
        } else if limits.burst.is_some_and(|limit| self.burst_used > limit) {
            Some(LimitKind::Burst)
        } else {
            None
        }
    }

    /// A meter that has used all of one limit and nothing of the other.
    pub(crate) fn exhausted(which: LimitKind) -> Self {
        let mut meter = Self::default();
        match which {
            LimitKind::Hourly => meter.used = u32::MAX,
            LimitKind::Burst => meter.burst_used = u32::MAX,
        }
        meter
    }

    /// Puts DocuSign's headers on a reply. There is no burst reset, and no `Retry-After`.
    pub(crate) fn write(&self, limits: &Limits, now_ms: i64, reply: &mut Reply) {
        if let Some(limit) = limits.hourly {
            let reset = (now_ms.div_euclid(HOUR * 1000) + 1) * HOUR;
            header(reply, "x-ratelimit-limit", i64::from(limit));
            header(
                reply,
                "x-ratelimit-remaining",
                i64::from(limit.saturating_sub(self.used)),
            );
            header(reply, "x-ratelimit-reset", reset);
        }
        if let Some(limit) = limits.burst {
            header(reply, "x-burstlimit-limit", i64::from(limit));
            header(
                reply,
                "x-burstlimit-remaining",
                i64::from(limit.saturating_sub(self.burst_used)),
            );
        }
    }
}

/// The error of a broken limit.
pub(crate) fn exceeded(which: LimitKind, limits: &Limits, switches: &Switches) -> Reply {
    let (code, message) = match which {
        LimitKind::Hourly => (
            "HOURLY_APIINVOCATION_LIMIT_EXCEEDED",
            format!(
                "The maximum number of hourly API invocations has been exceeded. The hourly limit is {}.",
                limits.hourly.unwrap_or(3000)
            ),
        ),
        LimitKind::Burst => (
            "BURST_APIINVOCATION_LIMIT_EXCEEDED",
            format!(
                "The maximum number of burst API invocations has been exceeded. The burst limit is {}.",
                limits.burst.unwrap_or(200)
            ),
        ),
    };
    Reply::error(
        switches.rate_limit_status,
        &switches.error_code_case.write(code),
        &message,
    )
}

fn header(reply: &mut Reply, name: &'static str, value: i64) {
    reply
        .headers
        .append(HeaderName::from_static(name), HeaderValue::from(value));
}
