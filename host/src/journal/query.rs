//! Lists of jobs.

use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::database::{Context, Step};
use super::error::JournalError;
use super::open::Journal;
use super::rows::{JOB_COLUMNS, JobRow};
use super::sql::{Bind, Cells, fetch};
use super::types::{EventId, JobId, Lane, Outcome, State, date, first_id};

/// Most rows of a page.
pub const MAX_PAGE: u32 = 500;

/// Most rows that are passed over for one page, 10,000: some fifty milliseconds. Readers are few, and a tenant can have
/// any number of rows that do not fit; what it asks must not keep the others waiting.
pub const MAX_LOOK: u32 = 10_000;

/// Which jobs are meant. Nothing set means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only this lane's.
    pub lane: Option<Lane>,
    /// Only this event's.
    pub event: Option<EventId>,
    /// Only in this state. Parked jobs are queued.
    pub state: Option<State>,
    /// Only those that ended so.
    pub outcome: Option<Outcome>,
    /// Only dead letters, or only others.
    pub dead: Option<bool>,
    /// Only those that are held for this reason.
    pub why: Option<String>,
    /// Only those whose event has this [`person_key`](super::NewEvent::person_key), compared without case.
    pub person: Option<String>,
    /// Only those whose account may be open: that ended otherwise than closed, already closed or without account, or have
    /// not ended.
    pub not_closed: bool,
    /// Only those whose event came at this time or later.
    pub since: Option<Timestamp>,
    /// Only those whose event came before this time.
    pub until: Option<Timestamp>,
}

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

/// `JOB_COLUMNS` come first, then what other tables say. Without the detail, which has hundreds of kilobytes where a job
/// found many accounts.
const SELECT: &str = "FROM job JOIN event ON event.id = job.event_id JOIN lane ON lane.id = job.lane WHERE 1 = 1";

async fn read_summaries(
    tx: &mut AnyConnection,
    context: &Context,
    from: String,
    bind: Bind,
) -> Result<Vec<JobSummary>, JournalError> {
    let columns = JOB_COLUMNS.split(", ").map(|column| match column {
        "detail" => "CAST(NULL AS TEXT)".to_owned(),
        column => format!("job.{column}"),
    });
    let columns: Vec<String> = columns.collect();
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
    fn people(&mut self, person: &str, tenant: Option<String>) -> String {
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

/// Whose jobs are meant where a tenant, a lane or both are named.
pub(super) fn tenant_of(tenant: Option<&str>, lane: Option<&Lane>) -> Option<String> {
    tenant.or(lane.map(Lane::tenant)).map(str::to_owned)
}

impl JobFilter {
    fn is_of_the_queue(&self) -> bool {
        self.state == Some(State::Queued) && self.event.is_none() && self.person.is_none()
    }

    /// The rows that are walked through by their ids, where some of them may not fit. What is queued or runs, and what an
    /// event or a person has, is found without passing over much else.
    fn walked(&self) -> Option<Conditions> {
        let is_found =
            self.event.is_some() || self.person.is_some() || matches!(self.state, Some(State::Queued | State::Running));
        // By tenant alone all fit, and so they do without a filter.
        let is_narrowed = self.lane.is_some()
            || self.state.is_some()
            || self.outcome.is_some()
            || self.dead.is_some()
            || self.why.is_some()
            || self.not_closed;
        if is_found || !is_narrowed {
            return None;
        }
        let mut rows = Conditions::default();
        let tenant = self.tenant();
        if self.state == Some(State::Held) || self.why.is_some() {
            rows.sql += " AND state = 2";
        } else if let (None, Some(outcome)) = (&tenant, self.ended_as().next()) {
            rows.sql = format!(" AND state = 3 AND outcome = {}", outcome.code());
        }
        rows.maybe("tenant =", tenant, |bind, tenant| bind.text(&tenant));
        Some(rows)
    }

    /// The first id that is old enough, or young enough.
    fn first(&self) -> Option<Uuid> {
        self.since.map(|since| first_id(since.as_millisecond()))
    }

    /// What all that is asked for comes before.
    fn before(&self, page: &Page) -> Option<Uuid> {
        let until = self.until.map(|until| first_id(until.as_millisecond()));
        let before = page.before.map(|id| id.0);
        before.into_iter().chain(until).min()
    }

    fn tenant(&self) -> Option<String> {
        tenant_of(self.tenant.as_deref(), self.lane.as_ref())
    }

    /// All that were given up have failed, and that has an index.
    fn ended_as(&self) -> impl Iterator<Item = Outcome> {
        let given_up = (self.dead == Some(true)).then_some(Outcome::Failed);
        self.outcome.into_iter().chain(given_up)
    }

    /// What waits has an index by lane, so it has to be sorted; by ids alone, without looking at the jobs.
    fn write_queued(&self, query: &mut Conditions, page: &Page, limit: i64) {
        let outer = std::mem::take(&mut query.sql);
        match &self.lane {
            Some(lane) => query.maybe("lane =", Some(lane.key()), |bind, lane| bind.text(&lane)),
            None => {
                query.maybe("tenant =", self.tenant.clone(), |bind, tenant| bind.text(&tenant));
                query.sql = format!(" AND lane IN (SELECT id FROM lane WHERE queued > 0{})", query.sql);
            }
        }
        query.maybe("id <", self.before(page), Bind::id);
        query.maybe("id >=", self.first(), Bind::id);
        let mark = query.next();
        query.bind = std::mem::take(&mut query.bind).int(limit);
        query.sql = format!(
            "{outer} AND job.id IN (SELECT id FROM job WHERE state = 0{} ORDER BY id DESC LIMIT {mark})",
            query.sql
        );
    }

    /// Numbers are literals, so that partial indexes match. Conditions are put so that each index that comes into
    /// question gives the order of ids, and leads to few of other tenants' jobs where one tenant is meant: sorting or
    /// passing over a million jobs for one page is what has to be avoided.
    fn write(&self, query: &mut Conditions) {
        let text = |bind: Bind, value: String| bind.text(&value);
        let tenant = self.tenant();
        query.sql += match self.state {
            None => "",
            Some(State::Queued) => " AND job.state = 0",
            // Few, and the oldest of the unfinished ones.
            Some(State::Running) => " AND job.id IN (SELECT id FROM job WHERE state = 1)",
            // An event's few are found by it, and not among all that is held.
            Some(State::Held) if self.event.is_some() => " AND job.state + 0 = 2",
            Some(State::Held) => " AND job.state = 2",
            Some(State::Ended) => " AND job.state = 3",
        };
        if self.not_closed {
            let closed =
                [Outcome::Closed, Outcome::AlreadyClosed, Outcome::NoAccount].map(|end| end.code().to_string());
            let closed = closed.join(", ");
            query.sql = format!(
                "{} AND (job.outcome IS NULL OR job.outcome + 0 NOT IN ({closed}))",
                query.sql
            );
        }
        for outcome in self.ended_as() {
            // As an expression where it would lead to all tenants' jobs.
            let column = if tenant.is_some() {
                "job.outcome + 0"
            } else {
                "job.outcome"
            };
            query.sql = format!("{} AND job.state = 3 AND {column} = {}", query.sql, outcome.code());
        }
        if let Some(dead) = self.dead {
            query.sql = format!("{} AND job.dead = {}", query.sql, i64::from(dead));
        }
        if self.why.is_some() && self.event.is_none() {
            // Only what is held has a reason of this kind.
            query.sql += " AND job.state = 2";
        }
        query.maybe("job.event_id =", self.event.map(|event| event.0), Bind::id);
        query.maybe("job.why =", self.why.clone(), text);
        // As an expression, since the lane's own index would need a sort.
        query.maybe("job.lane || '' =", self.lane.as_ref().map(Lane::key), text);
        match &self.person {
            // As an expression, or SQLite would walk through all of the tenant's.
            None if self.event.is_some() => query.maybe("job.tenant || '' =", tenant, text),
            None => query.maybe("job.tenant =", tenant, text),
            Some(person) => {
                let people = query.people(person, tenant);
                query.sql = format!(
                    "{} AND job.event_id IN (SELECT id FROM event WHERE 1 = 1 {people})",
                    query.sql
                );
            }
        }
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
