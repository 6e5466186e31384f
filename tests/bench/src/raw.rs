//! What the disk and the database can do without us: the same bytes, appended and synced; the same rows, inserted by
//! sqlx in groups, one commit each.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use exeunt::journal::{Journal, Options};
use sqlx::{Any, AnyConnection, AssertSqlSafe, Connection as _, query::Query};
use tokio::time::Instant;
use uuid::Uuid;

use crate::numbers::rate;
use crate::world::EVENT;

/// Rows of one commit: as many as clients wait in the benchmark over HTTP.
pub(crate) const GROUP: usize = 64;
const SECONDS: Duration = Duration::from_secs(3);

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
pub(crate) async fn inserted(url: &str) -> anyhow::Result<f64> {
    let journal = Journal::open(url, Options::default()).await?;
    journal.close().await;
    let is_sqlite = url.starts_with("sqlite:");
    let address = url.replacen("sqlite:", "sqlite://", 1);
    let mut connection = AnyConnection::connect(&address).await?;
    if is_sqlite {
        for pragma in ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"] {
            sqlx::query(pragma).execute(&mut connection).await?;
        }
    }
    let (events, jobs) = (statement("event", EVENT_COLUMNS), statement("job", JOB_COLUMNS));
    let (started, mut count) = (Instant::now(), 0);
    while started.elapsed() < SECONDS {
        let ids: Vec<Uuid> = (0..GROUP).map(|_| Uuid::new_v4()).collect();
        let mut group = connection.begin().await?;
        let mut query = sqlx::query(AssertSqlSafe(events.as_str()));
        for id in &ids {
            query = event(query, *id);
        }
        query.execute(&mut *group).await?;
        let mut query = sqlx::query(AssertSqlSafe(jobs.as_str()));
        for id in &ids {
            query = job(query, *id);
        }
        query.execute(&mut *group).await?;
        group.commit().await?;
        count += GROUP;
    }
    let rate = rate(count, started.elapsed());
    connection.close().await?;
    Ok(rate)
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

fn statement(table: &str, columns: &[&str]) -> String {
    let row = |row: usize| {
        let values = (1..=columns.len()).map(|column| format!("${}", row * columns.len() + column));
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

fn event(query: Bound<'_>, id: Uuid) -> Bound<'_> {
    let address = format!("{id}@acme.example");
    query
        .bind(id.as_bytes().to_vec())
        .bind("t0")
        .bind("hr")
        .bind([id.as_bytes().as_slice(), id.as_bytes()].concat())
        .bind(1_800_000_000_000_i64)
        .bind(0_i64)
        .bind("userStatus became inactive")
        .bind(format!("{{\"email\":\"{address}\"}}"))
        .bind(address)
        .bind(EVENT.as_bytes().to_vec())
}

fn job(query: Bound<'_>, id: Uuid) -> Bound<'_> {
    query
        .bind(id.as_bytes().to_vec())
        .bind(id.as_bytes().to_vec())
        .bind("t0")
        .bind("t0/docusign")
        .bind(0_i64)
        .bind(1_800_000_000_000_i64)
}
