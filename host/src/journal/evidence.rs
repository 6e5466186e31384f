//! What a job found, or shows to whoever decides about it: JSON that is kept beside its row, and comes and goes with the
//! state that it was put down in.

use std::collections::{BTreeSet, HashMap};

use sqlx::AnyConnection;
use uuid::Uuid;

use super::error::JournalError;
use super::rows::JobRow;
use super::sql::{Cells, bulk, select_in};

/// The evidence of these jobs, of those that have any.
pub(super) async fn of(tx: &mut AnyConnection, jobs: &[Uuid]) -> Result<HashMap<Uuid, String>, JournalError> {
    let select = (
        "SELECT job.id, coalesce(job.detail, CASE WHEN job.state > 1 THEN evidence.data END) FROM job \
         LEFT JOIN evidence ON evidence.job_id = job.id WHERE job.id IN",
        "",
    );
    let rows = select_in(tx, select, jobs, |bind, id| bind.id(*id)).await?;
    let mut found = HashMap::new();
    for row in &rows {
        let mut cells = Cells::of(row);
        let id = cells.id()?;
        found.extend(cells.maybe_text()?.map(|data| (id, data)));
    }
    Ok(found)
}

/// Takes away what these jobs showed, and keeps what the changed ones show now.
pub(super) async fn replace(
    tx: &mut AnyConnection,
    without_old: &BTreeSet<Uuid>,
    changed: &[&JobRow],
) -> Result<(), JournalError> {
    let without_old: Vec<Uuid> = without_old.iter().copied().collect();
    for around in [
        ("DELETE FROM evidence WHERE job_id IN (VALUES", ")"),
        (
            "UPDATE job SET detail = NULL WHERE id IN (VALUES",
            ") AND detail IS NOT NULL",
        ),
    ] {
        bulk(tx, around, 1, &without_old, |bind, id| bind.id(*id)).await?;
    }
    let shown = changed
        .iter()
        .filter_map(|job| Some((job.id, job.new_evidence.as_deref()?)));
    let shown: Vec<_> = shown.collect();
    bulk(tx, INSERT_EVIDENCE, 2, &shown, |bind, (id, data)| {
        bind.id(*id).text(data)
    })
    .await?;
    Ok(())
}

/// A host of an earlier release that took the job up has left the row.
const INSERT_EVIDENCE: (&str, &str) = (
    "INSERT INTO evidence (job_id, data) VALUES",
    "ON CONFLICT (job_id) DO UPDATE SET data = excluded.data",
);
