//! Time, from one place, so that tests can hold it still.
//!
//! Everything that asks for the date takes a [`Clock`]. Durations and time-outs use tokio's clock, which tests pause;
//! this one is for dates that are stored, compared with the target's or shown.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use tokio::time::{Interval, MissedTickBehavior};

/// Tells the date.
pub trait Clock: Debug + Send + Sync {
    /// The present moment, UTC.
    fn now(&self) -> Timestamp;

    /// A time that goes on second by second, whatever somebody does to the date: what leases of one process are measured
    /// by, since a date that is set forward would end them all. It began with the date.
    fn steady(&self) -> Timestamp {
        self.now()
    }
}

/// Ticks at once and then once a period, counted from the tick before where that came late.
pub(crate) fn ticker(period: Duration) -> Interval {
    let mut ticker = tokio::time::interval(period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// A date as the standard library has it. Those before 1970 do not come up.
pub(crate) fn system_time(date: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + date.as_duration().unsigned_abs()
}

/// A clock that several owners share.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the system implementation")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the system implementation")]
    fn steady(&self) -> Timestamp {
        static BEGAN: LazyLock<(Timestamp, Instant)> = LazyLock::new(|| (Timestamp::now(), Instant::now()));
        let (date, instant) = *BEGAN;
        date.checked_add(instant.elapsed()).unwrap_or(Timestamp::MAX)
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    milliseconds: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `now`, to the millisecond.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            milliseconds: AtomicI64::new(now.as_millisecond()),
        }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.milliseconds.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.milliseconds.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }
}
