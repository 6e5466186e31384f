//! Putting a job down: with its outcome, or for later.

use jiff::Timestamp;

use super::breaker::BREAKER_HOLD;
use super::database::Context;
use super::error::JournalError;
use super::open::Journal;
use super::rows::{JobRow, MOST_FAILURES};
use super::types::{Fence, Outcome, State};
use super::unit::{TranscriptRow, Unit};
use super::work::{Answer, WorkCommand};

/// Why jobs are held whose tries are used up, and that set out to close accounts nobody has looked at since.
pub const UNSETTLED_HOLD: &str = "unsettled";

/// What becomes of a job that was worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// It has its outcome.
    End {
        /// Which.
        outcome: Outcome,
        /// Why, in words.
        reason: String,
        /// JSON: the evidence.
        detail: Option<String>,
    },
    /// It waits for an operator. The attempt is given back.
    Hold {
        /// A word that [`HeldFilter`](super::HeldFilter) can name, without comma.
        why: String,
        /// Why, in words.
        reason: String,
        /// JSON for the operator.
        detail: Option<String>,
    },
    /// The target was unavailable. The job is tried again, not before `at`; where the attempts are used up it ends as a
    /// dead letter, or is held ([`UNSETTLED_HOLD`]) where it set out to close something. After several of these in a
    /// row the lane pauses too.
    Retry {
        /// Usually from [`Journal::backoff`].
        at: Timestamp,
        /// What went wrong.
        reason: String,
    },
    /// The target limits the rate, or says when to come back. The whole lane waits until then; the attempt does not count.
    GiveBack {
        /// As the target said, capped by the caller.
        until: Timestamp,
        /// What the target said.
        reason: String,
    },
    /// Nothing in this lane can work until an operator changes something. It is parked until
    /// [`Journal::unpark`]; the attempt is given back.
    Park {
        /// What to change.
        reason: String,
    },
    /// This job alone waits. The attempt does not count and does not appear in the history; a transcript that is passed
    /// along is kept.
    Defer {
        /// Until when.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// Nothing was done, since the host stops, the connector is paused, or the breaker that said no is released. Somebody
    /// else may have it at once; the attempt is given back.
    Release {
        /// Which of these, in words.
        reason: String,
    },
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// It has its outcome.
    Ended,
    /// It waits for an operator.
    Held,
    /// It will be tried again.
    Queued,
    /// It was to be tried again, and its attempts are used up: failed, a dead letter.
    Dead,
}

impl Finished {
    /// What a row in this state has become.
    pub(super) fn of(job: &JobRow) -> Self {
        match job.state {
            State::Ended if job.dead => Self::Dead,
            State::Ended => Self::Ended,
            State::Held => Self::Held,
            State::Queued | State::Running => Self::Queued,
        }
    }
}

impl Journal {
    /// Puts a job down, and keeps the host calls of this try.
    ///
    /// `transcript` is the caller's own encoding; it is kept apart from the job and expires.
    ///
    /// Repeating the call after [`JournalError::Unavailable`] is safe: the first finish of a fence stands.
    ///
    /// # Errors
    /// [`JournalError::LeaseLost`] where the job is somebody else's now; nothing has changed.
    pub async fn finish(
        &self,
        fence: &Fence,
        finish: Finish,
        transcript: Option<Vec<u8>>,
    ) -> Result<Finished, JournalError> {
        let command = WorkCommand::Finish {
            fence: fence.clone(),
            finish,
            transcript,
        };
        match self.work.submit(command).await? {
            Answer::Finished(finished) => Ok(finished),
            _ => Err(super::work::mixed_up()),
        }
    }
}

/// Applies a finish to rows under lock.
pub(super) fn apply(
    unit: &mut Unit,
    context: &Context,
    fence: &Fence,
    finish: &Finish,
    transcript: Option<&[u8]>,
) -> Result<Finished, JournalError> {
    let job = unit.job(fence.job.0).ok_or(JournalError::LeaseLost(fence.job))?;
    if job.fence != fence.token {
        return Err(JournalError::LeaseLost(fence.job));
    }
    if job.state != State::Running {
        // A lost lease would have raised the fence: this one was finished already, and its answer got lost.
        return Ok(Finished::of(job));
    }
    let (id, now) = (job.id, context.now());
    let is_last = is_last(job, context);
    let released;
    let finish = match finish {
        // The breaker said no, and was released before this came: nobody would let the job go any more.
        Finish::Hold { why, .. } if why == BREAKER_HOLD && !is_tripped(unit, fence) => {
            let reason = "an operator has released the breaker meanwhile".to_owned();
            released = Finish::Release { reason };
            &released
        }
        finish => finish,
    };
    if let Some(data) = transcript {
        keep(unit, context, fence, data);
    }
    if !matches!(finish, Finish::Defer { .. }) {
        unit.end_attempt(id, result_of(finish), reason_of(finish), now);
    }
    let key = fence.lane.key();
    match finish {
        Finish::Retry { reason, .. } if is_last => {
            let attempts = context.options.max_attempts;
            unit.give_up(id, &format!("gave up after {attempts} attempts: {reason}"), now);
        }
        // It may be this job alone: the others get their turn.
        Finish::GiveBack { .. } if is_stuck(unit, &key) => unit.change(id, |job| {
            set_down(job, finish, now);
            job.queue(now);
        }),
        _ => unit.change(id, |job| set_down(job, finish, now)),
    }
    judge_lane(unit, &key, finish, transcript.is_some(), now);
    unit.job(id).map(Finished::of).ok_or(JournalError::LeaseLost(fence.job))
}

fn is_tripped(unit: &Unit, fence: &Fence) -> bool {
    unit.lane(&fence.lane.key()).is_some_and(|lane| lane.tripped.is_some())
}

/// Whether nothing has come of this lane for a while.
fn is_stuck(unit: &Unit, key: &str) -> bool {
    unit.lane(key).is_some_and(|lane| lane.failures >= MOST_FAILURES)
}

/// True where a retry would find the attempts used up.
pub(super) fn is_last(job: &JobRow, context: &Context) -> bool {
    job.attempts >= i64::from(context.options.max_attempts)
}

/// What a finish says about the lane's target. A job that is held without having been asked about says nothing: an old
/// event among the others must not send all of them to a target that is away.
fn judge_lane(unit: &mut Unit, key: &str, finish: &Finish, was_asked: bool, now: i64) {
    match finish {
        Finish::Retry { reason, .. } => unit.change_lane(key, |lane| lane.fail(reason, now)),
        Finish::GiveBack { until, reason } => {
            unit.change_lane(key, |lane| lane.limit(until.as_millisecond(), reason, now));
        }
        Finish::Park { reason } => unit.change_lane(key, |lane| lane.park(reason, now)),
        // Only where it changes something: a lane's whole row is more to write than its counters.
        Finish::Hold { .. } if !was_asked => {}
        Finish::End { .. } | Finish::Hold { .. } if unit.lane(key).is_some_and(|lane| lane.failures > 0) => {
            unit.change_lane(key, |lane| lane.failures = 0);
        }
        Finish::End { .. } | Finish::Hold { .. } | Finish::Defer { .. } | Finish::Release { .. } => {}
    }
}

/// Adds host calls to the history.
pub(super) fn keep(unit: &mut Unit, context: &Context, fence: &Fence, data: &[u8]) {
    unit.transcripts.push(TranscriptRow {
        id: context.id(),
        job: fence.job.0,
        fence: fence.token,
        data: data.to_vec(),
    });
}

fn set_down(job: &mut JobRow, finish: &Finish, now: i64) {
    if matches!(finish, Finish::Retry { .. } | Finish::GiveBack { .. }) {
        // It ran, and its host lives: lost leases count to find a job that takes its host down each time. One that was only
        // put aside tells nothing.
        job.lapses = 0;
    }
    match finish {
        Finish::End {
            outcome,
            reason,
            detail,
        } => {
            job.end(*outcome, reason, now);
            job.new_evidence.clone_from(detail);
        }
        Finish::Retry { at, reason } => {
            job.reason = Some(reason.clone());
            job.queue(at.as_millisecond());
        }
        Finish::Hold { why, reason, detail } => {
            job.attempts -= 1;
            job.hold(why, reason, detail.clone());
        }
        Finish::Defer { until, reason } => {
            job.reason = Some(reason.clone());
            job.attempts -= 1;
            job.queue(until.as_millisecond().max(job.run_at));
        }
        Finish::GiveBack { reason, .. } => {
            job.reason = Some(reason.clone());
            give_back(job);
        }
        // Behind those that wait: where it is this job alone that the target refuses so, the others get their turn when the
        // lane goes on.
        Finish::Park { reason } => {
            job.reason = Some(reason.clone());
            job.attempts -= 1;
            job.queue(now);
        }
        Finish::Release { .. } => give_back(job),
    }
}

/// Back to its place in the lane, as if it had not been claimed.
fn give_back(job: &mut JobRow) {
    job.attempts -= 1;
    job.queue(job.run_at);
}

fn result_of(finish: &Finish) -> &str {
    match finish {
        Finish::End { outcome, .. } => outcome.as_str(),
        Finish::Hold { .. } => "held",
        Finish::Retry { .. } => "retry",
        Finish::GiveBack { .. } => "rate_limited",
        Finish::Park { .. } => "parked",
        Finish::Defer { .. } => "deferred",
        Finish::Release { .. } => "released",
    }
}

fn reason_of(finish: &Finish) -> &str {
    match finish {
        Finish::End { reason, .. }
        | Finish::Retry { reason, .. }
        | Finish::Hold { reason, .. }
        | Finish::GiveBack { reason, .. }
        | Finish::Defer { reason, .. }
        | Finish::Park { reason }
        | Finish::Release { reason } => reason,
    }
}
