//! Host calls, kept apart from the jobs because they expire sooner.
//!
//! They are written with the finish or the intent that they belong to; see [`Journal::finish`] and [`Journal::intend`].

use jiff::Timestamp;
use sqlx::AnyConnection;
use uuid::{Builder, Uuid};

use super::database::{Context, Step, Writer};
use super::error::JournalError;
use super::open::Journal;
use super::sql::{Bind, execute};

/// Transcripts of one transaction. Each may be some hundred KiB, and accepts wait meanwhile.
const STEP: i64 = 200;

impl Journal {
    /// Deletes transcripts written before `older_than`, in small steps, and returns how many.
    ///
    /// # Errors
    /// None of its own. What was deleted before an error stays deleted.
    pub async fn expire_transcripts(&self, older_than: Timestamp) -> Result<u64, JournalError> {
        let milliseconds = u64::try_from(older_than.as_millisecond()).unwrap_or(0);
        // Ids sort by time, so the first possible id of that millisecond is the border.
        let border = Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid();
        let mut expired = 0;
        loop {
            let deleted = self.write_if(Writer::Operator, border, delete_some, |_| false).await?;
            expired += deleted;
            if deleted < STEP.unsigned_abs() {
                return Ok(expired);
            }
        }
    }
}

fn delete_some<'c>(tx: &'c mut AnyConnection, _: &'c Context, border: &'c Uuid) -> Step<'c, u64> {
    Box::pin(async move {
        let sql = "DELETE FROM transcript WHERE id IN (SELECT id FROM transcript WHERE id < $1 ORDER BY id LIMIT $2)";
        execute(tx, sql, Bind::new().id(*border).int(STEP)).await
    })
}
