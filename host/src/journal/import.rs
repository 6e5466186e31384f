//! Fills an empty journal from an export, wholly or not at all.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sqlx::AnyConnection;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};
use tokio::sync::{Mutex, mpsc};

use super::database::{Context, Step, Writer};
use super::error::JournalError;
use super::export::{Exported, FORMAT, Seal, header};
use super::open::Journal;
use super::schema::{Kind, SCHEMA_VERSION, TABLES, Table};
use super::sql::{Bind, bulk, fetch};

/// Longest line. An event's body is 1 MiB at most, a transcript some MiB; base64 adds a third.
const MAX_LINE_BYTES: usize = 64 << 20;

/// Lines that are read ahead of the database: 8, since one may be long.
const LINES_AHEAD: usize = 8;

/// Rows of a table that are written at a time.
const ROWS: usize = 64;

/// Bytes of lines after which all rows that wait are written: 4 MiB, thousands of usual ones.
const ROWS_BYTES: usize = 4 << 20;

/// A line with its number and its end, or why there is none.
type Line = Result<(u64, String), JournalError>;

impl Journal {
    /// Fills this journal, which must be empty, from what [`Journal::export`] wrote. Nothing is kept unless everything
    /// is there.
    ///
    /// Jobs that ran at the time of the export are taken back when their leases end.
    ///
    /// # Errors
    /// [`JournalError::Import`] with the line: for another format or schema version, a target that is not empty, a row
    /// that is none, and a stream that is cut off, changed, or goes on after its end.
    pub async fn import<R: AsyncBufRead + Unpin + Send>(&self, input: &mut R) -> Result<Exported, JournalError> {
        let (sender, lines) = mpsc::channel(LINES_AHEAD);
        let target = tokio::spawn({
            let journal = self.clone();
            async move {
                journal
                    .write(Writer::Long, Arc::new(Mutex::new(Some(lines))), write_all)
                    .await
            }
        });
        read_lines(input, &sender).await;
        drop(sender);
        target.await.map_err(|error| JournalError::Stream(error.to_string()))?
    }
}

/// Hands lines over until the input ends or nobody wants more. An error is the last thing that is handed over.
async fn read_lines<R: AsyncBufRead + Unpin>(input: &mut R, lines: &mpsc::Sender<Line>) {
    for number in 1.. {
        let mut line = Vec::new();
        let read = (&mut *input)
            .take(MAX_LINE_BYTES as u64 + 1)
            .read_until(b'\n', &mut line)
            .await;
        let line = match read {
            Ok(0) => return,
            Ok(length) if length > MAX_LINE_BYTES => Err(refuse(number, "the line is longer than 64 MiB")),
            Ok(_) => String::from_utf8(line).map_err(|_| refuse(number, "the line is not UTF-8")),
            Err(error) => Err(JournalError::Stream(format!("cannot read the export: {error}"))),
        };
        let last = line.is_err();
        if lines.send(line.map(|line| (number, line))).await.is_err() || last {
            return;
        }
    }
}

fn refuse(line: u64, reason: impl Into<String>) -> JournalError {
    JournalError::Import {
        line,
        reason: reason.into(),
    }
}

/// Taken at the first run. A transaction that PostgreSQL asks to repeat cannot read the input again.
type Lines = Arc<Mutex<Option<mpsc::Receiver<Line>>>>;

fn write_all<'c>(tx: &'c mut AnyConnection, context: &'c Context, lines: &'c Lines) -> Step<'c, Exported> {
    Box::pin(async move {
        let taken = lines.lock().await.take();
        let mut lines = taken.ok_or_else(|| refuse(1, "interrupted by another host; import once more"))?;
        context.dialect.wait_for_input(tx).await?;
        check_empty(tx).await?;
        let mut seal = Seal::default();
        let (number, first) = next(&mut lines).await?.ok_or_else(|| refuse(1, "the input is empty"))?;
        check_header(number, &first)?;
        seal.update(first.as_bytes());
        let mut rows = Rows::default();
        let mut last = number;
        while let Some((number, line)) = next(&mut lines).await? {
            last = number;
            let value: Value = serde_json::from_str(&line).map_err(|error| refuse(number, format!("{error}")))?;
            if value.is_object() {
                rows.flush(tx).await?;
                check_end(number, &value, &seal, &mut lines).await?;
                return Ok(seal.exported());
            }
            seal.update(line.as_bytes());
            seal.moved.0 += 1;
            rows.add(tx, number, line.len(), value).await?;
        }
        Err(refuse(
            last,
            "the export is cut off: its last line with the checksum is missing",
        ))
    })
}

async fn next(lines: &mut mpsc::Receiver<Line>) -> Result<Option<(u64, String)>, JournalError> {
    lines.recv().await.transpose()
}

async fn check_empty(tx: &mut AnyConnection) -> Result<(), JournalError> {
    for table in TABLES {
        let sql = format!("SELECT 1 FROM {} LIMIT 1", table.name);
        if !fetch(tx, sqlx::AssertSqlSafe(sql), Bind::new()).await?.is_empty() {
            return Err(refuse(
                1,
                format!(
                    "the target holds data already (table {}); import into a new one",
                    table.name
                ),
            ));
        }
    }
    Ok(())
}

fn check_header(number: u64, line: &str) -> Result<(), JournalError> {
    let found: Value = serde_json::from_str(line).map_err(|_| refuse(number, "this is no export of a journal"))?;
    let field = |name: &str| found.get(name).and_then(Value::as_u64);
    match (field("exeunt-journal"), field("schema")) {
        (None, _) => Err(refuse(number, "this is no export of a journal")),
        (Some(format), _) if format != FORMAT => Err(refuse(
            number,
            format!("the format is {format}, this release reads {FORMAT}"),
        )),
        (_, schema) if schema != u64::try_from(SCHEMA_VERSION).ok() => {
            let found = schema.map_or("none".to_owned(), |schema| schema.to_string());
            let reason = format!("its schema version is {found}, this release's is {SCHEMA_VERSION}; use one release");
            Err(refuse(number, reason))
        }
        _ if found != header() => Err(refuse(number, "its tables are not those of its schema version")),
        _ => Ok(()),
    }
}

async fn check_end(
    number: u64,
    trailer: &Value,
    seal: &Seal,
    lines: &mut mpsc::Receiver<Line>,
) -> Result<(), JournalError> {
    if *trailer != seal.trailer() {
        return Err(refuse(
            number,
            "the checksum does not fit: the export was changed or lost lines",
        ));
    }
    match next(lines).await? {
        None => Ok(()),
        Some((number, _)) => Err(refuse(number, "there is something after the end of the export")),
    }
}

/// Rows that wait to be written together, by table.
#[derive(Default)]
struct Rows {
    tables: HashMap<&'static str, Vec<Vec<Value>>>,
    /// Of their lines.
    bytes: usize,
}

impl Rows {
    async fn add(&mut self, tx: &mut AnyConnection, number: u64, bytes: usize, row: Value) -> Result<(), JournalError> {
        let Value::Array(mut cells) = row else {
            return Err(refuse(number, "this is no row"));
        };
        let table = cells
            .first()
            .and_then(Value::as_str)
            .and_then(|name| TABLES.iter().find(|t| t.name == name));
        let table = table.ok_or_else(|| refuse(number, "this is no row of a known table"))?;
        cells.remove(0);
        check_row(number, table, &cells)?;
        let waiting = self.tables.entry(table.name).or_default();
        waiting.push(cells);
        self.bytes += bytes;
        if waiting.len() >= ROWS {
            let rows = std::mem::take(waiting);
            insert(tx, table, &rows).await?;
        }
        // More than there are after some were written, so that it comes a little early.
        if self.bytes >= ROWS_BYTES {
            self.flush(tx).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, tx: &mut AnyConnection) -> Result<(), JournalError> {
        for table in TABLES {
            insert(tx, table, &self.tables.remove(table.name).unwrap_or_default()).await?;
        }
        self.bytes = 0;
        Ok(())
    }
}

fn check_row(number: u64, table: &Table, cells: &[Value]) -> Result<(), JournalError> {
    if cells.len() != table.columns.len() {
        return Err(refuse(
            number,
            format!("a row of {} has {} cells", table.name, table.columns.len()),
        ));
    }
    for ((column, kind), cell) in table.columns.iter().zip(cells) {
        let fits = match kind {
            _ if cell.is_null() => true,
            Kind::Int => cell.is_i64(),
            Kind::Text => cell.is_string(),
            Kind::Bytes => cell.as_str().is_some_and(|text| STANDARD.decode(text).is_ok()),
        };
        if !fits {
            return Err(refuse(number, format!("{}.{column} is not {kind:?}", table.name)));
        }
    }
    Ok(())
}

async fn insert(tx: &mut AnyConnection, table: &Table, rows: &[Vec<Value>]) -> Result<(), JournalError> {
    let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let before = format!("INSERT INTO {} ({}) VALUES", table.name, columns.join(", "));
    bulk(tx, (&before, ""), columns.len(), rows, |bind, cells| {
        table
            .columns
            .iter()
            .zip(cells)
            .fold(bind, |bind, ((_, kind), cell)| match kind {
                Kind::Int => bind.maybe_int(cell.as_i64()),
                Kind::Text => bind.maybe_text(cell.as_str()),
                Kind::Bytes => bind.maybe_bytes(cell.as_str().and_then(|text| STANDARD.decode(text).ok()).as_deref()),
            })
    })
    .await?;
    Ok(())
}
