//! Events, as they can be looked up.

use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::database::{Context, Step};
use super::error::JournalError;
use super::open::Journal;
use super::query::{Conditions, Listed, MAX_PAGE, Page, end_of_look};
use super::sql::{Bind, Cells, fetch};
use super::types::{Decision, EventId, JobId, date};

/// An event in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSummary {
    /// Its id.
    pub id: EventId,
    /// Its tenant.
    pub tenant: String,
    /// Its source.
    pub source: String,
    /// The source's own id for it.
    pub source_id: Option<String>,
    /// When it came.
    pub received_at: Timestamp,
    /// When it happened, where it said so.
    pub occurred_at: Option<Timestamp>,
    /// What was decided about it.
    pub decision: Decision,
    /// Why, in words.
    pub reason: String,
    /// Who left, as JSON.
    pub person: Option<String>,
    /// The event that was made of it when it was judged again.
    pub replayed_as: Option<EventId>,
}

/// An event with everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// What a list says.
    pub summary: EventSummary,
    /// The bytes, as received; none of an event with jobs that is past its retention.
    pub body: Vec<u8>,
    /// Its jobs, in the order in which they were made.
    pub jobs: Vec<JobId>,
}

impl Journal {
    /// An event with its body and its jobs' ids.
    ///
    /// # Errors
    /// None of its own.
    pub async fn event(&self, id: EventId) -> Result<Option<EventRecord>, JournalError> {
        self.read(id, event).await
    }

    /// A tenant's events, newest first.
    ///
    /// # Errors
    /// None of its own.
    pub async fn events(
        &self,
        tenant: &str,
        decision: Option<Decision>,
        page: Page<EventId>,
    ) -> Result<Listed<EventSummary, EventId>, JournalError> {
        self.read((tenant.to_owned(), decision, page), events).await
    }
}

const COLUMNS: &str = "id, tenant, source, source_id, received_at, occurred_at, decision, reason, person, \
                       replayed_as";

fn read(cells: &mut Cells<'_>) -> Result<EventSummary, JournalError> {
    Ok(EventSummary {
        id: EventId(cells.id()?),
        tenant: cells.text()?,
        source: cells.text()?,
        source_id: cells.maybe_text()?,
        received_at: date(cells.int()?),
        occurred_at: cells.maybe_int()?.map(date),
        decision: Decision::from_code(cells.int()?)?,
        reason: cells.text()?,
        person: cells.maybe_text()?,
        replayed_as: cells.maybe_id()?.map(EventId),
    })
}

fn event<'c>(tx: &'c mut AnyConnection, _: &'c Context, id: &'c EventId) -> Step<'c, Option<EventRecord>> {
    Box::pin(async move {
        let sql = format!("SELECT {COLUMNS}, body FROM event WHERE id = $1");
        let rows = fetch(tx, AssertSqlSafe(sql), Bind::new().id(id.0)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut cells = Cells::of(row);
        let (summary, body) = (read(&mut cells)?, cells.bytes()?);
        let sql = "SELECT id FROM job WHERE event_id = $1 ORDER BY lane, id";
        let jobs = fetch(tx, sql, Bind::new().id(id.0)).await?;
        let jobs = jobs
            .iter()
            .map(|row| Cells::of(row).id().map(JobId))
            .collect::<Result<_, _>>()?;
        Ok(Some(EventRecord { summary, body, jobs }))
    })
}

type Events = (String, Option<Decision>, Page<EventId>);

fn events<'c>(
    tx: &'c mut AnyConnection,
    _: &'c Context,
    wanted: &'c Events,
) -> Step<'c, Listed<EventSummary, EventId>> {
    Box::pin(async move {
        let (tenant, decision, page) = wanted;
        let end = match decision {
            Some(_) => end_of_look(tx, "event", of_tenant(tenant), page.before.map(|id| id.0)).await?,
            None => None,
        };
        let (sql, bind) = list(wanted, end);
        let rows: Vec<AnyRow> = fetch(tx, AssertSqlSafe(sql), bind).await?;
        let events: Result<_, _> = rows.iter().map(|row| read(&mut Cells::of(row))).collect();
        Ok(Listed::new(
            events?,
            page,
            |event: &EventSummary| event.id,
            end.map(EventId),
        ))
    })
}

pub(super) fn of_tenant(tenant: &str) -> Conditions {
    let mut query = Conditions::default();
    query.maybe("tenant =", Some(tenant), Bind::text);
    query
}

/// The list's statement, to the `end` of the look.
pub(super) fn list((tenant, decision, page): &Events, end: Option<Uuid>) -> (String, Bind) {
    let mut query = of_tenant(tenant);
    query.maybe("decision =", decision.map(Decision::code), Bind::int);
    query.maybe("id <", page.before.map(|id| id.0), Bind::id);
    query.maybe("id >=", end, Bind::id);
    let limit = query.next();
    let sql = format!(
        "SELECT {COLUMNS} FROM event WHERE 1 = 1 {} ORDER BY id DESC LIMIT {limit}",
        query.sql
    );
    (sql, query.bind.int(i64::from(page.limit.min(MAX_PAGE))))
}
