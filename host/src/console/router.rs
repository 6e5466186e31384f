//! The routes.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::body::MAX_BODY_BYTES;
use super::health::{ANSWER_WITHIN, Health, HealthReport, Snapshot, report};
use super::problem::Problem;
use super::recent::Recent;
use super::turns::{Turns, in_turn};
use super::{actions, events, health, jobs, lanes, metrics};
use crate::clock::SharedClock;
use crate::journal::{Journal, JournalError};
use crate::tenant::Tokens;

/// What the console stands on.
#[derive(Clone)]
pub struct Console {
    /// Where the answers come from.
    pub journal: Journal,
    /// Who may ask. Whoever watches the file swaps it.
    pub tokens: Arc<ArcSwap<Tokens>>,
    /// How the host is.
    pub health: Arc<dyn Health>,
    /// What this process counted; from [`install_metrics`](super::install_metrics).
    pub metrics: PrometheusHandle,
    /// Whether `/metrics` asks for a token.
    pub metrics_token: bool,
    /// Tells ages and what is over.
    pub clock: SharedClock,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

/// The console and what it remembers for a second.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) console: Console,
    snapshot: Recent<Result<Snapshot, JournalError>>,
    report: Recent<HealthReport>,
    lists: Semaphore,
    pub(super) turns: Turns,
}

/// Looks for lists at a time: 2 of the journal's four readers, so that whoever lists much leaves the others for the health
/// check, by which a balancer tells whether anybody's events may come here.
const LISTS_AT_A_TIME: usize = 2;

/// The journal, for one look.
#[derive(Debug)]
pub(super) struct Look<'a> {
    pub(super) journal: &'a Journal,
    _turn: Option<SemaphorePermit<'a>>,
}

impl Shared {
    pub(super) fn new(console: Console) -> Self {
        Self {
            console,
            snapshot: Recent::default(),
            report: Recent::default(),
            lists: Semaphore::new(LISTS_AT_A_TIME),
            turns: Turns::default(),
        }
    }

    /// The journal, when it is this look's turn: of each look and not of each list, so that lists take turns.
    pub(super) async fn look(&self) -> Look<'_> {
        Look {
            journal: &self.console.journal,
            // Nobody closes this semaphore.
            _turn: self.lists.acquire().await.ok(),
        }
    }

    /// What the journal says of all lanes, not older than a second.
    pub(super) async fn snapshot(&self) -> Arc<Result<Snapshot, JournalError>> {
        let journal = self.console.journal.clone();
        let read = self.snapshot.get(async move { Snapshot::read(&journal).await });
        let said = tokio::time::timeout(ANSWER_WITHIN, read).await;
        said.ok()
            .flatten()
            .unwrap_or_else(|| Arc::new(Err(JournalError::Unavailable("no answer within 2 s".into()))))
    }

    /// How the host is with what the journal says of it, not older than a second: it walks through all tenants and lanes,
    /// and anybody may ask.
    pub(super) async fn report(&self, snapshot: &Result<Snapshot, JournalError>) -> Arc<HealthReport> {
        let make = || report(&*self.console.health, snapshot.as_ref().ok());
        self.report.get_at_once(make).await
    }
}

/// The answer where nothing is. For the whole server, since it can have only one.
pub async fn nowhere() -> Response {
    Problem::not_found("path").into_response()
}

/// The answer to a method that a path does not know.
pub async fn wrong_method() -> Response {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not know this method").into_response()
}

/// All routes of the console. Other paths are left to whoever merges it.
pub fn router(console: Console) -> Router {
    routes(Arc::new(Shared::new(console)))
}

pub(super) fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/jobs", get(jobs::list))
        .route("/v1/jobs/release", post(jobs::release_held))
        .route("/v1/jobs/{id}", get(jobs::show))
        .route("/v1/jobs/{id}/retry", post(jobs::retry))
        .route("/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/v1/jobs/{id}/release", post(jobs::release))
        .route("/v1/events", get(events::list))
        .route("/v1/events/{id}", get(events::show))
        .route("/v1/actions", get(actions::list))
        .route("/v1/lanes", get(lanes::list))
        .route("/v1/pause", post(lanes::pause))
        .route("/v1/resume", post(lanes::resume))
        .route("/v1/breaker/release", post(lanes::release_breaker))
        .route_layer(from_fn_with_state(Arc::clone(&shared), in_turn))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(map_response(forget))
        .with_state(shared)
}

/// No cache on the way keeps an answer: it names people, or is old in a second.
async fn forget(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
