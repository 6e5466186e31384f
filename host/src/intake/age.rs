//! When an event happened, and whether that is too long ago.
//!
//! A replayed old event must not close an address that somebody else has by now.

use std::time::Duration;

use jiff::Timestamp;

use super::jsonpath::Path;
use crate::tenant::quoted;

/// Why jobs are held whose event happened too long ago.
pub const OLD_HOLD: &str = "old-event";

/// Why jobs are held whose event should say when it happened, and does not.
pub const AGE_HOLD: &str = "unknown-age";

/// How far ahead of us a time may be: 1 day, for zones that somebody forgot. What is further is a mistake of unit or
/// mapping, and then the age of every event would go unseen.
pub const MAX_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// Numbers from here on are milliseconds since 1970, below it seconds: as seconds it is the year 5138, as milliseconds
/// the year 1973.
const MILLISECONDS_FROM: f64 = 1e11;

/// When an event happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occurred {
    /// Its source does not say where that would stand.
    Unsaid,
    /// Then.
    At(Timestamp),
    /// It should say, and does not; with the reason.
    Unknown(String),
}

impl Occurred {
    /// Reads the time that `path` leads to: RFC 3339, or seconds or milliseconds since 1970.
    pub(super) fn read(path: &Path, event: &serde_json::Value) -> Self {
        let place = || format!("the mapping time = {:?}", path.text());
        match path.one(event) {
            Err(why) => Self::Unknown(format!("{} {why}", place())),
            Ok(text) => parse(&text).map_or_else(
                || {
                    Self::Unknown(format!(
                        "{} leads to {}, which is neither a time as RFC 3339 has it nor seconds or milliseconds since 1970",
                        place(),
                        quoted(&text)
                    ))
                },
                Self::At,
            ),
        }
    }

    /// Why an event must wait for an operator, as a word and in words.
    pub(super) fn objection(&self, max_age: Duration, now: Timestamp) -> Option<(&'static str, String)> {
        let at = match self {
            Self::Unsaid => return None,
            Self::Unknown(why) => return Some((AGE_HOLD, format!("its age is not known: {why}"))),
            Self::At(at) => *at,
        };
        let age = now.duration_since(at);
        if age.is_negative() && age.unsigned_abs() > MAX_AHEAD {
            let reason = format!("its age is not known: it says that it happens in the future, {at}");
            return Some((AGE_HOLD, reason));
        }
        too_old(at, now, max_age).map(|reason| (OLD_HOLD, reason))
    }
}

/// Why an event that happened at this time must wait for an operator, if that is longer ago than `max_age`.
pub fn too_old(at: Timestamp, now: Timestamp, max_age: Duration) -> Option<String> {
    let age = now.duration_since(at);
    (age.is_positive() && age.unsigned_abs() > max_age)
        .then(|| format!("it happened on {at}, longer ago than max_age; somebody else may be meant by now"))
}

fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return from_number(number);
    }
    text.parse().ok()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "what does not fit is refused by the calendar"
)]
fn from_number(number: f64) -> Option<Timestamp> {
    let milliseconds = if number.abs() < MILLISECONDS_FROM {
        number * 1000.0
    } else {
        number
    };
    number
        .is_finite()
        .then(|| Timestamp::from_millisecond(milliseconds as i64).ok())
        .flatten()
}

#[cfg(test)]
#[path = "age_tests.rs"]
mod tests;
