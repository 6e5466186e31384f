//! Taking events in: after this an event is never lost.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::AnyConnection;
use uuid::Uuid;

use super::database::{Context, Step};
use super::dedupe::{insert_events, key};
use super::error::JournalError;
use super::group::{Answers, Command};
use super::open::Journal;
use super::rows::{JobRow, LaneRow};
use super::sql::{Bind, Cells, bulk, select_in};
use super::types::{Decision, EventId, JobId, Lane, Outcome, State, check_name};
use super::unit::Unit;

/// Most jobs of one event. A tenant has a handful of connectors; a thousand would hold the writer for seconds.
pub(super) const MAX_JOBS: usize = 64;

/// How a message is told from one that came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dedupe {
    /// An id that stands for one event, whatever that says: a duplicate for ever.
    SourceId(String),
    /// The source's own id of a message about somebody: a duplicate for ever where both are the same. One id for two
    /// people is the sender's mistake, and must not keep the second one's account open.
    Message {
        /// The source's id.
        id: String,
        /// Whom it is about.
        about: String,
    },
    /// The source's own id of a message that makes no job: each one is an event, and the id is kept for a replay.
    Named(String),
    /// A digest of what the event says: a duplicate for [`Options::content_window`](super::Options::content_window) after
    /// the first one came, and for a day while each of its jobs is queued or running. Later it is a new event.
    Content([u8; 32]),
    /// Each message is an event.
    None,
}

/// What a new job starts as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewState {
    /// Ready to run.
    Queued,
    /// Waits for an operator.
    Held {
        /// A word that [`HeldFilter`](super::HeldFilter) can name, without comma.
        why: String,
        /// Why, in words.
        reason: String,
    },
}

/// What is to be done about an event in one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// The tenant's connector.
    pub connector: String,
    /// What it starts as.
    pub state: NewState,
}

/// An event as it came in and was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The tenant.
    pub tenant: String,
    /// The tenant's source.
    pub source: String,
    /// How it is told from others.
    pub dedupe: Dedupe,
    /// The bytes, as received.
    pub body: Vec<u8>,
    /// When it came.
    pub received_at: Timestamp,
    /// When it happened, where it says so.
    pub occurred_at: Option<Timestamp>,
    /// What the source's rule said.
    pub decision: Decision,
    /// Why, in words.
    pub reason: String,
    /// Who left, as JSON.
    pub person: Option<String>,
    /// What an operator would search the person by: the address, or an id. Compared without case.
    pub person_key: Option<String>,
    /// One for each connector; none for events that need nothing.
    pub jobs: Vec<NewJob>,
    /// The event that this one is made of, which made no job when it came. It becomes [`Decision::Replayed`] with this one,
    /// once: a second one of it is a duplicate of the first.
    pub replays: Option<EventId>,
    /// Who asked for it, where that is somebody who is known by a token: kept with what people do.
    pub actor: Option<String>,
}

/// The event that came first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Its id.
    pub event: EventId,
    /// What was decided about it.
    pub decision: Decision,
    /// Why, in words.
    pub reason: String,
}

/// An event that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its id; of a duplicate, the first one's.
    pub event: EventId,
    /// Its new jobs, in the order they were given. Empty for a duplicate.
    pub jobs: Vec<JobId>,
    /// The event that this repeats. Nothing new was recorded then.
    pub duplicate: Option<Original>,
}

impl Journal {
    /// Records an event with its jobs, and returns when it is safe on disk.
    ///
    /// The caller may stop waiting; the event is then recorded or not, as if the answer had been lost.
    ///
    /// # Errors
    /// [`JournalError::Busy`] at once where too much is waiting; [`JournalError::Invalid`] for names that cannot be
    /// stored or more than 64 jobs.
    pub async fn accept(&self, event: NewEvent) -> Result<Accepted, JournalError> {
        self.accept_with(event, ()).await
    }

    /// As [`Journal::accept`], and holds `place` until the event is written or refused, even if the caller is cancelled. So
    /// a permit limits the events that are still being written.
    ///
    /// # Errors
    /// As [`Journal::accept`].
    pub async fn accept_with(&self, event: NewEvent, place: impl Send + 'static) -> Result<Accepted, JournalError> {
        check_name("tenant", &event.tenant)?;
        check_name("source", &event.source)?;
        if event.jobs.len() > MAX_JOBS {
            return Err(JournalError::Invalid(format!(
                "an event may have {MAX_JOBS} jobs, not {}",
                event.jobs.len()
            )));
        }
        let mut lanes = Vec::with_capacity(event.jobs.len());
        for job in &event.jobs {
            lanes.push(Lane::new(event.tenant.as_str(), job.connector.as_str())?.key());
        }
        let id = || self.database.context.id();
        let command = AcceptCommand {
            id: id(),
            key: key(&event.tenant, &event.source, &event.dedupe),
            jobs: lanes.into_iter().map(|lane| (id(), lane)).collect(),
            event,
        };
        self.accepts.offer(command, Box::new(place)).await
    }
}

/// An event on its way to disk.
#[derive(Debug)]
pub(super) struct AcceptCommand {
    pub(super) event: NewEvent,
    pub(super) id: Uuid,
    pub(super) key: Option<[u8; 32]>,
    /// Id and lane of each of the event's jobs.
    jobs: Vec<(Uuid, String)>,
}

impl AcceptCommand {
    pub(super) fn received_at(&self) -> i64 {
        self.event.received_at.as_millisecond()
    }

    pub(super) fn accepted(&self) -> Accepted {
        let jobs = self.jobs.iter().map(|(id, _)| JobId(*id)).collect();
        Accepted {
            event: EventId(self.id),
            jobs,
            duplicate: None,
        }
    }

    pub(super) fn bind(&self, bind: Bind) -> Bind {
        let event = &self.event;
        let source_id = match &event.dedupe {
            Dedupe::SourceId(id) | Dedupe::Message { id, .. } | Dedupe::Named(id) => Some(id.as_str()),
            Dedupe::Content(_) | Dedupe::None => None,
        };
        bind.id(self.id)
            .text(&event.tenant)
            .text(&event.source)
            .maybe_text(source_id)
            .maybe_bytes(self.key.as_ref().map(<[u8; 32]>::as_slice))
            .int(self.received_at())
            .maybe_int(event.occurred_at.map(Timestamp::as_millisecond))
            .int(event.decision.code())
            .text(&event.reason)
            .maybe_text(event.person.as_deref())
            .maybe_text(event.person_key.as_deref().map(str::to_lowercase).as_deref())
            .bytes(&event.body)
    }

    /// Keeps who asked for this, with each job; of a replay that made none, with the tenant.
    fn note(&self, unit: &mut Unit, context: &Context, repeats: Option<&Original>) {
        let Some(actor) = &self.event.actor else { return };
        let (verb, detail) = match (self.event.replays, repeats) {
            (Some(event), Some(original)) => {
                let detail = format!("event {event}, which repeats event {}", original.event);
                return unit.act(context, actor, "replay", (&self.event.tenant, None), &detail);
            }
            (Some(event), None) => ("replay", format!("event {event}")),
            (None, Some(_)) => return,
            (None, None) => ("report", String::new()),
        };
        for (job, lane) in &self.jobs {
            unit.act(context, actor, verb, (lane, Some(*job)), &detail);
        }
    }

    fn job_rows(&self, now: i64) -> impl Iterator<Item = JobRow> {
        self.jobs.iter().zip(&self.event.jobs).map(move |((id, lane), new)| {
            let mut job = JobRow {
                id: *id,
                event: self.id,
                lane: lane.clone(),
                state: State::Queued,
                run_at: now,
                attempts: 0,
                lapses: 0,
                fence: 0,
                owner: None,
                claimed_at: None,
                lease_until: None,
                why: None,
                reason: None,
                new_evidence: None,
                outcome: None,
                dead: false,
                released: String::new(),
                ended_at: None,
            };
            match &new.state {
                NewState::Queued => {}
                NewState::Held { why, reason } => job.hold(why, reason, None),
            }
            job
        })
    }
}

impl Command for AcceptCommand {
    type Answer = Accepted;

    fn lanes(&self) -> impl Iterator<Item = String> {
        self.jobs.iter().map(|(_, lane)| lane.clone())
    }

    fn is_change(accepted: &Accepted) -> bool {
        accepted.duplicate.is_none()
    }

    fn weight(&self) -> usize {
        // What rows and indexes cost beside the text, roughly.
        const OVERHEAD: usize = 512;
        let person = self.event.person.as_ref().map_or(0, String::len);
        self.event.body.len() + self.event.reason.len() + person + OVERHEAD * (1 + self.jobs.len())
    }
}

/// Writes a batch of events.
///
/// Order: new lanes, events that are replayed, events by their keys, jobs, and last the lanes' counters, whose locks are
/// then held for the commit only. Two hosts that accept the same messages meet in the same order.
pub(super) fn write<'c>(
    tx: &'c mut AnyConnection,
    context: &'c Context,
    commands: &'c [AcceptCommand],
) -> Step<'c, Answers<AcceptCommand>> {
    Box::pin(async move {
        let lanes: BTreeSet<&String> = commands
            .iter()
            .flat_map(|c| c.jobs.iter().map(|(_, lane)| lane))
            .collect();
        ensure_lanes(tx, &lanes.iter().map(|lane| (*lane).clone()).collect::<Vec<_>>()).await?;
        let duplicates = insert_events(tx, context, commands).await?;
        let now = context.now();
        let new = commands.iter().filter(|command| duplicates.of(command).is_none());
        let jobs: Vec<(&str, JobRow)> = new
            .flat_map(|command| command.job_rows(now).map(|job| (command.event.tenant.as_str(), job)))
            .collect();
        bulk(tx, INSERT_JOB, 10, &jobs, |bind, (tenant, job)| {
            bind_job(bind, tenant, job)
        })
        .await?;
        let mut unit = Unit::lock(tx, context, jobs.iter().map(|(_, job)| job.lane.clone())).await?;
        jobs.iter().for_each(|(_, job)| unit.add(job));
        for command in commands {
            command.note(&mut unit, context, duplicates.of(command));
        }
        unit.store(tx).await?;
        Ok(commands.iter().map(|command| Ok(duplicates.answer(command))).collect())
    })
}

/// What a new job can differ in; the rest are the columns' defaults.
fn bind_job(bind: Bind, tenant: &str, job: &JobRow) -> Bind {
    bind.id(job.id)
        .id(job.event)
        .text(tenant)
        .text(&job.lane)
        .int(job.state.code())
        .int(job.run_at)
        .maybe_text(job.why.as_deref())
        .maybe_text(job.reason.as_deref())
        .maybe_int(job.outcome.map(Outcome::code))
        .maybe_int(job.ended_at)
}

/// Makes lanes that are not there yet.
pub(super) async fn ensure_lanes(tx: &mut AnyConnection, keys: &[String]) -> Result<(), JournalError> {
    let rows = select_in(tx, ("SELECT id FROM lane WHERE id IN", ""), keys, |bind, key| {
        bind.text(key)
    })
    .await?;
    let known = rows
        .iter()
        .map(|row| Cells::of(row).text())
        .collect::<Result<BTreeSet<_>, _>>()?;
    let missing: Vec<_> = keys
        .iter()
        .filter(|key| !known.contains(*key))
        .map(|key| LaneRow::new(key.clone()))
        .collect();
    bulk(tx, INSERT_LANE, 17, &missing, |bind, lane| {
        lane.bind(bind.text(Lane::from_key(&lane.id).tenant()))
    })
    .await?;
    Ok(())
}

const INSERT_JOB: (&str, &str) = (
    "INSERT INTO job (id, event_id, tenant, lane, state, run_at, why, reason, outcome, ended_at) VALUES",
    "",
);

const INSERT_LANE: (&str, &str) = (
    "INSERT INTO lane (tenant, id, cap, ready, queued, running, held, due_at, not_before, not_before_why, parked, \
     parked_at, breaker_since, tripped, tripped_at, served, failures) VALUES",
    "ON CONFLICT (id) DO NOTHING",
);
