//! One job in memory: attempts until there is an outcome, or a reason to wait.

use std::time::Duration;

use tokio::time::Instant;

use super::gate::Gate;
use super::live::Connector;
use super::procedure::attempt;
use super::stop::Stop;
use crate::evidence::{AccountChange, JobReport, JobState, Outcome};
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
pub async fn run_job(connector: &Connector, person: &Person, dry_run: bool) -> JobReport {
    let started = Instant::now();
    let mut gate = Gate::in_memory();
    let mut transcript = Vec::new();
    let mut accounts = Vec::new();
    let mut number = 1;
    let end = loop {
        let tried = attempt(connector, person, dry_run, &mut gate).await;
        transcript.extend(tried.transcript);
        add_up(&mut accounts, tried.accounts);
        match tried.end {
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
            end => break end,
        }
    };
    let (state, outcome, until, reason) = match end {
        Ok((outcome, reason)) => (JobState::Ended, Some(outcome), None, reason),
        Err(Stop::Refused(reason)) => (JobState::Ended, Some(Outcome::Refused), None, reason),
        Err(Stop::Failed(reason)) => (JobState::Ended, Some(Outcome::Failed), None, reason),
        Err(Stop::Unavailable(reason)) => (
            JobState::Ended,
            Some(Outcome::Failed),
            None,
            format!("after {ATTEMPTS} attempts: {reason}"),
        ),
        Err(Stop::Held { reason, .. }) => (JobState::Held, None, None, reason),
        Err(Stop::Misconfigured(reason) | Stop::Paused(reason) | Stop::Busy(reason) | Stop::JournalAway(reason)) => {
            (JobState::Parked, None, None, reason)
        }
        Err(stop @ Stop::LeaseLost) => (JobState::Ended, Some(Outcome::Failed), None, stop.reason().to_owned()),
        Err(Stop::Limited { until, reason }) => (JobState::Parked, None, Some(until), reason),
    };
    JobReport {
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

/// Adds what another attempt saw. What stood before the first attempt is what stood before the job, and an attempt that
/// did not get as far as an account takes nothing back of what is known of it.
fn add_up(known: &mut Vec<AccountChange>, seen: Vec<AccountChange>) {
    for change in seen {
        match known.iter_mut().find(|known| known.id == change.id) {
            None => known.push(change),
            Some(known) if change.after.is_none() => known.unverified |= change.unverified,
            Some(known) => {
                let before = std::mem::take(&mut known.before);
                *known = AccountChange { before, ..change };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AccountChange, add_up};

    fn change(before: &str, after: Option<&str>, unverified: bool) -> AccountChange {
        AccountChange {
            id: "17".to_owned(),
            email: None,
            before: before.to_owned(),
            after: after.map(str::to_owned),
            unverified,
            externally_managed: false,
        }
    }

    fn added_up(attempts: &[AccountChange]) -> AccountChange {
        let mut known = Vec::new();
        for attempt in attempts {
            add_up(&mut known, vec![attempt.clone()]);
            add_up(&mut known, Vec::new());
        }
        assert_eq!(known.len(), 1);
        known.remove(0)
    }

    #[test]
    fn what_stood_before_the_first_attempt_stood_before_the_job() {
        let lost = change("Active", None, true);
        let found_closed = change("Closed", Some("Closed"), false);
        assert_eq!(added_up(&[lost, found_closed]), change("Active", Some("Closed"), false));
    }

    #[test]
    fn an_attempt_that_saw_less_takes_nothing_back() {
        let read = change("Active", Some("Active"), false);
        let found_only = change("Active", None, false);
        assert_eq!(added_up(&[read.clone(), found_only.clone()]), read);
        let lost = change("Active", None, true);
        assert_eq!(added_up(&[found_only.clone(), lost.clone()]), lost);
        assert_eq!(added_up(&[lost.clone(), found_only]), lost);
    }
}
