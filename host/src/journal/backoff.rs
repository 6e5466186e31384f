//! When to try again.

use std::time::Duration;

/// Full-jitter exponential backoff: a random wait between nothing and a ceiling that doubles with each attempt.
///
/// Full jitter and not a share of it, because the jobs of one outage all fail in the same second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Ceiling after the first attempt.
    pub first: Duration,
    /// Ceiling that is never exceeded.
    pub most: Duration,
}

impl Default for Backoff {
    /// Two seconds: a target that restarts is back by the second or third try. At most 15 minutes: a leaver must not
    /// keep an account for hours after the target has come back.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(2),
            most: Duration::from_secs(15 * 60),
        }
    }
}

impl Backoff {
    /// The wait after attempt number `attempt` (from 1), where `random` is any word.
    #[must_use]
    pub fn delay(&self, attempt: u32, random: u64) -> Duration {
        let doubled = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let ceiling = self.first.saturating_mul(doubled).min(self.most);
        let milliseconds = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
        // The high half of the product is uniform over 0..=milliseconds; a remainder would favour small waits.
        let scaled = (u128::from(random) * (u128::from(milliseconds) + 1)) >> 64;
        Duration::from_millis(u64::try_from(scaled).unwrap_or(milliseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;

    #[test]
    fn the_ceiling_doubles_until_the_most() {
        let backoff = Backoff {
            first: Duration::from_secs(2),
            most: Duration::from_secs(60),
        };
        let ceilings: Vec<u64> = (1..=7)
            .map(|attempt| backoff.delay(attempt, u64::MAX).as_secs())
            .collect();
        assert_eq!(ceilings, [2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn no_attempt_number_overflows() {
        let backoff = Backoff::default();
        for attempt in [0, 1, 31, 32, 33, 64, u32::MAX] {
            assert!(backoff.delay(attempt, u64::MAX) <= backoff.most, "attempt {attempt}");
            assert_eq!(backoff.delay(attempt, 0), Duration::ZERO);
        }
    }

    #[test]
    fn half_of_the_random_range_is_half_of_the_wait() {
        let backoff = Backoff {
            first: Duration::from_secs(8),
            most: Duration::from_secs(60),
        };
        assert_eq!(backoff.delay(1, 1 << 63), Duration::from_secs(4));
    }
}
