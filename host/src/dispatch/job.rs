//! One job in memory: attempts until there is an outcome, or a reason to wait.

use std::time::Duration;

use tokio::time::Instant;

use super::connector::Connector;
use super::gate::Gate;
use super::procedure::{Attempt, attempt};
use super::stop::Stop;
use crate::evidence::{JobRecord, JobState, Outcome};
use crate::intake::Person;

/// Attempts of a job that runs without a journal: someone waits at the terminal, and can start it again.
const ATTEMPTS: u32 = 3;
/// Pause before the second attempt; doubled for the third.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs a job to its end without a journal.
///
/// What would park a job in a service ends here as [`JobState::Parked`], with the time where it is known.
///
/// Cancelling it is safe for the target as it is for [`attempt`], but nothing remembers what was tried.
pub async fn run_job(connector: &Connector, person: &Person, dry_run: bool) -> JobRecord {
    let started = Instant::now();
    let mut gate = Gate::in_memory();
    let mut transcript = Vec::new();
    let mut number = 1;
    let (accounts, end) = loop {
        let Attempt {
            end,
            accounts,
            transcript: said,
        } = attempt(connector, person, dry_run, &mut gate).await;
        transcript.extend(said);
        match end {
            Err(Stop::Unavailable(reason)) if number < ATTEMPTS => {
                tracing::warn!(
                    tenant = connector.tenant,
                    connector = connector.name,
                    number,
                    "attempt failed: {reason}"
                );
                tokio::time::sleep(PAUSE * number).await;
                number += 1;
            }
            end => break (accounts, end),
        }
    };
    let (state, outcome, until, reason) = match end {
        Ok((outcome, reason)) => (JobState::Done, Some(outcome), None, reason),
        Err(Stop::Refused(reason)) => (JobState::Done, Some(Outcome::Refused), None, reason),
        Err(Stop::Failed(reason)) => (JobState::Done, Some(Outcome::Failed), None, reason),
        Err(Stop::Unavailable(reason)) => (
            JobState::Done,
            Some(Outcome::Failed),
            None,
            format!("after {ATTEMPTS} attempts: {reason}"),
        ),
        Err(Stop::Held { reason, .. }) => (JobState::Held, None, None, reason),
        Err(Stop::Misconfigured(reason) | Stop::Paused(reason)) => (JobState::Parked, None, None, reason),
        Err(stop @ Stop::LeaseLost) => (JobState::Done, Some(Outcome::Failed), None, stop.reason().to_owned()),
        Err(Stop::Limited { until, reason }) => (JobState::Parked, None, Some(until), reason),
    };
    JobRecord {
        connector: connector.name.clone(),
        state,
        outcome,
        reason,
        until,
        accounts,
        plugin: connector.identity(),
        transcript,
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
