//! What people did: to one job, or to what many jobs wait for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;

use super::database::{Context, Step};
use super::error::JournalError;
use super::lane::Scope;
use super::open::Journal;
use super::query::{Conditions, Listed, MAX_PAGE, Page, end_of_look};
use super::sql::{Bind, Cells, fetch};
use super::types::{ActionId, JobId, written_at};

/// What somebody did to the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Who.
    pub actor: String,
    /// What: `report`, `replay`, `cancel`, `retry`, `release`.
    pub verb: String,
    /// Why, in words.
    pub detail: String,
    /// When.
    pub at: Timestamp,
}

/// What somebody did, in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionRecord {
    /// Its id.
    pub id: ActionId,
    /// Who did what, and why. Besides what is done to jobs: `pause`, `resume`, `unpark`, `release_breaker`.
    pub action: Action,
    /// What it was done to; of a job, its lane.
    pub scope: Scope,
    /// The job that it was done to.
    pub job: Option<JobId>,
}

impl Journal {
    /// What people did, newest first: all, or what concerns a tenant, as does what is done to everything; by all, or by one.
    ///
    /// # Errors
    /// None of its own.
    pub async fn actions(
        &self,
        tenant: Option<&str>,
        actor: Option<&str>,
        page: Page<ActionId>,
    ) -> Result<Listed<ActionRecord, ActionId>, JournalError> {
        let wanted = (tenant.map(str::to_owned), actor.map(str::to_owned), page);
        self.read(wanted, actions).await
    }
}

type Actions = (Option<String>, Option<String>, Page<ActionId>);

fn actions<'c>(
    tx: &'c mut AnyConnection,
    _: &'c Context,
    (tenant, actor, page): &'c Actions,
) -> Step<'c, Listed<ActionRecord, ActionId>> {
    Box::pin(async move {
        let before = page.before.map(|id| id.0);
        let end = match (tenant, actor) {
            (None, None) => None,
            _ => end_of_look(tx, "action", Conditions::default(), before).await?,
        };
        let mut query = Conditions::default();
        if let Some(tenant) = tenant {
            // A lane's key begins with its tenant.
            let (own, mark) = (format!("{tenant}/"), query.next());
            let begins = format!("substr(scope || '/', 1, {})", own.chars().count());
            query.sql = format!(" AND (scope = '' OR {begins} = {mark})");
            query.bind = std::mem::take(&mut query.bind).text(&own);
        }
        query.maybe("actor =", actor.as_deref(), Bind::text);
        query.maybe("id <", before, Bind::id);
        query.maybe("id >=", end, Bind::id);
        let limit = query.next();
        let sql = format!(
            "SELECT id, id, actor, verb, detail, scope, job_id FROM action WHERE 1 = 1{} ORDER BY id DESC LIMIT {limit}",
            query.sql
        );
        let bind = query.bind.int(i64::from(page.limit.min(MAX_PAGE)));
        let rows = fetch(tx, AssertSqlSafe(sql), bind).await?;
        let records: Result<_, _> = rows.iter().map(|row| record(&mut Cells::of(row))).collect();
        Ok(Listed::new(
            records?,
            page,
            |record: &ActionRecord| record.id,
            end.map(ActionId),
        ))
    })
}

fn record(cells: &mut Cells<'_>) -> Result<ActionRecord, JournalError> {
    Ok(ActionRecord {
        id: ActionId(cells.id()?),
        action: action(cells)?,
        scope: Scope::from_key(cells.text()?),
        job: cells.maybe_id()?.map(JobId),
    })
}

/// Reads id, actor, verb and detail.
pub(super) fn action(cells: &mut Cells<'_>) -> Result<Action, JournalError> {
    Ok(Action {
        at: written_at(cells.id()?),
        actor: cells.text()?,
        verb: cells.text()?,
        detail: cells.text()?,
    })
}
