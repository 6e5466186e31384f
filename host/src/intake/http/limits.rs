//! How much the intake takes at a time.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::StatusCode;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};

use super::problem::Problem;
use crate::intake::MAX_EVENT_BYTES;

/// Largest body of a leaver on demand: 16 KiB. Five fields of a person and the names of 64 connectors need half of it.
pub const MAX_LEAVER_BYTES: usize = 16 * 1024;

/// Longest `Idempotency-Key`: 255 bytes; a UUID has 36.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// Longest `Prefer: wait`: 80 seconds. A workflow step of SailPoint ends after 90, and must see our answer before.
pub const MAX_WAIT: Duration = Duration::from_secs(80);

/// Events up to this size are judged where they arrive, which takes some 10 µs. Larger ones may take long and go to a
/// thread of their own, and so do all events of a source with a filter that looks at each value once for each other.
pub(super) const INLINE_BYTES: usize = 8 * 1024;

/// How long an event may wait to be judged: 10 seconds, as long as SailPoint itself waits for an answer.
pub(super) const JUDGE_WAIT: Duration = Duration::from_secs(10);

/// Tenants that are remembered, by their rates and by what they have on its way, before those are forgotten that could do
/// as they like anyway: 20,000, twice the tenants that one host is built for.
pub(super) const REMEMBERED_TENANTS: usize = 20_000;

/// How much the intake takes. The defaults are meant to be kept, but for what a contract with tenants says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeLimits {
    /// Events of one tenant in a second; twice as many at once. Default 5,000, half of what the journal writes, so that
    /// one tenant leaves room for others. It is that high because SailPoint never sends an event again.
    pub events_per_second: u32,
    /// Requests of all together in a second, before anything is known about them. Default 20,000, twice what the journal
    /// writes. It bounds how fast anybody can guess, and the work that strangers can cause.
    pub requests_per_second: u32,
    /// Largest event. Default [`MAX_EVENT_BYTES`], and never more.
    pub event_bytes: usize,
    /// Bytes of bodies in memory that are not yet with the journal. Default 128 MiB: an average event has 4 KiB.
    pub buffered_bytes: usize,
    /// Of one tenant's, until they are written, and of each at least 16 KiB. Default 32 MiB, and never less than the
    /// largest event: half of the journal's queue, by bytes as by events.
    pub tenant_bytes: usize,
    /// Of bodies that claim to be signed, which are read before their sender is known, beyond the first 8 KiB of each; of
    /// one at most a sixteenth of what is left of it. Default 32 MiB, twice what the largest event needs there.
    pub unproven_bytes: usize,
    /// Time for a body to arrive. Default 10 seconds, as long as SailPoint itself waits.
    pub body_time: Duration,
    /// Large events that are judged at a time, of one tenant one. Default half of the processors, so that the other half
    /// stays free for small events, whatever a tenant sends; and two at least, so that one tenant leaves one to others.
    pub judges: usize,
    /// Requests that wait for an outcome at a time; more are answered at once. Default 256: each asks the journal up to
    /// twice a second.
    pub waiters: usize,
    /// Those of one tenant. Default a quarter of `waiters`: while its target hangs, each of them waits to the limit, and
    /// must not take the places of other tenants.
    pub tenant_waiters: usize,
}

impl Default for IntakeLimits {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            events_per_second: 5_000,
            requests_per_second: 20_000,
            event_bytes: MAX_EVENT_BYTES,
            buffered_bytes: 128 << 20,
            tenant_bytes: 32 << 20,
            unproven_bytes: 32 << 20,
            body_time: Duration::from_secs(10),
            judges: (processors / 2).max(2),
            waiters: 256,
            tenant_waiters: 64,
        }
    }
}

/// Log lines about senders that are turned away: one a second, and a few at once. Anybody can be turned away.
const COMPLAINTS: Quota = Quota::per_second(NonZeroU32::MIN).allow_burst(NonZeroU32::new(5).unwrap());

/// Counts requests. Time is the process's own, since only differences matter here.
#[derive(Debug)]
pub(super) struct Rates {
    all: DefaultDirectRateLimiter,
    tenants: DefaultKeyedRateLimiter<String>,
    complaints: DefaultDirectRateLimiter,
    clock: DefaultClock,
}

impl Rates {
    pub(super) fn new(limits: &IntakeLimits) -> Self {
        Self {
            all: RateLimiter::direct(quota(limits.requests_per_second, 1)),
            tenants: RateLimiter::keyed(quota(limits.events_per_second, 2)),
            complaints: RateLimiter::direct(COMPLAINTS),
            clock: DefaultClock::default(),
        }
    }

    /// Whether a sender that is turned away may be logged.
    pub(super) fn may_complain(&self) -> bool {
        self.complaints.check().is_ok()
    }

    /// Counts a request of anybody.
    pub(super) fn check_all(&self) -> Result<(), Problem> {
        self.all
            .check()
            .map_err(|not_until| self.too_many(&not_until, "too many requests at the moment"))
    }

    /// Counts a request of a tenant. Only for tenants that exist and senders that may send for them, so that strangers
    /// can neither use up what is theirs nor fill the memory with names.
    pub(super) fn check_tenant(&self, tenant: &str) -> Result<(), Problem> {
        if self.tenants.len() > REMEMBERED_TENANTS {
            self.tenants.retain_recent();
        }
        self.tenants
            .check_key(&tenant.to_owned())
            .map_err(|not_until| self.too_many(&not_until, "too many events of this tenant at the moment"))
    }

    fn too_many(&self, not_until: &NotUntil<<DefaultClock as Clock>::Instant>, detail: &str) -> Problem {
        let wait = not_until.wait_time_from(self.clock.now());
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Problem::later(StatusCode::TOO_MANY_REQUESTS, seconds, detail)
    }
}

fn quota(per_second: u32, seconds_at_once: u32) -> Quota {
    let rate = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
    let burst = NonZeroU32::new(per_second.saturating_mul(seconds_at_once)).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(rate).allow_burst(burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_who_are_turned_away_a_few_at_once_are_logged() {
        let rates = Rates::new(&IntakeLimits::default());
        assert_eq!((0..1000).filter(|_| rates.may_complain()).count(), 5);
    }

    // One a second comes back, and no test takes that long: a slow machine would only let more through.
    fn rates(events: u32, requests: u32) -> Rates {
        Rates::new(&IntakeLimits {
            events_per_second: events,
            requests_per_second: requests,
            ..IntakeLimits::default()
        })
    }

    #[test]
    fn a_tenant_may_send_two_seconds_worth_at_once_and_not_one_more() {
        let rates = rates(1, 1000);
        assert_eq!((rates.check_tenant("a"), rates.check_tenant("a")), (Ok(()), Ok(())));
        let problem = rates.check_tenant("a").unwrap_err();
        assert_eq!(problem.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(rates.check_tenant("b"), Ok(()));
    }

    #[test]
    fn all_together_may_send_one_seconds_worth_and_not_one_more() {
        let rates = rates(1000, 1);
        assert_eq!(rates.check_all(), Ok(()));
        assert_eq!(rates.check_all().unwrap_err().status, StatusCode::TOO_MANY_REQUESTS);
    }

    #[test]
    fn names_of_tenants_do_not_pile_up() {
        let rates = rates(1000, 1000);
        for number in 0..=REMEMBERED_TENANTS {
            rates.check_tenant(&number.to_string()).unwrap();
        }
        assert_eq!(rates.tenants.len(), REMEMBERED_TENANTS + 1);
        rates.check_tenant("one more").unwrap();
        assert!(rates.tenants.len() < REMEMBERED_TENANTS);
    }
}
