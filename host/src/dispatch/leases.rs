//! The jobs in this process's hands, and for how long each is ours.
//!
//! The journal refuses what comes from a lost lease, but a target does not know of leases. So a job's task ends shortly
//! before its lease does where nothing was heard from the database: a host that is cut off must not close accounts that
//! another host has taken over by then.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{AbortHandle, Id};
use tokio::time::Instant;

use crate::journal::{Fence, Journal};

/// One job in our hands.
#[derive(Debug)]
pub(super) struct Lease {
    fence: Fence,
    is_closing: AtomicBool,
    is_settled: AtomicBool,
}

impl Lease {
    pub(super) fn new(fence: Fence) -> Self {
        Self {
            fence,
            is_closing: AtomicBool::new(false),
            is_settled: AtomicBool::new(false),
        }
    }

    /// Set by the gate: from here on a closure may be on its way to the target.
    pub(super) fn closing(&self) -> &AtomicBool {
        &self.is_closing
    }

    /// Says that nothing more is asked of the target; what is left to do is to write the end down.
    pub(super) fn settle(&self) {
        self.is_settled.store(true, Ordering::SeqCst);
    }

    fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::SeqCst)
    }

    /// What shows that the job is ours, where it may be given back at once. Not after its intent: the host that takes
    /// it next would look before a closure that is still on its way has arrived. Its lease has to end first.
    pub(super) fn releasable(&self) -> Option<&Fence> {
        let is_free = !self.is_closing.load(Ordering::SeqCst) && !self.is_settled();
        is_free.then_some(&self.fence)
    }
}

#[derive(Debug)]
struct Held {
    lease: Arc<Lease>,
    task: AbortHandle,
    until: Instant,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Leases {
    length: Duration,
    held: Mutex<HashMap<Id, Held>>,
    hurry: Notify,
}

impl Leases {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            length,
            held: Mutex::default(),
            hurry: Notify::new(),
        }
    }

    /// Asks for leases to be extended before it is time.
    pub(super) fn extend_soon(&self) {
        self.hurry.notify_one();
    }

    /// Waits until somebody asks for that.
    pub(super) async fn hurry(&self) {
        self.hurry.notified().await;
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Id, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a job's task. `asked` is when the claim was sent: the lease began after that.
    pub(super) fn add(&self, lease: Arc<Lease>, task: AbortHandle, asked: Instant) {
        let until = asked + self.length;
        self.held().insert(task.id(), Held { lease, task, until });
    }

    /// Forgets a task that has ended.
    pub(super) fn remove(&self, task: Id) -> Option<Arc<Lease>> {
        self.held().remove(&task).map(|held| held.lease)
    }

    /// How many jobs of each tenant are in our hands.
    pub(super) fn by_tenant(&self) -> HashMap<String, usize> {
        let mut tenants = HashMap::new();
        for held in self.held().values() {
            *tenants.entry(held.lease.fence.lane().tenant().to_owned()).or_default() += 1;
        }
        tenants
    }

    /// Extends all leases, and ends the tasks of those that are lost.
    pub(super) async fn extend(&self, journal: &Journal) {
        let (tasks, fences): (Vec<Id>, Vec<Fence>) = {
            let held = self.held();
            // A task that has ended and is not forgotten yet: nobody works on its job any more.
            let working = held.iter().filter(|(_, held)| !held.task.is_finished());
            working.map(|(task, held)| (*task, held.lease.fence.clone())).unzip()
        };
        let asked = Instant::now();
        let extended = match journal.heartbeat(&fences, self.length).await {
            Ok(extended) => extended,
            Err(error) => return tracing::error!("cannot extend leases: {error}"),
        };
        let locked: BTreeSet<_> = extended.locked.iter().map(Fence::lane).collect();
        for lane in locked {
            tracing::error!(%lane, "cannot extend leases: somebody has locked the lane or its jobs in the database");
        }
        let mut held = self.held();
        for task in tasks {
            let Some(held) = held.get_mut(&task) else { continue };
            if extended.lost.contains(&held.lease.fence) {
                end(held, "the lease was lost");
            } else if !extended.locked.contains(&held.lease.fence) {
                held.until = asked + self.length;
            }
        }
    }

    /// Ends the tasks of leases that are nearly over.
    pub(super) fn end_overdue(&self) {
        // A tenth, which is several times the period of this check: enough for a request that was just sent.
        let soon = Instant::now() + self.length / 10;
        for held in self.held().values().filter(|held| held.until <= soon) {
            end(
                held,
                "nothing was heard from the database for nearly the length of a lease",
            );
        }
    }
}

/// Ends a task, unless its end is only to be written down: the journal then judges by itself whether it comes too late.
fn end(held: &Held, why: &str) {
    if !held.lease.is_settled() && !held.task.is_finished() {
        tracing::warn!(job = %held.lease.fence.job(), "{why}; its task is stopped");
        held.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Executor as _};

    use super::*;
    use crate::journal::Options;
    use crate::journal::testing::{fence, leaver};

    const LENGTH: Duration = Duration::from_secs(30);

    /// A lease whose job never ends by itself.
    fn hold(leases: &Leases, tasks: &mut tokio::task::JoinSet<()>) -> Arc<Lease> {
        let lease = Arc::new(Lease::new(fence("acme", "docusign")));
        let task = tasks.spawn(std::future::pending());
        leases.add(Arc::clone(&lease), task, Instant::now());
        lease
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_ends_before_its_lease_where_nothing_is_heard() {
        let (leases, mut tasks) = (Leases::new(LENGTH), tokio::task::JoinSet::new());
        hold(&leases, &mut tasks);
        tokio::time::advance(Duration::from_millis(26_999)).await;
        leases.end_overdue();
        tokio::task::yield_now().await;
        assert!(
            tasks.try_join_next().is_none(),
            "its lease is good for three seconds more"
        );
        tokio::time::advance(Duration::from_millis(1)).await;
        leases.end_overdue();
        assert!(
            tasks
                .join_next()
                .await
                .is_some_and(|ended| ended.is_err_and(|error| error.is_cancelled()))
        );
    }

    #[tokio::test]
    async fn a_task_ends_whose_lease_the_journal_does_not_know_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("journal.db").display());
        let journal = Journal::open(&url, Options::default()).await.unwrap();
        let (leases, mut tasks) = (Leases::new(LENGTH), tokio::task::JoinSet::new());
        hold(&leases, &mut tasks);
        let settled = tokio::spawn(std::future::pending::<()>());
        let lease = Arc::new(Lease::new(fence("acme", "docusign")));
        lease.settle();
        leases.add(lease, settled.abort_handle(), Instant::now());
        leases.extend(&journal).await;
        let ended = tokio::time::timeout(LENGTH, tasks.join_next()).await.unwrap();
        assert!(ended.is_some_and(|ended| ended.is_err_and(|error| error.is_cancelled())));
        assert!(
            !settled.is_finished(),
            "its end is on its way to the journal, which judges"
        );
        settled.abort();
    }

    #[tokio::test]
    async fn the_lease_of_a_task_that_has_ended_is_not_extended() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("journal.db").display());
        let journal = Journal::open(&url, Options::default()).await.unwrap();
        for _ in 0..2 {
            let event = leaver("acme", "docusign", jiff::Timestamp::UNIX_EPOCH);
            journal.accept(event).await.unwrap();
        }
        let leases = Leases::new(LENGTH);
        let begun = Instant::now().checked_sub(LENGTH).unwrap();
        let mut jobs = journal.claim("us", LENGTH, 2).await.unwrap().into_iter();
        let mut add = |task: tokio::task::JoinHandle<()>| {
            let lease = Arc::new(Lease::new(jobs.next().unwrap().fence));
            leases.add(lease, task.abort_handle(), begun);
            task
        };
        let ended = add(tokio::spawn(async {}));
        let working = add(tokio::spawn(std::future::pending()));
        let id = working.id();
        ended.await.unwrap();
        leases.extend(&journal).await;
        let held = leases.held();
        let extended: Vec<&Id> = held
            .iter()
            .filter(|(_, held)| held.until > begun + LENGTH)
            .map(|(id, _)| id)
            .collect();
        assert_eq!(extended, [&id]);
        working.abort();
    }

    /// A lane, or its jobs, are locked by somebody at a terminal.
    #[tokio::test]
    async fn a_lane_that_cannot_be_had_costs_its_own_jobs_alone() {
        let url = kit::PrivatePostgres::shared().database();
        let journal = Journal::open(&url, Options::default()).await.unwrap();
        for tenant in ["acme", "beta"] {
            let event = leaver(tenant, "docusign", jiff::Timestamp::UNIX_EPOCH);
            journal.accept(event).await.unwrap();
        }
        let leases = Leases::new(LENGTH);
        let begun = Instant::now().checked_sub(LENGTH).unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for job in journal.claim("us", LENGTH, 2).await.unwrap() {
            let task = tasks.spawn(std::future::pending::<()>());
            leases.add(Arc::new(Lease::new(job.fence)), task, begun);
        }
        let mut other = sqlx::AnyConnection::connect(&url).await.unwrap();
        for lock in [
            "SELECT id FROM lane WHERE tenant = 'acme' FOR UPDATE",
            "SELECT id FROM job WHERE tenant = 'acme' FOR UPDATE",
        ] {
            other.execute("BEGIN").await.unwrap();
            other.execute(lock).await.unwrap();
            let before = Instant::now();
            leases.extend(&journal).await;
            other.execute("COMMIT").await.unwrap();
            let held = leases.held();
            let extended: Vec<&str> = held
                .values()
                .filter(|held| held.until >= before + LENGTH)
                .map(|held| held.lease.fence.lane().tenant())
                .collect();
            assert_eq!(extended, ["beta"], "{lock}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_only_has_to_be_written_down_is_not_stopped() {
        let (leases, mut tasks) = (Leases::new(LENGTH), tokio::task::JoinSet::new());
        hold(&leases, &mut tasks).settle();
        tokio::time::advance(LENGTH * 2).await;
        leases.end_overdue();
        tokio::task::yield_now().await;
        assert!(tasks.try_join_next().is_none());
    }

    #[test]
    fn a_job_is_not_given_back_after_its_intent() {
        let lease = Lease::new(fence("acme", "docusign"));
        assert!(lease.releasable().is_some());
        lease.closing().store(true, Ordering::SeqCst);
        assert!(lease.releasable().is_none());
        let lease = Lease::new(fence("acme", "docusign"));
        lease.settle();
        assert!(
            lease.releasable().is_none(),
            "its finish may be on its way to the journal"
        );
    }
}
