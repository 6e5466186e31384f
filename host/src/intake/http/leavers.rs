//! `POST /v1/tenants/{tenant}/leavers`: a leaver on demand, for people, scripts and workflow steps.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::accept;
use super::auth::bearer;
use super::events::person_key;
use super::leaver::LeaverRequest;
use super::limits::{MAX_IDEMPOTENCY_KEY_BYTES, MAX_LEAVER_BYTES};
use super::problem::Problem;
use super::router::{Shared, only};
use crate::intake::{PLACEHOLDER, is_sample_person, sample_objection};
use crate::journal::{Accepted, Decision, Dedupe, EventRecord, JobFilter, NewEvent, Page};
use crate::tenant::Role;

/// The source of leavers on demand in the journal. No source in a tenant file can have this name, for its `_`.
pub const ON_DEMAND: &str = "on_demand";

/// Takes one leaver.
pub(super) async fn handle(shared: &Shared, tenant: &str, request: Request) -> Result<Response, Problem> {
    let started = Instant::now();
    shared.rates.check_all()?;
    let token = authorize(shared, tenant, request.headers())?;
    // Who comes so far may know which tenants there are: a token of the host, or of this tenant.
    let missing = || {
        let detail =
            "there is no such tenant here; where its file is there, `exeunt status` says what is wrong with it";
        Problem::new(StatusCode::NOT_FOUND, detail)
    };
    let known = shared.intake.directory.connectors(tenant).ok_or_else(missing)?;
    shared.rates.check_tenant(tenant)?;
    let span = tracing::error_span!("request", tenant, token, event = tracing::field::Empty);
    take(shared, tenant, &token, &known, (started, request))
        .instrument(span)
        .await
}

fn authorize(shared: &Shared, tenant: &str, headers: &HeaderMap) -> Result<String, Problem> {
    let tokens = shared.intake.tokens.load();
    let bearer = bearer(headers).ok_or_else(Problem::unauthorized)?;
    if tokens.authenticate(bearer).is_none() {
        return Err(Problem::unauthorized());
    }
    let forbidden = || {
        let detail = "this token may not report leavers of this tenant; it needs the role operate, for this tenant or \
                      for the host";
        Problem::new(StatusCode::FORBIDDEN, detail)
    };
    tokens
        .authorize(bearer, Some(tenant), Role::Operate)
        .ok_or_else(forbidden)
}

async fn take(
    shared: &Shared,
    tenant: &str,
    token: &str,
    known: &[String],
    (started, request): (Instant, Request),
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let key = idempotency_key(&parts.headers)?;
    let mut place = shared.shares.enter(tenant)?;
    let received = shared
        .buffers
        .receive(&parts.headers, body, MAX_LEAVER_BYTES, Some(&mut place))
        .await?;
    let invalid = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    let leaver = LeaverRequest::parse(&received.bytes).map_err(invalid)?;
    let connectors = leaver.connectors(known).map_err(invalid)?;
    let event = NewEvent {
        tenant: tenant.to_owned(),
        source: ON_DEMAND.to_owned(),
        // Without a key each request is meant: somebody asks again because the first outcome was not the right one.
        dedupe: key.map_or(Dedupe::None, |key| Dedupe::SourceId(format!("{token}/{key}"))),
        body: received.bytes.to_vec(),
        received_at: shared.intake.clock.now(),
        occurred_at: None,
        decision: Decision::Leaver,
        reason: format!("reported with the API token {token}"),
        person: serde_json::to_string(&leaver.person).ok(),
        person_key: person_key(&leaver.person),
        replays: None,
        actor: Some(token.to_owned()),
        jobs: accept::jobs(&connectors, is_sample_person(&leaver.person).then(sample_objection)),
    };
    drop(received);
    let (accepted, answer) = accept::record(shared, event, place).await?;
    check_repetition(shared, &accepted, &leaver, &connectors).await?;
    accept::answer(
        shared,
        (tenant, &parts.headers),
        answer,
        (started, StatusCode::ACCEPTED),
    )
    .await
}

/// A key that comes again with another leaver is a mistake of the caller: its leaver would be answered for somebody
/// else's account.
async fn check_repetition(
    shared: &Shared,
    accepted: &Accepted,
    leaver: &LeaverRequest,
    connectors: &[String],
) -> Result<(), Problem> {
    if accepted.duplicate.is_none() {
        return Ok(());
    }
    let first = shared.intake.journal.event(accepted.event).await;
    let first = first.map_err(|error| Problem::unread(&error))?;
    if let Some(first) = first
        && asked_for(shared, &first, leaver, connectors).await?
    {
        return Ok(());
    }
    let detail = "this Idempotency-Key was sent before with another leaver; send a new key with each leaver";
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))
}

/// Whether an event is of this request. Of one past its retention, who left is still known, and which jobs were made.
async fn asked_for(
    shared: &Shared,
    first: &EventRecord,
    leaver: &LeaverRequest,
    connectors: &[String],
) -> Result<bool, Problem> {
    if !first.body.is_empty() {
        return Ok(LeaverRequest::parse(&first.body).is_ok_and(|first| first == *leaver));
    }
    let filter = JobFilter {
        event: Some(first.summary.id),
        ..JobFilter::default()
    };
    let jobs = shared.intake.journal.jobs(&filter, Page::default()).await;
    let jobs = jobs.map_err(|error| Problem::unread(&error))?;
    let mut made: Vec<&str> = jobs.items.iter().map(|job| job.lane.connector()).collect();
    made.sort_unstable();
    Ok(made == *connectors && first.summary.person == serde_json::to_string(&leaver.person).ok())
}

/// The key of `Idempotency-Key`, bare or in quotes (draft-ietf-httpapi-idempotency-key-header has a structured string).
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    const NAME: HeaderName = HeaderName::from_static("idempotency-key");
    if !headers.contains_key(NAME) {
        return Ok(None);
    }
    let key = only(headers, &NAME).map(str::trim);
    let key = key.map(|key| {
        key.strip_prefix('"')
            .and_then(|key| key.strip_suffix('"'))
            .unwrap_or(key)
    });
    let fits = |key: &&str| {
        (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
    };
    match key.filter(fits) {
        Some(key) if key.contains(PLACEHOLDER) => {
            // The same for each person who leaves: all but the first would count as repetitions.
            let detail = format!(
                "Idempotency-Key holds `{PLACEHOLDER}`: the workflow that sent it did not fill in a value; correct its step"
            );
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
        Some(key) => Ok(Some(key)),
        None => {
            let detail =
                format!("Idempotency-Key must be one text of 1 to {MAX_IDEMPOTENCY_KEY_BYTES} ASCII characters");
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}
