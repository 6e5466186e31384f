//! Everything in which the two databases differ.

use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe};

use super::error::JournalError;
use super::sql::{Bind, Cells, execute, fetch};
use crate::clock::Clock;

/// Oldest SQLite that is safe: 3.7.0 to 3.51.2 can corrupt a file when the write-ahead log is reset while another
/// connection reads.
pub(super) const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// How often, and how long apart, another process that opens a new file at the same time is waited for: two seconds.
const LOG_TRIES: u32 = 40;
const LOG_WAIT: Duration = Duration::from_millis(50);

/// Which database stands behind the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// The type for bytes, in DDL.
    pub(super) fn bytes(self) -> &'static str {
        match self {
            Self::Sqlite => "BLOB",
            Self::Postgres => "BYTEA",
        }
    }

    /// Ends the DDL of a table whose rows are kept in its primary key. PostgreSQL has no such tables.
    pub(super) fn keyed(self) -> &'static str {
        match self {
            Self::Sqlite => " WITHOUT ROWID",
            Self::Postgres => "",
        }
    }

    /// Locks the rows of a `SELECT`. SQLite's writer has the whole file already.
    pub(super) fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE",
        }
    }

    /// Locks the rows of a `SELECT` that nobody else has locked, and leaves the others out.
    pub(super) fn for_update_of_free(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }

    /// Opens a transaction that will write. SQLite must say so at once: a reader that becomes a writer fails where
    /// somebody else wrote in between.
    pub(super) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    /// Opens a transaction that sees one state of all tables.
    pub(super) fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// Lets a transaction wait for its input, which may come from a slow pipe.
    pub(super) async fn wait_for_input(self, tx: &mut AnyConnection) -> Result<(), JournalError> {
        match self {
            Self::Sqlite => Ok(()),
            Self::Postgres => {
                let sql = "SET LOCAL idle_in_transaction_session_timeout = 0";
                execute(tx, sql, Bind::new()).await.map(drop)
            }
        }
    }

    /// The time by which leases are measured, in milliseconds. On PostgreSQL the database's, since hosts' clocks differ; on
    /// SQLite one that nobody can set, since the process that gave them is the one that takes them back.
    pub(super) async fn lease_time(self, tx: &mut AnyConnection, clock: &dyn Clock) -> Result<i64, JournalError> {
        match self {
            Self::Sqlite => Ok(clock.steady().as_millisecond()),
            Self::Postgres => clock_of(tx).await,
        }
    }

    /// The host's `now`, in milliseconds, or the database's where that is earlier and there is one to ask.
    pub(super) async fn cautious_now(self, connection: &mut AnyConnection, now: i64) -> Result<i64, JournalError> {
        match self {
            Self::Sqlite => Ok(now),
            Self::Postgres => Ok(now.min(clock_of(connection).await?)),
        }
    }

    /// Keeps two hosts from migrating at once. Held until the transaction ends. SQLite's `BEGIN IMMEDIATE` does it.
    pub(super) async fn lock_schema(self, tx: &mut AnyConnection) -> Result<(), JournalError> {
        // Any number does, as long as all releases use the same one: "exeunt" in ASCII.
        const KEY: i64 = 0x6578_6575_6e74;
        if self == Self::Postgres {
            // Other hosts, and large tables, may take longer than any statement does later.
            self.take_time(tx).await?;
            execute(tx, "SET LOCAL lock_timeout = 0", Bind::new()).await?;
            fetch(tx, "SELECT pg_advisory_xact_lock($1)", Bind::new().int(KEY)).await?;
            // All that wants a table waits behind whoever waits to change it, and somebody's dump may have it for hours.
            self.wait_for_locks(tx, 3_000).await?;
        }
        Ok(())
    }

    /// Lets the statements of this transaction run for as long as they need.
    pub(super) async fn take_time(self, tx: &mut AnyConnection) -> Result<(), JournalError> {
        if self == Self::Postgres {
            execute(tx, "SET LOCAL statement_timeout = 0", Bind::new()).await?;
        }
        Ok(())
    }

    /// Waits for a lock on a row or a table for so many milliseconds in this transaction, or twice as long where others wait, too.
    /// SQLite has no locks on rows.
    pub(super) async fn wait_for_locks(self, tx: &mut AnyConnection, milliseconds: i64) -> Result<(), JournalError> {
        if self == Self::Postgres {
            let set = format!("SET LOCAL lock_timeout = {}", milliseconds.max(1));
            execute(tx, AssertSqlSafe(set), Bind::new()).await?;
        }
        Ok(())
    }

    /// Sets up a connection that writes, so that a commit is on disk, and on the standby's where there is a synchronous
    /// one. A PostgreSQL server that never syncs (`fsync = off`) is only warned about: tests run on such ones.
    pub(super) async fn prepare_writer(self, connection: &mut AnyConnection) -> Result<(), JournalError> {
        match self {
            Self::Sqlite => prepare_sqlite(connection).await,
            Self::Postgres => prepare_postgres(connection).await,
        }
    }

    /// Sets up a connection that only reads.
    pub(super) async fn prepare_reader(self, connection: &mut AnyConnection) -> Result<(), JournalError> {
        match self {
            Self::Sqlite => execute(connection, "PRAGMA query_only = 1", Bind::new()).await?,
            Self::Postgres => {
                execute(connection, "SET default_transaction_read_only = on", Bind::new()).await?;
                execute(connection, "SET statement_timeout = '30s'", Bind::new()).await?;
                // As for writers; and an index that gives the order of ids is never worse than one whose rows are sorted,
                // while statistics of another day, or none after an import, say that it is.
                execute(connection, "SET enable_seqscan = off", Bind::new()).await?;
                execute(connection, "SET enable_bitmapscan = off", Bind::new()).await?;
                execute(connection, "SET jit = off", Bind::new()).await?
            }
        };
        Ok(())
    }
}

/// What PostgreSQL's clock says, in milliseconds.
async fn clock_of(connection: &mut AnyConnection) -> Result<i64, JournalError> {
    let sql = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";
    let rows = fetch(connection, sql, Bind::new()).await?;
    rows.first()
        .map_or(Err(missing("clock_timestamp()")), |row| Cells::of(row).int())
}

fn missing(what: &str) -> JournalError {
    JournalError::Database {
        message: format!("no answer to {what}"),
        code: None,
    }
}

/// One value that a statement gives, as text.
async fn ask(connection: &mut AnyConnection, sql: &'static str) -> Result<String, JournalError> {
    let rows = fetch(connection, sql, Bind::new()).await?;
    rows.first()
        .map_or_else(|| Err(missing(sql)), |row| Cells::of(row).text())
}

async fn prepare_sqlite(connection: &mut AnyConnection) -> Result<(), JournalError> {
    let version = ask(connection, "SELECT sqlite_version()").await?;
    check_sqlite_version(&version)?;
    let mode = use_log(connection).await?;
    if mode != "wal" {
        let message = format!("SQLite cannot use a write-ahead log here (journal_mode is {mode}); use a local disk");
        return Err(JournalError::Invalid(message));
    }
    for pragma in [
        // NORMAL would not sync at commit: acknowledged events would be gone after a power cut.
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = OFF",
        // A statement over many rows keeps undo pages; by default in a file that it makes and deletes each time.
        "PRAGMA temp_store = MEMORY",
        // 32 MiB of pages for the one connection that writes.
        "PRAGMA cache_size = -32768",
        // 64 MiB of log, which only a checkpoint that failed lets it come to.
        "PRAGMA wal_autocheckpoint = 16384",
        "PRAGMA journal_size_limit = 67108864",
    ] {
        execute(connection, pragma, Bind::new()).await?;
    }
    if cfg!(target_os = "macos") {
        // fsync there does not reach the platter.
        execute(connection, "PRAGMA fullfsync = 1", Bind::new()).await?;
        execute(connection, "PRAGMA checkpoint_fullfsync = 1", Bind::new()).await?;
    }
    Ok(())
}

/// Turns the write-ahead log on. That needs the file for itself for a moment, which SQLite does not wait for.
async fn use_log(connection: &mut AnyConnection) -> Result<String, JournalError> {
    for _ in 0..LOG_TRIES {
        match ask(connection, "PRAGMA journal_mode = WAL").await {
            Err(JournalError::Unavailable(_)) => tokio::time::sleep(LOG_WAIT).await,
            answer => return answer,
        }
    }
    ask(connection, "PRAGMA journal_mode = WAL").await
}

fn check_sqlite_version(version: &str) -> Result<(), JournalError> {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut number = || numbers.next().unwrap_or(0);
    let found = (number(), number(), number());
    if found >= OLDEST_SQLITE {
        return Ok(());
    }
    let (major, minor, patch) = OLDEST_SQLITE;
    let message = format!("SQLite {version} can corrupt its log; build with {major}.{minor}.{patch} or newer");
    Err(JournalError::Invalid(message))
}

async fn prepare_postgres(connection: &mut AnyConnection) -> Result<(), JournalError> {
    let encoding = ask(connection, "SHOW server_encoding").await?;
    if encoding != "UTF8" {
        let message = format!("the database's encoding is {encoding}; create it with ENCODING 'UTF8'");
        return Err(JournalError::Invalid(message));
    }
    if ask(connection, "SHOW fsync").await? == "off" {
        tracing::warn!("PostgreSQL runs with fsync = off: acknowledged events are lost at a crash");
    }
    // `off` does not wait for the disk, `local` not for a synchronous standby, and `remote_write` not for its disk.
    if !["on", "remote_apply"].contains(&ask(connection, "SHOW synchronous_commit").await?.as_str()) {
        execute(connection, "SET synchronous_commit = on", Bind::new()).await?;
    }
    for (setting, value) in [
        // A host that lost its power or its network in a transaction holds its lanes until this is over, and the others'
        // heartbeats wait for them: it has to be far less than a lease.
        ("idle_in_transaction_session_timeout", "'5s'"),
        ("statement_timeout", "'30s'"),
        // Half of what a sender waits. Others' commits take far less; what takes longer is somebody's own transaction, and
        // the rest goes on without the lanes that it has.
        ("lock_timeout", "'5s'"),
        ("jit", "off"),
        // Every statement here goes by keys. The planner, with statistics from when the tables were empty, would read
        // a million rows instead.
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
    ] {
        execute(
            connection,
            AssertSqlSafe(format!("SET {setting} = {value}")),
            Bind::new(),
        )
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_commit_waits_for_the_disks_whatever_the_database_says() {
        sqlx::any::install_default_drivers();
        let url = kit::PrivatePostgres::shared().database();
        let mut connection = AnyConnection::connect(&url).await.unwrap();
        for (set, used) in [
            ("off", "on"),
            ("local", "on"),
            ("remote_write", "on"),
            ("on", "on"),
            ("remote_apply", "remote_apply"),
        ] {
            let set = format!("SET synchronous_commit = {set}");
            execute(&mut connection, AssertSqlSafe(set), Bind::new()).await.unwrap();
            Dialect::Postgres.prepare_writer(&mut connection).await.unwrap();
            assert_eq!(ask(&mut connection, "SHOW synchronous_commit").await.unwrap(), used);
        }
    }

    /// With statistics of another day, a list would read and sort all of a tenant otherwise.
    #[tokio::test(flavor = "multi_thread")]
    async fn readers_go_by_the_order_of_an_index() {
        sqlx::any::install_default_drivers();
        let url = kit::PrivatePostgres::shared().database();
        let mut connection = AnyConnection::connect(&url).await.unwrap();
        let tables = "CREATE TABLE t (id BYTEA PRIMARY KEY, tenant TEXT); CREATE INDEX of_tenant ON t(tenant, id); \
                      INSERT INTO t SELECT decode(md5(n::text), 'hex'), 'big' FROM generate_series(1, 20000) n";
        for statement in tables.split(';') {
            execute(&mut connection, AssertSqlSafe(statement.to_owned()), Bind::new())
                .await
                .unwrap();
        }
        Dialect::Postgres.prepare_reader(&mut connection).await.unwrap();
        let explain = "EXPLAIN SELECT id FROM t WHERE tenant = 'big' ORDER BY id DESC LIMIT 1 OFFSET 9999";
        let rows = fetch(&mut connection, explain, Bind::new()).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| Cells::of(row).text().unwrap()).collect();
        assert!(!plan.iter().any(|line| line.contains("Sort")), "{plan:#?}");
    }

    #[test]
    fn sqlite_before_the_log_fix_is_refused() {
        for refused in ["3.46.0", "3.51.2", "2.8.17", "nonsense"] {
            assert!(check_sqlite_version(refused).is_err(), "{refused}");
        }
        for fine in ["3.51.3", "3.52.0", "4.0.0"] {
            assert!(check_sqlite_version(fine).is_ok(), "{fine}");
        }
    }
}
