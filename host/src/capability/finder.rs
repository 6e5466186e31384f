//! Where in a text one of many needles stands, without case.
//!
//! Needles are kept as hashes alone, so nothing here holds a secret, and a token costs a few KiB. An automaton over the
//! needles (Aho-Corasick) lost: it took hundreds of KiB for each tenant at work, and several times as long for a text
//! without any needle, which is nearly every text.

use std::collections::BTreeMap;
use std::ops::Range;

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
#[derive(Clone, Default)]
struct Heads {
    /// Their number is a power of two.
    words: Box<[u64]>,
    /// What leaves of a product the number of its bit.
    shift: u32,
}

/// 16,384 bits at least: the thousand needles of a long token fill a sixteenth of them.
const HEAD_WORDS: usize = 256;

/// Needles to a word: a sixteenth of its bits.
const NEEDLES_PER_WORD: usize = 4;

impl Heads {
    /// Room for so many needles. One size for all lost: the longest token that is accepted has twenty thousand needles,
    /// and then every byte of an answer would have been looked at closely.
    fn for_needles(count: usize) -> Self {
        let words = count.div_ceil(NEEDLES_PER_WORD).next_power_of_two().max(HEAD_WORDS);
        Self {
            words: vec![0; words].into_boxed_slice(),
            shift: 64 - (words * 64).ilog2(),
        }
    }

    /// Where a needle that begins with these bytes has its bit.
    fn place(&self, head: u64) -> (usize, u64) {
        // One multiplication, since this is asked for every byte of every answer: a head that gets through by chance is
        // looked at again.
        let bit = head.wrapping_mul(GOLDEN) >> self.shift;
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    }

    fn add(&mut self, head: u64) {
        let (word, bit) = self.place(head);
        self.words[word] |= bit;
    }

    fn may_begin(&self, head: u64) -> bool {
        let (word, bit) = self.place(head);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// What begins either. A bit of the smaller one stands for as many of the larger one as that is larger: the number of
    /// a bit is the beginning of a product, longer or shorter.
    fn and(&self, other: &Self) -> Self {
        let (small, mut both) = if self.words.len() > other.words.len() {
            (other, self.clone())
        } else {
            (self, other.clone())
        };
        let times = both.words.len() / small.words.len().max(1);
        if times == 1 {
            both.words
                .iter_mut()
                .zip(&small.words)
                .for_each(|(word, more)| *word |= more);
            return both;
        }
        let set = |bit: &usize| small.words[bit / 64] >> (bit % 64) & 1 == 1;
        for bit in (0..small.words.len() * 64).filter(set) {
            (bit * times..(bit + 1) * times).for_each(|bit| both.words[bit / 64] |= 1 << (bit % 64));
        }
        both
    }
}

impl Finder {
    /// Finds these needles, which are in lower case. Those shorter than [`MIN_NEEDLE`] are passed over.
    pub(super) fn of(needles: impl IntoIterator<Item = Zeroizing<Vec<u8>>>) -> Self {
        let needles = needles.into_iter().filter(|needle| needle.len() >= MIN_NEEDLE);
        let needles: Vec<_> = needles.collect();
        let mut finder = Self {
            heads: Heads::for_needles(needles.len()),
            ..Self::default()
        };
        for needle in needles {
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
        let mut needles = self.needles.clone();
        for (length, hashes) in &other.needles {
            needles.entry(*length).or_default().extend(hashes);
        }
        let heads = self.heads.and(&other.heads);
        let mut both = Self { needles, heads };
        both.sort();
        both
    }

    /// From where to where needles stand that begin in this part of the bytes, by their beginnings.
    pub(super) fn places(&self, bytes: &[u8], part: Range<usize>) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        let longest = self.needles.last_key_value().map_or(0, |(length, _)| *length);
        let end = part.end.saturating_add(longest).min(bytes.len());
        let first = part.start;
        let bytes = bytes.get(first..end).unwrap_or_default().to_ascii_lowercase();
        for (start, head) in bytes.windows(MIN_NEEDLE).take(part.len()).enumerate() {
            if !self.heads.may_begin(word(head, 0)) {
                continue;
            }
            for (length, hashes) in &self.needles {
                let Some(text) = bytes.get(start..start + length) else {
                    break;
                };
                if hashes.binary_search(&hash(text)).is_ok() {
                    places.push((first + start, first + start + length));
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
            part in 1..250_usize,
        ) {
            let both = finder(&one).and(&finder(&two));
            let parts = (0..=text.len()).step_by(part).map(|start| start..start + part);
            let found: Vec<_> = parts.flat_map(|part| both.places(text.as_bytes(), part)).collect();
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

    #[test]
    fn the_heads_of_many_needles_let_few_others_through_also_with_those_of_few() {
        let count = 20_000_u64;
        let heads = |numbers: Range<u64>| {
            let needles = numbers.map(|number| Zeroizing::new(format!("{:016x}", mix(number)).into_bytes()));
            Finder::of(needles)
        };
        let (many, few) = (heads(0..count), heads(count..count + 100));
        for both in [
            many.and(&few),
            few.and(&many),
            many.and(&Finder::default()),
            Finder::default().and(&many),
        ] {
            let through = (0..100_000).filter(|number| both.heads.may_begin(mix(number ^ count)));
            assert!(through.count() < 10_000);
            let own = (0..count).map(|number| format!("{:016x}", mix(number)));
            assert!(own.clone().all(|own| both.heads.may_begin(word(own.as_bytes(), 0))));
        }
        let own = format!("{:016x}", mix(count + 7)).into_bytes();
        assert_eq!(few.and(&many).places(&own, 0..16), [(0, 16)]);
    }
}
