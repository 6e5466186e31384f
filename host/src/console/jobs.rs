//! Jobs: list, show, and what people do to them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::access::Caller;
use super::body::{Body, Id, Reason};
use super::lane_view::{PauseView, Released};
use super::lanes::{check_empty, check_known, includes};
use super::list::{JobQuery, known_hold, lane};
use super::problem::Problem;
use super::router::Shared;
use super::view::{JobDetail, JobPage};
use crate::journal::{BREAKER_HOLD, EventId, HeldFilter, JobId, JobRecord, JobState, Lane, LaneStatus, Scope};
use crate::tenant::Role;

/// `GET /v1/jobs`
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    query: RawQuery,
) -> Result<Json<JobPage>, Problem> {
    let Some(query) = JobQuery::parse(query, &caller)? else {
        return Ok(Json(JobPage {
            jobs: Vec::new(),
            next: None,
        }));
    };
    let page = query.run(&shared).await?;
    if page.jobs.is_empty() && page.next.is_none() {
        check_empty(&shared, &caller, &query.scope()).await?;
    }
    Ok(Json(page))
}

/// `GET /v1/jobs/{id}`
pub(super) async fn show(State(shared): State<Arc<Shared>>, caller: Caller, Id(id): Id) -> Result<Response, Problem> {
    let (id, record) = find(&shared, &caller, &id).await?;
    let transcripts = match caller.has(Role::Audit) {
        true => Some(shared.look().await.journal.transcripts(id).await?),
        false => None,
    };
    let waits = !matches!(record.summary.state, JobState::Ended { .. } | JobState::Held { .. });
    let scope = Scope::Connector(record.summary.lane.clone());
    let pauses = match waits {
        true => shared.console.journal.pauses().await?,
        false => Vec::new(),
    };
    let paused = pauses
        .iter()
        .find(|pause| includes(&pause.scope, &scope))
        .map(PauseView::from);
    // Of megabytes of transcripts, which would keep a worker from everybody else's requests.
    let detail = tokio::task::spawn_blocking(move || {
        let detail = JobDetail::new(record, transcripts);
        Json(JobDetail { paused, ..detail }).into_response()
    });
    let detail = detail.await;
    detail.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// What is said with an act.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Act {
    reason: Reason,
}

/// `POST /v1/jobs/{id}/retry`: the role `operate`.
pub(super) async fn retry(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Id(id): Id,
    Body(act): Body<Act>,
) -> Result<Json<JobDetail>, Problem> {
    caller.require(Role::Operate)?;
    let (id, _) = find(&shared, &caller, &id).await?;
    shared
        .console
        .journal
        .retry(id, caller.name(), act.reason.as_str())
        .await?;
    acted(&shared, &caller, id, "retried").await
}

/// `POST /v1/jobs/{id}/cancel`: the role `operate`.
pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Id(id): Id,
    Body(act): Body<Act>,
) -> Result<Json<JobDetail>, Problem> {
    caller.require(Role::Operate)?;
    let (id, _) = find(&shared, &caller, &id).await?;
    shared
        .console
        .journal
        .cancel(id, caller.name(), act.reason.as_str())
        .await?;
    acted(&shared, &caller, id, "cancelled").await
}

/// `POST /v1/jobs/{id}/release`: the role `approve`.
pub(super) async fn release(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Id(id): Id,
    Body(act): Body<Act>,
) -> Result<Json<JobDetail>, Problem> {
    caller.require(Role::Approve)?;
    let (id, record) = find(&shared, &caller, &id).await?;
    let summary = &record.summary;
    if matches!(&summary.state, JobState::Held { why } if why == BREAKER_HOLD) {
        refuse_open_breaker(&shared, Some(summary.lane.tenant()), Some(&summary.lane)).await?;
    }
    shared
        .console
        .journal
        .release(id, caller.name(), act.reason.as_str())
        .await?;
    acted(&shared, &caller, id, "released").await
}

/// Which held jobs to let go. At least one of the first three must be there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseHeld {
    tenant: Option<String>,
    connector: Option<String>,
    why: Option<String>,
    reason: Reason,
}

/// `POST /v1/jobs/release`: the role `approve`.
pub(super) async fn release_held(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Body(wanted): Body<ReleaseHeld>,
) -> Result<Json<Released>, Problem> {
    caller.require(Role::Approve)?;
    // Everything that anybody ever held, by one forgotten parameter, would be a lot of closed accounts. Asked before the
    // tenant of a tenant's token is filled in: that it has one is no choice.
    if wanted.tenant.is_none() && wanted.connector.is_none() && wanted.why.is_none() {
        return Err(Problem::invalid(
            "say which held jobs: give `tenant`, `connector` or `why`",
        ));
    }
    let tenant = caller.narrow(wanted.tenant)?;
    let lane = lane(tenant.as_deref(), wanted.connector)?;
    let filter = HeldFilter {
        tenant,
        lane,
        why: wanted.why.map(known_hold).transpose()?,
    };
    if filter.why.as_deref().is_none_or(|why| why == BREAKER_HOLD) {
        refuse_open_breaker(&shared, filter.tenant.as_deref(), filter.lane.as_ref()).await?;
    }
    let released = shared
        .console
        .journal
        .release_held(&filter, caller.name(), wanted.reason.as_str())
        .await?;
    // Who lets go what was never held has probably mistyped it.
    if released == 0 {
        let of_tenant = filter.tenant.clone().map(Scope::Tenant);
        if let Some(scope) = filter.lane.clone().map(Scope::Connector).or(of_tenant) {
            check_known(&shared, &scope).await?;
        }
    }
    let (tenant, why) = (filter.tenant.as_deref(), filter.why.as_deref());
    let connector = filter.lane.as_ref().map(Lane::connector);
    tracing::info!(
        actor = caller.name(),
        tenant,
        connector,
        why,
        released,
        "held jobs were released"
    );
    Ok(Json(Released { released }))
}

/// A job that is released while its breaker is open would be held again at once, and look as if nobody had done anything.
async fn refuse_open_breaker(shared: &Shared, tenant: Option<&str>, lane: Option<&Lane>) -> Result<(), Problem> {
    let lanes = shared.console.journal.lanes(tenant).await?;
    let is_meant = |status: &&LaneStatus| lane.is_none_or(|lane| *lane == status.lane) && status.tripped.is_some();
    match lanes.iter().find(is_meant) {
        None => Ok(()),
        Some(open) => Err(Problem::new(
            StatusCode::CONFLICT,
            format!(
                "the breaker of {lane} is open and would hold these jobs again; close it with: exeunt breaker release \
                 {tenant} {connector} --reason …",
                lane = open.lane,
                tenant = open.lane.tenant(),
                connector = open.lane.connector()
            ),
        )),
    }
}

/// A job that the caller may see. Another tenant's gives the same answer as none.
async fn find(shared: &Shared, caller: &Caller, id: &str) -> Result<(JobId, JobRecord), Problem> {
    let none = || Problem::not_found("job");
    let id: JobId = id.parse().map_err(|_| none())?;
    let look = shared.look().await;
    let record = look.journal.job(id).await?;
    if let Some(record) = record.filter(|record| caller.sees(record.summary.lane.tenant())) {
        return Ok((id, record));
    }
    let event = look.journal.event(EventId::from(id.as_uuid())).await?;
    match event.filter(|event| caller.sees(&event.summary.tenant)) {
        Some(_) => Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("{id} is an event and no job; `exeunt jobs list --event {id}` shows its jobs"),
        )),
        None => Err(none()),
    }
}

async fn acted(shared: &Shared, caller: &Caller, id: JobId, what: &str) -> Result<Json<JobDetail>, Problem> {
    tracing::info!(actor = caller.name(), job = %id, "a job was {what}");
    let record = shared
        .console
        .journal
        .job(id)
        .await?
        .ok_or_else(|| Problem::not_found("job"))?;
    Ok(Json(JobDetail::new(record, None)))
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
