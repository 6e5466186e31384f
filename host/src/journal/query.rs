//! Lists of jobs.

use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::database::{Context, Step};
use super::error::JournalError;
use super::filter::JobFilter;
use super::open::Journal;
use super::rows::{JOB_COLUMNS, JobRow};
use super::sql::{Bind, Cells, fetch};
use super::types::{EventId, JobId, Lane, Outcome, State, date};

/// Most rows of a page.
pub const MAX_PAGE: u32 = 500;

/// Most rows that are passed over for one page, 10,000: some fifty milliseconds. Readers are few, and a tenant can have
/// any number of rows that do not fit; what it asks must not keep the others waiting.
pub const MAX_LOOK: u32 = 10_000;

/// Which part of a list, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<Id = JobId> {
    /// Only what is older than this: the last id of the page before.
    pub before: Option<Id>,
    /// At most so many, up to [`MAX_PAGE`].
    pub limit: u32,
}

impl<Id> Default for Page<Id> {
    /// The newest hundred.
    fn default() -> Self {
        Self {
            before: None,
            limit: 100,
        }
    }
}

/// A part of a list, newest first. It may be short, and even empty, where there is more to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T, Id> {
    /// What fits, at most as many as were asked for.
    pub items: Vec<T>,
    /// Before which the list goes on. None at its end.
    pub next: Option<Id>,
}

impl<T, Id> Listed<T, Id> {
    /// `end` is how far was looked, where that was not to the end.
    pub(super) fn new(items: Vec<T>, page: &Page<Id>, id: impl Fn(&T) -> Id, end: Option<Id>) -> Self {
        let is_full = items.len() as u64 >= u64::from(page.limit.min(MAX_PAGE));
        let next = items.last().filter(|_| is_full).map(id).or(end);
        Self { items, next }
    }
}

/// Where a job is, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Waits for its turn.
    Queued,
    /// Waits for a time, or for somebody to change something.
    Parked {
        /// Until when, where that is known.
        until: Option<Timestamp>,
        /// Why, in words.
        why: String,
    },
    /// Somebody works on it.
    Running {
        /// Which host.
        owner: String,
        /// Since when.
        since: Timestamp,
        /// Until when it is that host's.
        lease_until: Timestamp,
    },
    /// Waits for an operator.
    Held {
        /// Why, as a word.
        why: String,
    },
    /// Has its outcome.
    Ended {
        /// Which.
        outcome: Outcome,
        /// True for a dead letter.
        dead: bool,
        /// When.
        at: Timestamp,
    },
}

/// A job in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSummary {
    /// Its id.
    pub id: JobId,
    /// Its event.
    pub event: EventId,
    /// Its lane.
    pub lane: Lane,
    /// Where it is.
    pub state: JobState,
    /// Tries that counted.
    pub attempts: u32,
    /// Leases that ran out.
    pub lapses: u32,
    /// The last thing that happened to it, in words.
    pub reason: Option<String>,
    /// Holds that operators released.
    pub released: Vec<String>,
    /// Who left, as JSON.
    pub person: Option<String>,
    /// The source of its event.
    pub source: String,
    /// When its event came.
    pub received_at: Timestamp,
}

impl Journal {
    /// Jobs that fit, newest first.
    ///
    /// # Errors
    /// None of its own.
    pub async fn jobs(&self, filter: &JobFilter, page: Page) -> Result<Listed<JobSummary, JobId>, JournalError> {
        self.read((filter.clone(), page), jobs).await
    }
}

fn jobs<'c>(
    tx: &'c mut AnyConnection,
    context: &'c Context,
    (filter, page): &'c (JobFilter, Page),
) -> Step<'c, Listed<JobSummary, JobId>> {
    Box::pin(async move {
        let end = match filter.walked() {
            Some(rows) => end_of_look(tx, "job", rows, filter.before(page)).await?,
            None => None,
        };
        // What lies before that is not asked for.
        let end = end.filter(|end| filter.first().is_none_or(|first| *end > first));
        let (sql, bind) = list(filter, page, end);
        let jobs = read_summaries(tx, context, sql, bind).await?;
        Ok(Listed::new(jobs, page, |job| job.id, end.map(JobId)))
    })
}

/// The last row of one look at rows of a table; none where it reaches their end.
pub(super) async fn end_of_look(
    tx: &mut AnyConnection,
    table: &str,
    rows: Conditions,
    before: Option<Uuid>,
) -> Result<Option<Uuid>, JournalError> {
    let (sql, bind) = look(table, rows, before);
    let found = fetch(tx, AssertSqlSafe(sql), bind).await?;
    found.first().map(|row| Cells::of(row).id()).transpose()
}

fn look(table: &str, mut rows: Conditions, before: Option<Uuid>) -> (String, Bind) {
    rows.maybe("id <", before, Bind::id);
    let passed = MAX_LOOK - 1;
    let sql = format!(
        "SELECT id FROM {table} WHERE 1 = 1{} ORDER BY id DESC LIMIT 1 OFFSET {passed}",
        rows.sql
    );
    (sql, rows.bind)
}

/// The list's statement, from its tables on; to the `end` of the look.
fn list(filter: &JobFilter, page: &Page, end: Option<Uuid>) -> (String, Bind) {
    let mut query = Conditions::default();
    let limit = i64::from(page.limit.min(MAX_PAGE));
    if filter.is_of_the_queue() {
        filter.write_queued(&mut query, page, limit);
    }
    filter.write(&mut query);
    query.maybe("job.id <", filter.before(page), Bind::id);
    query.maybe("job.id >=", end.or(filter.first()), Bind::id);
    let mark = query.next();
    let sql = format!("{SELECT} {} ORDER BY job.id DESC LIMIT {mark}", query.sql);
    (sql, query.bind.int(limit))
}

/// One job, as in a list.
pub(super) async fn summary(
    tx: &mut AnyConnection,
    context: &Context,
    id: Uuid,
) -> Result<Option<JobSummary>, JournalError> {
    let found = read_summaries(tx, context, format!("{SELECT} AND job.id = $1"), Bind::new().id(id)).await?;
    Ok(found.into_iter().next())
}

/// `JOB_COLUMNS` come first, then what other tables say.
const SELECT: &str = "FROM job JOIN event ON event.id = job.event_id JOIN lane ON lane.id = job.lane WHERE 1 = 1";

async fn read_summaries(
    tx: &mut AnyConnection,
    context: &Context,
    from: String,
    bind: Bind,
) -> Result<Vec<JobSummary>, JournalError> {
    let columns: Vec<String> = JOB_COLUMNS.split(", ").map(|column| format!("job.{column}")).collect();
    let sql = format!(
        "SELECT {}, event.person, event.source, event.received_at, lane.parked, lane.not_before, lane.not_before_why \
         {from}",
        columns.join(", ")
    );
    let rows = fetch(tx, AssertSqlSafe(sql), bind).await?;
    rows.iter()
        .map(|row| read(&mut Cells::of(row), context.now()))
        .collect()
}

fn read(cells: &mut Cells<'_>, now: i64) -> Result<JobSummary, JournalError> {
    let row = JobRow::from_cells(cells)?;
    let (person, source, received_at) = (cells.maybe_text()?, cells.text()?, cells.int()?);
    let (parked, not_before, not_before_why) = (cells.maybe_text()?, cells.int()?, cells.maybe_text()?);
    let count = |number: i64| u32::try_from(number).unwrap_or(0);
    Ok(JobSummary {
        id: row.job_id(),
        event: row.event_id(),
        lane: Lane::from_key(&row.lane),
        state: state(&row, parked, (not_before, not_before_why), now),
        attempts: count(row.attempts),
        lapses: count(row.lapses),
        released: row.released_holds(),
        reason: row.reason,
        person,
        source,
        received_at: date(received_at),
    })
}

fn state(row: &JobRow, parked: Option<String>, not_before: (i64, Option<String>), now: i64) -> JobState {
    match row.state {
        State::Queued => waiting(row, parked, not_before, now),
        State::Running => JobState::Running {
            owner: row.owner.clone().unwrap_or_default(),
            since: date(row.claimed_at.unwrap_or(0)),
            lease_until: date(row.lease_until.unwrap_or(0)),
        },
        State::Held => JobState::Held {
            why: row.why.clone().unwrap_or_default(),
        },
        State::Ended => JobState::Ended {
            outcome: row.outcome.unwrap_or(Outcome::Failed),
            dead: row.dead,
            at: date(row.ended_at.unwrap_or(0)),
        },
    }
}

fn waiting(row: &JobRow, parked: Option<String>, (until, why): (i64, Option<String>), now: i64) -> JobState {
    if let Some(why) = parked {
        JobState::Parked { until: None, why }
    } else if until > now {
        JobState::Parked {
            until: Some(date(until)),
            why: why.unwrap_or_default(),
        }
    } else if row.run_at > now {
        JobState::Parked {
            until: Some(date(row.run_at)),
            why: row.reason.clone().unwrap_or_default(),
        }
    } else {
        JobState::Queued
    }
}

/// `AND` conditions with their parameters.
#[derive(Default)]
pub(super) struct Conditions {
    pub(super) sql: String,
    pub(super) bind: Bind,
    count: usize,
}

impl Conditions {
    /// The next parameter's mark.
    pub(super) fn next(&mut self) -> String {
        self.count += 1;
        format!("${}", self.count)
    }

    /// Conditions on events of a person, for a query inside this one.
    pub(super) fn people(&mut self, person: &str, tenant: Option<String>) -> String {
        let outer = std::mem::take(&mut self.sql);
        self.maybe("event.person_key =", Some(person.to_lowercase()), |bind, value| {
            bind.text(&value)
        });
        self.maybe("event.tenant =", tenant, |bind, value| bind.text(&value));
        std::mem::replace(&mut self.sql, outer)
    }

    /// Adds `left $n`, if there is a value.
    pub(super) fn maybe<T>(&mut self, left: &str, value: Option<T>, bind: impl FnOnce(Bind, T) -> Bind) {
        let Some(value) = value else { return };
        let mark = self.next();
        self.sql = format!("{} AND {left} {mark}", self.sql);
        self.bind = bind(std::mem::take(&mut self.bind), value);
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
