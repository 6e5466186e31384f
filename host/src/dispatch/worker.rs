//! One claimed job: an attempt, and putting the job down with what it came to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::gate::Gate;
use super::leases::Lease;
use super::live::{Connector, Lookup};
use super::procedure::{Attempt, attempt};
use super::service::Connectors;
use super::stop::Stop;
use crate::capability::Verb;
use crate::evidence::{Answer, JobReport, JobState, Outcome};
use crate::intake::{OLD_HOLD, Person, too_old};
use crate::journal::{ClaimedJob, ClosureLimit, Engine, Finish, Finished, Journal, JournalError, Lane};
use crate::step;

/// How often a finish is tried while the database is away. With the pause between them about the length of a lease;
/// after that somebody else has the job anyway.
const FINISH_TRIES: u32 = 10;

/// When a job looks again whose account another job is closing: two seconds, in which most closures are done. The same
/// for one whose intent the journal could not take.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// For how long a host leaves a lane alone whose connector it does not know or cannot run: half a minute. Its jobs are
/// another host's meanwhile; if none can run them, trying again costs next to nothing.
const ABSENT_PAUSE: Duration = Duration::from_secs(30);

/// Lanes that a host leaves alone at a time. A claim names them all; of further ones each job waits by itself.
const MOST_LEFT_ALONE: usize = 1024;

/// What every job's task needs.
#[derive(Debug)]
pub(super) struct Worker {
    journal: Journal,
    connectors: Arc<dyn Connectors>,
    /// Lanes whose connectors do not run here, with the time until which they are left alone.
    left_alone: Mutex<HashMap<Lane, Instant>>,
}

impl Worker {
    pub(super) fn new(journal: Journal, connectors: Arc<dyn Connectors>) -> Self {
        Self {
            journal,
            connectors,
            left_alone: Mutex::default(),
        }
    }

    /// Lanes that this host leaves to the others at the moment.
    pub(super) fn left_alone(&self) -> Vec<Lane> {
        let now = Instant::now();
        let mut lanes = self.left_alone.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|_, until| *until > now);
        lanes.keys().cloned().collect()
    }

    /// Puts a job down that does not run here, for another host to take at once. Where there is none, or too many such
    /// lanes, it waits.
    async fn leave(&self, job: &ClaimedJob, reason: String) {
        let is_left = {
            let mut lanes = self.left_alone.lock().unwrap_or_else(PoisonError::into_inner);
            let has_room = lanes.len() < MOST_LEFT_ALONE;
            if has_room {
                lanes.insert(job.fence.lane().clone(), Instant::now() + ABSENT_PAUSE);
            }
            has_room
        };
        let until = match self.journal.engine() {
            // In its place: those behind it are another host's as well.
            Engine::Postgres if is_left => Timestamp::UNIX_EPOCH,
            Engine::Postgres | Engine::Sqlite => self.journal.after(ABSENT_PAUSE),
        };
        put_down(&self.journal, job, Finish::Defer { until, reason }, None).await;
    }

    /// Parks the job's lane for what its operator has to change. `used` is the connector that ran into it.
    async fn park(&self, job: &ClaimedJob, reason: String, used: Option<&Arc<Connector>>, said: Option<Vec<u8>>) {
        let (tenant, connector) = (job.tenant(), job.connector());
        tracing::warn!(tenant, connector, "parked until somebody changes something: {reason}");
        put_down(&self.journal, job, Finish::Park { reason }, said).await;
        // It may have been loaded anew while the job ran, and what lets the lane run again have come before this. Asked
        // afterwards: asked before, it could still be loaded in between.
        let has_changed = match (self.connectors.connector(job.tenant(), job.connector()), used) {
            (Lookup::Ready(now), Some(used)) => !Arc::ptr_eq(&now, used),
            (Lookup::Ready(_), None) => true,
            (Lookup::Unready(_) | Lookup::Absent(_), _) => false,
        };
        if has_changed && let Err(error) = self.journal.unpark(job.fence.lane(), "reload", "").await {
            tracing::error!(lane = %job.fence.lane(), "cannot be unparked: {error}");
        }
    }
}

/// Runs one attempt of a job and puts it down.
pub(super) async fn work(worker: Arc<Worker>, job: ClaimedJob, lease: Arc<Lease>) {
    step::passed("claimed");
    let connector = match worker.connectors.connector(job.tenant(), job.connector()) {
        Lookup::Ready(connector) => connector,
        // On SQLite this host is the only one, and its files the only ones that can mend it.
        Lookup::Unready(reason) if worker.journal.engine() == Engine::Sqlite => {
            return worker.park(&job, reason, None, None).await;
        }
        Lookup::Unready(reason) | Lookup::Absent(reason) => return worker.leave(&job, reason).await,
    };
    let clock = Arc::clone(connector.grant.clock());
    let started = clock.now();
    let max_age = worker.connectors.max_age(job.tenant(), &job.source);
    let person = match judge(&job, max_age, started) {
        Ok(person) => person,
        Err(finish) => {
            if put_down(&worker.journal, &job, finish, None).await == Some(Finished::Ended) {
                observe(&job, Outcome::Failed, clock.now());
            }
            return;
        }
    };
    let limit = ClosureLimit {
        closures: connector.policy.breaker.closures,
        per: connector.policy.breaker.per,
    };
    let mut gate = Gate::journaled(&worker.journal, &job, limit, lease.closing());
    let tried = attempt(&connector, &person, false, &mut gate).await;
    lease.settle();
    count(&connector, &tried);
    let said = serde_json::to_vec(tried.transcript.get(gate.kept()..).unwrap_or_default()).ok();
    let has_acted = gate.kept() > 0;
    let elapsed = clock.now().duration_since(started).unsigned_abs();
    let finish = match finish(&worker.journal, &connector, &job, tried, elapsed) {
        None => return,
        Some(Finish::Park { reason }) => return worker.park(&job, reason, Some(&connector), said).await,
        Some(finish) => finish,
    };
    let outcome = match &finish {
        Finish::End { outcome, .. } => *outcome,
        _ => Outcome::Failed,
    };
    // The history says nothing of a job that only waits, unless it has closed something before that.
    let said = said.filter(|_| !matches!(finish, Finish::Defer { .. } | Finish::GiveBack { .. }) || has_acted);
    step::passed("finishing");
    let finished = put_down(&worker.journal, &job, finish, said).await;
    step::passed("finished");
    // Counted when it is on disk: what is not will be tried again.
    if let Some(Finished::Ended | Finished::Dead) = finished {
        observe(&job, outcome, clock.now());
    }
}

/// Whom a job is about, or what becomes of it without asking the target.
fn judge(job: &ClaimedJob, max_age: Duration, now: Timestamp) -> Result<Person, Finish> {
    let is_released = job.released.iter().any(|hold| hold == OLD_HOLD);
    // Again and not only where events come in: it may have been parked, held or dead for a month.
    let too_old = too_old(job.occurred_at.unwrap_or(job.received_at), now, max_age);
    if let Some(reason) = too_old.filter(|_| !is_released) {
        let (why, detail) = (OLD_HOLD.to_owned(), None);
        return Err(Finish::Hold { why, reason, detail });
    }
    match job.person.as_deref().map(serde_json::from_str) {
        Some(Ok(person)) => Ok(person),
        _ => Err(Finish::End {
            outcome: Outcome::Failed,
            reason: "the event names no person that this version can read".to_owned(),
            detail: None,
        }),
    }
}

/// What an attempt means for its job; none where the job is somebody else's now.
fn finish(
    journal: &Journal,
    connector: &Connector,
    job: &ClaimedJob,
    tried: Attempt,
    elapsed: Duration,
) -> Option<Finish> {
    let Attempt {
        end,
        accounts,
        transcript,
    } = tried;
    let mut record = JobReport {
        connector: connector.name.clone(),
        state: JobState::Ended,
        outcome: None,
        reason: String::new(),
        until: None,
        accounts,
        plugin: connector.identity(),
        transcript,
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
    };
    let mut detail = |state, outcome, reason: &str| {
        (record.state, record.outcome, record.reason) = (state, outcome, reason.to_owned());
        serde_json::to_string(&record).ok()
    };
    let mut ended = |outcome: Outcome, reason: String| {
        let detail = detail(JobState::Ended, Some(outcome), &reason);
        Finish::End {
            outcome,
            reason,
            detail,
        }
    };
    Some(match end {
        Ok((outcome, reason)) => ended(outcome, reason),
        Err(Stop::Refused(reason)) => ended(Outcome::Refused, reason),
        Err(Stop::Failed(reason)) => ended(Outcome::Failed, reason),
        Err(Stop::Held { why, reason }) => {
            let detail = detail(JobState::Held, None, &reason);
            Finish::Hold {
                why: why.to_owned(),
                reason,
                detail,
            }
        }
        Err(Stop::Misconfigured(reason)) => Finish::Park { reason },
        Err(Stop::Limited { until, reason }) => Finish::GiveBack { until, reason },
        Err(Stop::Unavailable(reason)) => Finish::Retry {
            at: journal.backoff(job.attempt),
            reason,
        },
        Err(Stop::Paused(reason)) => Finish::Release { reason },
        Err(Stop::Busy(reason) | Stop::JournalAway(reason)) => Finish::Defer {
            until: journal.after(BUSY_PAUSE),
            reason,
        },
        Err(Stop::LeaseLost) => return None,
    })
}

/// Writes what became of a job. While the database is away it is tried again: the outcome is known and worth keeping,
/// and a finish may be repeated. None where it was not written.
async fn put_down(journal: &Journal, job: &ClaimedJob, finish: Finish, said: Option<Vec<u8>>) -> Option<Finished> {
    let (tenant, connector) = (job.tenant(), job.connector());
    for number in 1..=FINISH_TRIES {
        match journal.finish(&job.fence, finish.clone(), said.clone()).await {
            Ok(finished) => {
                let outcome = match (&finish, finished) {
                    (Finish::End { outcome, .. }, _) => outcome.as_str(),
                    (_, Finished::Dead) => "dead",
                    (_, Finished::Held) => "held",
                    _ => "queued",
                };
                // Why stands in the job: it may name people, and logs go further than journals.
                if matches!(outcome, "failed" | "dead") {
                    tracing::warn!(job = %job.id(), tenant, connector, attempt = job.attempt, outcome, "put down");
                } else {
                    tracing::info!(job = %job.id(), tenant, connector, attempt = job.attempt, outcome, "put down");
                }
                return Some(finished);
            }
            Err(JournalError::LeaseLost(_)) => {
                tracing::warn!(job = %job.id(), tenant, connector, "the lease was lost; the result is dropped");
                return None;
            }
            Err(JournalError::Unavailable(reason)) if number < FINISH_TRIES => {
                tracing::warn!(job = %job.id(), tenant, connector, "cannot put a job down yet: {reason}");
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            Err(error) => {
                tracing::error!(job = %job.id(), tenant, connector, "cannot put a job down: {error}");
                return None;
            }
        }
    }
    None
}

/// Counts an attempt. Label values are configured names and fixed words, so their number is bounded.
fn count(connector: &Connector, tried: &Attempt) {
    let names = [
        ("tenant", connector.tenant.clone()),
        ("connector", connector.name.clone()),
    ];
    let result = match &tried.end {
        Ok(_) => "done",
        Err(Stop::Refused(_)) => "refused",
        Err(Stop::Held { .. } | Stop::Paused(_)) => "held",
        Err(Stop::Misconfigured(_)) => "parked",
        Err(Stop::Limited { .. }) => "limited",
        Err(Stop::Busy(_)) => "busy",
        Err(Stop::JournalAway(_)) => "journal_away",
        Err(Stop::Unavailable(_)) => "unavailable",
        Err(Stop::Failed(_)) => "failed",
        Err(Stop::LeaseLost) => "lost",
    };
    let [tenant, name] = names.clone();
    metrics::counter!("exeunt_attempts_total", &[tenant, name, ("result", result.to_owned())]).increment(1);
    for call in tried.transcript.iter().filter(|call| call.verb == Verb::Mint) {
        let result = match call.answered {
            Some(Answer::Token) => "minted",
            _ => "failed",
        };
        let [tenant, name] = names.clone();
        metrics::counter!(
            "exeunt_tokens_minted_total",
            &[tenant, name, ("result", result.to_owned())]
        )
        .increment(1);
    }
}

/// Counts an outcome.
pub(super) fn count_end(lane: &Lane, outcome: Outcome) {
    let labels = [
        ("tenant", lane.tenant().to_owned()),
        ("connector", lane.connector().to_owned()),
        ("outcome", outcome.to_string()),
    ];
    metrics::counter!("exeunt_jobs_ended_total", &labels).increment(1);
}

/// Counts an outcome, and the time that the service promises: from the event's arrival to the end.
fn observe(job: &ClaimedJob, outcome: Outcome, now: Timestamp) {
    count_end(job.fence.lane(), outcome);
    let seconds = now.duration_since(job.received_at).as_secs_f64().max(0.0);
    metrics::histogram!("exeunt_accept_to_verified_seconds", "outcome" => outcome.as_str()).record(seconds);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::EventId;
    use crate::journal::testing::fence;

    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

    fn job(received: &str, occurred: Option<&str>, released: &[&str]) -> ClaimedJob {
        ClaimedJob {
            fence: fence("acme", "docusign"),
            event: EventId::from(uuid::Uuid::nil()),
            source: "hr".to_owned(),
            attempt: 1,
            received_at: received.parse().unwrap(),
            occurred_at: occurred.map(|at| at.parse().unwrap()),
            person: Some("{\"email\":\"ada@acme.example\"}".to_owned()),
            intents: Vec::new(),
            released: released.iter().map(|why| (*why).to_owned()).collect(),
        }
    }

    #[test]
    fn a_job_that_waited_too_long_is_held_until_somebody_releases_it() {
        let now = "2026-03-10T00:00:00Z".parse().unwrap();
        let (fresh, edge, old) = ("2026-03-09T00:00:00Z", "2026-03-03T00:00:00Z", "2026-03-02T23:59:59Z");
        for (job, is_held) in [
            (job(fresh, None, &[]), false),
            (job(edge, None, &[]), false),
            (job(old, None, &[]), true),
            (job(fresh, Some(old), &[]), true),
            (job(old, Some(fresh), &[]), false),
            (job(old, None, &["breaker"]), true),
            (job(old, None, &["breaker", OLD_HOLD]), false),
        ] {
            let judged = judge(&job, WEEK, now);
            let why = match &judged {
                Err(Finish::Hold { why, .. }) => Some(why.as_str()),
                _ => None,
            };
            assert_eq!(why == Some(OLD_HOLD), is_held, "{job:?}: {judged:?}");
            assert_eq!(judged.is_ok(), !is_held, "{judged:?}");
        }
    }
}
