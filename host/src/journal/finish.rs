//! Putting a job down: with its outcome, or for later.

use jiff::Timestamp;

use super::database::Context;
use super::error::JournalError;
use super::open::Journal;
use super::rows::JobRow;
use super::types::{Fence, Outcome, State};
use super::unit::{TranscriptRow, Unit};
use super::work::{Answer, WorkCommand};

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
        /// JSON for the operator.
        detail: Option<String>,
    },
    /// It is tried again, not before `at`; where the attempts are used up it ends as a dead letter.
    Retry {
        /// Usually from [`Journal::backoff`].
        at: Timestamp,
        /// What went wrong.
        reason: String,
    },
    /// The target wants peace. The whole lane waits until then; the attempt is given back.
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
    /// The host stops. Somebody else may have it at once; the attempt is given back.
    Release,
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
        return Ok(finished(job));
    }
    let (id, now) = (job.id, context.now());
    if let Some(data) = transcript {
        keep(unit, context, fence, data);
    }
    unit.end_attempt(id, result_of(finish), reason_of(finish), now);
    let max_attempts = i64::from(context.options.max_attempts);
    unit.change(id, |job| set_down(job, finish, max_attempts, now));
    unit.change_lane(&fence.lane.key(), |lane| match finish {
        Finish::GiveBack { until, reason } => lane.wait_until(until.as_millisecond(), reason),
        Finish::Park { reason } => lane.park(reason, now),
        _ => {}
    });
    unit.job(id).map(finished).ok_or(JournalError::LeaseLost(fence.job))
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

fn set_down(job: &mut JobRow, finish: &Finish, max_attempts: i64, now: i64) {
    match finish {
        Finish::End {
            outcome,
            reason,
            detail,
        } => {
            job.end(*outcome, reason, now);
            job.detail.clone_from(detail);
        }
        Finish::Retry { reason, .. } if job.attempts >= max_attempts => {
            let attempts = job.attempts;
            job.die(&format!("gave up after {attempts} attempts: {reason}"), now);
        }
        Finish::Retry { at, reason } => {
            job.reason = Some(reason.clone());
            job.queue(at.as_millisecond());
        }
        Finish::Hold { why, detail } => {
            job.attempts -= 1;
            job.hold(why, detail.clone());
        }
        Finish::GiveBack { reason, .. } | Finish::Park { reason } => {
            job.reason = Some(reason.clone());
            give_back(job);
        }
        Finish::Release => give_back(job),
    }
}

/// Back to its place in the lane, as if it had not been claimed.
fn give_back(job: &mut JobRow) {
    job.attempts -= 1;
    job.queue(job.run_at);
}

fn finished(job: &JobRow) -> Finished {
    match job.state {
        State::Ended if job.dead => Finished::Dead,
        State::Ended => Finished::Ended,
        State::Held => Finished::Held,
        State::Queued | State::Running => Finished::Queued,
    }
}

fn result_of(finish: &Finish) -> &str {
    match finish {
        Finish::End { outcome, .. } => outcome.as_str(),
        Finish::Hold { .. } => "held",
        Finish::Retry { .. } => "retry",
        Finish::GiveBack { .. } => "rate_limited",
        Finish::Park { .. } => "parked",
        Finish::Release => "released",
    }
}

fn reason_of(finish: &Finish) -> &str {
    match finish {
        Finish::End { reason, .. }
        | Finish::Retry { reason, .. }
        | Finish::GiveBack { reason, .. }
        | Finish::Park { reason } => reason,
        Finish::Hold { why, .. } => why,
        Finish::Release => "the host stopped",
    }
}
