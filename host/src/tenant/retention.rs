//! How long what was received is kept: `[retention]` in `exeunt.toml`.

use std::time::Duration;

use super::policy::read_duration;
use super::reader::{Item, Table};

/// How long transcripts are kept unless the file says otherwise: 30 days, longer than most objections take, shorter
/// than personal data should lie about.
pub const DEFAULT_TRANSCRIPT_RETENTION: Duration = DAY.saturating_mul(30);

/// How long events are kept as they were received unless the file says otherwise: 90 days, so that the quarterly review
/// that finds an account open can still see what had come, and have it judged again.
pub const DEFAULT_EVENT_RETENTION: Duration = DAY.saturating_mul(90);

/// Shortest retention of events: a day. One that was refused by mistake can be replayed for so long, and is gone then.
pub const MIN_EVENT_RETENTION: Duration = DAY;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long what was received is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// `transcripts`: requests and answers of targets. Default [`DEFAULT_TRANSCRIPT_RETENTION`].
    pub transcripts: Duration,
    /// `events`: events that made no job, and the bodies of the others; at least [`MIN_EVENT_RETENTION`]. Default
    /// [`DEFAULT_EVENT_RETENTION`].
    pub events: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            transcripts: DEFAULT_TRANSCRIPT_RETENTION,
            events: DEFAULT_EVENT_RETENTION,
        }
    }
}

impl Retention {
    pub(super) fn read(mut table: Table<'_>) -> Self {
        let default = Self::default();
        let transcripts = table.get("transcripts").and_then(|item| read_duration(&item));
        let events = table.get("events").and_then(|item| read_events(&item));
        table.finish();
        Self {
            transcripts: transcripts.unwrap_or(default.transcripts),
            events: events.unwrap_or(default.events),
        }
    }
}

fn read_events(item: &Item<'_>) -> Option<Duration> {
    let kept = read_duration(item)?;
    item.accept(if kept >= MIN_EVENT_RETENTION {
        Ok(kept)
    } else {
        Err("must be at least \"1d\"; an event that was refused by mistake can be replayed for so long".to_owned())
    })
}
