//! Time for tokens, assertions and limits. Delays and drips use tokio's clock, this one is for dates.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Tells the simulator what time it is, in milliseconds since 1970.
#[derive(Clone)]
pub struct Clock {
    source: Arc<dyn Fn() -> i64 + Send + Sync>,
    offset: i64,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::from_fn(system_milliseconds)
    }

    /// A clock that stands at `unix_seconds` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn at(unix_seconds: i64) -> Self {
        Self::from_fn(move || unix_seconds.saturating_mul(1000))
    }

    /// A clock that somebody else keeps; `milliseconds` is asked at every request.
    pub fn from_fn(milliseconds: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self {
            source: Arc::new(milliseconds),
            offset: 0,
        }
    }

    /// Milliseconds since 1970, offset included.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        (self.source)().saturating_add(self.offset)
    }

    /// Seconds since 1970, offset included.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.now_ms().div_euclid(1000)
    }

    /// Moves this clock forward against its source.
    pub fn advance(&mut self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.offset = self.offset.saturating_add(by);
    }

    /// How far this clock runs ahead of its source, in milliseconds; negative when behind.
    #[must_use]
    pub fn offset_ms(&self) -> i64 {
        self.offset
    }

    /// Sets how far this clock runs ahead of its source.
    pub fn set_offset_ms(&mut self, milliseconds: i64) {
        self.offset = milliseconds;
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place where the simulator asks the machine"
)]
fn system_milliseconds() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}
