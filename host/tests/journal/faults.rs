//! A disk that fails: nothing is acknowledged that is not there, and the journal says that it is broken.
//!
//! The child is this test binary, with a library loaded before it that makes writes or syncs of the journal fail after
//! a while.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use exeunt::journal::{EventId, Journal, JournalError, Options};
use kit::{Fault, failing_disk};
use uuid::Uuid;

use crate::rig::{block_on, lane, leaver, start_of_time};

const JOURNAL: &str = "EXEUNT_TEST_FAULTY_JOURNAL";

/// How many send at a time, one event after the other.
const CLIENTS: usize = 8;

/// Not a test: what the parent starts.
#[test]
fn child() {
    let Ok(url) = std::env::var(JOURNAL) else { return };
    block_on(async {
        let journal = Journal::open(&url, Options::default()).await.expect("it opens");
        let mut clients = Vec::new();
        for client in 0..CLIENTS {
            let journal = journal.clone();
            clients.push(tokio::spawn(async move {
                loop {
                    match journal
                        .accept(leaver(&lane(&format!("t{client}"), "c"), start_of_time()))
                        .await
                    {
                        Ok(accepted) => println!("accepted {}", accepted.event),
                        Err(error) => return error,
                    }
                }
            }));
        }
        for client in clients {
            let error = client.await.expect("no panic");
            assert!(matches!(error, JournalError::Broken(_)), "{error}");
        }
        println!("broken {}", journal.broken().await);
        // It stays so, for everything.
        for result in [
            journal
                .accept(leaver(&lane("acme", "c"), start_of_time()))
                .await
                .map(drop),
            journal.claim("host-1", Duration::from_secs(1), 1).await.map(drop),
            journal.lanes(None).await.map(drop),
        ] {
            assert!(matches!(result, Err(JournalError::Broken(_))), "{result:?}");
        }
        println!("refused everything");
    });
}

/// Runs a child with a fault, and looks at what it left. It may acknowledge so many events at most.
fn fail(fault: Fault, most: usize) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let Some(variables) = failing_disk(folder.path(), fault) else {
        return;
    };
    let url = format!("sqlite:{}", folder.path().join("journal.db").display());
    block_on(async {
        Journal::open(&url, Options::default())
            .await
            .expect("it opens")
            .close()
            .await
    });
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "faults::child", "--nocapture", "--test-threads=1"])
        .envs(variables)
        .env(JOURNAL, &url)
        .output()
        .expect("the child runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("refused everything"), "{text}");
    let ids = text.lines().filter_map(|line| line.strip_prefix("accepted "));
    let acknowledged: BTreeSet<EventId> = ids.map(|id| Uuid::parse_str(id).expect("an id").into()).collect();
    assert!(!acknowledged.is_empty(), "it failed too early to show anything: {text}");
    // What was written and not synced is there, until the power is cut: reading it again cannot show the difference.
    assert!(acknowledged.len() <= most, "{} of at most {most}", acknowledged.len());
    block_on(async {
        let journal = Journal::open(&url, Options::default()).await.expect("it opens again");
        for id in &acknowledged {
            assert!(
                journal.event(*id).await.expect("a query").is_some(),
                "{id} was acknowledged and is lost"
            );
        }
        assert_eq!(journal.reconcile().await, Ok(vec![]));
    });
}

#[test]
fn a_failing_sync_breaks_the_journal_without_a_false_answer() {
    // The first checkpoint comes after 32 commits, and syncs the log and the file.
    for after in [6, 13, 33, 34, 35, 36, 60] {
        // One sync for each commit, and one event of each client in it.
        fail(Fault::SyncsAfter(after), CLIENTS * after as usize);
    }
}

#[test]
fn a_full_disk_breaks_the_journal_without_a_false_answer() {
    for after in [200, 203, 1000] {
        fail(Fault::WritesAfter(after), usize::MAX);
    }
}
