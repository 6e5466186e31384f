//! A journal to try things on, and short ways to say what is tried.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use exeunt::clock::{Clock as _, ManualClock};
use exeunt::journal::{
    Accepted, ClaimedJob, ClosureLimit, Decision, Dedupe, Engine, Fence, Finish, Finished, JobFilter, JobId, JobState,
    JobSummary, Journal, JournalError, Lane, NewEvent, NewJob, NewState, Options, Outcome, Page, Reservation,
    SeededRandom,
};
use jiff::Timestamp;
use sqlx::{Connection as _, Executor as _, Row as _};
use tempfile::TempDir;

use kit::PrivatePostgres;

/// A lease that nothing in a test outlives by accident.
pub(crate) const LEASE: Duration = Duration::from_secs(600);

/// A breaker that nothing in a test opens by accident.
pub(crate) const NO_LIMIT: ClosureLimit = ClosureLimit {
    closures: 100_000,
    per: HOUR,
};

/// Long after every backoff.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

/// A journal with a clock that stands still.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) journal: Journal,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) url: String,
    folder: TempDir,
}

pub(crate) fn start_of_time() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().expect("a date")
}

impl Rig {
    pub(crate) async fn sqlite() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let url = format!("sqlite:{}", folder.path().join("journal.db").display());
        Self::at(url, folder).await
    }

    pub(crate) async fn postgres() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        Self::at(PrivatePostgres::shared().database(), folder).await
    }

    async fn at(url: String, folder: TempDir) -> Self {
        let clock = Arc::new(ManualClock::new(start_of_time()));
        let journal = open(&url, options(&clock)).await;
        Self {
            journal,
            clock,
            url,
            folder,
        }
    }

    pub(crate) fn options(&self) -> Options {
        options(&self.clock)
    }

    /// Opens it once more, as another host would.
    pub(crate) async fn another(&self, options: Options) -> Journal {
        open(&self.url, options).await
    }

    /// An empty journal in a database of the same kind.
    pub(crate) async fn another_database(&self) -> Self {
        match self.journal.engine() {
            Engine::Sqlite => Self::sqlite().await,
            Engine::Postgres => Self::postgres().await,
        }
    }

    /// Closes it, and opens it with other options.
    pub(crate) async fn reopen(&mut self, options: Options) {
        self.journal.close().await;
        self.journal = open(&self.url, options).await;
    }

    /// A connection to the same database, beside the journal's.
    pub(crate) async fn connection(&self) -> sqlx::AnyConnection {
        let url = self.url.replacen("sqlite:/", "sqlite:///", 1);
        sqlx::AnyConnection::connect(&url).await.expect("a connection")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn accept(&self, event: NewEvent) -> Accepted {
        self.journal.accept(event).await.expect("the event is accepted")
    }

    /// Accepts a leaver with one job in the lane, and returns the job.
    pub(crate) async fn queue(&self, lane: &Lane) -> JobId {
        self.accept(leaver(lane, self.now())).await.jobs[0]
    }

    pub(crate) async fn claim(&self, max: usize) -> Vec<ClaimedJob> {
        self.journal.claim("host-1", LEASE, max).await.expect("a claim works")
    }

    /// Claims the only job that there is to claim.
    pub(crate) async fn claim_one(&self) -> ClaimedJob {
        let mut jobs = self.claim(10).await;
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs.remove(0)
    }

    /// Asks to close an account as dispatch does, which reads again where another job was at it.
    pub(crate) async fn reserve(&self, fence: &Fence, account: &str) -> Reservation {
        let asked = async |others| {
            self.journal
                .intend(fence, account, others, NO_LIMIT, None)
                .await
                .expect("an intent")
        };
        match asked(0).await {
            Reservation::Stale { others } => asked(others).await,
            reservation => reservation,
        }
    }

    /// Extends leases, and returns those that are lost. No lane is locked by anybody.
    pub(crate) async fn beat(&self, fences: &[Fence], lease: Duration) -> Vec<Fence> {
        let extended = self.journal.heartbeat(fences, lease).await.expect("a heartbeat works");
        assert_eq!(extended.locked, []);
        extended.lost
    }

    pub(crate) async fn finish(&self, fence: &Fence, finish: Finish) -> Finished {
        self.journal.finish(fence, finish, None).await.expect("a finish works")
    }

    pub(crate) async fn job(&self, id: JobId) -> JobSummary {
        self.journal
            .job(id)
            .await
            .expect("a query works")
            .expect("the job exists")
            .summary
    }

    pub(crate) async fn state(&self, id: JobId) -> JobState {
        self.job(id).await.state
    }

    /// Claims with a lease that is over at once, and waits until `count` of those are taken back.
    pub(crate) async fn lose(&self, count: usize) -> Vec<ClaimedJob> {
        let lost = self
            .journal
            .claim("host-2", Duration::from_millis(1), count)
            .await
            .expect("a claim works");
        assert_eq!(lost.len(), count);
        let mut back = 0;
        while back < count {
            // Moves SQLite's leases; PostgreSQL's own clock goes on by itself.
            self.clock.advance(Duration::from_millis(1));
            back += self.journal.reclaim().await.expect("a reclaim works").len();
        }
        self.clock.advance(HOUR);
        lost
    }
}

/// Waits until somebody waits for a lock in this PostgreSQL, which is the test's own.
pub(crate) async fn until_somebody_waits(url: &str) {
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let mut watching = sqlx::AnyConnection::connect(url).await.expect("a connection");
    while watching.fetch_one(waiting).await.expect("a count").get::<i64, _>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn open(url: &str, options: Options) -> Journal {
    Journal::open(url, options).await.expect("the journal opens")
}

/// Each call is another host: no two of them make the same ids.
pub(crate) fn options(clock: &Arc<ManualClock>) -> Options {
    static HOSTS: AtomicU64 = AtomicU64::new(1);
    let random = SeededRandom::new(HOSTS.fetch_add(1, Ordering::Relaxed));
    Options {
        clock: Arc::clone(clock) as _,
        random: Arc::new(random),
        ..Options::default()
    }
}

pub(crate) fn lane(tenant: &str, connector: &str) -> Lane {
    Lane::new(tenant, connector).expect("names")
}

/// An event that is never a duplicate.
pub(crate) fn event(tenant: &str, jobs: Vec<NewJob>, at: Timestamp) -> NewEvent {
    NewEvent {
        tenant: tenant.to_owned(),
        source: "hr".to_owned(),
        dedupe: Dedupe::None,
        body: b"{\"left\":true}".to_vec(),
        received_at: at,
        occurred_at: None,
        decision: Decision::Leaver,
        reason: "userStatus became inactive".to_owned(),
        person: Some("{\"email\":\"ada@acme.example\"}".to_owned()),
        person_key: Some("Ada@acme.example".to_owned()),
        replays: None,
        actor: None,
        jobs,
    }
}

pub(crate) fn leaver(lane: &Lane, at: Timestamp) -> NewEvent {
    event(lane.tenant(), vec![queued(lane.connector())], at)
}

pub(crate) fn queued(connector: &str) -> NewJob {
    NewJob {
        connector: connector.to_owned(),
        state: NewState::Queued,
    }
}

pub(crate) fn held(connector: &str, why: &str) -> NewJob {
    NewJob {
        connector: connector.to_owned(),
        state: NewState::Held {
            why: why.to_owned(),
            reason: "an operator decides".to_owned(),
        },
    }
}

pub(crate) fn end(outcome: Outcome) -> Finish {
    Finish::End {
        outcome,
        reason: "seen".to_owned(),
        detail: Some("{\"seen\":true}".to_owned()),
    }
}

pub(crate) fn release() -> Finish {
    Finish::Release {
        reason: "the host stopped".to_owned(),
    }
}

/// All jobs that there are; a test has fewer than a page holds.
pub(crate) async fn all_jobs(journal: &Journal) -> Vec<JobSummary> {
    let page = Page {
        before: None,
        limit: 500,
    };
    let jobs = journal.jobs(&JobFilter::default(), page).await;
    jobs.expect("a query").items
}

pub(crate) fn is_lost(result: &Result<Finished, JournalError>, job: JobId) -> bool {
    *result == Err(JournalError::LeaseLost(job))
}

/// Polls until something is so, and gives up where it never will be.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(120), async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: not within two minutes");
}
