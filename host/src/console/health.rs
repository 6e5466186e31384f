//! Health: is the process alive, may it get work, what is wrong.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::access::{Anyone, Caller};
use super::lane_view::{LaneView, Since};
use super::router::Shared;
use crate::journal::{Journal, JournalError, LaneStatus, Pause, Tally};

/// How long the journal may take to answer a health check: 2 seconds, less than balancers usually wait.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What the host says of itself.
pub trait Health: Debug + Send + Sync {
    /// Where it is in its life. Asked at every check.
    fn phase(&self) -> Phase;

    /// How it is at the moment, without waiting. It is remembered for a second.
    fn report(&self) -> HealthReport;

    /// Whether this tenant, or this connector of it, is configured here.
    fn knows(&self, tenant: &str, connector: Option<&str>) -> bool;

    /// Why jobs of this connector do not run here, where nothing here is called so: a tenant or a connector was taken
    /// away before its jobs were done.
    fn absent(&self, tenant: &str, connector: &str) -> Option<String>;
}

/// How a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    /// Tenants that are live.
    pub tenants: usize,
    /// What does not run as its files say. They are shown, and do not make the host unready: one tenant's mistake must
    /// not take everybody's host from the balancer.
    pub problems: Vec<HealthProblem>,
}

/// Where a host is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It loads tenants and plugins.
    Starting,
    /// It takes events and works.
    Serving,
    /// It finishes what it has begun.
    Stopping,
}

/// Something that does not run as its files say: a bad tenant file, a plugin that does not load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthProblem {
    /// The tenant; the host where absent.
    pub tenant: Option<String>,
    /// The connector; the tenant as a whole where absent.
    pub connector: Option<String>,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// What the journal says of all lanes at one moment.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) lanes: Vec<LaneStatus>,
    pub(super) pauses: Vec<Pause>,
    pub(super) tallies: Vec<Tally>,
    /// Whether the journal can be written, too.
    pub(super) is_writable: bool,
}

impl Snapshot {
    pub(super) async fn read(journal: &Journal) -> Result<Self, JournalError> {
        let writable = journal.check_writable().await;
        if let Err(error) = &writable {
            tracing::warn!("the journal cannot be written: {error}");
        }
        Ok(Self {
            lanes: journal.lanes(None).await?,
            pauses: journal.pauses().await?,
            tallies: journal.tallies().await?,
            is_writable: writable.is_ok(),
        })
    }
}

/// `GET /livez`: the process answers. It ends by itself where it could not go on.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200 where the host may get work, else 503.
///
/// Counts for everybody, names and reasons for holders of a token: those of the host see all, a tenant's its own.
pub(super) async fn ready(State(shared): State<Arc<Shared>>, Anyone(caller): Anyone) -> (StatusCode, Json<Value>) {
    let snapshot = shared.snapshot().await;
    let report = shared.report(&snapshot).await;
    let phase = shared.console.health.phase();
    let (journal, is_up) = match &*snapshot {
        Ok(snapshot) if snapshot.is_writable => ("reachable", true),
        Ok(_) => ("cannot be written", false),
        Err(_) => ("unreachable", false),
    };
    let ready = phase == Phase::Serving && is_up;
    let lanes = snapshot
        .as_ref()
        .as_ref()
        .map_or(&[][..], |snapshot| &snapshot.lanes[..]);
    let count = |is: fn(&LaneStatus) -> bool| lanes.iter().filter(|lane| is(lane)).count();
    let mut body = json!({
        "ready": ready,
        "phase": phase,
        "journal": journal,
        "tenants": report.tenants,
        "problems": report.problems.len(),
        "parked": count(|lane| lane.parked.is_some()),
        "breakers_open": count(|lane| lane.tripped.is_some()),
        "pauses": snapshot.as_ref().as_ref().map_or(0, |snapshot| snapshot.pauses.len()),
    });
    if let Some(caller) = caller {
        body["details"] = details(&caller, &report, lanes, &shared);
    }
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(body))
}

/// What the host says of itself, with what the journal adds.
pub(super) fn report(health: &dyn Health, snapshot: Option<&Snapshot>) -> HealthReport {
    let mut report = health.report();
    let lanes = snapshot.map_or(&[][..], |snapshot| &snapshot.lanes[..]);
    report.problems.extend(orphaned(lanes, health));
    report
}

/// Lanes whose jobs nobody here will run.
fn orphaned(lanes: &[LaneStatus], health: &dyn Health) -> impl Iterator<Item = HealthProblem> {
    let with_jobs = lanes.iter().filter(|lane| lane.queued + lane.held > 0);
    with_jobs.filter_map(|lane| {
        let (tenant, connector) = (lane.lane.tenant().to_owned(), lane.lane.connector().to_owned());
        let why = health.absent(&tenant, &connector)?;
        let message = format!("{} of its jobs wait: {why}", lane.queued + lane.held);
        let (tenant, connector) = (Some(tenant), Some(connector));
        Some(HealthProblem {
            tenant,
            connector,
            message,
        })
    })
}

fn details(caller: &Caller, report: &HealthReport, lanes: &[LaneStatus], shared: &Shared) -> Value {
    #[derive(Serialize)]
    struct Stuck {
        tenant: String,
        connector: String,
        #[serde(flatten)]
        since: Since,
    }
    let now = shared.console.clock.now();
    let stuck = |which: fn(LaneView) -> Option<Since>| -> Vec<Stuck> {
        let seen = lanes.iter().filter(|lane| caller.sees(lane.lane.tenant()));
        seen.filter_map(|lane| {
            let (tenant, connector) = (lane.lane.tenant().to_owned(), lane.lane.connector().to_owned());
            which(LaneView::new(lane, now)).map(|since| Stuck {
                tenant,
                connector,
                since,
            })
        })
        .collect()
    };
    let problems: Vec<&HealthProblem> = report
        .problems
        .iter()
        .filter(|problem| match &problem.tenant {
            Some(tenant) => caller.sees(tenant),
            None => caller.require_host().is_ok(),
        })
        .collect();
    json!({
        "problems": problems,
        "parked": stuck(|lane| lane.parked),
        "breakers_open": stuck(|lane| lane.breaker),
    })
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
