//! What a worker is told of a job that was claimed for it.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use sqlx::AnyConnection;
use uuid::Uuid;

use super::error::JournalError;
use super::rows::JobRow;
use super::sql::{Cells, select_in};
use super::types::{EventId, Fence, JobId, date};
use super::unit::Unit;

/// A job in our hands until its lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedJob {
    /// What shows that it is ours.
    pub fence: Fence,
    /// Its event.
    pub event: EventId,
    /// The source that the event came from.
    pub source: String,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// When the event came.
    pub received_at: Timestamp,
    /// When it happened, where it said so.
    pub occurred_at: Option<Timestamp>,
    /// Who left, as JSON.
    pub person: Option<String>,
    /// Accounts that earlier tries set out to close. One of them that is found closed was closed by us.
    pub intents: Vec<String>,
    /// Holds that an operator released: do not hold it for these again. And an [`approval`](super::approval) of each
    /// account that these showed: others were not decided about.
    pub released: Vec<String>,
}

impl ClaimedJob {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.fence.job()
    }

    /// Its tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.fence.lane().tenant()
    }

    /// Its connector.
    #[must_use]
    pub fn connector(&self) -> &str {
        self.fence.lane().connector()
    }
}

/// Ends jobs of which nobody knows any more whom they are about. An error would come back with each claim, and keep all
/// tenants' jobs on all hosts from being claimed.
pub(super) async fn give_up(
    tx: &mut AnyConnection,
    unit: &mut Unit,
    orphans: &[Uuid],
    now: i64,
) -> Result<(), JournalError> {
    const REASON: &str = "its event is not in the journal any more: somebody has deleted it there";
    unit.load_intents(tx, orphans).await?;
    for id in orphans {
        unit.end_attempt(*id, "failed", REASON, now);
        unit.give_up(*id, REASON, now);
        tracing::error!(job = %JobId(*id), "given up: {REASON}");
    }
    Ok(())
}

/// Adds what the worker needs to know from other tables, and returns apart those whose event is not there. Those that
/// somebody had before may have intents.
pub(super) async fn describe(
    tx: &mut AnyConnection,
    unit: &Unit,
    taken: &[Uuid],
    again: &[Uuid],
) -> Result<(Vec<ClaimedJob>, Vec<Uuid>), JournalError> {
    let jobs: Vec<&JobRow> = taken.iter().filter_map(|id| unit.job(*id)).collect();
    let mut intents = intents(tx, again).await?;
    let events: BTreeSet<Uuid> = jobs.iter().map(|job| job.event).collect();
    let events: Vec<Uuid> = events.into_iter().collect();
    let select = (
        "SELECT id, source, received_at, occurred_at, person FROM event WHERE id IN",
        "",
    );
    let rows = select_in(tx, select, &events, |bind, id| bind.id(*id)).await?;
    let mut found = HashMap::new();
    for row in &rows {
        let mut cells = Cells::of(row);
        let event = (
            cells.id()?,
            cells.text()?,
            cells.int()?,
            cells.maybe_int()?,
            cells.maybe_text()?,
        );
        found.insert(event.0, event);
    }
    let (mut claimed, mut orphans) = (Vec::with_capacity(jobs.len()), Vec::new());
    for job in jobs {
        let Some((_, source, received_at, occurred_at, person)) = found.get(&job.event).cloned() else {
            orphans.push(job.id);
            continue;
        };
        claimed.push(ClaimedJob {
            fence: job.fence(),
            event: job.event_id(),
            source,
            attempt: u32::try_from(job.attempts).unwrap_or(u32::MAX),
            received_at: date(received_at),
            occurred_at: occurred_at.map(date),
            person,
            intents: intents.remove(&job.id).unwrap_or_default(),
            released: job.released_holds(),
        });
    }
    Ok((claimed, orphans))
}

/// The accounts that these jobs set out to close.
pub(super) async fn intents(tx: &mut AnyConnection, jobs: &[Uuid]) -> Result<HashMap<Uuid, Vec<String>>, JournalError> {
    let select = (
        "SELECT job_id, coalesce(spelled, account) FROM intent WHERE job_id IN",
        "ORDER BY job_id, account",
    );
    let mut found: HashMap<Uuid, Vec<String>> = HashMap::new();
    for row in select_in(tx, select, jobs, |bind, id| bind.id(*id)).await? {
        let mut cells = Cells::of(&row);
        found.entry(cells.id()?).or_default().push(cells.text()?);
    }
    Ok(found)
}
