//! One unit of work: lanes locked, jobs loaded, changed in memory, stored.
//!
//! Everything that changes a job goes through [`Unit::change`], which keeps the lane's counters, its next due time and
//! the tally of outcomes. All units lock their lanes in the order of their ids and before anything else that others
//! lock, so two units cannot deadlock.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sqlx::AnyConnection;
use uuid::Uuid;

use super::claimed::intents;
use super::database::Context;
use super::error::JournalError;
use super::evidence;
use super::finish::UNSETTLED_HOLD;
use super::rows::{JOB_COLUMNS, JobRow, LANE_COLUMNS, LaneRow};
use super::sql::{Cells, bulk, select_in};
use super::types::{Outcome, State};

/// Locks those of these jobs that nobody else has locked, and returns them.
pub(super) async fn lock_free_jobs(
    tx: &mut AnyConnection,
    context: &Context,
    ids: &[Uuid],
) -> Result<HashSet<Uuid>, JournalError> {
    let select = ("SELECT id FROM job WHERE id IN", context.dialect.for_update_of_free());
    let rows = select_in(tx, select, ids, |bind, id| bind.id(*id)).await?;
    rows.iter().map(|row| Cells::of(row).id()).collect()
}

/// A finished try, for the history.
#[derive(Debug)]
pub(super) struct AttemptRow {
    pub(super) job: Uuid,
    pub(super) fence: i64,
    pub(super) number: i64,
    pub(super) owner: String,
    pub(super) started_at: i64,
    pub(super) ended_at: i64,
    pub(super) result: String,
    pub(super) reason: String,
}

/// Somebody's act, for the history.
#[derive(Debug)]
pub(super) struct ActionRow {
    pub(super) id: Uuid,
    pub(super) actor: String,
    pub(super) verb: &'static str,
    pub(super) scope: String,
    pub(super) job: Option<Uuid>,
    pub(super) detail: String,
}

/// An account that a job is about to close.
#[derive(Debug)]
pub(super) struct IntentRow {
    pub(super) job: Uuid,
    /// The id in small letters.
    pub(super) account: String,
    /// As the target writes it, where that differs.
    pub(super) spelled: Option<String>,
    pub(super) lane: String,
    pub(super) fence: i64,
    /// When it counted for the breaker.
    pub(super) at: i64,
    /// When this claim said it.
    pub(super) said_at: i64,
}

/// Host calls of an attempt.
#[derive(Debug)]
pub(super) struct TranscriptRow {
    pub(super) id: Uuid,
    pub(super) job: Uuid,
    pub(super) fence: i64,
    pub(super) data: Vec<u8>,
}

/// How much of a lane's row has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Touched {
    Counters,
    Wholly,
}

/// Rows under lock, and what is to be added to the history with them.
#[derive(Debug, Default)]
pub(super) struct Unit {
    lanes: BTreeMap<String, LaneRow>,
    /// Lanes to write, wholly or only their counters.
    touched: BTreeMap<String, Touched>,
    jobs: HashMap<Uuid, JobRow>,
    changed: BTreeSet<Uuid>,
    /// Those of them that were put down before, and whose evidence is of then.
    taken_up: BTreeSet<Uuid>,
    tallies: BTreeMap<(String, Outcome), i64>,
    /// Accounts that jobs set out to close, as far as loaded.
    pub(super) intended: HashMap<Uuid, Vec<String>>,
    pub(super) attempts: Vec<AttemptRow>,
    pub(super) actions: Vec<ActionRow>,
    pub(super) intents: Vec<IntentRow>,
    pub(super) transcripts: Vec<TranscriptRow>,
}

impl Unit {
    /// Locks these lanes. Those that do not exist are left out.
    pub(super) async fn lock(
        tx: &mut AnyConnection,
        context: &Context,
        lanes: impl IntoIterator<Item = String>,
    ) -> Result<Self, JournalError> {
        Self::lock_by(tx, context.dialect.for_update(), lanes).await
    }

    /// Locks those of these lanes that nobody else has locked.
    pub(super) async fn lock_free(
        tx: &mut AnyConnection,
        context: &Context,
        lanes: impl IntoIterator<Item = String>,
    ) -> Result<Self, JournalError> {
        Self::lock_by(tx, context.dialect.for_update_of_free(), lanes).await
    }

    /// [`Unit::lock`] where it `waits`, else [`Unit::lock_free`].
    pub(super) async fn lock_or_pass(
        tx: &mut AnyConnection,
        context: &Context,
        waits: bool,
        lanes: impl IntoIterator<Item = String>,
    ) -> Result<Self, JournalError> {
        match waits {
            true => Self::lock(tx, context, lanes).await,
            false => Self::lock_free(tx, context, lanes).await,
        }
    }

    /// Those of these lanes that somebody else has locked.
    pub(super) async fn locked(
        tx: &mut AnyConnection,
        context: &Context,
        lanes: &[String],
    ) -> Result<HashSet<String>, JournalError> {
        let free = Self::lock_free(tx, context, lanes.iter().cloned()).await?;
        let select = ("SELECT id FROM lane WHERE id IN", "");
        let there = select_in(tx, select, lanes, |bind, key| bind.text(key)).await?;
        let mut locked = there
            .iter()
            .map(|row| Cells::of(row).text())
            .collect::<Result<HashSet<String>, _>>()?;
        locked.retain(|key| free.lane(key).is_none());
        Ok(locked)
    }

    async fn lock_by(
        tx: &mut AnyConnection,
        locking: &'static str,
        lanes: impl IntoIterator<Item = String>,
    ) -> Result<Self, JournalError> {
        let keys: Vec<String> = lanes.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let before = format!("SELECT {LANE_COLUMNS} FROM lane WHERE id IN");
        // By the database's own order of text, whatever its collation.
        let after = format!("ORDER BY id {locking}");
        let mut unit = Self::default();
        for row in select_in(tx, (&before, &after), &keys, |bind, key| bind.text(key)).await? {
            let lane = LaneRow::from_cells(&mut Cells::of(&row))?;
            unit.lanes.insert(lane.id.clone(), lane);
        }
        Ok(unit)
    }

    /// Loads these jobs. Those that do not exist, or whose lane is not locked, are left out.
    pub(super) async fn load(
        &mut self,
        tx: &mut AnyConnection,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<(), JournalError> {
        let ids: Vec<Uuid> = ids.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let before = format!("SELECT {JOB_COLUMNS} FROM job WHERE id IN");
        for row in select_in(tx, (&before, ""), &ids, |bind, id| bind.id(*id)).await? {
            self.take(JobRow::read(&row)?);
        }
        Ok(())
    }

    /// Takes over a row that was read under the lock on its lane.
    pub(super) fn take(&mut self, job: JobRow) {
        if self.lanes.contains_key(&job.lane) {
            self.jobs.insert(job.id, job);
        }
    }

    /// Loads what these jobs set out to close, for [`Unit::give_up`].
    pub(super) async fn load_intents(&mut self, tx: &mut AnyConnection, ids: &[Uuid]) -> Result<(), JournalError> {
        self.intended.extend(intents(tx, ids).await?);
        Ok(())
    }

    pub(super) fn job(&self, id: Uuid) -> Option<&JobRow> {
        self.jobs.get(&id)
    }

    pub(super) fn lane(&self, key: &str) -> Option<&LaneRow> {
        self.lanes.get(key)
    }

    /// Changes a lane, apart from its counters.
    pub(super) fn change_lane(&mut self, key: &str, change: impl FnOnce(&mut LaneRow)) {
        self.touch(key, Touched::Wholly, change);
    }

    fn touch(&mut self, key: &str, how: Touched, change: impl FnOnce(&mut LaneRow)) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        change(lane);
        match self.touched.get_mut(key) {
            Some(touched) => *touched = how.max(*touched),
            None => drop(self.touched.insert(key.to_owned(), how)),
        }
    }

    /// Changes a job, and with it whatever counts it.
    pub(super) fn change(&mut self, id: Uuid, change: impl FnOnce(&mut JobRow)) {
        let Some(mut job) = self.jobs.remove(&id) else { return };
        let (state, outcome) = (job.state, job.outcome);
        change(&mut job);
        self.changed.insert(id);
        if matches!(state, State::Held | State::Ended) {
            self.taken_up.insert(id);
        }
        self.count(&job.lane, state, outcome, -1);
        self.add(&job);
        self.jobs.insert(id, job);
    }

    /// Counts a job that is new in its state.
    pub(super) fn add(&mut self, job: &JobRow) {
        self.count(&job.lane, job.state, job.outcome, 1);
        if job.state == State::Queued {
            self.touch(&job.lane, Touched::Counters, |lane| lane.expect(job.run_at));
        }
    }

    /// Ends a job whose tries are used up, as a dead letter. One that set out to close accounts is held instead: they
    /// may be closed, so that `failed` could be untrue, and only a look at the target tells.
    pub(super) fn give_up(&mut self, id: Uuid, reason: &str, now: i64) {
        match self.intended.get(&id).map(|accounts| accounts.join(", ")) {
            None => self.change(id, |job| job.die(reason, now)),
            Some(accounts) => {
                let words = format!(
                    "{reason}; it set out to close {accounts}, and nobody has seen what came of it: release it to look again"
                );
                self.change(id, |job| job.hold(UNSETTLED_HOLD, &words, None));
            }
        }
    }

    fn count(&mut self, lane: &str, state: State, outcome: Option<Outcome>, by: i64) {
        self.touch(lane, Touched::Counters, |lane| lane.count(state, by));
        if let (State::Ended, Some(outcome)) = (state, outcome) {
            *self.tallies.entry((lane.to_owned(), outcome)).or_default() += by;
        }
    }

    /// Ends the try that runs, for the history. Call it before the change.
    pub(super) fn end_attempt(&mut self, id: Uuid, result: &str, reason: &str, now: i64) {
        let Some(job) = self.jobs.get(&id) else { return };
        self.attempts.push(AttemptRow {
            job: id,
            fence: job.fence,
            number: job.attempts,
            owner: job.owner.clone().unwrap_or_default(),
            started_at: job.claimed_at.unwrap_or(now),
            ended_at: now,
            result: result.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// Notes who did what.
    pub(super) fn act(
        &mut self,
        context: &Context,
        actor: &str,
        verb: &'static str,
        on: (&str, Option<Uuid>),
        detail: &str,
    ) {
        self.actions.push(ActionRow {
            id: context.id(),
            actor: actor.to_owned(),
            verb,
            scope: on.0.to_owned(),
            job: on.1,
            detail: detail.to_owned(),
        });
    }

    /// Writes everything back.
    pub(super) async fn store(self, tx: &mut AnyConnection) -> Result<(), JournalError> {
        let jobs: Vec<&JobRow> = self.changed.iter().filter_map(|id| self.jobs.get(id)).collect();
        bulk(tx, UPDATE_JOB, 15, &jobs, |bind, job| job.bind_changes(bind)).await?;
        evidence::replace(tx, &self.taken_up, &jobs).await?;
        store_history(tx, &self).await?;
        let tallies: Vec<_> = self.tallies.iter().filter(|(_, by)| **by != 0).collect();
        bulk(tx, UPSERT_TALLY, 3, &tallies, |bind, ((lane, outcome), by)| {
            bind.text(lane).int(outcome.code()).int(**by)
        })
        .await?;
        let lanes = self.touched(Touched::Counters);
        bulk(tx, UPDATE_COUNTERS, 6, &lanes, |bind, lane| lane.bind_counters(bind)).await?;
        let lanes = self.touched(Touched::Wholly);
        bulk(tx, UPDATE_LANE, 16, &lanes, |bind, lane| lane.bind(bind)).await?;
        Ok(())
    }

    fn touched(&self, how: Touched) -> Vec<&LaneRow> {
        let keys = self.touched.iter().filter(|(_, touched)| **touched == how);
        keys.filter_map(|(key, _)| self.lanes.get(key)).collect()
    }
}

async fn store_history(tx: &mut AnyConnection, unit: &Unit) -> Result<(), JournalError> {
    bulk(tx, INSERT_ATTEMPT, 8, &unit.attempts, |bind, row| {
        bind.id(row.job)
            .int(row.fence)
            .int(row.number)
            .text(&row.owner)
            .int(row.started_at)
            .int(row.ended_at)
            .text(&row.result)
            .text(&row.reason)
    })
    .await?;
    bulk(tx, INSERT_INTENT, 7, &unit.intents, |bind, row| {
        bind.id(row.job)
            .text(&row.account)
            .text(&row.lane)
            .int(row.fence)
            .int(row.at)
            .maybe_text(row.spelled.as_deref())
            .int(row.said_at)
    })
    .await?;
    bulk(tx, INSERT_TRANSCRIPT, 4, &unit.transcripts, |bind, row| {
        bind.id(row.id).id(row.job).int(row.fence).bytes(&row.data)
    })
    .await?;
    bulk(tx, INSERT_ACTION, 6, &unit.actions, |bind, row| {
        bind.id(row.id)
            .text(&row.actor)
            .text(row.verb)
            .text(&row.scope)
            .maybe_bytes(row.job.as_ref().map(|id| id.as_bytes().as_slice()))
            .text(&row.detail)
    })
    .await?;
    Ok(())
}

const UPDATE_JOB: (&str, &str) = (
    "WITH v (id, state, run_at, attempts, lapses, fence, owner, claimed_at, lease_until, why, reason, outcome, dead, \
     released, ended_at) AS (VALUES",
    ") UPDATE job SET state = v.state, run_at = v.run_at, attempts = v.attempts, lapses = v.lapses, fence = v.fence, \
     owner = v.owner, claimed_at = v.claimed_at, lease_until = v.lease_until, why = v.why, reason = v.reason, \
     outcome = v.outcome, dead = v.dead, released = v.released, ended_at = v.ended_at FROM v WHERE job.id = v.id",
);

const UPDATE_LANE: (&str, &str) = (
    "WITH v (id, cap, ready, queued, running, held, due_at, not_before, not_before_why, parked, parked_at, \
     breaker_since, tripped, tripped_at, served, failures) AS (VALUES",
    ") UPDATE lane SET cap = v.cap, ready = v.ready, queued = v.queued, running = v.running, held = v.held, \
     due_at = v.due_at, not_before = v.not_before, not_before_why = v.not_before_why, parked = v.parked, \
     parked_at = v.parked_at, breaker_since = v.breaker_since, tripped = v.tripped, tripped_at = v.tripped_at, \
     served = v.served, failures = v.failures FROM v WHERE lane.id = v.id",
);

/// An accept touches nothing else, and it may touch a lane for each event.
const UPDATE_COUNTERS: (&str, &str) = (
    "WITH v (id, ready, queued, running, held, due_at) AS (VALUES",
    ") UPDATE lane SET ready = v.ready, queued = v.queued, running = v.running, held = v.held, due_at = v.due_at \
     FROM v WHERE lane.id = v.id",
);

const UPSERT_TALLY: (&str, &str) = (
    "INSERT INTO tally (lane, outcome, n) VALUES",
    "ON CONFLICT (lane, outcome) DO UPDATE SET n = tally.n + excluded.n",
);

const INSERT_ATTEMPT: (&str, &str) = (
    "INSERT INTO attempt (job_id, fence, number, owner, started_at, ended_at, result, reason) VALUES",
    "",
);

/// The time is the last one at which it counted for the breaker; the fence says which claim may be closing it.
const INSERT_INTENT: (&str, &str) = (
    "INSERT INTO intent (job_id, account, lane, fence, at, spelled, said_at) VALUES",
    "ON CONFLICT (job_id, account) DO UPDATE SET fence = excluded.fence, at = excluded.at, said_at = excluded.said_at",
);

const INSERT_TRANSCRIPT: (&str, &str) = ("INSERT INTO transcript (id, job_id, fence, data) VALUES", "");

const INSERT_ACTION: (&str, &str) = ("INSERT INTO action (id, actor, verb, scope, job_id, detail) VALUES", "");
