//! One claimed job: an attempt, and putting the job down with what it came to.

use std::sync::Arc;

use jiff::Timestamp;

use super::connector::Connector;
use super::gate::Gate;
use super::procedure::{Attempt, attempt};
use super::service::{Connectors, Lookup};
use super::stop::Stop;
use crate::capability::Verb;
use crate::evidence::{JobRecord, JobState, Outcome};
use crate::intake::Person;
use crate::journal::{ClaimedJob, ClosureLimit, Finish, Finished, Journal, JournalError};
use crate::step;

/// How often a finish is tried while the database is away. With the pause between them about the length of a lease;
/// after that somebody else has the job anyway.
const FINISH_TRIES: u32 = 10;

/// What every job's task needs.
#[derive(Debug)]
pub(super) struct Worker {
    journal: Journal,
    connectors: Arc<dyn Connectors>,
}

impl Worker {
    pub(super) fn new(journal: Journal, connectors: Arc<dyn Connectors>) -> Self {
        Self { journal, connectors }
    }
}

/// Runs one attempt of a job and puts it down.
pub(super) async fn work(worker: Arc<Worker>, job: ClaimedJob) {
    step::passed("claimed");
    let connector = match worker.connectors.connector(job.tenant(), job.connector()) {
        Lookup::Ready(connector) => connector,
        Lookup::Unready(reason) => return put_down(&worker.journal, &job, Finish::Park { reason }, None).await,
    };
    let person: Person = match job.person.as_deref().map(serde_json::from_str) {
        Some(Ok(person)) => person,
        _ => {
            let reason = "the event names no person that this version can read".to_owned();
            let end = Finish::End {
                outcome: Outcome::Failed,
                reason,
                detail: None,
            };
            return put_down(&worker.journal, &job, end, None).await;
        }
    };
    let clock = Arc::clone(connector.grant.clock());
    let started = clock.now();
    let limit = ClosureLimit {
        closures: connector.policy.breaker.closures,
        per: connector.policy.breaker.per,
    };
    let mut gate = Gate::journaled(&worker.journal, &job, limit);
    let tried = attempt(&connector, &person, false, &mut gate).await;
    count(&connector, &tried);
    let said = serde_json::to_vec(tried.transcript.get(gate.kept()..).unwrap_or_default()).ok();
    let Some(finish) = finish(
        &worker.journal,
        &connector,
        &job,
        tried,
        clock.now().duration_since(started).unsigned_abs(),
    ) else {
        return;
    };
    let outcome = match &finish {
        Finish::End { outcome, .. } => Some(*outcome),
        _ => None,
    };
    step::passed("finishing");
    put_down(&worker.journal, &job, finish, said).await;
    step::passed("finished");
    if let Some(outcome) = outcome {
        observe(&job, outcome, clock.now());
    }
}

/// What an attempt means for its job; none where the job is somebody else's now.
fn finish(
    journal: &Journal,
    connector: &Connector,
    job: &ClaimedJob,
    tried: Attempt,
    elapsed: std::time::Duration,
) -> Option<Finish> {
    let Attempt {
        end,
        accounts,
        transcript,
    } = tried;
    let mut record = JobRecord {
        connector: connector.name.clone(),
        state: JobState::Done,
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
        let detail = detail(JobState::Done, Some(outcome), &reason);
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
                detail,
            }
        }
        Err(Stop::Misconfigured(reason)) => Finish::Park { reason },
        Err(Stop::Limited { until, reason }) => Finish::GiveBack { until, reason },
        Err(Stop::Unavailable(reason)) => Finish::Retry {
            at: journal.backoff(job.attempt),
            reason,
        },
        Err(Stop::Paused(_)) => Finish::Release,
        Err(Stop::LeaseLost) => return None,
    })
}

/// Writes what became of a job. While the database is away it is tried again: the outcome is known and worth keeping,
/// and a finish may be repeated.
async fn put_down(journal: &Journal, job: &ClaimedJob, finish: Finish, said: Option<Vec<u8>>) {
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
                tracing::info!(job = %job.id(), tenant, connector, attempt = job.attempt, outcome, "put down");
                return;
            }
            Err(JournalError::LeaseLost(_)) => {
                return tracing::warn!(job = %job.id(), tenant, connector, "the lease was lost; the result is dropped");
            }
            Err(JournalError::Unavailable(reason)) if number < FINISH_TRIES => {
                tracing::warn!(job = %job.id(), tenant, connector, "cannot put a job down yet: {reason}");
                tokio::time::sleep(std::time::Duration::from_secs(3)).await;
            }
            Err(error) => {
                return tracing::error!(job = %job.id(), tenant, connector, "cannot put a job down: {error}");
            }
        }
    }
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
        Err(Stop::Unavailable(_)) => "unavailable",
        Err(Stop::Failed(_)) => "failed",
        Err(Stop::LeaseLost) => "lost",
    };
    let [tenant, name] = names.clone();
    metrics::counter!("exeunt_attempts_total", &[tenant, name, ("result", result.to_owned())]).increment(1);
    for call in tried.transcript.iter().filter(|call| call.verb == Verb::Mint) {
        let is_good = call
            .exchanges
            .iter()
            .all(|exchange| exchange.status.is_some_and(|status| status < 400));
        let result = if is_good { "minted" } else { "failed" };
        let [tenant, name] = names.clone();
        metrics::counter!(
            "exeunt_tokens_minted_total",
            &[tenant, name, ("result", result.to_owned())]
        )
        .increment(1);
    }
}

/// Counts an outcome, and the time that the service promises: from the event's arrival to the end.
fn observe(job: &ClaimedJob, outcome: Outcome, now: Timestamp) {
    let labels = [
        ("tenant", job.tenant().to_owned()),
        ("connector", job.connector().to_owned()),
        ("outcome", outcome.to_string()),
    ];
    metrics::counter!("exeunt_jobs_ended_total", &labels).increment(1);
    let seconds = now.duration_since(job.received_at).as_secs_f64().max(0.0);
    metrics::histogram!("exeunt_accept_to_verified_seconds", "outcome" => outcome.as_str()).record(seconds);
}
