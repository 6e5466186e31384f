//! Waits until an event's jobs have come to something.

use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::router::Shared;
use crate::journal::{Decision, EventId, JobFilter, JobId, JobState, JobSummary, JournalError, Outcome, Page};

/// The shortest time between two looks at the journal: 10 ms, what a waiting caller may lose.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest: it doubles up to half a second, so that waiting for minutes is cheap.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How long a look at the journal may take beyond the caller's time: 2 seconds. The first one is made in any case.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// How often to look although this host has written nothing: another one may do the job.
const POLL: Duration = Duration::from_secs(1);

/// What became of a job so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct JobAnswer {
    id: JobId,
    connector: String,
    /// queued, running, parked, held or ended
    state: &'static str,
    outcome: Option<Outcome>,
    reason: Option<String>,
    /// Until when it is parked, where time alone lets it go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip)]
    end: End,
}

/// How a job counts towards the answer's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Done, and nothing is left open.
    Good,
    /// Held, parked until somebody changes something, refused or cancelled.
    Withheld,
    /// It did not work.
    Failed,
    /// On its way.
    Open,
    /// On its way, and not before the caller's time is up.
    Later,
}

/// How an event's jobs stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) jobs: Vec<JobAnswer>,
    is_known: bool,
}

impl Standing {
    fn any(&self, end: End) -> bool {
        self.jobs.iter().any(|job| job.end == end)
    }

    /// The status that says it all, to a caller that sees nothing else (a workflow step of SailPoint).
    ///
    /// 200 is: every account is closed, was closed, was never there, or would have been closed. 409 is: somebody has to
    /// decide. 424 is: a target could not do it; not 502, which whatever stands between the caller and us answers too,
    /// and which asks for a repetition, while the job has had all of its attempts. 202 is: not yet known, and nothing is
    /// wrong so far. What has gone wrong is said though others are on their way: no later answer would say it.
    pub(super) fn status(&self, decision: Decision) -> StatusCode {
        let nothing_done = self.is_known && decision == Decision::Leaver && self.jobs.is_empty();
        if self.any(End::Failed) {
            StatusCode::FAILED_DEPENDENCY
        } else if self.any(End::Withheld) || decision == Decision::Refused || nothing_done {
            StatusCode::CONFLICT
        } else if !self.is_known || self.any(End::Open) || self.any(End::Later) {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        }
    }
}

/// How an event's jobs stand once each has an outcome or waits for somebody, or when the time is up.
pub(super) async fn settled(shared: &Shared, event: EventId, deadline: Instant) -> Standing {
    let mut changes = shared.intake.journal.changes();
    let mut pause = FIRST_PAUSE;
    let mut standing = Standing::default();
    loop {
        let until = deadline.max(Instant::now()) + LAST_LOOK;
        match timeout_at(until, look(shared, event, deadline)).await {
            Ok(Ok(found)) => standing = found,
            // The event is recorded, whatever becomes of this question.
            Ok(Err(error)) => tracing::warn!(%error, %event, "cannot look what became of an event"),
            Err(_) => tracing::warn!(%event, "the journal does not say in time what became of an event"),
        }
        let waits = !standing.is_known || standing.any(End::Open);
        if !waits || Instant::now() >= deadline || *shared.intake.stop.borrow() {
            return standing;
        }
        let wake = async {
            sleep(pause).await;
            let _ = timeout(POLL, changes.next()).await;
        };
        tokio::select! {
            () = wake => {}
            () = sleep_until(deadline) => {}
            () = stopped(shared.intake.stop.clone()) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stopped| *stopped).await.is_err() {
        // Nobody is left who could say so.
        std::future::pending::<()>().await;
    }
}

async fn look(shared: &Shared, event: EventId, deadline: Instant) -> Result<Standing, JournalError> {
    let filter = JobFilter {
        event: Some(event),
        ..JobFilter::default()
    };
    let found = shared.intake.journal.jobs(&filter, Page::default()).await?;
    let end = shared.intake.clock.now() + deadline.saturating_duration_since(Instant::now());
    // Newest first in the journal; here in the order in which they were made.
    let jobs = found.items.into_iter().rev().map(|job| describe(job, end)).collect();
    Ok(Standing { jobs, is_known: true })
}

fn describe(job: JobSummary, end: Timestamp) -> JobAnswer {
    let until = match job.state {
        JobState::Parked { until, .. } => until,
        _ => None,
    };
    let (state, outcome, why, end) = match job.state {
        JobState::Queued => ("queued", None, None, End::Open),
        JobState::Running { .. } => ("running", None, None, End::Open),
        JobState::Parked {
            until: Some(until),
            why,
        } if until <= end => ("parked", None, Some(why), End::Open),
        JobState::Parked { until: Some(_), why } => ("parked", None, Some(why), End::Later),
        JobState::Parked { until: None, why } => ("parked", None, Some(why), End::Withheld),
        JobState::Held { why } => ("held", None, Some(why), End::Withheld),
        JobState::Ended { outcome, .. } => ("ended", Some(outcome), None, ended(outcome)),
    };
    JobAnswer {
        id: job.id,
        connector: job.lane.connector().to_owned(),
        state,
        outcome,
        reason: job.reason.or(why),
        until,
        end,
    }
}

fn ended(outcome: Outcome) -> End {
    match outcome {
        Outcome::Closed | Outcome::AlreadyClosed | Outcome::NoAccount | Outcome::Planned => End::Good,
        Outcome::Refused | Outcome::Cancelled => End::Withheld,
        Outcome::Failed => End::Failed,
    }
}
