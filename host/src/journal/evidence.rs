//! What a job found, or shows to whoever decides about it: JSON that is kept beside its row, and comes and goes with the
//! state that it was put down in.

use std::collections::{BTreeSet, HashMap};

use sqlx::AnyConnection;
use uuid::Uuid;

use super::error::JournalError;
use super::rows::JobRow;
use super::sql::{Cells, bulk, select_in};

/// The evidence of these jobs, of those that have any: not what stood there before a host of an earlier release took a job
/// up, which takes nothing away.
pub(super) async fn of(tx: &mut AnyConnection, jobs: &[Uuid]) -> Result<HashMap<Uuid, String>, JournalError> {
    let select = (
        "SELECT job.id, coalesce(job.detail, evidence.data) FROM job LEFT JOIN evidence ON evidence.job_id = job.id \
         AND evidence.fence = job.fence AND job.state > 1 WHERE job.id IN",
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

/// Takes away what jobs showed that are taken up again, and keeps what the changed ones show now.
pub(super) async fn replace(
    tx: &mut AnyConnection,
    taken_up: &BTreeSet<Uuid>,
    changed: &[&JobRow],
) -> Result<(), JournalError> {
    let taken_up: Vec<Uuid> = taken_up.iter().copied().collect();
    for around in [
        ("DELETE FROM evidence WHERE job_id IN (VALUES", ")"),
        (
            "UPDATE job SET detail = NULL WHERE id IN (VALUES",
            ") AND detail IS NOT NULL",
        ),
    ] {
        bulk(tx, around, 1, &taken_up, |bind, id| bind.id(*id)).await?;
    }
    let shown = changed
        .iter()
        .filter_map(|job| Some((job, job.new_evidence.as_deref()?)));
    let shown: Vec<_> = shown.collect();
    bulk(tx, INSERT_EVIDENCE, 3, &shown, |bind, (job, data)| {
        bind.id(job.id).int(job.fence).text(data)
    })
    .await?;
    Ok(())
}

/// A host of an earlier release that took the job up has left the row.
const INSERT_EVIDENCE: (&str, &str) = (
    "INSERT INTO evidence (job_id, fence, data) VALUES",
    "ON CONFLICT (job_id) DO UPDATE SET fence = excluded.fence, data = excluded.data",
);
