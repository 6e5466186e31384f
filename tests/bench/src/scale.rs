//! How accept and dispatch change from ten thousand to a million queued jobs, and from one to ten thousand tenants.
//!
//! The journal is called by functions, as the server does; the file is SQLite with `synchronous=FULL`. Accepting fills
//! it, so the rate of the last events of a filling is the rate at that depth. Dispatch claims and finishes in rounds, as
//! the service does with its 256 places; the cap of a lane is 256 too, so that one tenant may use them all. It
//! stops where half of the queue is gone: a claim from an empty one costs nothing and says nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use exeunt::clock::{Clock as _, SystemClock};
use exeunt::journal::{Decision, Dedupe, Finish, Journal, NewEvent, NewJob, NewState, Options, Outcome};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::heading;
use crate::numbers::{Times, millis, rate};
use crate::world::EVENT;

/// Events that wait for a commit: four batches of it.
const WAITING: usize = 1024;
const PLACES: usize = 256;
/// At most: a short queue is half gone before.
const DISPATCHED_FOR: Duration = Duration::from_secs(3);
/// Events at the end of a filling whose rate is shown.
const MEASURED: usize = 10_000;

pub(crate) async fn run(most: usize) -> anyhow::Result<()> {
    heading("accept and dispatch by depth and tenants, SQLite FULL, without HTTP and without a target");
    println!("  tenants     queued    accept, events/s   claim + finish, jobs/s   claim p50, p99 in ms");
    let mut rates = Vec::new();
    for tenants in [1, 10_000] {
        let folder = tempfile::tempdir()?;
        let url = format!("sqlite:{}", folder.path().join("journal.db").display());
        let options = Options {
            default_cap: 256,
            ..Options::default()
        };
        let journal = Journal::open(&url, options).await?;
        // Lanes are made by their first event; a host makes them once in its life.
        fill(&journal, tenants, 0, tenants).await?;
        let mut queue = Queue {
            journal,
            tenants,
            accepted: tenants,
            finished: 0,
        };
        for depth in [10_000, most] {
            rates.push(queue.line(depth).await?);
        }
        queue.journal.close().await;
    }
    let (first, last) = (rates[0], rates[rates.len() - 1]);
    println!(
        "  last line / first line: accept {:.2}, dispatch {:.2}",
        last.0 / first.0,
        last.1 / first.1
    );
    Ok(())
}

/// A journal, and what it was given and has got rid of.
struct Queue {
    journal: Journal,
    tenants: usize,
    accepted: usize,
    finished: usize,
}

impl Queue {
    /// Fills the queue to a depth and works on it for a while. The rates of both, which are printed too.
    async fn line(&mut self, depth: usize) -> anyhow::Result<(f64, f64)> {
        let tenants = self.tenants;
        let before = (self.finished + depth).saturating_sub(MEASURED).max(self.accepted);
        fill(&self.journal, tenants, self.accepted, before).await?;
        let (count, elapsed) = fill(&self.journal, tenants, before, before + MEASURED).await?;
        self.accepted = before + MEASURED;
        let queued = self.accepted - self.finished;
        let (finished, took, mut claims) = dispatch(&self.journal, queued).await?;
        self.finished += finished;
        let (accept, work) = (rate(count, elapsed), rate(finished, took));
        println!(
            "  {tenants:>7}  {queued:>9}    {accept:>16.0}   {work:>22.0}   {:>11.2}, {:.2}",
            millis(claims.median()),
            millis(claims.percentile(99))
        );
        Ok((accept, work))
    }
}

/// Accepts the events of these numbers; how many, and for how long it took.
async fn fill(journal: &Journal, tenants: usize, from: usize, to: usize) -> anyhow::Result<(usize, Duration)> {
    let (next, started) = (Arc::new(AtomicUsize::new(from)), Instant::now());
    let mut tasks = JoinSet::new();
    for _ in 0..WAITING {
        let (journal, next) = (journal.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= to {
                    return anyhow::Ok(());
                }
                journal.accept(new_event(number % tenants, number)).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok((to - from, started.elapsed()))
}

/// Claims and finishes for a while, or half of what is queued: how many, in which time, and how long the claims took.
async fn dispatch(journal: &Journal, queued: usize) -> anyhow::Result<(usize, Duration, Times)> {
    let (started, mut finished, mut claims) = (Instant::now(), 0, Times::default());
    while started.elapsed() < DISPATCHED_FOR && finished < queued / 2 {
        let claiming = Instant::now();
        let jobs = journal.claim("bench", Duration::from_secs(30), PLACES).await?;
        claims.push(claiming.elapsed());
        ensure!(
            !jobs.is_empty(),
            "a claim found nothing; {finished} of {queued} were finished"
        );
        let mut tasks = JoinSet::new();
        for job in jobs {
            let journal = journal.clone();
            tasks.spawn(async move {
                let end = Finish::End {
                    outcome: Outcome::Closed,
                    reason: "closed, and an independent read says so".to_owned(),
                    detail: Some("{\"accounts\":[]}".to_owned()),
                };
                journal.finish(&job.fence, end, Some(vec![b'x'; 1024])).await
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
            finished += 1;
        }
    }
    Ok((finished, started.elapsed(), claims))
}

/// An event with one job, as the intake hands it to the journal.
pub(crate) fn new_event(tenant: usize, number: usize) -> NewEvent {
    let address = format!("leaver{number}@acme.example");
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes());
    NewEvent {
        tenant: format!("t{tenant}"),
        source: "hr".to_owned(),
        dedupe: Dedupe::Content(digest),
        body: EVENT.as_bytes().to_vec(),
        received_at: SystemClock.now(),
        occurred_at: None,
        decision: Decision::Leaver,
        reason: "userStatus became inactive".to_owned(),
        person: Some(format!("{{\"email\":\"{address}\"}}")),
        person_key: Some(address),
        replays: None,
        actor: None,
        jobs: vec![NewJob {
            connector: "docusign".to_owned(),
            state: NewState::Queued,
        }],
    }
}
