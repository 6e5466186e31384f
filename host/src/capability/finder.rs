//! Where in a text one of many needles stands, without case.
//!
//! Needles are kept as hashes alone, so nothing here holds a secret, and a token costs a few KiB. An automaton over the
//! needles (Aho-Corasick) lost: it took hundreds of KiB for each tenant at work, and several times as long for a text
//! without any needle, which is nearly every text.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// Shortest needle.
pub(super) const MIN_NEEDLE: usize = 8;

/// Finds needles by hashes of 64 bits. Another text with the same hash would be taken for a needle; nobody lives to see
/// that.
#[derive(Default)]
pub(super) struct Finder {
    /// Sorted hashes of the needles, by their length.
    needles: BTreeMap<usize, Vec<u64>>,
    heads: Heads,
}

/// Which eight bytes a needle may begin with, so that most places of a text are passed over after one look.
#[derive(Clone)]
struct Heads(Box<[u64; HEAD_WORDS]>);

/// 16,384 bits: the thousand needles of a long token fill a sixteenth of them.
const HEAD_WORDS: usize = 256;

impl Default for Heads {
    fn default() -> Self {
        Self(Box::new([0; HEAD_WORDS]))
    }
}

impl Heads {
    /// Where a needle that begins with these bytes has its bit.
    fn place(head: u64) -> (usize, u64) {
        // One multiplication, since this is asked for every byte of every answer: a head that gets through by chance is
        // looked at again.
        let bit = head.wrapping_mul(GOLDEN) >> (64 - (HEAD_WORDS * 64).ilog2());
        let word = usize::try_from(bit / 64).unwrap_or(0);
        (word % HEAD_WORDS, 1 << (bit % 64))
    }

    fn add(&mut self, head: u64) {
        let (word, bit) = Self::place(head);
        self.0[word] |= bit;
    }

    fn may_begin(&self, head: u64) -> bool {
        let (word, bit) = Self::place(head);
        self.0[word] & bit != 0
    }
}

impl Finder {
    /// Finds these needles, which are in lower case. Those shorter than [`MIN_NEEDLE`] are passed over.
    pub(super) fn of(needles: impl IntoIterator<Item = Zeroizing<Vec<u8>>>) -> Self {
        let mut finder = Self::default();
        for needle in needles.into_iter().filter(|needle| needle.len() >= MIN_NEEDLE) {
            finder.heads.add(word(&needle, 0));
            finder.needles.entry(needle.len()).or_default().push(hash(&needle));
        }
        finder.sort();
        finder
    }

    pub(super) fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    fn sort(&mut self) {
        for hashes in self.needles.values_mut() {
            hashes.sort_unstable();
            hashes.dedup();
            hashes.shrink_to_fit();
        }
    }

    /// Finds what either finds.
    pub(super) fn and(&self, other: &Self) -> Self {
        let (mut needles, mut heads) = (self.needles.clone(), self.heads.clone());
        for (length, hashes) in &other.needles {
            needles.entry(*length).or_default().extend(hashes);
        }
        heads
            .0
            .iter_mut()
            .zip(other.heads.0.iter())
            .for_each(|(word, more)| *word |= more);
        let mut both = Self { needles, heads };
        both.sort();
        both
    }

    /// From where to where needles stand, by their beginnings.
    pub(super) fn places(&self, bytes: &[u8]) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        if bytes.len() < MIN_NEEDLE {
            return places;
        }
        let bytes = bytes.to_ascii_lowercase();
        for start in 0..=bytes.len() - MIN_NEEDLE {
            if !self.heads.may_begin(word(&bytes, start)) {
                continue;
            }
            for (length, hashes) in &self.needles {
                let Some(text) = bytes.get(start..start + length) else {
                    break;
                };
                if hashes.binary_search(&hash(text)).is_ok() {
                    places.push((start, start + length));
                }
            }
        }
        places
    }
}

/// Eight bytes at a place where there are as many.
fn word(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok());
    u64::from_le_bytes(eight.unwrap_or_default())
}

/// Of eight bytes or more.
fn hash(bytes: &[u8]) -> u64 {
    let last = bytes.len() - MIN_NEEDLE;
    let words = (0..last).step_by(8).chain([last]);
    words.fold(0, |hash, at| mix(hash ^ word(bytes, at)))
}

/// 2^64 divided by the golden ratio, which spreads best (Knuth, The Art of Computer Programming 3, 6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads every bit over all: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(GOLDEN);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finder(needles: &[String]) -> Finder {
        Finder::of(needles.iter().map(|needle| Zeroizing::new(needle.clone().into_bytes())))
    }

    proptest! {
        /// Few letters, so that needles overlap, begin alike and hold each other.
        #[test]
        fn it_finds_what_a_plain_search_finds(
            one in prop::collection::vec("[ab]{8,18}", 0..6),
            two in prop::collection::vec("[ab]{8,18}", 0..6),
            text in "[abAB]{0,200}",
        ) {
            let found = finder(&one).and(&finder(&two)).places(text.as_bytes());
            let (lower, needles) = (text.to_lowercase(), one.iter().chain(&two));
            let mut wanted: Vec<_> = needles
                .flat_map(|needle| {
                    let at = |start: &usize| lower[*start..].starts_with(needle);
                    (0..lower.len()).filter(at).map(|start| (start, start + needle.len())).collect::<Vec<_>>()
                })
                .collect();
            wanted.sort_unstable();
            wanted.dedup();
            prop_assert_eq!(found, wanted);
        }
    }
}
