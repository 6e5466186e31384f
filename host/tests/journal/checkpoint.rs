//! SQLite's log: copied into the file while the journal is written, and begun anew.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Row as _};

use crate::rig::{Rig, block_on, lane, leaver, until};

/// Far fewer than SQLite's own checkpoint waits for.
const EVENTS: usize = 300;
/// With their pages, all of them are 40 MiB of log.
const BODY: usize = 128 << 10;
/// What 32 commits of them come to is 4 MiB; the rest is for those that come while it is copied.
const LOG_BYTES: u64 = 16 << 20;
const WRITERS: usize = 4;

/// Events in a copy of the file alone, without its log.
async fn events_in_file(path: &Path, copy: &Path) -> i64 {
    std::fs::copy(path, copy).expect("a copy");
    let opened = SqliteConnectOptions::new().filename(copy).connect().await;
    let Ok(mut connection) = opened else { return 0 };
    let counted = sqlx::query("SELECT count(*) FROM event")
        .fetch_one(&mut connection)
        .await;
    counted.map_or(0, |row| row.get(0))
}

#[test]
fn the_log_is_copied_and_begun_anew_while_the_journal_is_written() {
    block_on(async {
        let rig = Rig::sqlite().await;
        let mut writers = Vec::new();
        for number in 0..WRITERS {
            let (journal, now) = (rig.journal.clone(), rig.now());
            writers.push(tokio::spawn(async move {
                for _ in 0..EVENTS / WRITERS {
                    let mut event = leaver(&lane(&format!("t{number}"), "docusign"), now);
                    event.body = vec![b' '; BODY];
                    journal.accept(event).await.expect("it is accepted");
                }
            }));
        }
        for writer in writers {
            writer.await.expect("no panic");
        }
        let log = std::fs::metadata(rig.path("journal.db-wal")).expect("a log").len();
        assert!(log < LOG_BYTES, "the log has {log} bytes");
        let wanted = i64::try_from(EVENTS / 2).expect("a small number");
        // The last checkpoint may be under way.
        let (file, copy) = (rig.path("journal.db"), rig.path("copy.db"));
        let is_copied = async || events_in_file(&file, &copy).await >= wanted;
        until("half of the events are in the file", is_copied).await;
    });
}

#[test]
fn a_log_that_another_process_reads_is_no_error() {
    block_on(async {
        let rig = Rig::sqlite().await;
        rig.queue(&lane("acme", "docusign")).await;
        let other = SqliteConnectOptions::new().filename(rig.path("journal.db"));
        let mut reader = other.connect().await.expect("a connection");
        sqlx::query("BEGIN").execute(&mut reader).await.expect("a transaction");
        let count = "SELECT count(*) FROM event";
        sqlx::query(count)
            .fetch_one(&mut reader)
            .await
            .expect("it sees this state until its end");
        for _ in 0..100 {
            rig.queue(&lane("acme", "docusign")).await;
        }
        let seen: i64 = sqlx::query(count).fetch_one(&mut reader).await.expect("a count").get(0);
        assert_eq!(seen, 1);
        assert_eq!(rig.claim(200).await.len(), 8, "the lane's cap");
    });
}
