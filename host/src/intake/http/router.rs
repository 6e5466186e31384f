//! The addresses, and what all requests share.

use std::fmt::Debug;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use axum::{Router, http};
use tokio::sync::{Semaphore, watch};

use super::body::Buffers;
use super::limits::{IntakeLimits, Rates};
use super::problem::Problem;
use super::shares::Shares;
use super::source::Directory;
use super::{events, leavers, replay};
use crate::clock::SharedClock;
use crate::journal::Journal;
use crate::tenant::Tokens;

/// What the intake works with.
#[derive(Debug)]
pub struct Intake {
    /// Where events are recorded.
    pub journal: Journal,
    /// Tenants and sources.
    pub directory: Arc<dyn Directory>,
    /// Who may report leavers on demand.
    pub tokens: Arc<ArcSwap<Tokens>>,
    /// Tells when events arrive, and whether a signature is of now.
    pub clock: SharedClock,
    /// How much is taken at a time.
    pub limits: IntakeLimits,
    /// Turns true when the server stops: requests that wait for an outcome are then answered at once.
    pub stop: watch::Receiver<bool>,
}

/// What a request needs; made once.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) intake: Intake,
    pub(super) rates: Rates,
    pub(super) shares: Shares,
    pub(super) buffers: Buffers,
    /// For bodies whose sender is known only after they were read.
    pub(super) unproven: Buffers,
    pub(super) judges: Arc<Semaphore>,
    pub(super) waiters: Semaphore,
}

/// The intake's addresses: `POST /v1/tenants/{tenant}/sources/{source}/events`, `POST /v1/tenants/{tenant}/leavers` and
/// `POST /v1/events/{id}/replay`.
/// It sets no fallback, so that it can be merged with other routers.
pub fn router(intake: Intake) -> Router {
    Router::new()
        .route("/v1/tenants/{tenant}/sources/{source}/events", posted(post(event)))
        .route("/v1/tenants/{tenant}/leavers", posted(post(leaver)))
        .route("/v1/events/{id}/replay", posted(post(replayed)))
        .with_state(Arc::new(shared(intake)))
}

pub(super) fn shared(intake: Intake) -> Shared {
    let limits = &intake.limits;
    Shared {
        rates: Rates::new(limits),
        shares: Shares::new(limits.tenant_bytes.max(limits.event_bytes), limits.tenant_waiters),
        buffers: Buffers::new(limits.buffered_bytes, limits.body_time),
        unproven: Buffers::of_strangers(limits.unproven_bytes, limits.body_time),
        judges: Arc::new(Semaphore::new(limits.judges.max(1))),
        waiters: Semaphore::new(limits.waiters),
        intake,
    }
}

fn posted(route: MethodRouter<Arc<Shared>>) -> MethodRouter<Arc<Shared>> {
    route.fallback(async || {
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "events are sent with POST");
        ([(header::ALLOW, "POST")], problem)
    })
}

/// A path that is not UTF-8 once decoded names nothing that exists.
type Names<T> = Result<Path<T>, axum::extract::rejection::PathRejection>;

async fn event(State(shared): State<Arc<Shared>>, names: Names<(String, String)>, request: Request) -> Response {
    let (tenant, source) = names.map(|Path(names)| names).unwrap_or_default();
    answered(events::handle(&shared, &tenant, &source, request).await)
}

async fn leaver(State(shared): State<Arc<Shared>>, names: Names<String>, request: Request) -> Response {
    let tenant = names.map(|Path(name)| name).unwrap_or_default();
    answered(leavers::handle(&shared, &tenant, request).await)
}

async fn replayed(State(shared): State<Arc<Shared>>, id: Names<String>, request: Request) -> Response {
    let id = id.map(|Path(id)| id).unwrap_or_default();
    answered(replay::handle(&shared, &id, request).await)
}

fn answered(result: Result<Response, Problem>) -> Response {
    result.unwrap_or_else(|problem| {
        metrics::counter!("exeunt_requests_refused_total", "reason" => problem.word()).increment(1);
        problem.into_response()
    })
}

/// The value of a header that is there once, as text.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}
