//! Connections and transactions.
//!
//! Writers own their connections. SQLite gets one, shared by all, and a second for its checkpoints; PostgreSQL one for
//! each kind of work, so that a claim does not wait for an accept's `fsync`. sqlx's pool would do the same with a ping and
//! a spawned task for each use. Reads go through a pool.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::timeout;
use uuid::Uuid;

use super::checkpoint;
use super::dialect::Dialect;
use super::error::JournalError;
use super::open::Options;
use super::random::Ids;
use super::thread;

/// How long a connection may take, or the first answer of one that was kept. A client of the intake waits meanwhile, and
/// gets 503 afterwards.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a transaction on PostgreSQL may take, above the server's own 30 s for a statement. Where a network swallows
/// packets the kernel would wait a quarter of an hour.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(40);

/// How long extending leases may take: twice this is less than a third of a usual lease, when the next one is sent.
const LEASE_TIMEOUT: Duration = Duration::from_secs(4);

/// How often a transaction is run again that PostgreSQL ended to break a deadlock.
const CONTENTION_RETRIES: u32 = 5;

/// Connections for reading. A page of the console needs one; more only queue for the same disk.
const READERS: u32 = 4;

/// The future of one transaction's body.
pub(super) type Step<'c, R> = Pin<Box<dyn Future<Output = Result<R, JournalError>> + Send + 'c>>;

/// The body of a transaction: a plain function, so that it can run again, over arguments that the transaction owns.
pub(super) type Body<A, R> = for<'c> fn(&'c mut AnyConnection, &'c Context, &'c A) -> Step<'c, R>;

/// What every body may need.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) dialect: Dialect,
    pub(super) options: Options,
    ids: Ids,
}

impl Context {
    /// The injected present, in milliseconds.
    pub(super) fn now(&self) -> i64 {
        self.options.clock.now().as_millisecond()
    }

    /// A new id.
    pub(super) fn id(&self) -> Uuid {
        self.ids.next(self.options.clock.now(), &*self.options.random)
    }
}

/// Which connection a transaction uses on PostgreSQL.
#[derive(Debug, Clone, Copy)]
pub(super) enum Writer {
    Accept,
    Claim,
    Work,
    Operator,
    Lease,
    Probe,
    /// Migration and import, which may take their time.
    Long,
}

/// A writer's connection, held by whoever writes next.
pub(super) type Turn = OwnedMutexGuard<Slot>;

/// One writing connection, or the place for it.
#[derive(Debug, Default)]
pub(super) struct Slot {
    connection: Option<AnyConnection>,
    closed: bool,
}

/// The database behind a journal.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) context: Context,
    connect: AnyConnectOptions,
    slots: Vec<Arc<Mutex<Slot>>>,
    /// SQLite's second connection, for [`checkpoint`].
    checkpoints: Mutex<Slot>,
    /// How many transactions were committed.
    commits: watch::Sender<u64>,
    readers: AnyPool,
    broken: watch::Sender<Option<Arc<str>>>,
    /// Until when claims leave out lanes that somebody has locked, in the clock's steady milliseconds.
    pub(super) locked_until: AtomicI64,
}

impl Database {
    pub(super) fn new(connect: AnyConnectOptions, dialect: Dialect, options: Options) -> Self {
        let connect = connect.disable_statement_logging();
        let slots = if dialect == Dialect::Sqlite { 1 } else { 6 };
        let readers = AnyPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(CONNECT_TIMEOUT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    let prepared = dialect.prepare_reader(connection).await;
                    prepared.map_err(|error| sqlx::Error::Configuration(error.into()))
                })
            })
            .connect_lazy_with(connect.clone());
        Self {
            context: Context {
                dialect,
                options,
                ids: Ids::default(),
            },
            connect,
            slots: (0..slots).map(|_| Arc::default()).collect(),
            checkpoints: Mutex::default(),
            commits: watch::channel(0).0,
            readers,
            broken: watch::channel(None).0,
            locked_until: AtomicI64::new(i64::MIN),
        }
    }

    /// Runs `body` in a transaction and commits it.
    ///
    /// Call this from tasks that are never aborted. Nothing was written when it fails, but see
    /// [`JournalError::Unavailable`].
    pub(super) async fn write<A: Sync + ?Sized, R: Send>(
        &self,
        writer: Writer,
        arguments: &A,
        body: Body<A, R>,
    ) -> Result<R, JournalError> {
        let turn = self.turn(writer).await;
        self.write_in(turn, writer, arguments, body).await
    }

    /// Waits for the connection. What is gathered afterwards is written as soon as it can be.
    pub(super) async fn turn(&self, writer: Writer) -> Turn {
        let slot = &self.slots[writer as usize % self.slots.len()];
        Arc::clone(slot).lock_owned().await
    }

    /// [`Database::write`] for whoever has waited already.
    pub(super) async fn write_in<A: Sync + ?Sized, R: Send>(
        &self,
        mut slot: Turn,
        writer: Writer,
        arguments: &A,
        body: Body<A, R>,
    ) -> Result<R, JournalError> {
        // Whoever waited for the connection may have waited for its failure.
        self.check_broken()?;
        let mut tries = 0;
        loop {
            let result = self.attempt(&mut slot, writer, arguments, body).await;
            match result {
                Err(error) if error.is_contention() && tries < CONTENTION_RETRIES => tries += 1,
                Err(error) => return Err(self.note(&mut slot, error)),
                Ok(result) => {
                    self.commits.send_modify(|commits| *commits += 1);
                    return Ok(result);
                }
            }
        }
    }

    /// How many transactions were committed so far.
    pub(super) fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    /// Copies SQLite's log into the file, as [`checkpoint`] says.
    pub(super) async fn checkpoint(&self) -> Result<(), JournalError> {
        let mut slot = self.checkpoints.lock().await;
        if slot.closed {
            return Ok(());
        }
        let kept = slot.connection.take();
        let copied = async {
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.open_writer().await?,
            };
            checkpoint::copy(&mut connection).await?;
            let _nobody_writes = self.turn(Writer::Operator).await;
            checkpoint::copy(&mut connection).await?;
            Ok(connection)
        };
        let copied = copied.await.map(|connection| slot.connection = Some(connection));
        copied.map_err(|error| self.note(&mut slot, error))
    }

    async fn attempt<A: Sync + ?Sized, R: Send>(
        &self,
        slot: &mut Slot,
        writer: Writer,
        arguments: &A,
        body: Body<A, R>,
    ) -> Result<R, JournalError> {
        if slot.closed {
            return Err(JournalError::unavailable("the journal is closed"));
        }
        let kept = slot.connection.take();
        let is_kept = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.open_writer().await?,
        };
        let mut began = false;
        let limit = self.limit(writer);
        let mut result = self.transact(&mut connection, &mut began, limit, arguments, body).await;
        // A server that restarted shows at the first statement of a kept connection. Nothing was done on it yet, so a
        // new one may be tried at once.
        if is_kept && !began && matches!(result, Err(JournalError::Unavailable(_))) {
            connection = self.open_writer().await?;
            result = self.transact(&mut connection, &mut began, limit, arguments, body).await;
        }
        if !matches!(&result, Err(error) if error.is_about_connection()) {
            slot.connection = Some(connection);
        }
        result
    }

    /// One transaction. `began` says whether anything may have happened on the connection; after an error that is about
    /// the connection, time-outs included, the caller must drop it.
    async fn transact<A: Sync + ?Sized, R: Send>(
        &self,
        connection: &mut AnyConnection,
        began: &mut bool,
        limit: Option<Duration>,
        arguments: &A,
        body: Body<A, R>,
    ) -> Result<R, JournalError> {
        let run = async {
            let begin = connection.begin_with(self.context.dialect.begin());
            // It waits for no lock, so a server that does not answer is one that is gone: where a new one may stand in its
            // place, waiting for the old one for as long as for a transaction would cost this host its leases.
            let mut tx = match limit {
                None => begin.await?,
                Some(_) => timeout(CONNECT_TIMEOUT, begin)
                    .await
                    .map_err(|_| no_answer(CONNECT_TIMEOUT))??,
            };
            *began = true;
            match body(&mut tx, &self.context, arguments).await {
                Ok(result) => tx.commit().await.map(|()| result).map_err(JournalError::from),
                Err(error) => match tx.rollback().await {
                    Ok(()) => Err(error),
                    // Whatever the first error was, this connection cannot be used again.
                    Err(rollback) if !error.is_about_connection() => Err(unusable(self.context.dialect, &rollback)),
                    Err(_) => Err(error),
                },
            }
        };
        match limit {
            None => run.await,
            Some(limit) => timeout(limit, run).await.unwrap_or_else(|_| Err(no_answer(limit))),
        }
    }

    /// How long a transaction may take. SQLite works in a thread of its own; there is no network to wait for.
    fn limit(&self, writer: Writer) -> Option<Duration> {
        match (self.context.dialect, writer) {
            (Dialect::Sqlite, _) | (_, Writer::Long) => None,
            (Dialect::Postgres, Writer::Lease) => Some(LEASE_TIMEOUT),
            (Dialect::Postgres, _) => Some(TRANSACTION_TIMEOUT),
        }
    }

    async fn open_writer(&self) -> Result<AnyConnection, JournalError> {
        let opened = async {
            let mut connection = match self.context.dialect {
                Dialect::Sqlite => thread::connect(&self.connect).await?,
                Dialect::Postgres => self.connect.connect().await?,
            };
            self.context.dialect.prepare_writer(&mut connection).await?;
            Ok(connection)
        };
        match timeout(CONNECT_TIMEOUT, opened).await {
            Ok(Err(JournalError::Unavailable(why))) => Err(JournalError::unavailable(format!("{}{why}", self.at()))),
            Ok(connection) => connection,
            Err(_) => Err(JournalError::unavailable(format!(
                "{}no connection within 5 s",
                self.at()
            ))),
        }
    }

    /// Where PostgreSQL is, for a message that says it is not there. SQLite's file is on this machine.
    fn at(&self) -> String {
        let url = &self.connect.database_url;
        match (self.context.dialect, url.host_str()) {
            (Dialect::Postgres, Some(host)) => format!("{host}:{}: ", url.port().unwrap_or(5432)),
            _ => String::new(),
        }
    }

    /// A connection that cannot write.
    pub(super) async fn reader(&self) -> Result<PoolConnection<Any>, JournalError> {
        self.check_broken()?;
        self.readers.acquire().await.map_err(|error| self.judge(error.into()))
    }

    /// Runs `body` on a connection that cannot write.
    pub(super) async fn read<A: Sync, R: Send>(&self, arguments: &A, body: Body<A, R>) -> Result<R, JournalError> {
        let mut connection = self.reader().await?;
        let run = body(&mut connection, &self.context, arguments);
        let result = match self.limit(Writer::Operator) {
            None => run.await,
            Some(limit) => timeout(limit, run).await.unwrap_or_else(|_| Err(no_answer(limit))),
        };
        if matches!(&result, Err(error) if error.is_about_connection()) {
            drop(connection.detach());
        }
        result.map_err(|error| self.judge(error))
    }

    fn note(&self, slot: &mut Slot, error: JournalError) -> JournalError {
        if error.is_about_connection() {
            slot.connection = None;
        }
        self.judge(error)
    }

    /// Remembers for ever that the file failed.
    fn judge(&self, error: JournalError) -> JournalError {
        if let JournalError::Broken(why) = &error {
            tracing::error!(%why, "the journal's file failed; nothing is accepted any more");
            self.broken.send_if_modified(|broken| {
                let is_first = broken.is_none();
                broken.get_or_insert_with(|| Arc::clone(why));
                is_first
            });
        }
        error
    }

    fn check_broken(&self) -> Result<(), JournalError> {
        match &*self.broken.borrow() {
            Some(why) => Err(JournalError::Broken(Arc::clone(why))),
            None => Ok(()),
        }
    }

    /// Waits until the file has failed.
    pub(super) async fn broken(&self) -> Arc<str> {
        let mut broken = self.broken.subscribe();
        let waited = broken.wait_for(Option::is_some).await.map(|why| why.clone());
        match waited {
            Ok(Some(why)) => why,
            // The sender lives as long as `self`.
            _ => std::future::pending().await,
        }
    }

    /// Closes all connections, after what they are doing. SQLite then folds its log into the file.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        for slot in self.slots.iter().map(|slot| &**slot).chain([&self.checkpoints]) {
            let mut slot = slot.lock().await;
            slot.closed = true;
            if let Some(connection) = slot.connection.take()
                && let Err(error) = connection.close().await
            {
                tracing::warn!(%error, "the journal's connection did not close cleanly");
            }
        }
    }
}

fn no_answer(limit: Duration) -> JournalError {
    JournalError::unavailable(format!("no answer within {} s", limit.as_secs()))
}

/// The error for a transaction that could not even be rolled back.
fn unusable(dialect: Dialect, error: &sqlx::Error) -> JournalError {
    let words = format!("a transaction could not be rolled back: {error}").into();
    match dialect {
        Dialect::Sqlite => JournalError::Broken(words),
        Dialect::Postgres => JournalError::Unavailable(words),
    }
}
