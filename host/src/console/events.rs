//! Events: what came, and what was decided about it. The intake replays them, since it knows their sources.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;

use super::access::Caller;
use super::body::Id;
use super::lanes::check_empty;
use super::list::Picked;
use super::parameters::Parameters;
use super::problem::Problem;
use super::router::Shared;
use super::view::{EventPage, EventView};
use crate::journal::{Decision, EventId, JobId, Page, Scope};
use crate::tenant::{Role, did_you_mean};

/// `GET /v1/events`: a tenant's events, newest first.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    query: RawQuery,
) -> Result<Json<EventPage>, Problem> {
    let mut given = Parameters::read(query, &["tenant", "decision", "cursor", "limit"])?;
    let decision = given.take_as("decision", parse_decision)?;
    let page: Page<EventId> = given.page()?;
    let tenant = match caller.narrow(given.take("tenant")) {
        Ok(Some(tenant)) => tenant,
        Ok(None) => {
            return Err(Problem::invalid(
                "say whose events: write --tenant NAME, or `tenant=NAME` in the query",
            ));
        }
        // Another tenant's list is that of a tenant that does not exist.
        Err(_) => {
            let (events, next) = (Vec::new(), None);
            return Ok(Json(EventPage { events, next }));
        }
    };
    let mut events = Picked::new(page);
    while let Some(before) = events.look() {
        let page = Page { before, ..page };
        let found = shared.look().await.journal.events(&tenant, decision, page).await?;
        events.take(&found, |event| (event.id, Some(EventView::from(event))));
    }
    let next = events.next();
    if events.items.is_empty() && next.is_none() && page.before.is_none() {
        check_empty(&shared, &caller, &Scope::Tenant(tenant)).await?;
    }
    Ok(Json(EventPage {
        events: events.items,
        next,
    }))
}

fn parse_decision(text: &str) -> Result<Decision, Problem> {
    let known = || Decision::ALL.iter().map(|decision| decision.as_str());
    text.parse()
        .map_err(|_| Problem::invalid(format!("unknown `decision`; {}", did_you_mean(text, known()))))
}

/// What was decided about it and why; with the role `audit`, what was received.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Id(id): Id,
) -> Result<Json<EventView>, Problem> {
    let none = || Problem::not_found("event");
    let id: EventId = id.parse().map_err(|_| none())?;
    let look = shared.look().await;
    let record = look.journal.event(id).await?;
    if let Some(record) = record.filter(|record| caller.sees(&record.summary.tenant)) {
        return Ok(Json(EventView::new(&record, caller.has(Role::Audit))));
    }
    let job = look.journal.job(JobId::from(id.as_uuid())).await?;
    match job.filter(|job| caller.sees(job.summary.lane.tenant())) {
        Some(job) => Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("{id} is a job and no event; its event is {}", job.summary.event),
        )),
        None => Err(none()),
    }
}
