//! What the disk and the database can do without us: the same bytes, appended and synced; the same rows, inserted by
//! sqlx in groups, one commit each, by somebody who knows the database as well as the journal does.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use exeunt::journal::{Journal, Options};
use sqlx::any::AnyConnectOptions;
use sqlx::{Any, AnyConnection, AssertSqlSafe, ConnectOptions as _, Connection as _, query::Query};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use uuid::Uuid;

use crate::numbers::rate;
use crate::world::EVENT;

/// Rows of one commit: as many as clients wait in the benchmark over HTTP.
pub(crate) const GROUP: usize = 64;
const SECONDS: Duration = Duration::from_secs(3);
/// Commits between two checkpoints of SQLite's log, as in the journal.
const COMMITS: usize = 32;
/// How the journal sets its writer up. The last two are for macOS and change nothing elsewhere.
const PRAGMAS: [&str; 9] = [
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -32768",
    "PRAGMA wal_autocheckpoint = 16384",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA fullfsync = 1",
    "PRAGMA checkpoint_fullfsync = 1",
];

/// Events a second where each group of `group` is one append and one `fsync`.
pub(crate) fn appended(folder: &Path, group: usize) -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile_in(folder)?;
    let bytes = EVENT.repeat(group);
    let (started, mut count) = (Instant::now(), 0);
    while started.elapsed() < SECONDS {
        file.write_all(bytes.as_bytes())?;
        file.sync_all()?;
        count += group;
    }
    Ok(rate(count, started.elapsed()))
}

/// Events a second, each an event and a job, [`GROUP`] of them in a commit, in the journal's own tables.
///
/// As in the journal, ids ascend, SQLite is set up the same way, and its log is copied beside the commits. What the
/// journal does besides is left out: it makes lanes and keeps their counters, tells which events repeat another, and
/// answers each sender.
pub(crate) async fn inserted(url: &str) -> anyhow::Result<f64> {
    let journal = Journal::open(url, Options::default()).await?;
    journal.close().await;
    let (writer, due) = (Mutex::new(connect(url).await?), Notify::new());
    let rate = tokio::select! {
        rate = insert(url, &writer, &due) => rate,
        Err(error) = checkpoint(url, &writer, &due), if is_sqlite(url) => Err(error),
    };
    writer.into_inner().close().await?;
    rate
}

fn is_sqlite(url: &str) -> bool {
    url.starts_with("sqlite:")
}

/// A connection like those by which the journal writes.
async fn connect(url: &str) -> anyhow::Result<AnyConnection> {
    let options: AnyConnectOptions = url.replacen("sqlite:", "sqlite://", 1).parse()?;
    let mut connection = options.disable_statement_logging().connect().await?;
    if is_sqlite(url) {
        for pragma in PRAGMAS {
            sqlx::query(pragma).execute(&mut connection).await?;
        }
    }
    Ok(connection)
}

/// Inserts for a while, and tells when a checkpoint is due; events a second.
async fn insert(url: &str, writer: &Mutex<AnyConnection>, due: &Notify) -> anyhow::Result<f64> {
    let events = statement(url, "event", EVENT_COLUMNS);
    let jobs = statement(url, "job", JOB_COLUMNS);
    let (started, mut count) = (Instant::now(), 0_usize);
    while started.elapsed() < SECONDS {
        let numbers = count..count + GROUP;
        let mut connection = writer.lock().await;
        let mut group = connection.begin().await?;
        let mut query = sqlx::query(AssertSqlSafe(events.as_str()));
        for number in numbers.clone() {
            query = event(query, number);
        }
        query.execute(&mut *group).await?;
        let mut query = sqlx::query(AssertSqlSafe(jobs.as_str()));
        for number in numbers {
            query = job(query, number);
        }
        query.execute(&mut *group).await?;
        group.commit().await?;
        count += GROUP;
        if count.is_multiple_of(GROUP * COMMITS) {
            due.notify_one();
        }
    }
    Ok(rate(count, started.elapsed()))
}

/// Copies SQLite's log into its file whenever that is due: first beside the commits, then the rest between two of them.
async fn checkpoint(url: &str, writer: &Mutex<AnyConnection>, due: &Notify) -> anyhow::Result<()> {
    const COPY: &str = "PRAGMA wal_checkpoint(PASSIVE)";
    let mut connection = connect(url).await?;
    loop {
        due.notified().await;
        sqlx::query(COPY).execute(&mut connection).await?;
        let _nobody_writes = writer.lock().await;
        sqlx::query(COPY).execute(&mut connection).await?;
    }
}

const EVENT_COLUMNS: &[&str] = &[
    "id",
    "tenant",
    "source",
    "dedupe",
    "received_at",
    "decision",
    "reason",
    "person",
    "person_key",
    "body",
];
const JOB_COLUMNS: &[&str] = &["id", "event_id", "tenant", "lane", "state", "run_at"];

fn statement(url: &str, table: &str, columns: &[&str]) -> String {
    // sqlx looks numbered parameters of SQLite up by their names, one by one.
    let mark = |number: usize| match is_sqlite(url) {
        true => "?".to_owned(),
        false => format!("${number}"),
    };
    let row = |row: usize| {
        let values = (1..=columns.len()).map(|column| mark(row * columns.len() + column));
        format!("({})", values.collect::<Vec<_>>().join(", "))
    };
    let rows: Vec<String> = (0..GROUP).map(row).collect();
    format!(
        "INSERT INTO {table} ({}) VALUES {}",
        columns.join(", "),
        rows.join(", ")
    )
}

type Bound<'q> = Query<'q, Any, sqlx::any::AnyArguments>;

/// The id of an event and of its job: ascending, so that it goes to the end of each tree, as the journal's do.
fn id(number: usize) -> Vec<u8> {
    Uuid::from_u128(number as u128).as_bytes().to_vec()
}

fn event(query: Bound<'_>, number: usize) -> Bound<'_> {
    let address = format!("leaver{number}@acme.example");
    // What tells events apart is a digest, so it goes anywhere in its tree.
    let dedupe = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    query
        .bind(id(number))
        .bind("t0")
        .bind("hr")
        .bind(dedupe)
        .bind(1_800_000_000_000_i64)
        .bind(0_i64)
        .bind("userStatus became inactive")
        .bind(format!("{{\"email\":\"{address}\"}}"))
        .bind(address)
        .bind(EVENT.as_bytes().to_vec())
}

fn job(query: Bound<'_>, number: usize) -> Bound<'_> {
    query
        .bind(id(number))
        .bind(id(number))
        .bind("t0")
        .bind("t0/docusign")
        .bind(0_i64)
        .bind(1_800_000_000_000_i64)
}
