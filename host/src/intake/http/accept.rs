//! Records an event with its jobs, and says what became of it.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::Instant;

use super::problem::Problem;
use super::router::Shared;
use super::shares::Place;
use super::wait::{self, JobAnswer};
use crate::journal::{Accepted, Decision, EventId, EventSummary, NewEvent, NewJob, NewState};
use crate::step;

/// What the sender learns.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// The event's id; of a duplicate, the first one's.
    event: EventId,
    decision: Decision,
    reason: String,
    duplicate: bool,
    /// Only where the sender waited for the outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<Vec<JobAnswer>>,
}

impl Answer {
    fn new(accepted: Accepted, decision: Decision, reason: String) -> Self {
        let event = accepted.event;
        match accepted.duplicate {
            None => Self {
                event,
                decision,
                reason,
                duplicate: false,
                jobs: None,
            },
            Some(first) => Self {
                event,
                decision: first.decision,
                reason: first.reason,
                duplicate: true,
                jobs: None,
            },
        }
    }

    /// For an event that was judged again and makes no job now either; nothing is recorded.
    pub(super) fn unchanged(event: EventId, decision: Decision, reason: String) -> Self {
        Self {
            event,
            decision,
            reason,
            duplicate: false,
            jobs: None,
        }
    }

    /// For an event that was replayed before: the event that was made of it.
    pub(super) fn repeated(made: EventSummary) -> Self {
        Self {
            event: made.id,
            decision: made.decision,
            reason: made.reason,
            duplicate: true,
            jobs: None,
        }
    }

    pub(super) fn response(&self, status: StatusCode) -> Response {
        let body = serde_json::to_string(self).unwrap_or_default();
        let json = HeaderValue::from_static("application/json");
        let no_store = HeaderValue::from_static("no-store");
        (
            status,
            [(header::CONTENT_TYPE, json), (header::CACHE_CONTROL, no_store)],
            body,
        )
            .into_response()
    }
}

/// Jobs for these connectors; held where there is an objection.
pub(super) fn jobs<'c>(
    connectors: impl IntoIterator<Item = &'c String>,
    objection: Option<(&'static str, String)>,
) -> Vec<NewJob> {
    let state = match objection {
        None => NewState::Queued,
        Some((why, reason)) => {
            let why = why.to_owned();
            NewState::Held { why, reason }
        }
    };
    let job = |connector: &String| NewJob {
        connector: connector.clone(),
        state: state.clone(),
    };
    connectors.into_iter().map(job).collect()
}

/// Records an event and returns when it is on disk. Its place is taken until then, though the caller hang up before.
pub(super) async fn record(shared: &Shared, event: NewEvent, place: Place) -> Result<(Accepted, Answer), Problem> {
    let labels = [("tenant", event.tenant.clone()), ("source", event.source.clone())];
    let (decision, reason) = (event.decision, event.reason.clone());
    let accepted = shared.intake.journal.accept_with(event, place).await?;
    step::passed("accepted");
    let word = if accepted.duplicate.is_some() {
        "duplicate"
    } else {
        decision.as_str()
    };
    let [tenant, source] = labels;
    // The span of the request, so that it is found with the event's attempts.
    tracing::Span::current().record("event", tracing::field::display(accepted.event));
    match decision {
        // Its sender may never look at the answer, and has somebody in mind who is to lose an account.
        Decision::Refused => {
            let event = accepted.event;
            let (tenant, source) = (&tenant.1, &source.1);
            tracing::warn!(
                tenant,
                source,
                %event,
                "refused; `exeunt events list --tenant {tenant} --decision refused` says why"
            );
        }
        _ => tracing::debug!(event = %accepted.event, decision = word, "recorded"),
    }
    metrics::counter!("exeunt_events_total", &[tenant, source, ("decision", word.to_owned())]).increment(1);
    let answer = Answer::new(accepted.clone(), decision, reason);
    Ok((accepted, answer))
}

/// The answer to an event that is recorded, after waiting for its outcome where the sender prefers that: from when the
/// request was `received` on, as RFC 7240 section 4.3 has it.
pub(super) async fn answer(
    shared: &Shared,
    (tenant, headers): (&str, &HeaderMap),
    mut answer: Answer,
    (received, at_once): (Instant, StatusCode),
) -> Result<Response, Problem> {
    const APPLIED: HeaderName = HeaderName::from_static("preference-applied");
    // Without what a sender prefers to wait.
    metrics::histogram!("exeunt_accept_seconds").record(received.elapsed().as_secs_f64());
    let Some(most) = super::prefer::wait(headers) else {
        return Ok(answer.response(at_once));
    };
    // A preference may be passed over; too many that wait would keep the journal busy with their questions. The tenant's
    // own limit is asked first: those that it turns away take no place of the others.
    let (Some(_of_tenant), Ok(_room)) = (shared.shares.wait(tenant), shared.waiters.try_acquire()) else {
        return Ok(answer.response(StatusCode::ACCEPTED));
    };
    let standing = wait::settled(shared, answer.event, received + most).await;
    let status = standing.status(answer.decision);
    answer.jobs = Some(standing.jobs);
    let mut response = answer.response(status);
    if status != StatusCode::ACCEPTED {
        response.headers_mut().insert(APPLIED, applied(most));
    }
    Ok(response)
}

fn applied(wait: Duration) -> HeaderValue {
    HeaderValue::try_from(format!("wait={}", wait.as_secs())).unwrap_or(HeaderValue::from_static("wait"))
}
