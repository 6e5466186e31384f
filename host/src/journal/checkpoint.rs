//! SQLite's checkpoints: what its log holds is copied into the file beside whoever writes.
//!
//! SQLite would do it within the commit that makes the log too long; whoever waited for that commit waited for ten to
//! twenty milliseconds more, and nobody else could write. Here a second connection copies most of it while commits go
//! on, and then, while nobody writes, what they added meanwhile: only a log that is copied to its end is begun anew.

use std::sync::Weak;

use sqlx::AnyConnection;
use tokio::sync::watch;

use super::database::Database;
use super::error::JournalError;
use super::sql::{Bind, fetch};

/// Commits between two checkpoints. Under load a commit changes about 150 pages of 4 KiB, and the log grows to 20 MiB. At
/// half of that, pages that each commit changes are copied so often that a sixth fewer events are accepted; at twice of
/// it, what is copied at once makes the slowest commits slower by a quarter.
const COMMITS: u64 = 32;

/// Makes a checkpoint after so many commits, as long as the journal is there.
///
/// One that fails is tried again after as many commits; if it is the file that failed, the journal is broken.
pub(super) async fn run(database: Weak<Database>, mut commits: watch::Receiver<u64>) {
    let mut before = 0;
    while let Ok(now) = commits.wait_for(|now| *now - before >= COMMITS).await.map(|now| *now) {
        let Some(database) = database.upgrade() else { return };
        before = now;
        if let Err(error) = database.checkpoint().await {
            tracing::warn!(%error, "SQLite's log could not be copied into the journal's file");
        }
    }
}

/// Copies what no reader needs in the log any more. Another checkpoint under way, of another process, is no error.
pub(super) async fn copy(connection: &mut AnyConnection) -> Result<(), JournalError> {
    fetch(connection, "PRAGMA wal_checkpoint(PASSIVE)", Bind::new()).await?;
    Ok(())
}
