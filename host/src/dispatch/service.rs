//! The dispatcher: claims jobs from the journal and runs them, until it is told to stop.
//!
//! Nothing that it holds in memory matters: a job that is running when the process dies is taken over when its lease
//! ends, by this host or another, and starts again by reading. So the loop is free to be simple: claim what is due,
//! run each job in a task of its own, keep leases alive, put jobs down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use super::connector::Connector;
use super::worker::{Worker, work};
use crate::journal::{ClaimedJob, Fence, Finish, Journal, JournalError};

/// How the dispatcher behaves. The defaults are meant to be kept.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// Names this host to operators.
    pub owner: String,
    /// Jobs that run at a time in this process. The sandbox holds 256; a job waits for its target most of the time.
    pub concurrency: usize,
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
            concurrency: 128,
            lease: Duration::from_secs(30),
            poll: Duration::from_millis(250),
            grace: Duration::from_secs(20),
        }
    }
}

/// What is known of a connector at the moment.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// It can run.
    Ready(Arc<Connector>),
    /// It cannot, and this is what an operator has to change.
    Unready(String),
}

/// Where the dispatcher finds connectors. Asked anew for each job, so that a reload counts at once.
pub trait Connectors: std::fmt::Debug + Send + Sync {
    /// A connector of a tenant.
    fn connector(&self, tenant: &str, connector: &str) -> Lookup;
}

/// Claims jobs and runs them.
#[derive(Debug)]
pub struct Service {
    journal: Journal,
    options: ServiceOptions,
    worker: Arc<Worker>,
    running: JoinSet<()>,
    fences: HashMap<Id, (Fence, AbortHandle)>,
}

impl Service {
    /// A dispatcher that does not run yet.
    #[must_use]
    pub fn new(journal: Journal, connectors: Arc<dyn Connectors>, options: ServiceOptions) -> Self {
        let worker = Arc::new(Worker::new(journal.clone(), connectors));
        Self {
            journal,
            options,
            worker,
            running: JoinSet::new(),
            fences: HashMap::new(),
        }
    }

    /// Runs until `stop` turns true, then lets running jobs end for a bounded time and releases the rest.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut changes = self.journal.changes();
        let mut heartbeat = ticker(self.options.lease / 3);
        let mut reclaim = ticker(self.options.lease / 3);
        let mut reconcile = ticker(Duration::from_secs(60));
        loop {
            let claimed = self.claim().await;
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(ended) = self.running.join_next_with_id() => self.forget(ended),
                _ = heartbeat.tick() => self.heartbeat().await,
                _ = reclaim.tick() => self.reclaim().await,
                _ = reconcile.tick() => self.reconcile().await,
                () = changes.next(), if claimed == 0 => {}
                () = tokio::time::sleep(self.options.poll), if claimed == 0 => {}
                () = std::future::ready(()), if claimed > 0 => {}
            }
        }
        self.stop().await;
    }

    /// Claims as much as there is room for and starts it; returns how much came.
    async fn claim(&mut self) -> usize {
        while let Some(ended) = self.running.try_join_next_with_id() {
            self.forget(ended);
        }
        let room = self.options.concurrency.saturating_sub(self.running.len());
        // One claim for many jobs is far cheaper than many for one, so a nearly full house waits for a little room.
        if room * 8 < self.options.concurrency {
            return 0;
        }
        match self.journal.claim(&self.options.owner, self.options.lease, room).await {
            Ok(jobs) => {
                let claimed = jobs.len();
                jobs.into_iter().for_each(|job| self.start(job));
                claimed
            }
            Err(error) => {
                tracing::error!("cannot claim jobs: {error}");
                0
            }
        }
    }

    fn start(&mut self, job: ClaimedJob) {
        let fence = job.fence.clone();
        let handle = self.running.spawn(work(Arc::clone(&self.worker), job));
        self.fences.insert(handle.id(), (fence, handle));
    }

    fn forget(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                // A panic is a bug of ours. The job's lease ends, and another attempt or the dead letter follows.
                if error.is_panic() {
                    tracing::error!("a job's task panicked: {error}");
                }
                error.id()
            }
        };
        self.fences.remove(&id);
    }

    async fn heartbeat(&mut self) {
        let fences: Vec<Fence> = self.fences.values().map(|(fence, _)| fence.clone()).collect();
        match self.journal.heartbeat(&fences, self.options.lease).await {
            Ok(lost) => {
                for (fence, handle) in self.fences.values().filter(|(fence, _)| lost.contains(&fence.job())) {
                    tracing::warn!(job = %fence.job(), "the lease was lost; its task is stopped");
                    handle.abort();
                }
            }
            Err(error) => tracing::error!("cannot extend leases: {error}"),
        }
    }

    async fn reclaim(&self) {
        match self.journal.reclaim().await {
            Ok(reclaimed) => {
                for job in reclaimed {
                    tracing::warn!(job = %job.job, lane = %job.lane, owner = job.owner, dead = job.dead, "took a job back");
                }
            }
            Err(error) => tracing::error!("cannot take jobs back: {error}"),
        }
    }

    async fn reconcile(&self) {
        match self.journal.reconcile().await {
            Ok(drifts) => drifts
                .iter()
                .for_each(|drift| tracing::error!(?drift, "a lane's counters were wrong; corrected")),
            Err(error) => tracing::error!("cannot reconcile lanes: {error}"),
        }
    }

    /// Lets running jobs end, heartbeats going on, then releases what is left.
    async fn stop(mut self) {
        let deadline = Instant::now() + self.options.grace;
        let mut heartbeat = ticker(self.options.lease / 3);
        while !self.running.is_empty() {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => break,
                Some(ended) = self.running.join_next_with_id() => self.forget(ended),
                _ = heartbeat.tick() => self.heartbeat().await,
            }
        }
        // Aborted first: a released job may be claimed by another host at once.
        self.running.abort_all();
        while let Some(ended) = self.running.join_next_with_id().await {
            if let Err(error) = ended
                && let Some((fence, _)) = self.fences.remove(&error.id())
            {
                release(&self.journal, &fence).await;
            }
        }
    }
}

async fn release(journal: &Journal, fence: &Fence) {
    match journal.finish(fence, Finish::Release, None).await {
        Ok(_) | Err(JournalError::LeaseLost(_)) => {}
        Err(error) => tracing::error!(job = %fence.job(), "cannot release a job, its lease will end: {error}"),
    }
}

fn ticker(period: Duration) -> tokio::time::Interval {
    let mut ticker = tokio::time::interval(period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// Waits for the word to stop. The guard that the channel hands out must not live across an await, so it ends here.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stopped| *stopped).await);
}
