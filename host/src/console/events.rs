//! `GET /v1/events/{id}`: one event.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::access::Caller;
use super::problem::Problem;
use super::router::Shared;
use super::view::EventView;
use crate::tenant::Role;

/// What was decided about it and why; with the role `audit`, what was received.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<EventView>, Problem> {
    let none = || Problem::not_found("event");
    let record = shared.console.journal.event(id.parse().map_err(|_| none())?).await?;
    let record = record
        .filter(|record| caller.sees(&record.summary.tenant))
        .ok_or_else(none)?;
    Ok(Json(EventView::new(&record, caller.has(Role::Audit))))
}
