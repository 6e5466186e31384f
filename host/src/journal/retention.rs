//! What is deleted once it is old: host calls, events that made no job, and what the others said.
//!
//! Ids sort by time, so a table is walked by its key and no index is written for this at each accept. What is small and
//! proves something stays: jobs with their history, and of their events everything but the body.

use std::time::Duration;

use sqlx::AnyConnection;
use uuid::Uuid;

use super::database::{Context, Step, Writer};
use super::error::JournalError;
use super::open::Journal;
use super::sql::{Bind, Cells, bulk, execute, fetch, select_in};
use super::types::{EventId, first_id, milliseconds};

/// Transcripts of one transaction. Each may be some hundred KiB, and accepts wait meanwhile.
const STEP: i64 = 200;

/// Events that are looked at before the next are asked for.
const LOOK: i64 = 500;

/// Bytes of bodies that are deleted in one transaction: 4 MiB, as many as four of the largest events have. A database visits
/// each page of what it frees.
const STEP_BYTES: i64 = 4 << 20;

impl Journal {
    /// Deletes transcripts that are older than `kept`, in small steps, and returns how many.
    ///
    /// # Errors
    /// None of its own. What was deleted before an error stays deleted.
    pub async fn expire_transcripts(&self, kept: Duration) -> Result<u64, JournalError> {
        let border = self.read(kept, border).await?;
        let mut expired = 0;
        loop {
            let deleted = self.write_if(Writer::Operator, border, delete_some, |_| false).await?;
            expired += deleted;
            if deleted < STEP.unsigned_abs() {
                return Ok(expired);
            }
        }
    }

    /// Deletes events that are older than `kept` and made no job, and the bodies of those that made one, in small steps;
    /// returns how many of both. `walked` is where an earlier call ended, or none for the oldest event, and moves along.
    ///
    /// An event with a job keeps who left, what was decided, and the mark by which a repetition is told.
    ///
    /// # Errors
    /// None of its own. What was deleted before an error stays deleted.
    pub async fn expire_events(&self, kept: Duration, walked: &mut Option<EventId>) -> Result<u64, JournalError> {
        let border = self.read(kept, border).await?;
        let (mut expired, mut is_whole) = (0, true);
        let mut from = walked.map_or(Uuid::nil(), |id| id.0);
        loop {
            let looked = self.read((from, border), look).await?;
            let Some(last) = looked.last().map(|event| event.id) else {
                return Ok(expired);
            };
            for step in looked.chunk_by(fits()) {
                let step = Expired::of(step);
                let wanted = step.count();
                if wanted > 0 {
                    let done = self.write_if(Writer::Operator, step, expire, |_| false).await?;
                    expired += done;
                    is_whole &= done == wanted;
                }
            }
            from = last;
            // What somebody had at that moment is looked at again the next time.
            if is_whole {
                *walked = Some(EventId(last));
            }
        }
    }
}

/// The first id that is not older than that.
fn border<'c>(connection: &'c mut AnyConnection, context: &'c Context, kept: &'c Duration) -> Step<'c, Uuid> {
    Box::pin(async move {
        // A host whose clock is ahead must not delete what all others keep.
        let now = context.dialect.cautious_now(connection, context.now()).await?;
        Ok(first_id(now.saturating_sub(milliseconds(*kept))))
    })
}

fn delete_some<'c>(tx: &'c mut AnyConnection, _: &'c Context, border: &'c Uuid) -> Step<'c, u64> {
    Box::pin(async move {
        let sql = "DELETE FROM transcript WHERE id IN (SELECT id FROM transcript WHERE id < $1 ORDER BY id LIMIT $2)";
        execute(tx, sql, Bind::new().id(*border).int(STEP)).await
    })
}

/// An event past its retention.
#[derive(Debug)]
struct Old {
    id: Uuid,
    bytes: i64,
    has_jobs: bool,
}

/// What is deleted in one transaction.
#[derive(Debug)]
struct Expired {
    events: Vec<Uuid>,
    bodies: Vec<Uuid>,
}

impl Expired {
    fn of(old: &[Old]) -> Self {
        let ids = |wanted: fn(&&Old) -> bool| old.iter().filter(wanted).map(|event| event.id).collect();
        Self {
            events: ids(|event| !event.has_jobs),
            bodies: ids(|event| event.has_jobs && event.bytes > 0),
        }
    }

    fn count(&self) -> u64 {
        (self.events.len() + self.bodies.len()) as u64
    }
}

/// Puts neighbours together until they have [`STEP_BYTES`].
fn fits() -> impl FnMut(&Old, &Old) -> bool {
    let mut bytes = 0;
    move |before, event| {
        bytes += before.bytes;
        let fits = bytes + event.bytes <= STEP_BYTES;
        if !fits {
            bytes = 0;
        }
        fits
    }
}

fn look<'c>(tx: &'c mut AnyConnection, _: &'c Context, (from, border): &'c (Uuid, Uuid)) -> Step<'c, Vec<Old>> {
    Box::pin(async move {
        let sql = "SELECT id, LENGTH(body), CASE WHEN EXISTS (SELECT 1 FROM job WHERE event_id = event.id) THEN 1 ELSE 0 END \
                   FROM event WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3";
        let rows = fetch(tx, sql, Bind::new().id(*from).id(*border).int(LOOK)).await?;
        let read = |row| {
            let mut cells = Cells::of(row);
            Ok(Old {
                id: cells.id()?,
                bytes: cells.int()?,
                has_jobs: cells.int()? != 0,
            })
        };
        rows.iter().map(read).collect()
    })
}

/// In the order of ids, and without what another host has at this moment: hosts that start together sweep together.
fn expire<'c>(tx: &'c mut AnyConnection, context: &'c Context, expired: &'c Expired) -> Step<'c, u64> {
    Box::pin(async move {
        let free = |what: &str| format!("SELECT id FROM event WHERE{what} id IN");
        let after = format!("ORDER BY id {}", context.dialect.for_update_of_free());
        let mut changed = 0;
        let empty = format!(
            "UPDATE event SET body = CAST('' AS {}) WHERE id IN",
            context.dialect.bytes()
        );
        for (ids, what, change) in [
            (&expired.events, "", "DELETE FROM event WHERE id IN"),
            (&expired.bodies, " LENGTH(body) > 0 AND", empty.as_str()),
        ] {
            let rows = select_in(tx, (&free(what), &after), ids, |bind, id| bind.id(*id)).await?;
            let ids: Vec<Uuid> = rows.iter().map(|row| Cells::of(row).id()).collect::<Result<_, _>>()?;
            changed += bulk(tx, (&format!("{change} (VALUES"), ")"), 1, &ids, |bind, id| {
                bind.id(*id)
            })
            .await?;
        }
        Ok(changed)
    })
}

#[cfg(test)]
mod tests {
    use super::{Old, STEP_BYTES, Uuid, fits};

    #[test]
    fn a_step_has_so_many_bytes_and_not_one_more() {
        let steps = |sizes: &[i64]| {
            let old = |bytes: &i64| Old {
                id: Uuid::nil(),
                bytes: *bytes,
                has_jobs: false,
            };
            let old: Vec<Old> = sizes.iter().map(old).collect();
            old.chunk_by(fits()).map(<[Old]>::len).collect::<Vec<_>>()
        };
        assert_eq!(steps(&[STEP_BYTES - 2, 1, 1]), [3]);
        assert_eq!(steps(&[STEP_BYTES - 2, 1, 2, 1]), [2, 2]);
        assert_eq!(steps(&[STEP_BYTES + 1, STEP_BYTES + 1, 0, 1]), [1, 1, 2]);
        assert_eq!(steps(&[0; 500]), [500]);
    }
}
