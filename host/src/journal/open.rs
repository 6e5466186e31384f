//! Opening a journal, and what holds it together.

use std::fmt;
use std::sync::{Arc, Once};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::AnyConnection;
use tokio::sync::watch;

use super::accept::AcceptCommand;
use super::address::{parse, without_password};
use super::backoff::Backoff;
use super::database::{Body, Context, Database, Step, Writer};
use super::dialect::Dialect;
use super::error::JournalError;
use super::group::Group;
use super::migrate::{check_schema, migrate};
use super::random::{SharedRandom, SystemRandom, word};
use super::sql::{Bind, fetch};
use super::types::milliseconds;
use super::work::WorkCommand;
use super::{accept, checkpoint, work};
use crate::clock::{SharedClock, SystemClock};

/// How a journal behaves. The defaults are meant to be kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Tells all times but those of leases on PostgreSQL.
    pub clock: SharedClock,
    /// For ids and jitter.
    pub random: SharedRandom,
    /// Events that may wait for a commit. Default 4096: at the slowest disk that is sensible (10 ms a sync, 256 a
    /// batch) the last of them is answered within a quarter of a second.
    pub queue: usize,
    /// Bytes that may wait for a commit. Default 64 MiB, so that large events cannot fill the memory.
    pub queue_bytes: usize,
    /// Attempts after which a job is a dead letter. Default 50: with the default backoff a target may be away for about
    /// five hours before somebody has to replay what it missed.
    pub max_attempts: u32,
    /// Lost leases after which a job is a dead letter, since its target was last asked and the host lived. Default 5:
    /// whatever takes its host down each time must stop doing so, and a few restarts of the host must not kill a job.
    pub max_lapses: u32,
    /// When to try again.
    pub backoff: Backoff,
    /// Jobs of one lane that run at a time, over all hosts, unless [`Journal::set_cap`] says otherwise. Default 8:
    /// enough to hide a target's latency, few enough for its burst limits.
    pub default_cap: u32,
    /// For how long the same content is a duplicate although something came of the first event. Default 10 minutes: later
    /// it is somebody who came back and left again.
    pub content_window: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            queue: 4096,
            queue_bytes: 64 << 20,
            max_attempts: 50,
            max_lapses: 5,
            backoff: Backoff::default(),
            default_cap: 8,
            content_window: Duration::from_secs(600),
        }
    }
}

/// What stands behind a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file, for one host.
    Sqlite,
    /// A server, for any number of hosts.
    Postgres,
}

/// The durable record. Cheap to clone; all clones are one journal.
#[derive(Clone)]
pub struct Journal {
    pub(super) database: Arc<Database>,
    pub(super) accepts: Arc<Group<AcceptCommand>>,
    pub(super) work: Arc<Group<WorkCommand>>,
    pub(super) changed: watch::Sender<()>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("engine", &self.engine())
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens `sqlite:PATH` or `postgres://USER@HOST/DATABASE`, makes or migrates its tables, and starts the writers on
    /// the current tokio runtime.
    ///
    /// A SQLite file is created where there is none, readable by its owner only.
    ///
    /// # Errors
    /// [`JournalError::Open`] for an address that cannot be used, [`JournalError::NewerSchema`] for a database of a
    /// later release, [`JournalError::Unavailable`] where nobody answers.
    pub async fn open(url: &str, options: Options) -> Result<Self, JournalError> {
        Self::open_after(url, options, migrate).await
    }

    /// [`Journal::open`] for whoever only reads beside a host of an earlier release: the tables stay as they are.
    ///
    /// # Errors
    /// As [`Journal::open`], and [`JournalError::Open`] where the tables are of an earlier release, or there are none.
    pub async fn open_as_it_is(url: &str, options: Options) -> Result<Self, JournalError> {
        Self::open_after(url, options, check_schema).await
    }

    async fn open_after(url: &str, options: Options, prepare: Body<(), bool>) -> Result<Self, JournalError> {
        let refuse = |reason: String| JournalError::Open {
            url: without_password(url),
            reason,
        };
        install_drivers();
        let (dialect, connect) = parse(url).map_err(refuse)?;
        let database = Arc::new(Database::new(connect, dialect, options));
        match prepared(&database, prepare).await {
            Err(JournalError::Broken(reason) | JournalError::Unavailable(reason)) if dialect == Dialect::Sqlite => {
                return Err(refuse(reason.to_string()));
            }
            Err(JournalError::Invalid(reason)) => return Err(refuse(reason)),
            opened => opened?,
        }
        if dialect == Dialect::Sqlite {
            tokio::spawn(checkpoint::run(Arc::downgrade(&database), database.commits()));
        }
        let changed = watch::channel(()).0;
        let notify = |changed: watch::Sender<()>| move || changed.send_modify(|()| {});
        let accepts = Group::start(
            Arc::clone(&database),
            Writer::Accept,
            accept::write,
            notify(changed.clone()),
        );
        let work = Group::start(
            Arc::clone(&database),
            Writer::Work,
            work::write,
            notify(changed.clone()),
        );
        Ok(Self {
            database,
            accepts: Arc::new(accepts),
            work: Arc::new(work),
            changed,
        })
    }

    /// Whether it can be written. PostgreSQL alone is asked: a server may have become a standby that still answers reads.
    /// SQLite's file says so by itself ([`Journal::broken`]).
    ///
    /// # Errors
    /// As for anything that is written.
    pub async fn check_writable(&self) -> Result<(), JournalError> {
        match self.engine() {
            Engine::Sqlite => Ok(()),
            Engine::Postgres => self.write_if(Writer::Probe, (), lock_something, |()| false).await,
        }
    }

    /// What stands behind it.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.database.context.dialect {
            Dialect::Sqlite => Engine::Sqlite,
            Dialect::Postgres => Engine::Postgres,
        }
    }

    /// Waits until SQLite's file has failed, and says how. On PostgreSQL it never ends. The process should stop then.
    pub async fn broken(&self) -> Arc<str> {
        self.database.broken().await
    }

    /// Something to wait on until this host has changed something. Other hosts' writes do not wake it: poll as well.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes(self.changed.subscribe())
    }

    /// When to try again what failed at attempt number `attempt`.
    #[must_use]
    pub fn backoff(&self, attempt: u32) -> Timestamp {
        let options = &self.database.context.options;
        self.after(options.backoff.delay(attempt, word(&*options.random)))
    }

    /// The time after a pause.
    #[must_use]
    pub fn after(&self, pause: Duration) -> Timestamp {
        super::types::date(self.database.context.now().saturating_add(milliseconds(pause)))
    }

    /// Lets what is being written finish, then closes all connections. Later calls get
    /// [`JournalError::Unavailable`].
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Runs a transaction in a task of its own, so that a caller that goes away does not abort it.
    pub(super) async fn write<A, R>(&self, writer: Writer, arguments: A, body: Body<A, R>) -> Result<R, JournalError>
    where
        A: Send + Sync + 'static,
        R: Send + 'static,
    {
        self.write_if(writer, arguments, body, |_| true).await
    }

    /// The same for what often changes nothing: `is_change` says whether to wake who waits for changes. A claim that
    /// found nothing must not wake the dispatcher that made it.
    pub(super) async fn write_if<A, R>(
        &self,
        writer: Writer,
        arguments: A,
        body: Body<A, R>,
        is_change: fn(&R) -> bool,
    ) -> Result<R, JournalError>
    where
        A: Send + Sync + 'static,
        R: Send + 'static,
    {
        let (database, changed) = (Arc::clone(&self.database), self.changed.clone());
        spawned(async move {
            let result = database.write(writer, &arguments, body).await?;
            if is_change(&result) {
                changed.send_replace(());
            }
            Ok(result)
        })
        .await
    }

    /// The same for reading.
    pub(super) async fn read<A, R>(&self, arguments: A, body: Body<A, R>) -> Result<R, JournalError>
    where
        A: Send + Sync + 'static,
        R: Send + 'static,
    {
        let database = Arc::clone(&self.database);
        spawned(async move { database.read(&arguments, body).await }).await
    }
}

/// How long the hosts that run get their tables back where somebody's dump keeps one of them from being changed: 5 s.
const LOCKED_PAUSE: Duration = Duration::from_secs(5);

/// How often that is tried: for ten minutes. Then somebody has to look.
const LOCKED_TRIES: u32 = 75;

/// Makes or checks the tables, step by step.
async fn prepared(database: &Database, prepare: Body<(), bool>) -> Result<(), JournalError> {
    let mut tries = 0;
    loop {
        match database.write(Writer::Long, &(), prepare).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) if error.is_locked() && tries < LOCKED_TRIES => {
                tracing::warn!(
                    "the tables cannot be brought up to date yet, since somebody uses one of them for long, such as a dump \
                     or an open transaction in psql: {error}"
                );
                tries += 1;
                tokio::time::sleep(LOCKED_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits for a task that nobody aborts.
pub(super) async fn spawned<R: Send + 'static>(
    work: impl Future<Output = Result<R, JournalError>> + Send + 'static,
) -> Result<R, JournalError> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => Err(JournalError::Database {
            message: error.to_string(),
            code: None,
        }),
    }
}

/// Wakes when this host has changed something.
#[derive(Debug)]
pub struct Changes(watch::Receiver<()>);

impl Changes {
    /// Waits for the next change since the last call. Several changes wake once.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Writes that a row is locked, and nothing else.
fn lock_something<'c>(tx: &'c mut AnyConnection, _: &'c Context, (): &'c ()) -> Step<'c, ()> {
    Box::pin(async move {
        fetch(tx, "SELECT version FROM schema_version FOR UPDATE", Bind::new()).await?;
        Ok(())
    })
}

fn install_drivers() {
    static ONCE: Once = Once::new();
    ONCE.call_once(sqlx::any::install_default_drivers);
}
