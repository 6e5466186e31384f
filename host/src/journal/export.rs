//! The whole journal as a stream of lines, to move between databases.
//!
//! JSON lines: a header with format, schema version and the columns of each table; a line `["table", …]` for each row,
//! with bytes in base64; a trailer with the number of rows and the SHA-256 of everything before it. The other way,
//! each database's own dump, cannot be read by the other one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::database::Context;
use super::error::JournalError;
use super::open::{Journal, spawned};
use super::schema::{Kind, SCHEMA_VERSION, TABLES, Table};
use super::sql::Cells;

/// The format of the stream. A reader refuses another one.
pub const FORMAT: u64 = 1;

/// Lines between the reader of the database and the writer of the stream: 8, since one with a transcript may have 11 MB.
const LINES_AHEAD: usize = 8;

/// What an export or import moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes of the stream, without the trailer.
    pub bytes: u64,
}

/// Counts and digests a stream, on both sides.
#[derive(Default)]
pub(super) struct Seal {
    digest: Sha256,
    pub(super) moved: (u64, u64),
}

impl Seal {
    /// Takes in a line with its end. The first one is the header.
    pub(super) fn update(&mut self, line: &[u8]) {
        self.digest.update(line);
        self.moved.1 += line.len() as u64;
    }

    pub(super) fn exported(&self) -> Exported {
        Exported {
            rows: self.moved.0,
            bytes: self.moved.1,
        }
    }

    /// The last line's content.
    pub(super) fn trailer(&self) -> Value {
        let digest = STANDARD.encode(self.digest.clone().finalize());
        json!({ "rows": self.moved.0, "sha256": digest })
    }
}

/// The first line's content, apart from what tells the time and place.
pub(super) fn header() -> Value {
    let columns = |table: &Table| Value::from(table.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let tables: serde_json::Map<String, Value> = TABLES
        .iter()
        .map(|table| (table.name.to_owned(), columns(table)))
        .collect();
    json!({ "exeunt-journal": FORMAT, "schema": SCHEMA_VERSION, "tables": tables })
}

impl Journal {
    /// Writes everything to `output`, as of one moment. Stop the hosts before you import it elsewhere: what they do
    /// afterwards would be missing there, or be done twice.
    ///
    /// # Errors
    /// [`JournalError::Stream`] where `output` fails; what was written is not a whole export then, and import refuses
    /// it.
    pub async fn export<W: AsyncWrite + Unpin + Send>(&self, output: &mut W) -> Result<Exported, JournalError> {
        let (sender, mut lines) = mpsc::channel::<String>(LINES_AHEAD);
        let database = std::sync::Arc::clone(&self.database);
        // In a task, so that a caller that goes away aborts no transaction: the task sees the closed channel and ends.
        let reader = tokio::spawn(spawned(async move {
            let mut connection = database.reader().await?;
            let result = read_all(&mut connection, &database.context, &sender).await;
            if result.is_err() {
                drop(connection.detach());
            }
            result
        }));
        let mut seal = Seal::default();
        let failed = |error: std::io::Error| JournalError::Stream(format!("cannot write the export: {error}"));
        let first = format!("{}\n", header());
        seal.update(first.as_bytes());
        output.write_all(first.as_bytes()).await.map_err(failed)?;
        while let Some(line) = lines.recv().await {
            seal.update(line.as_bytes());
            seal.moved.0 += 1;
            output.write_all(line.as_bytes()).await.map_err(failed)?;
        }
        reader
            .await
            .map_err(|error| JournalError::Stream(error.to_string()))??;
        output
            .write_all(format!("{}\n", seal.trailer()).as_bytes())
            .await
            .map_err(failed)?;
        output.flush().await.map_err(failed)?;
        Ok(seal.exported())
    }
}

async fn read_all(
    connection: &mut AnyConnection,
    context: &Context,
    lines: &mpsc::Sender<String>,
) -> Result<(), JournalError> {
    let mut tx = connection.begin_with(context.dialect.begin_snapshot()).await?;
    // A table is one statement, which ends when its last row was taken.
    context.dialect.take_time(&mut tx).await?;
    for table in TABLES {
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let sql = format!("SELECT {} FROM {}", columns.join(", "), table.name);
        let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            let line = line(table, &row)?;
            if lines.send(line).await.is_err() {
                return Err(JournalError::Stream("nobody reads the export any more".to_owned()));
            }
        }
    }
    tx.rollback().await?;
    Ok(())
}

fn line(table: &Table, row: &AnyRow) -> Result<String, JournalError> {
    let mut cells = Cells::of(row);
    let mut values = vec![Value::from(table.name)];
    for (_, kind) in table.columns {
        values.push(match kind {
            Kind::Int => cells.maybe_int()?.into(),
            Kind::Text => cells.maybe_text()?.into(),
            Kind::Bytes => cells.maybe_bytes()?.map(|bytes| STANDARD.encode(bytes)).into(),
        });
    }
    Ok(format!("{}\n", Value::from(values)))
}
