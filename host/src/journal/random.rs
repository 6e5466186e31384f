//! Randomness, from one place: for ids and for the jitter of retries.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use uuid::{Builder, Uuid};

/// Gives random bytes.
pub trait Random: Debug + Send + Sync {
    /// Ten bytes: what a UUIDv7 needs besides the time.
    fn bytes(&self) -> [u8; 10];
}

/// A source of randomness that several owners share.
pub type SharedRandom = Arc<dyn Random>;

/// The operating system's randomness.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn bytes(&self) -> [u8; 10] {
        // A version 4 UUID is 122 bits from the system; bytes 6 and 8 hold its fixed ones.
        let random = *Uuid::new_v4().as_bytes();
        let mut bytes = [0; 10];
        bytes[..6].copy_from_slice(&random[..6]);
        bytes[6..].copy_from_slice(&random[9..13]);
        bytes
    }
}

/// A sequence that is the same at every run, for tests.
#[derive(Debug)]
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    /// The sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// SplitMix64: every counter value gives another word.
    fn word(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut word = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

impl Random for SeededRandom {
    fn bytes(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.word().to_le_bytes());
        bytes[8..].copy_from_slice(&self.word().to_le_bytes()[..2]);
        bytes
    }
}

/// Makes ids that sort by time, and within a millisecond by the order in which this host made them.
#[derive(Debug, Default)]
pub(super) struct Ids(Mutex<Uuid>);

/// The part of a UUIDv7 that is random whatever else is fixed.
const RANDOM_BITS: u128 = (1 << 62) - 1;

impl Ids {
    /// A new id.
    pub(super) fn next(&self, now: Timestamp, random: &dyn Random) -> Uuid {
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let fresh = Builder::from_unix_timestamp_millis(milliseconds, &random.bytes()).into_uuid();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same_time = fresh.as_u128() >> 80 == last.as_u128() >> 80;
        let step = 1 + (fresh.as_u128() & 0xffff_ffff);
        // Near the end of the range, which luck reaches once in a billion times, order is given up.
        let has_room = (last.as_u128() & RANDOM_BITS) + step <= RANDOM_BITS;
        *last = if same_time && has_room {
            Uuid::from_u128(last.as_u128() + step)
        } else {
            fresh
        };
        *last
    }
}

/// A random word.
pub(super) fn word(random: &dyn Random) -> u64 {
    let bytes = random.bytes();
    u64::from_le_bytes([
        bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
    ])
}

#[cfg(test)]
mod tests {
    use super::{Ids, SeededRandom, SystemRandom, Uuid};
    use jiff::Timestamp;
    use std::collections::BTreeSet;

    #[test]
    fn ids_of_one_millisecond_are_in_order_and_of_version_7() {
        let (ids, random, now) = (
            Ids::default(),
            SeededRandom::new(7),
            Timestamp::from_millisecond(1_767_323_045_000),
        );
        let now = now.expect("a date");
        let made: Vec<Uuid> = (0..10_000).map(|_| ids.next(now, &random)).collect();
        assert!(made.is_sorted());
        assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), made.len());
        assert!(
            made.iter()
                .all(|id| id.get_version_num() == 7 && id.get_timestamp() == made[0].get_timestamp())
        );
    }

    #[test]
    fn ids_follow_the_clock_also_backwards() {
        let (ids, random) = (Ids::default(), SystemRandom);
        let at = |milliseconds| Timestamp::from_millisecond(milliseconds).expect("a date");
        let (late, early) = (ids.next(at(2000), &random), ids.next(at(1000), &random));
        assert!(early < late);
        assert!(ids.next(at(2000), &random) > early);
    }
}
