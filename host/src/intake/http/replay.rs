//! `POST /v1/events/{id}/replay`: an event that made no job is judged again, by its source as it is now.
//!
//! For events that a wrong rule or mapping has refused: SailPoint never sends them again.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use tokio::time::Instant;

use super::accept::{self, Answer};
use super::auth::bearer;
use super::body::Received;
use super::events::{event, identity, judge};
use super::problem::Problem;
use super::router::Shared;
use crate::intake::{Occurred, Person};
use crate::journal::{Decision, EventId, EventRecord, NewEvent};
use crate::tenant::Role;

/// Judges a recorded event again, and records it as a new one if it is a leaver now. One that was replayed before is answered
/// with what was made of it then, unless the source names somebody else today.
pub(super) async fn handle(shared: &Shared, id: &str, request: Request) -> Result<Response, Problem> {
    let started = Instant::now();
    shared.rates.check_all()?;
    let headers = request.into_parts().0.headers;
    let (token, record) = find(shared, id, &headers).await?;
    let tenant = &record.summary.tenant;
    let at_once = (started, StatusCode::ACCEPTED);
    let conflict = |detail: String| Problem::new(StatusCode::CONFLICT, detail);
    if !record.jobs.is_empty() {
        let detail = "this event has jobs; run those again with `exeunt jobs retry`";
        return Err(conflict(detail.to_owned()));
    }
    let source = shared.intake.directory.source(tenant, &record.summary.source);
    let missing = || {
        let name = &record.summary.source;
        conflict(format!(
            "the source `{name}` of this event is not there, or not ready; `exeunt status` says why"
        ))
    };
    let source = source.ok_or_else(missing)?;
    let received = Received::kept(Bytes::from(record.body));
    let place = shared.shares.enter_with(tenant, received.bytes.len())?;
    let (mut reading, received) = judge(shared, &place, &source, received).await?;
    if matches!(reading.occurred, Occurred::Unsaid) {
        // An event without a time happened before it came. It may be too old by now, as if it came late.
        reading.occurred = Occurred::At(record.summary.received_at);
    }
    let now = shared.intake.clock.now();
    // Of an event that made no job, it is the signed message's.
    let signed_id = record.summary.source_id.as_deref();
    let signed_id = signed_id.filter(|_| record.summary.decision != Decision::Leaver);
    let mut new = event(tenant, &source, reading, signed_id, received.bytes.to_vec(), now);
    if let Some(made) = record.summary.replayed_as {
        let answer = repeated(shared, made, &new).await?;
        return accept::answer(shared, (tenant, &headers), answer, at_once).await;
    }
    if new.decision != Decision::Leaver {
        return Ok(Answer::unchanged(record.summary.id, new.decision, new.reason).response(StatusCode::OK));
    }
    new.replays = Some(record.summary.id);
    new.actor = Some(token.clone());
    new.reason = format!(
        "{}; replayed from event {} with the API token {token}",
        new.reason, record.summary.id
    );
    let (accepted, answer) = accept::record(shared, new, place).await?;
    tracing::info!(tenant, token, event = %accepted.event, of = %record.summary.id, "an event was replayed");
    accept::answer(shared, (tenant, &headers), answer, at_once).await
}

/// The answer for an event that was replayed before, as the event that was made of it. It is refused where the source names
/// somebody else by now: that person would seem to be done.
async fn repeated(shared: &Shared, made: EventId, now: &NewEvent) -> Result<Answer, Problem> {
    let made = shared.intake.journal.event(made).await;
    let made = made.map_err(|error| Problem::unread(&error))?;
    let made = made.ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "the event that was made of it is not there any more",
        )
    })?;
    let person = |person: Option<&str>| person.and_then(|person| serde_json::from_str(person).ok());
    let (then, today): (Option<Person>, Option<Person>) =
        (person(made.summary.person.as_deref()), person(now.person.as_deref()));
    if let (Some(then), Some(today)) = (&then, &today)
        && identity(then) != identity(today)
    {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            format!(
                "this event was replayed before, as event {}, and the source names somebody else by now; report that \
                 person with `exeunt leaver`",
                made.summary.id
            ),
        ));
    }
    Ok(Answer::repeated(made.summary))
}

/// The event, for a token that may operate its tenant. Another tenant's event looks as if it did not exist.
async fn find(shared: &Shared, id: &str, headers: &HeaderMap) -> Result<(String, EventRecord), Problem> {
    let tokens = shared.intake.tokens.load_full();
    let bearer = bearer(headers).ok_or_else(Problem::unauthorized)?;
    let token = tokens.authenticate(bearer).ok_or_else(Problem::unauthorized)?;
    // Before anything is read: an event may have a megabyte.
    if !token.roles.contains(&Role::Operate) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this token may not replay events; it needs the role operate",
        ));
    }
    if let Some(tenant) = &token.tenant {
        shared.rates.check_tenant(tenant)?;
    }
    let missing = || Problem::new(StatusCode::NOT_FOUND, "there is no such event");
    let id: EventId = id.parse().map_err(|_| missing())?;
    let record = shared.intake.journal.event(id).await;
    let record = record.map_err(|error| Problem::unread(&error))?;
    let record = record
        .filter(|record| token.reaches(Some(&record.summary.tenant)))
        .ok_or_else(missing)?;
    Ok((token.name.clone(), record))
}
