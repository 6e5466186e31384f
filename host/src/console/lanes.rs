//! Lanes: what waits where, the kill switch, the breaker.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::access::Caller;
use super::body::{Body, Reason};
use super::lane_view::{LaneView, Lanes, PauseView, Released, Resumed};
use super::list::lane;
use super::parameters::Parameters;
use super::problem::Problem;
use super::router::Shared;
use crate::journal::{Journal, Lane, Pause, Scope};
use crate::tenant::Role;

/// `GET /v1/lanes`
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    query: RawQuery,
) -> Result<Json<Lanes>, Problem> {
    let mut given = Parameters::read(query, &["tenant"])?;
    let Ok(tenant) = caller.narrow(given.take("tenant")) else {
        return Ok(Json(Lanes {
            lanes: Vec::new(),
            pauses: Vec::new(),
        }));
    };
    let (journal, now) = (&shared.console.journal, shared.console.clock.now());
    let lanes = journal.lanes(tenant.as_deref()).await?;
    if let (Some(tenant), true) = (&tenant, lanes.is_empty()) {
        check_empty(&shared, &caller, &Scope::Tenant(tenant.clone())).await?;
    }
    let pauses = journal.pauses().await?;
    let concerns = |pause: &&Pause| match (&tenant, &pause.scope) {
        (None, _) | (_, Scope::All) => true,
        (Some(tenant), Scope::Tenant(paused)) => paused == tenant,
        (Some(tenant), Scope::Connector(lane)) => lane.tenant() == tenant,
    };
    Ok(Json(Lanes {
        lanes: lanes.iter().map(|lane| LaneView::new(lane, now)).collect(),
        pauses: pauses.iter().filter(concerns).map(PauseView::from).collect(),
    }))
}

/// What to pause: everything, a tenant, or a connector. A tenant's token that names no tenant means its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseWanted {
    tenant: Option<String>,
    connector: Option<String>,
    reason: Reason,
}

/// `POST /v1/pause`: the role `operate`.
///
/// A name that nobody has configured is refused: a kill switch that was turned in the wrong place must not look as if
/// it worked.
pub(super) async fn pause(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Body(wanted): Body<PauseWanted>,
) -> Result<StatusCode, Problem> {
    caller.require(Role::Operate)?;
    let scope = scope(&caller, wanted.tenant, wanted.connector)?;
    check_known(&shared, &scope).await?;
    let (journal, reason) = (&shared.console.journal, wanted.reason.as_str());
    loop {
        let by = may_lift(&shared, &caller, &scope).await?;
        if journal.pause(&scope, caller.name(), reason, by.as_deref()).await? {
            break;
        }
        // Somebody else was quicker, whose pause may not be the caller's to replace.
    }
    tracing::warn!(actor = caller.name(), %scope, reason, "paused");
    Ok(StatusCode::NO_CONTENT)
}

/// What to resume; read as [`PauseWanted`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeWanted {
    tenant: Option<String>,
    connector: Option<String>,
    /// Why; may be left out, since whoever paused may have said until when.
    reason: Option<Reason>,
}

/// `POST /v1/resume`: the role `operate`. Of a tenant or connector, also lets what is parked try again, and of a connector
/// what rests. What a token of the host has paused, only another one resumes.
pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Body(wanted): Body<ResumeWanted>,
) -> Result<Json<Resumed>, Problem> {
    caller.require(Role::Operate)?;
    let scope = scope(&caller, wanted.tenant, wanted.connector)?;
    let journal = &shared.console.journal;
    let by = may_lift(&shared, &caller, &scope).await?;
    let reason = wanted.reason.as_ref().map_or("", Reason::as_str);
    let resumed = journal.resume(&scope, caller.name(), reason, by.as_deref()).await?;
    if !resumed {
        // Somebody may have paused in between.
        may_lift(&shared, &caller, &scope).await?;
    }
    let unparked = match &scope {
        Scope::Connector(lane) => journal.wake(lane, caller.name(), reason).await?,
        Scope::Tenant(tenant) => unpark_all(journal, tenant, (caller.name(), reason)).await?,
        // Everybody's parked connectors at once would be a storm of errors at everybody's targets.
        Scope::All => false,
    };
    // Who resumes what was never paused has probably mistyped it.
    if !resumed && !unparked {
        check_known(&shared, &scope).await?;
    }
    tracing::warn!(actor = caller.name(), %scope, reason, resumed, unparked, "resumed");
    // It is done by now, whatever can be said of others.
    let pauses = journal.pauses().await.unwrap_or_default();
    let still_paused = pauses.into_iter().find(|pause| includes(&pause.scope, &scope));
    Ok(Json(Resumed {
        resumed,
        unparked,
        still_paused: still_paused.map(|pause| pause.scope.to_string()),
    }))
}

/// Whether a pause of the `wider` scope stops all of the other one.
pub(super) fn includes(wider: &Scope, scope: &Scope) -> bool {
    match (wider, scope) {
        (Scope::All, _) => true,
        (Scope::Tenant(tenant), Scope::Connector(lane)) => lane.tenant() == tenant,
        _ => wider == scope,
    }
}

/// Lets all of a tenant's connectors try again; false where none was parked.
async fn unpark_all(journal: &Journal, tenant: &str, (actor, reason): (&str, &str)) -> Result<bool, Problem> {
    let mut unparked = false;
    let lanes = journal.lanes(Some(tenant)).await?;
    for lane in lanes.iter().filter(|lane| lane.parked.is_some()) {
        unparked |= journal.unpark(&lane.lane, actor, reason).await?;
    }
    Ok(unparked)
}

/// Whose breaker to close.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BreakerWanted {
    tenant: Option<String>,
    connector: String,
    reason: Reason,
}

/// `POST /v1/breaker/release`: the role `approve`.
pub(super) async fn release_breaker(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Body(wanted): Body<BreakerWanted>,
) -> Result<Json<Released>, Problem> {
    caller.require(Role::Approve)?;
    let tenant = caller.narrow(wanted.tenant)?;
    let missing = || Problem::invalid("`connector` needs `tenant`: connectors are named within one");
    let lane = lane(tenant.as_deref(), Some(wanted.connector))?.ok_or_else(missing)?;
    if !has_lane(&shared, &lane).await? {
        return Err(Problem::unknown("connector", &lane.to_string()));
    }
    let released = shared
        .console
        .journal
        .release_breaker(&lane, caller.name(), wanted.reason.as_str())
        .await?;
    tracing::warn!(actor = caller.name(), %lane, released, "the breaker was closed by hand");
    Ok(Json(Released { released }))
}

fn scope(caller: &Caller, tenant: Option<String>, connector: Option<String>) -> Result<Scope, Problem> {
    let tenant = caller.narrow(tenant)?;
    Ok(match (lane(tenant.as_deref(), connector)?, tenant) {
        (Some(lane), _) => Scope::Connector(lane),
        (None, Some(tenant)) => Scope::Tenant(tenant),
        (None, None) => Scope::All,
    })
}

/// Whose pause the caller may replace or lift: anybody's for a token of the host, and none is said.
///
/// Refuses a tenant's token where the host has paused: what stops a tenant is not the tenant's to lift, nor to replace by
/// a pause of its own. A pause whose token is gone counts as the host's, since nobody can tell any more.
async fn may_lift(shared: &Shared, caller: &Caller, scope: &Scope) -> Result<Option<String>, Problem> {
    let Some(tenant) = caller.tenant() else { return Ok(None) };
    let pauses = shared.console.journal.pauses().await?;
    let Some(pause) = pauses.into_iter().find(|pause| pause.scope == *scope) else {
        return Ok(Some(caller.name().to_owned()));
    };
    let tokens = shared.console.tokens.load();
    let mut tokens = tokens.list().into_iter();
    if tokens.any(|token| token.name == pause.actor && token.tenant.as_deref() == Some(tenant)) {
        return Ok(Some(pause.actor));
    }
    Err(Problem::forbidden(format!(
        "{scope} was paused by `{}`, whose token is not of the tenant `{tenant}`; ask those who run the host to resume it",
        pause.actor
    )))
}

/// Refuses names that are neither configured on this host nor in the journal.
pub(super) async fn check_known(shared: &Shared, scope: &Scope) -> Result<(), Problem> {
    let health = &shared.console.health;
    match scope {
        Scope::All => Ok(()),
        Scope::Tenant(tenant) => {
            let known = health.knows(tenant, None) || !shared.console.journal.lanes(Some(tenant)).await?.is_empty();
            known.then_some(()).ok_or_else(|| Problem::unknown("tenant", tenant))
        }
        Scope::Connector(lane) => {
            let known = health.knows(lane.tenant(), Some(lane.connector())) || has_lane(shared, lane).await?;
            known
                .then_some(())
                .ok_or_else(|| Problem::unknown("connector", &lane.to_string()))
        }
    }
}

/// Refuses an empty list where the host asked for a name that nobody here knows: what was mistyped must not look as if
/// nothing waited there.
pub(super) async fn check_empty(shared: &Shared, caller: &Caller, scope: &Scope) -> Result<(), Problem> {
    match caller.tenant() {
        Some(_) => Ok(()),
        None => check_known(shared, scope).await,
    }
}

async fn has_lane(shared: &Shared, wanted: &Lane) -> Result<bool, Problem> {
    let lanes = shared.console.journal.lanes(Some(wanted.tenant())).await?;
    Ok(lanes.iter().any(|lane| lane.lane == *wanted))
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
