//! The dispatcher: claims jobs from the journal and runs them, until it is told to stop.
//!
//! Nothing that it holds in memory matters: a job that is running when the process dies is taken over when its lease
//! ends, by this host or another, and starts again by reading. So the loop is free to be simple: claim what is due, and
//! run each job in a task of its own. Leases are kept by a task of their own, since a claim may wait for the database
//! for longer than they last.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::leases::{Lease, Leases};
use super::live::Lookup;
use super::worker::{Worker, count_end, work};
use crate::clock::ticker;
use crate::evidence::Outcome;
use crate::journal::{ClaimedJob, Fence, Finish, Finished, Journal, JournalError, Shares};

/// How often lanes' counters are checked against what is there: they differ by a bug only.
const RECONCILE: Duration = Duration::from_secs(60);

/// How long to let finished jobs gather before the next claim, where little room is: one claim for many jobs is far
/// cheaper than many for one. Short enough that jobs which hang, and never make room, do not slow the others.
const GATHER: Duration = Duration::from_millis(10);

/// How often to say that the database does not answer, while it does not.
const COMPLAIN: Duration = Duration::from_secs(10);

/// How the dispatcher behaves. The defaults are meant to be kept.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// Names this host to operators.
    pub owner: String,
    /// Jobs that run at a time in this process. The sandbox holds a few more. A job waits for its target and for commits
    /// most of the time: of 128 too many waited at once, and a sixth of two processors had nothing to do. Above 256 little
    /// is left to win.
    pub concurrency: usize,
    /// Jobs of one tenant that run at a time in this process, over all of its connectors. A quarter of all: a tenant
    /// whose targets hang leaves the rest, and a tenant that is alone does not notice, since its connectors' own caps
    /// are lower.
    pub per_tenant: usize,
    /// For how long a claimed job is ours without a heartbeat. Long enough for a slow database, short enough that a
    /// dead host's leavers do not wait.
    pub lease: Duration,
    /// How often to look for work that nothing woke us for: other hosts' events, retries that are due.
    pub poll: Duration,
    /// How long running jobs get to end when the process stops; then they are released.
    pub grace: Duration,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            owner: "exeunt".to_owned(),
            concurrency: 256,
            per_tenant: 64,
            lease: Duration::from_secs(30),
            poll: Duration::from_millis(250),
            grace: Duration::from_secs(20),
        }
    }
}

/// Where the dispatcher finds connectors. Asked anew for each job, so that a reload counts at once.
pub trait Connectors: std::fmt::Debug + Send + Sync {
    /// A connector of a tenant.
    fn connector(&self, tenant: &str, connector: &str) -> Lookup;

    /// How old an event of a tenant's source may be when its account is closed.
    fn max_age(&self, tenant: &str, source: &str) -> Duration;
}

/// Claims jobs and runs them.
#[derive(Debug)]
pub struct Service {
    journal: Journal,
    options: ServiceOptions,
    worker: Arc<Worker>,
    running: JoinSet<()>,
    /// Jobs on their way back to the journal.
    releases: JoinSet<()>,
    leases: Arc<Leases>,
    last: Claim,
    claimed_at: Instant,
    /// When it was last said that the database does not do it; none while it does.
    complained_at: Option<Instant>,
}

/// What the last claim came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// There may be more.
    Some,
    /// Nothing was due.
    None,
    /// The database did not do it.
    Failed,
}

impl Service {
    /// A dispatcher that does not run yet.
    #[must_use]
    pub fn new(journal: Journal, connectors: Arc<dyn Connectors>, options: ServiceOptions) -> Self {
        let worker = Arc::new(Worker::new(journal.clone(), connectors));
        Self {
            journal,
            worker,
            running: JoinSet::new(),
            releases: JoinSet::new(),
            leases: Arc::new(Leases::new(options.lease)),
            last: Claim::Some,
            claimed_at: Instant::now(),
            complained_at: None,
            options,
        }
    }

    /// Runs until `stop` turns true, then lets running jobs end for a bounded time and releases the rest.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut changes = self.journal.changes();
        let mut upkeep = self.upkeep();
        loop {
            let (has_room, due) = (self.room() > 0, self.due());
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(ended) = upkeep.join_next() => rethrow(ended),
                Some(ended) = self.running.join_next_with_id() => self.forget(ended),
                // After a failure the pause is kept: what others still manage to write must not make us hurry.
                () = changes.next(), if self.last == Claim::None => self.last = Claim::Some,
                () = tokio::time::sleep_until(due), if has_room => self.claim().await,
            }
        }
        self.stop().await;
    }

    /// What has to go on whatever a claim waits for. It ends with the value.
    fn upkeep(&self) -> JoinSet<()> {
        let mut upkeep = JoinSet::new();
        let lease = self.options.lease;
        let (leases, journal) = (Arc::clone(&self.leases), self.journal.clone());
        upkeep.spawn(async move {
            let mut ticker = ticker(lease / 3);
            loop {
                tokio::select! {
                    _ = ticker.tick() => {}
                    () = leases.hurry() => {}
                }
                leases.extend(&journal).await;
            }
        });
        let leases = Arc::clone(&self.leases);
        upkeep.spawn(async move {
            let mut ticker = ticker(lease / 40);
            loop {
                ticker.tick().await;
                leases.end_overdue();
            }
        });
        let journal = self.journal.clone();
        upkeep.spawn(async move {
            let mut ticker = ticker(lease / 3);
            loop {
                ticker.tick().await;
                reclaim(&journal).await;
            }
        });
        let journal = self.journal.clone();
        upkeep.spawn(async move {
            let mut ticker = ticker(RECONCILE);
            loop {
                ticker.tick().await;
                // It says itself what it found.
                if let Err(error) = journal.reconcile().await {
                    tracing::error!("cannot reconcile lanes: {error}");
                }
            }
        });
        upkeep
    }

    fn room(&self) -> usize {
        self.options.concurrency.saturating_sub(self.running.len())
    }

    /// When to claim next.
    fn due(&self) -> Instant {
        let pause = match self.last {
            Claim::Some if self.room() * 8 >= self.options.concurrency => Duration::ZERO,
            Claim::Some => GATHER,
            Claim::None | Claim::Failed => self.options.poll,
        };
        self.claimed_at + pause
    }

    /// Claims as much as there is room for, and starts it.
    async fn claim(&mut self) {
        let asked = Instant::now();
        let shares = Shares {
            most: self.options.per_tenant,
            held: self.leases.by_tenant(),
            without: self.worker.left_alone(),
        };
        let claimed = self
            .journal
            .claim_within(&self.options.owner, self.options.lease, self.room(), shares)
            .await;
        self.claimed_at = Instant::now();
        let jobs = match claimed {
            Ok(jobs) => jobs,
            Err(error) => return self.complain(&error),
        };
        if self.complained_at.take().is_some() {
            tracing::info!("jobs can be claimed again");
        }
        self.last = match jobs.is_empty() {
            true => Claim::None,
            false => Claim::Some,
        };
        jobs.into_iter().for_each(|job| self.start(job, asked));
        if asked.elapsed() >= self.options.lease / 3 {
            // Much of these leases is over already.
            self.leases.extend_soon();
        }
    }

    /// Notes that a claim failed, and says so at once and then now and again: it is tried four times a second.
    fn complain(&mut self, error: &JournalError) {
        self.last = Claim::Failed;
        if self.complained_at.is_none_or(|at| at.elapsed() >= COMPLAIN) {
            tracing::error!("cannot claim jobs: {error}");
            self.complained_at = Some(Instant::now());
        }
    }

    fn start(&mut self, job: ClaimedJob, asked: Instant) {
        let lease = Arc::new(Lease::new(job.fence.clone()));
        // Of the highest level, so that whatever is logged within has them.
        let span = tracing::error_span!(
            "attempt",
            event = %job.event,
            job = %job.id(),
            tenant = job.tenant(),
            connector = job.connector(),
            attempt = job.attempt
        );
        let attempt = work(Arc::clone(&self.worker), job, Arc::clone(&lease));
        let task = self.running.spawn(attempt.instrument(span));
        self.leases.add(lease, task, asked);
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        match ended {
            Ok((id, ())) => drop(self.leases.remove(id)),
            // A bug of ours. The job's lease ends, and another attempt or the dead letter follows.
            Err(error) if error.is_panic() => {
                tracing::error!("a job's task panicked: {error}");
                self.leases.remove(error.id());
            }
            // Ended since its lease may be over. Where it is not, another host need not wait for its end.
            Err(error) => {
                self.give_back(error.id(), "the database was too slow to extend its lease");
            }
        }
        while let Some(ended) = self.releases.try_join_next() {
            rethrow(ended);
        }
    }

    /// Gives the job of a task back that was ended. All at once, so that they share a transaction.
    fn give_back(&mut self, task: Id, reason: &'static str) {
        let lease = self.leases.remove(task);
        if let Some(fence) = lease.and_then(|lease| lease.releasable().cloned()) {
            let journal = self.journal.clone();
            self.releases
                .spawn(async move { release(&journal, &fence, reason).await });
        }
    }

    /// Lets running jobs end, heartbeats going on, then releases what is left.
    async fn stop(mut self) {
        let deadline = Instant::now() + self.options.grace;
        while !self.running.is_empty() {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => break,
                Some(ended) = self.running.join_next_with_id() => self.forget(ended),
            }
        }
        // Aborted first: a released job may be claimed by another host at once.
        self.running.abort_all();
        while let Some(ended) = self.running.join_next_with_id().await {
            if let Err(error) = ended {
                self.give_back(error.id(), "the host stopped");
            }
        }
        while let Some(ended) = self.releases.join_next().await {
            rethrow(ended);
        }
    }
}

async fn reclaim(journal: &Journal) {
    match journal.reclaim().await {
        Ok(reclaimed) => {
            for job in reclaimed {
                tracing::warn!(job = %job.job, lane = %job.lane, owner = job.owner, became = ?job.became, "took a job back");
                if job.became == Finished::Dead {
                    count_end(&job.lane, Outcome::Failed);
                }
            }
        }
        Err(error) => tracing::error!("cannot take jobs back: {error}"),
    }
}

async fn release(journal: &Journal, fence: &Fence, reason: &str) {
    let reason = reason.to_owned();
    match journal.finish(fence, Finish::Release { reason }, None).await {
        Ok(_) | Err(JournalError::LeaseLost(_)) => {}
        Err(error) => tracing::error!(job = %fence.job(), "cannot release a job, its lease will end: {error}"),
    }
}

/// Upkeep never ends by itself. Without it leases are lost, so its panic is the dispatcher's.
fn rethrow(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// Waits for the word to stop. The guard that the channel hands out must not live across an await, so it ends here.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stopped| *stopped).await);
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
