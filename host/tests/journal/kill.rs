//! A process that is killed at any moment has lost nothing that it answered.
//!
//! The child is this test binary, running [`child`]. It prints a line for each thing that the journal acknowledged.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use exeunt::clock::ManualClock;
use exeunt::journal::{
    Dedupe, EventId, JobFilter, JobId, JobState, Journal, NewEvent, Options, Outcome, Page, Reservation, State,
};
use uuid::Uuid;

use crate::on_both;
use crate::rig::{HOUR, NO_LIMIT, Rig, end, lane, leaver, start_of_time};

/// Where the child finds its journal, and which round it is.
const JOURNAL: &str = "EXEUNT_TEST_JOURNAL";
const ROUND: &str = "EXEUNT_TEST_ROUND";

/// Nothing else may end a job here.
fn patient() -> Options {
    Options {
        max_attempts: 10_000,
        max_lapses: 10_000,
        ..Options::default()
    }
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    // The parent may be gone.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// Not a test: what the parent starts.
#[test]
fn child() {
    let Ok(url) = std::env::var(JOURNAL) else { return };
    let round = std::env::var(ROUND).unwrap_or_default();
    crate::rig::block_on(async {
        let journal = Journal::open(&url, patient()).await.expect("it opens");
        let mut tasks = Vec::new();
        for client in 0..8 {
            let (journal, round) = (journal.clone(), round.clone());
            tasks.push(tokio::spawn(async move {
                for number in 0.. {
                    let id = format!("{round}-{client}-{number}");
                    let event = leaver(&lane(&format!("t{}", number % 5), "c"), start_of_time());
                    let event = NewEvent {
                        dedupe: Dedupe::SourceId(id),
                        ..event
                    };
                    say(&format!(
                        "accepted {}",
                        journal.accept(event).await.expect("accepted").event
                    ));
                }
            }));
        }
        for worker in 0..2 {
            let (journal, owner) = (journal.clone(), format!("host-{round}-{worker}"));
            tasks.push(tokio::spawn(async move {
                loop {
                    journal.reclaim().await.expect("a reclaim");
                    for job in journal
                        .claim(&owner, Duration::from_millis(300), 16)
                        .await
                        .expect("a claim")
                    {
                        say(&format!("claimed {}", job.id()));
                        let account = format!("account-{}", job.id());
                        let reserved = journal
                            .intend(&job.fence, &account, 0, NO_LIMIT, Some(vec![1; 50]))
                            .await;
                        let Ok(Reservation::Reserved) = reserved else { continue };
                        say(&format!("intended {}", job.id()));
                        if journal
                            .finish(&job.fence, end(Outcome::Closed), Some(vec![2; 50]))
                            .await
                            .is_ok()
                        {
                            say(&format!("closed {}", job.id()));
                        }
                    }
                }
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
    });
}

/// What a child said before it was killed.
#[derive(Default)]
struct Said {
    accepted: BTreeSet<EventId>,
    intended: BTreeSet<JobId>,
    closed: BTreeSet<JobId>,
}

impl Said {
    /// Runs a child until it has said so much, and kills it.
    fn add(&mut self, url: &str, round: usize, lines: usize) {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
            .env(JOURNAL, url)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut count = 0;
        for line in output.lines() {
            let Ok(line) = line else { break };
            let Some((verb, id)) = line.split_once(' ') else {
                continue;
            };
            // Lines of the test harness have no id; a line may be cut by the kill.
            let Ok(id) = Uuid::parse_str(id) else { continue };
            match verb {
                "accepted" => drop(self.accepted.insert(id.into())),
                "intended" => drop(self.intended.insert(id.into())),
                "closed" => drop(self.closed.insert(id.into())),
                _ => {}
            }
            count += 1;
            if count == lines {
                child.kill().expect("it can be killed");
            }
        }
        let status = child.wait().expect("it ended");
        assert!(
            !status.success() && count >= lines,
            "the child ended by itself: {status}"
        );
    }
}

on_both! {
    async fn a_killed_process_has_lost_nothing_that_it_answered(rig: Rig) {
        rig.journal.close().await;
        let mut said = Said::default();
        for round in 0..12 {
            // From the first lines to some way into the work, never the same.
            tokio::task::block_in_place(|| said.add(&rig.url, round, 3 + round * 37));
        }
        // All leases of SQLite are over, and all backoffs.
        let clock = Arc::new(ManualClock::new(exeunt::clock::Clock::now(&exeunt::clock::SystemClock)));
        clock.advance(HOUR);
        let journal = rig.another(Options { clock: Arc::clone(&clock) as _, ..patient() }).await;
        assert_eq!(journal.reconcile().await, Ok(vec![]), "counters and jobs are of one commit");
        for id in &said.accepted {
            let record = journal.event(*id).await.expect("a query");
            assert_eq!(record.expect("an acknowledged event").jobs.len(), 1, "{id}");
        }
        for id in &said.closed {
            let JobState::Ended { outcome, .. } = journal.job(*id).await.expect("a query").expect("a job").summary.state else {
                panic!("{id} was acknowledged as closed")
            };
            assert_eq!(outcome, Outcome::Closed);
        }
        for id in &said.intended {
            let intents = journal.job(*id).await.expect("a query").expect("a job").intents;
            assert_eq!(intents.len(), 1, "{id} was acknowledged as intended");
        }
        drain(&journal, &clock).await;
        let ended: u64 = journal.tallies().await.expect("a query").iter().map(|tally| tally.count).sum();
        assert!(ended >= said.accepted.len() as u64, "{ended}");
        assert_eq!(journal.reconcile().await, Ok(vec![]));
    }
}

/// Ends everything that is left.
async fn drain(journal: &Journal, clock: &ManualClock) {
    loop {
        for job in journal.claim("last", HOUR, 256).await.expect("a claim") {
            journal
                .finish(&job.fence, end(Outcome::AlreadyClosed), None)
                .await
                .expect("a finish");
        }
        let open = |state| JobFilter {
            state: Some(state),
            ..JobFilter::default()
        };
        let running = journal
            .jobs(&open(State::Running), Page::default())
            .await
            .expect("a query")
            .items
            .len();
        let queued = journal
            .jobs(&open(State::Queued), Page::default())
            .await
            .expect("a query")
            .items
            .len();
        if running + queued == 0 {
            return;
        }
        journal.reclaim().await.expect("a reclaim");
        clock.advance(HOUR);
    }
}
