//! What people did, and why: for whoever asks afterwards.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::Caller;
use super::lanes::check_empty;
use super::list::Picked;
use super::parameters::Parameters;
use super::problem::Problem;
use super::router::Shared;
use crate::journal::{Action, ActionId, ActionRecord, Page, Scope};

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionView {
    /// Its id.
    pub id: Uuid,
    /// Who did what, when and why.
    #[serde(flatten)]
    pub action: Action,
    /// To what of which tenant; to everything where absent.
    pub tenant: Option<String>,
    /// To which connector; to all of the tenant's where absent.
    pub connector: Option<String>,
    /// To which job.
    pub job: Option<Uuid>,
}

/// A page of actions, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionPage {
    /// The actions. May be fewer than asked for although there are more.
    pub actions: Vec<ActionView>,
    /// What to give as `cursor` for the next page; absent on the last one.
    pub next: Option<String>,
}

/// `GET /v1/actions`: what was done to a tenant, and to everything.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    query: RawQuery,
) -> Result<Json<ActionPage>, Problem> {
    let mut given = Parameters::read(query, &["tenant", "actor", "cursor", "limit"])?;
    let page: Page<ActionId> = given.page()?;
    let (tenant, actor) = (given.take("tenant"), given.take("actor"));
    let mut actions = Picked::new(page);
    // Another tenant's list is that of a tenant that does not exist.
    if let Ok(tenant) = caller.narrow(tenant) {
        if let Some(tenant) = &tenant {
            check_empty(&shared, &caller, &Scope::Tenant(tenant.clone())).await?;
        }
        while let Some(before) = actions.look() {
            let page = Page { before, ..page };
            let found = shared
                .look()
                .await
                .journal
                .actions(tenant.as_deref(), actor.as_deref(), page)
                .await?;
            actions.take(&found, |record| (record.id, Some(ActionView::from(record))));
        }
    }
    let next = actions.next();
    let actions = actions.items;
    Ok(Json(ActionPage { actions, next }))
}

impl From<&ActionRecord> for ActionView {
    fn from(record: &ActionRecord) -> Self {
        let (tenant, connector) = record.scope.names();
        Self {
            id: record.id.as_uuid(),
            action: record.action.clone(),
            tenant: tenant.map(str::to_owned),
            connector: connector.map(str::to_owned),
            job: record.job.map(|job| job.as_uuid()),
        }
    }
}

#[cfg(test)]
#[path = "actions_tests.rs"]
mod tests;
