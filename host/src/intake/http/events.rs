//! `POST /v1/tenants/{tenant}/sources/{source}/events`

use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use tokio::sync::AcquireError;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use super::accept;
use super::auth::Presented;
use super::body::Received;
use super::limits::{INLINE_BYTES, JUDGE_WAIT};
use super::problem::Problem;
use super::router::Shared;
use super::shares::Place;
use super::source::OpenSource;
use crate::intake::{Decision, Mark, Occurred, Person, Reading, folded_address};
use crate::journal::{self, Dedupe, NewEvent};
use crate::tenant::SourceKind;
use crate::text::excerpt;

/// Takes one event.
pub(super) async fn handle(shared: &Shared, tenant: &str, source: &str, request: Request) -> Result<Response, Problem> {
    let started = Instant::now();
    shared.rates.check_all()?;
    let found = shared.intake.directory.source(tenant, source);
    // Only names that exist: whatever else is written to an address does not belong into a log.
    let span = match &found {
        Some(_) => tracing::error_span!("request", tenant, source, event = tracing::field::Empty),
        None => tracing::error_span!("request"),
    };
    take(shared, tenant, found, (started, request)).instrument(span).await
}

async fn take(
    shared: &Shared,
    tenant: &str,
    found: Option<Arc<OpenSource>>,
    (started, request): (Instant, Request),
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let presented = Presented::read(&parts.headers);
    let now = shared.intake.clock.now();
    let fits = |body: &[u8]| presented.fits(found.as_deref().map(OpenSource::auth), body, now);
    let mut place = None;
    if !presented.is_signed() {
        if !fits(&[]) {
            return Err(turned_away(shared, found.as_deref(), &presented, now));
        }
        place = Some(shared.shares.enter(tenant)?);
    }
    // Signed ones are read before it is known who sends them: they have room of their own, so that a stranger's cannot
    // take that of senders who have said who they are.
    let buffers = if presented.is_signed() {
        &shared.unproven
    } else {
        &shared.buffers
    };
    let received = buffers
        .receive(&parts.headers, body, shared.intake.limits.event_bytes, place.as_mut())
        .await?;
    if presented.is_signed() && !fits(&received.bytes) {
        return Err(turned_away(shared, found.as_deref(), &presented, now));
    }
    let Some(source) = found else {
        return Err(Problem::unauthorized());
    };
    shared.rates.check_tenant(tenant)?;
    let place = match place {
        Some(place) => place,
        None => shared.shares.enter_with(tenant, received.bytes.len())?,
    };
    let (reading, received) = judge(shared, &place, &source, received).await?;
    let signed_id = presented.signed_id().filter(|_| source.auth().is_signature());
    let event = event(tenant, &source, reading, signed_id, received.bytes.to_vec(), now);
    drop(received);
    let (_, answer) = accept::record(shared, event, place).await?;
    // SailPoint's fire-and-forget triggers expect 200 and nothing else.
    let at_once = match source.kind() {
        SourceKind::SailPoint => StatusCode::OK,
        SourceKind::Webhook => StatusCode::ACCEPTED,
    };
    accept::answer(shared, (tenant, &parts.headers), answer, (started, at_once)).await
}

/// The refusal, which says nothing, and now and then a line in the log, which does: whoever has the wrong secret, or a
/// clock that is wrong, is found by nobody else. Whether the address exists makes no difference outside, not in time
/// either.
fn turned_away(shared: &Shared, source: Option<&OpenSource>, presented: &Presented, now: Timestamp) -> Problem {
    if shared.rates.may_complain() {
        let asked = source.map_or(
            "there is no such source, or its tenant's file has a mistake",
            |source| source.auth().words(),
        );
        tracing::warn!(
            "a sender was turned away with 401: it sent {}; {asked}",
            presented.words(now)
        );
    }
    Problem::unauthorized()
}

/// What the source's rule says of a body.
pub(super) async fn judge(
    shared: &Shared,
    place: &Place,
    source: &Arc<OpenSource>,
    received: Received,
) -> Result<(Reading, Received), Problem> {
    if received.bytes.len() <= INLINE_BYTES && !source.source().is_laborious() {
        return Ok((source.source().read(&received.bytes), received));
    }
    let failed = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the event could not be judged");
    // The tenant's own place first: of those that wait for one of all, each tenant is one.
    let room = async {
        let own = Arc::clone(&place.share().judge).acquire_owned().await?;
        Ok::<_, AcquireError>((own, Arc::clone(&shared.judges).acquire_owned().await?))
    };
    let busy = |_| Problem::busy("too many large events at the moment");
    let room = timeout(JUDGE_WAIT, room).await.map_err(busy)?.map_err(|_| failed())?;
    let source = Arc::clone(source);
    // The room goes along: a caller that hangs up ends its wait, not the work.
    let judged = tokio::task::spawn_blocking(move || {
        let reading = source.source().read(&received.bytes);
        drop(room);
        (reading, received)
    });
    judged.await.map_err(|_| failed())
}

/// The event as the journal takes it.
pub(super) fn event(
    tenant: &str,
    source: &OpenSource,
    reading: Reading,
    signed_id: Option<&str>,
    body: Vec<u8>,
    now: Timestamp,
) -> NewEvent {
    let objection = source.source().objection(&reading, now);
    let occurred_at = match reading.occurred {
        Occurred::At(at) => Some(at),
        Occurred::Unsaid | Occurred::Unknown(_) => None,
    };
    let mut event = NewEvent {
        tenant: tenant.to_owned(),
        source: source.source().name().to_owned(),
        // Events that make no job leave no mark: sending one again does no harm, and is how it is tried once the rule or
        // the mapping is corrected.
        dedupe: signed_id.map_or(Dedupe::None, |id| Dedupe::Named(id.to_owned())),
        body,
        received_at: now,
        occurred_at,
        decision: journal::Decision::Leaver,
        reason: String::new(),
        person: None,
        person_key: None,
        replays: None,
        actor: None,
        jobs: Vec::new(),
    };
    let cut = |reason: String| excerpt(&reason, MAX_REASON);
    match reading.decision {
        Decision::NotALeaver { reason } => {
            (event.decision, event.reason) = (journal::Decision::NotALeaver, cut(reason))
        }
        Decision::Refused { reason } => (event.decision, event.reason) = (journal::Decision::Refused, cut(reason)),
        Decision::Leaver { person, reason } => {
            event.reason = cut(reason);
            event.dedupe = dedupe(reading.mark, signed_id, &person);
            event.person_key = person_key(&person);
            event.person = serde_json::to_string(&person).ok();
            event.jobs = accept::jobs(source.source().connectors(), objection);
        }
    }
    event
}

/// Longest reason for a decision: 2,000 characters. It may list what a source's rule asks for.
const MAX_REASON: usize = 2_000;

/// A repetition is told by the id that the operator mapped, else by that of the signed message, else by content.
fn dedupe(mark: Option<Mark>, signed_id: Option<&str>, person: &Person) -> Dedupe {
    let message = |id| Dedupe::Message {
        id,
        about: identity(person),
    };
    match (mark, signed_id) {
        (None, _) => Dedupe::None,
        (Some(Mark::Id(id)), _) => message(id),
        (Some(Mark::Content(_)), Some(id)) => message(id.to_owned()),
        (Some(Mark::Content(digest)), None) => Dedupe::Content(digest),
    }
}

/// What makes somebody another person for the target: the address as it is compared, and the ids.
pub(super) fn identity(person: &Person) -> String {
    let email = person.email.as_deref().map(folded_address);
    serde_json::json!([email, person.target_id, person.id]).to_string()
}

/// What an operator would search the person by.
pub(super) fn person_key(person: &Person) -> Option<String> {
    person
        .email
        .clone()
        .or_else(|| person.target_id.clone())
        .or_else(|| person.id.clone())
}
