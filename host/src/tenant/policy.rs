//! A tenant's policy: who is never closed, and how many closures are too many.

use std::time::Duration;

use unicode_normalization::UnicodeNormalization as _;

use super::names::quoted;
use super::reader::{Item, Table};
use crate::text::is_odd;

/// Most closures that a breaker may allow in its time: 100,000. All of them are counted before each further one, while
/// nobody else can write, which takes milliseconds; and more than that in one connector is nothing to be guarded any more.
pub const MAX_BREAKER_CLOSURES: u32 = 100_000;

/// Most patterns in `protected`: 10,000. Each is compared with every person and every account found.
pub const MAX_PATTERNS: usize = 10_000;

/// Longest pattern in `protected`: 320 bytes, the longest e-mail address.
pub const MAX_PATTERN_BYTES: usize = 320;

/// Most `*` in one pattern: 8. Each is one more search through every address and name that a plugin finds.
pub const MAX_PATTERN_STARS: usize = 8;

/// Longest duration in a tenant file: ten years and their leap days. The article that this project starts from signs
/// assertions for that long; nothing needs more.
pub const MAX_DURATION: Duration = Duration::from_secs(3653 * 24 * 3600);

/// What holds for all connectors of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// People whose accounts are never closed.
    pub protected: Protected,
    /// When closing stops.
    pub breaker: Breaker,
}

/// Patterns for people whose accounts are never closed.
///
/// A pattern is an e-mail address or an id, compared whole and without case, where `*` stands for any characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protected {
    patterns: Vec<(String, String)>,
}

/// So many closures in a sliding window, then no more until somebody looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// Closures that are still allowed.
    pub closures: u32,
    /// Length of the window.
    pub per: Duration,
}

impl Default for Breaker {
    /// 25 in an hour: more than a normal day's leavers of a company of some thousands, far fewer than a wrong filter
    /// would close.
    fn default() -> Self {
        Self {
            closures: 25,
            per: Duration::from_secs(3600),
        }
    }
}

impl Policy {
    /// Reads `[policy]`.
    pub(crate) fn read(mut table: Table<'_>) -> Self {
        let protected = table
            .get("protected")
            .map(|item| Protected::read(&item))
            .unwrap_or_default();
        let breaker = table
            .get("breaker")
            .and_then(|item| item.table())
            .map(Breaker::read)
            .unwrap_or_default();
        table.finish();
        Self { protected, breaker }
    }
}

impl Breaker {
    fn read(mut table: Table<'_>) -> Self {
        const WRITE: &str = "breaker = { closures = 25, per = \"1h\" }";
        let closures = table.require("closures", WRITE);
        let closures = closures.and_then(|item| item.count_up_to(MAX_BREAKER_CLOSURES));
        let per = table.require("per", WRITE).and_then(|item| read_duration(&item));
        table.finish();
        let default = Self::default();
        Self {
            closures: closures.unwrap_or(default.closures),
            per: per.unwrap_or(default.per),
        }
    }
}

impl Protected {
    /// Patterns as an operator wrote them.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            patterns: patterns
                .into_iter()
                .map(|pattern| (pattern.to_owned(), fold(pattern)))
                .collect(),
        }
    }

    /// The first pattern that fits an address, an id or a name, as it was written. Case, space around it, compatibility
    /// forms of letters (NFKC), characters that are not seen, and how a domain is written make no difference.
    #[must_use]
    pub fn matches(&self, value: &str) -> Option<&str> {
        let values = spellings(fold(value));
        let fits = |folded: &str| values.iter().any(|value| fits(folded, value));
        let found = self.patterns.iter().find(|(_, folded)| fits(folded));
        found.map(|(written, _)| written.as_str())
    }

    fn read(item: &Item<'_>) -> Self {
        let written = item.strings();
        if written.len() > MAX_PATTERNS {
            item.note(format!(
                "has over {MAX_PATTERNS} patterns, the limit; join some with `*`"
            ));
        }
        for (pattern, item) in &written {
            if pattern.trim().is_empty() || pattern.trim() != *pattern {
                item.note("is empty or has space around it, so it would protect nobody; write an address or an id");
            } else if pattern.len() > MAX_PATTERN_BYTES {
                item.note(format!("is over {MAX_PATTERN_BYTES} bytes, the limit for a pattern"));
            } else if pattern.matches('*').count() > MAX_PATTERN_STARS {
                item.note(format!("has over {MAX_PATTERN_STARS} `*`, the limit for a pattern"));
            }
        }
        Self::new(written.into_iter().map(|(pattern, _)| pattern))
    }
}

/// Compatibility forms composed (NFKC), small letters, and nothing that is not seen or stands around it. An event, a
/// target and a policy may each spell a person otherwise.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.trim().to_ascii_lowercase();
    }
    let seen = |c: &char| !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}') && !is_odd(*c);
    let folded: String = text.nfkc().filter(seen).collect();
    folded.to_lowercase().trim().to_owned()
}

/// A folded value, and with its domain as the other of DNS and people writes it. Of values and not of patterns, whose `*`
/// may stand for a part of a domain.
fn spellings(value: String) -> Vec<String> {
    let other = value.rsplit_once('@').and_then(|(local, domain)| {
        let other = match domain.is_ascii() {
            true if domain.contains("xn--") => url::quirks::domain_to_unicode(domain),
            true => return None,
            false => url::quirks::domain_to_ascii(domain),
        };
        (!other.is_empty()).then(|| format!("{local}@{other}"))
    });
    [value].into_iter().chain(other).collect()
}

// The earliest place of each piece leaves the most for those after it, so nothing is ever taken back, and a value is gone
// through once: plugins name hundreds of accounts, and a policy may hold thousands of patterns.
fn fits(pattern: &str, value: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == value;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let inner = value.strip_prefix(first).and_then(|value| value.strip_suffix(last));
    let Some(mut inner) = inner else { return false };
    for piece in middle.split('*') {
        let Some((_, after)) = inner.split_once(piece) else {
            return false;
        };
        inner = after;
    }
    true
}

/// Reads a duration such as `"1h"`.
pub(crate) fn read_duration(item: &Item<'_>) -> Option<Duration> {
    item.accept(parse_duration(item.string()?))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "{} is not a duration; write a whole number and one of s, m, h, d, such as \"1h\"",
            quoted(text)
        )
    };
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(wrong()),
    };
    let number = &text[..text.len() - 1];
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let duration = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(seconds))
        .map(Duration::from_secs);
    match duration {
        Some(duration) if duration.is_zero() => Err("is zero; write how long, such as \"1h\"".to_owned()),
        Some(duration) if duration <= MAX_DURATION => Ok(duration),
        _ => Err(format!(
            "is over {} days, the limit for a duration",
            MAX_DURATION.as_secs() / 86_400
        )),
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
