//! The rows that change: jobs and lanes.

use std::time::Duration;

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::backoff::Backoff;
use super::error::JournalError;
use super::sql::{Bind, Cells};
use super::types::{EventId, Fence, JobId, Lane, Outcome, State, milliseconds};

/// A job, as stored. Whoever changes one holds the lock on its lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobRow {
    pub(super) id: Uuid,
    pub(super) event: Uuid,
    pub(super) lane: String,
    pub(super) state: State,
    /// Not before this time; also its place in the lane.
    pub(super) run_at: i64,
    /// Claims that were not given back, since it was queued by an event or an operator.
    pub(super) attempts: i64,
    /// Leases that ran out, since its target was last asked and the host lived.
    pub(super) lapses: i64,
    /// Counts every claim and every lost lease. A finish with another number is late.
    pub(super) fence: i64,
    pub(super) owner: Option<String>,
    pub(super) claimed_at: Option<i64>,
    pub(super) lease_until: Option<i64>,
    /// Why it is held: a word that releases can name.
    pub(super) why: Option<String>,
    /// The last thing that happened to it, in words.
    pub(super) reason: Option<String>,
    /// JSON: evidence of an outcome, or what an operator should know about a hold, where this unit of work adds it. It is a
    /// row of its own ([`evidence`](super::evidence)), and is not read with this one.
    pub(super) new_evidence: Option<String>,
    pub(super) outcome: Option<Outcome>,
    /// It ended because it used up its attempts.
    pub(super) dead: bool,
    /// Holds that operators released and accounts that these showed, separated by commas.
    pub(super) released: String,
    pub(super) ended_at: Option<i64>,
}

/// The columns of [`JobRow`], in its order.
pub(super) const JOB_COLUMNS: &str = "id, event_id, lane, state, run_at, attempts, lapses, fence, owner, claimed_at, \
                                      lease_until, why, reason, outcome, dead, released, ended_at";

impl JobRow {
    pub(super) fn read(row: &AnyRow) -> Result<Self, JournalError> {
        Self::from_cells(&mut Cells::of(row))
    }

    pub(super) fn from_cells(cells: &mut Cells<'_>) -> Result<Self, JournalError> {
        Ok(Self {
            id: cells.id()?,
            event: cells.id()?,
            lane: cells.text()?,
            state: State::from_code(cells.int()?)?,
            run_at: cells.int()?,
            attempts: cells.int()?,
            lapses: cells.int()?,
            fence: cells.int()?,
            owner: cells.maybe_text()?,
            claimed_at: cells.maybe_int()?,
            lease_until: cells.maybe_int()?,
            why: cells.maybe_text()?,
            reason: cells.maybe_text()?,
            new_evidence: None,
            outcome: cells.maybe_int()?.map(Outcome::from_code).transpose()?,
            dead: cells.int()? != 0,
            released: cells.text()?,
            ended_at: cells.maybe_int()?,
        })
    }

    /// Binds what can change, after the id.
    pub(super) fn bind_changes(&self, bind: Bind) -> Bind {
        bind.id(self.id)
            .int(self.state.code())
            .int(self.run_at)
            .int(self.attempts)
            .int(self.lapses)
            .int(self.fence)
            .maybe_text(self.owner.as_deref())
            .maybe_int(self.claimed_at)
            .maybe_int(self.lease_until)
            .maybe_text(self.why.as_deref())
            .maybe_text(self.reason.as_deref())
            .maybe_int(self.outcome.map(Outcome::code))
            .int(i64::from(self.dead))
            .text(&self.released)
            .maybe_int(self.ended_at)
    }

    pub(super) fn job_id(&self) -> JobId {
        JobId(self.id)
    }

    pub(super) fn event_id(&self) -> EventId {
        EventId(self.event)
    }

    pub(super) fn fence(&self) -> Fence {
        Fence {
            job: self.job_id(),
            lane: Lane::from_key(&self.lane),
            token: self.fence,
        }
    }

    /// Adds to what operators released.
    pub(super) fn approve(&mut self, entry: &str) {
        if self.released_holds().iter().any(|known| known == entry) {
            return;
        }
        let comma = if self.released.is_empty() { "" } else { "," };
        self.released = format!("{}{comma}{entry}", self.released);
    }

    /// The holds that operators released, and the accounts that they were shown.
    pub(super) fn released_holds(&self) -> Vec<String> {
        self.released
            .split(',')
            .filter(|why| !why.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Waits for its turn again.
    pub(super) fn queue(&mut self, run_at: i64) {
        self.set_down(State::Queued);
        self.run_at = run_at;
    }

    /// Waits for an operator.
    pub(super) fn hold(&mut self, why: &str, reason: &str, evidence: Option<String>) {
        self.set_down(State::Held);
        self.why = Some(why.to_owned());
        self.reason = Some(reason.to_owned());
        self.new_evidence = evidence;
    }

    /// Has its outcome.
    pub(super) fn end(&mut self, outcome: Outcome, reason: &str, now: i64) {
        self.set_down(State::Ended);
        self.outcome = Some(outcome);
        self.reason = Some(reason.to_owned());
        self.ended_at = Some(now);
    }

    /// Ends as a dead letter.
    pub(super) fn die(&mut self, reason: &str, now: i64) {
        self.end(Outcome::Failed, reason, now);
        self.dead = true;
    }

    /// Starts a new life: as if it had just come in.
    pub(super) fn renew(&mut self, now: i64) {
        self.queue(now);
        self.attempts = 0;
        self.lapses = 0;
    }

    fn set_down(&mut self, state: State) {
        self.state = state;
        self.owner = None;
        self.claimed_at = None;
        self.lease_until = None;
        self.why = None;
        self.new_evidence = None;
        self.outcome = None;
        self.dead = false;
        self.ended_at = None;
    }
}

/// A lane, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LaneRow {
    /// `tenant/connector`.
    pub(super) id: String,
    /// None: the host's default.
    pub(super) cap: Option<i64>,
    pub(super) queued: i64,
    pub(super) running: i64,
    pub(super) held: i64,
    /// No queued job is due before this.
    pub(super) due_at: i64,
    /// The target wants nothing to be asked until then.
    pub(super) not_before: i64,
    pub(super) not_before_why: Option<String>,
    /// Why nothing runs until an operator changes something.
    pub(super) parked: Option<String>,
    pub(super) parked_at: Option<i64>,
    /// Closures before this do not count for the breaker.
    pub(super) breaker_since: i64,
    /// Why the breaker is open.
    pub(super) tripped: Option<String>,
    pub(super) tripped_at: Option<i64>,
    /// Rises with each claim: the lowest is served next.
    pub(super) served: i64,
    /// Tries in a row that ended with the target unavailable.
    pub(super) failures: i64,
}

/// Tries in a row after which a lane is not trusted: from then on one job at a time asks its target, after a pause.
/// Fewer could be one person's bad luck; more would keep a host's slots at a target that hangs.
pub(super) const MOST_FAILURES: i64 = 5;

/// The pause before each further try. At most a minute: that is how much later than its target a lane comes back.
const PAUSE: Backoff = Backoff {
    first: Duration::from_secs(1),
    most: Duration::from_secs(60),
};

/// `due_at` of a lane without queued jobs.
pub(super) const NEVER: i64 = i64::MAX;

/// The columns of [`LaneRow`], in its order.
pub(super) const LANE_COLUMNS: &str = "id, cap, queued, running, held, due_at, not_before, not_before_why, parked, \
                                       parked_at, breaker_since, tripped, tripped_at, served, failures";

impl LaneRow {
    /// A lane that nothing has happened in.
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            cap: None,
            queued: 0,
            running: 0,
            held: 0,
            due_at: NEVER,
            not_before: 0,
            not_before_why: None,
            parked: None,
            parked_at: None,
            breaker_since: 0,
            tripped: None,
            tripped_at: None,
            served: 0,
            failures: 0,
        }
    }

    pub(super) fn from_cells(cells: &mut Cells<'_>) -> Result<Self, JournalError> {
        Ok(Self {
            id: cells.text()?,
            cap: cells.maybe_int()?,
            queued: cells.int()?,
            running: cells.int()?,
            held: cells.int()?,
            due_at: cells.int()?,
            not_before: cells.int()?,
            not_before_why: cells.maybe_text()?,
            parked: cells.maybe_text()?,
            parked_at: cells.maybe_int()?,
            breaker_since: cells.int()?,
            tripped: cells.maybe_text()?,
            tripped_at: cells.maybe_int()?,
            served: cells.int()?,
            failures: cells.int()?,
        })
    }

    /// Whether a claim has to look at it.
    fn ready(&self) -> i64 {
        i64::from(self.queued > 0 && self.parked.is_none())
    }

    /// Binds what changes when jobs do.
    pub(super) fn bind_counters(&self, bind: Bind) -> Bind {
        bind.text(&self.id)
            .int(self.ready())
            .int(self.queued)
            .int(self.running)
            .int(self.held)
            .int(self.due_at)
    }

    /// Binds all columns that can change, after the id.
    pub(super) fn bind(&self, bind: Bind) -> Bind {
        bind.text(&self.id)
            .maybe_int(self.cap)
            .int(self.ready())
            .int(self.queued)
            .int(self.running)
            .int(self.held)
            .int(self.due_at)
            .int(self.not_before)
            .maybe_text(self.not_before_why.as_deref())
            .maybe_text(self.parked.as_deref())
            .maybe_int(self.parked_at)
            .int(self.breaker_since)
            .maybe_text(self.tripped.as_deref())
            .maybe_int(self.tripped_at)
            .int(self.served)
            .int(self.failures)
    }

    /// Counts jobs that came into, or left (`by` negative), a state.
    pub(super) fn count(&mut self, state: State, by: i64) {
        match state {
            State::Queued => self.queued += by,
            State::Running => self.running += by,
            State::Held => self.held += by,
            State::Ended => {}
        }
    }

    /// Says that a queued job is due at `run_at`.
    pub(super) fn expect(&mut self, run_at: i64) {
        self.due_at = self.due_at.min(run_at);
    }

    /// How many more of its jobs may run.
    pub(super) fn free(&self, default_cap: i64) -> i64 {
        let cap = self.cap.unwrap_or(default_cap);
        let cap = if self.failures < MOST_FAILURES { cap } else { cap.min(1) };
        (cap - self.running).max(0)
    }

    /// The target was unavailable once more.
    pub(super) fn fail(&mut self, reason: &str, now: i64) {
        // Tries that ran already when the pause began say nothing new.
        if self.not_before > now {
            return;
        }
        self.failures += 1;
        let more = self.failures - MOST_FAILURES;
        if let Ok(more) = u32::try_from(more) {
            // The ceiling itself and no random part of it: jobs of one lane do not crowd, and a pause of nothing is none.
            let pause = milliseconds(PAUSE.delay(more + 1, u64::MAX));
            let words = format!("the target was unavailable {} times in a row: {reason}", self.failures);
            self.wait_until(now.saturating_add(pause), &words);
        }
    }

    /// The target wants nothing to be asked until then. Where it has asked so again and again and nothing came of the
    /// tries between, the pauses grow: what it says may be a second each time.
    pub(super) fn limit(&mut self, until: i64, reason: &str, now: i64) {
        // Tries that ran already when the rest began say nothing new.
        if self.not_before <= now {
            self.failures += 1;
        }
        let more = u32::try_from(self.failures - MOST_FAILURES);
        let least = more.map_or(0, |more| {
            now.saturating_add(milliseconds(PAUSE.delay(more + 1, u64::MAX)))
        });
        self.wait_until(until.max(least), reason);
    }

    /// Stops it until an operator changes something.
    pub(super) fn park(&mut self, reason: &str, now: i64) {
        self.parked = Some(reason.to_owned());
        self.parked_at = Some(now);
    }

    /// Asks the target nothing until then, or longer where that was said before.
    pub(super) fn wait_until(&mut self, until: i64, reason: &str) {
        if until > self.not_before {
            self.not_before = until;
            self.not_before_why = Some(reason.to_owned());
        }
    }
}
