//! One job with its history.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::action::{Action, action};
use super::claim::nth_claim;
use super::database::{Context, Step};
use super::error::JournalError;
use super::evidence;
use super::open::Journal;
use super::query::{JobSummary, summary};
use super::sql::{Bind, Cells, fetch};
use super::types::{JobId, date, written_at};

/// A try that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number among those that count; one that was given back shares it with the next.
    pub number: u32,
    /// Which claim of the job it was.
    pub claim: u32,
    /// Which host.
    pub owner: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// An outcome, or `retry`, `held`, `rate_limited`, `parked`, `released`, `deferred`, `lease_expired`.
    pub result: String,
    /// In words.
    pub reason: String,
}

/// An account that the job set out to close.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentRecord {
    /// The account's id in the target.
    pub account: String,
    /// Which claim of the job it was that said so last.
    pub claim: u32,
    /// When it did.
    pub at: Timestamp,
}

/// Host calls of one try, or of its part before a closing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// Which claim of the job it was.
    pub claim: u32,
    /// When it was written.
    pub at: Timestamp,
    /// As given to [`Journal::finish`] or [`Journal::intend`].
    pub data: Vec<u8>,
}

/// Bytes of transcripts that are read at a time: 16 MiB, two tries that said as much as they may. A job may have fifty, and
/// more each time that it is retried.
const MAX_TRANSCRIPTS: i64 = 16 * 1024 * 1024;

/// What is kept of a job's host calls, newest first where it is too much to be read at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transcripts {
    /// In order.
    pub latest: Vec<Transcript>,
    /// Older ones that were left out.
    pub left_out: usize,
}

/// A job with everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// What a list says.
    pub summary: JobSummary,
    /// JSON: evidence of its outcome, or of why it is held.
    pub detail: Option<String>,
    /// Tries that are over, in order; the latest thousand, since those that are given back do not count.
    pub attempts: Vec<Attempt>,
    /// Accounts that it set out to close.
    pub intents: Vec<IntentRecord>,
    /// What people did to it, in order.
    pub actions: Vec<Action>,
}

impl Journal {
    /// A job with its history.
    ///
    /// # Errors
    /// None of its own.
    pub async fn job(&self, id: JobId) -> Result<Option<JobRecord>, JournalError> {
        self.read(id, job).await
    }

    /// Host calls of a job that have not expired: the latest 16 MiB. Megabytes where a connector talks much; so they are
    /// not part of the rest.
    ///
    /// # Errors
    /// None of its own.
    pub async fn transcripts(&self, id: JobId) -> Result<Transcripts, JournalError> {
        self.read(id, transcripts).await
    }
}

fn job<'c>(tx: &'c mut AnyConnection, context: &'c Context, id: &'c JobId) -> Step<'c, Option<JobRecord>> {
    Box::pin(async move {
        let Some(summary) = summary(tx, context, id.0).await? else {
            return Ok(None);
        };
        let attempts = "SELECT number, fence, owner, started_at, ended_at, result, reason FROM (SELECT * FROM attempt \
                        WHERE job_id = $1 ORDER BY fence DESC LIMIT 1000) AS latest ORDER BY fence";
        let intents = "SELECT coalesce(spelled, account), fence, coalesce(said_at, at) FROM intent WHERE job_id = $1 \
                       ORDER BY 3, 1";
        let actions = "SELECT id, actor, verb, detail FROM action WHERE job_id = $1 ORDER BY id";
        let mut evidence = evidence::of(tx, &[id.0]).await?;
        Ok(Some(JobRecord {
            summary,
            detail: evidence.remove(&id.0),
            attempts: all(tx, attempts, id, attempt).await?,
            intents: all(tx, intents, id, intent).await?,
            actions: all(tx, actions, id, action).await?,
        }))
    })
}

fn transcripts<'c>(tx: &'c mut AnyConnection, _: &'c Context, id: &'c JobId) -> Step<'c, Transcripts> {
    Box::pin(async move {
        let sizes = "SELECT CAST(length(data) AS BIGINT) FROM transcript WHERE job_id = $1 ORDER BY id DESC";
        let sizes = all(tx, sizes, id, |cells| cells.int()).await?;
        let mut room = MAX_TRANSCRIPTS;
        let fitting = sizes.iter().take_while(|size| {
            room -= **size;
            room >= 0
        });
        let fitting = fitting.count();
        let sql = "SELECT id, fence, data FROM transcript WHERE job_id = $1 ORDER BY id DESC LIMIT $2";
        let rows = fetch(tx, sql, Bind::new().id(id.0).int(fitting as i64)).await?;
        let latest = rows.iter().rev().map(|row| transcript(&mut Cells::of(row)));
        Ok(Transcripts {
            latest: latest.collect::<Result<_, _>>()?,
            left_out: sizes.len() - fitting,
        })
    })
}

async fn all<T>(
    tx: &mut AnyConnection,
    sql: &'static str,
    id: &JobId,
    read: impl Fn(&mut Cells<'_>) -> Result<T, JournalError>,
) -> Result<Vec<T>, JournalError> {
    let rows: Vec<AnyRow> = fetch(tx, sql, Bind::new().id(id.0)).await?;
    rows.iter().map(|row| read(&mut Cells::of(row))).collect()
}

fn number(cell: i64) -> u32 {
    u32::try_from(cell).unwrap_or(0)
}

fn attempt(cells: &mut Cells<'_>) -> Result<Attempt, JournalError> {
    Ok(Attempt {
        number: number(cells.int()?),
        claim: nth_claim(cells.int()?),
        owner: cells.text()?,
        started_at: date(cells.int()?),
        ended_at: date(cells.int()?),
        result: cells.text()?,
        reason: cells.text()?,
    })
}

fn intent(cells: &mut Cells<'_>) -> Result<IntentRecord, JournalError> {
    Ok(IntentRecord {
        account: cells.text()?,
        claim: nth_claim(cells.int()?),
        at: date(cells.int()?),
    })
}

fn transcript(cells: &mut Cells<'_>) -> Result<Transcript, JournalError> {
    Ok(Transcript {
        at: written_at(cells.id()?),
        claim: nth_claim(cells.int()?),
        data: cells.bytes()?,
    })
}
