//! Checks that the lanes' counters count what is there. They can only differ by a bug, or by hand.

use std::collections::BTreeSet;

use sqlx::AnyConnection;

use super::database::{Context, Step, Writer};
use super::error::JournalError;
use super::open::Journal;
use super::rows::NEVER;
use super::sql::{Bind, Cells, fetch};
use super::types::Lane;
use super::unit::Unit;

/// A counter that was wrong, and was put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The lane.
    pub lane: Lane,
    /// Which counter: `queued`, `running`, `held`.
    pub counter: &'static str,
    /// What it said.
    pub said: i64,
    /// What is there.
    pub is: i64,
}

impl Journal {
    /// Counts the jobs of all lanes, corrects counters that differ, and returns these. Call it at start and each few
    /// minutes; it reads an index entry for each unfinished job, outside the writers' way.
    ///
    /// # Errors
    /// None of its own.
    pub async fn reconcile(&self) -> Result<Vec<Drift>, JournalError> {
        let suspects = self.read((), suspects).await?;
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        let drifts = self.write(Writer::Operator, suspects, correct).await?;
        for drift in &drifts {
            tracing::error!(lane = %drift.lane, counter = drift.counter, said = drift.said, is = drift.is,
                            "a counter of the journal was wrong and has been corrected; this is a bug");
        }
        Ok(drifts)
    }
}

/// In one statement, so that counters and jobs are of the same moment.
const COUNTS: &str = "SELECT id, queued, running, held, \
     (SELECT count(*) FROM job WHERE job.lane = lane.id AND job.state = 0), \
     COALESCE(h.n, 0), COALESCE(r.n, 0) FROM lane \
     LEFT JOIN (SELECT lane AS l, count(*) AS n FROM job WHERE state = 2 GROUP BY lane) AS h ON h.l = lane.id \
     LEFT JOIN (SELECT lane AS l, count(*) AS n FROM job WHERE state = 1 GROUP BY lane) AS r ON r.l = lane.id";

/// What a lane's row says, and what is there.
struct Counts {
    lane: String,
    said: [i64; 3],
    is: [i64; 3],
}

async fn count(tx: &mut AnyConnection) -> Result<Vec<Counts>, JournalError> {
    let read = |row| {
        let mut cells = Cells::of(row);
        let lane = cells.text()?;
        let said = [cells.int()?, cells.int()?, cells.int()?];
        let (queued, held, running) = (cells.int()?, cells.int()?, cells.int()?);
        Ok(Counts {
            lane,
            said,
            is: [queued, running, held],
        })
    };
    fetch(tx, COUNTS, Bind::new()).await?.iter().map(read).collect()
}

fn suspects<'c>(tx: &'c mut AnyConnection, _: &'c Context, (): &'c ()) -> Step<'c, BTreeSet<String>> {
    Box::pin(async move {
        let wrong = count(tx).await?.into_iter().filter(|counts| counts.said != counts.is);
        Ok(wrong.map(|counts| counts.lane).collect())
    })
}

/// Counts again with the lanes locked, since only then nothing moves.
fn correct<'c>(
    tx: &'c mut AnyConnection,
    context: &'c Context,
    suspects: &'c BTreeSet<String>,
) -> Step<'c, Vec<Drift>> {
    Box::pin(async move {
        let mut unit = Unit::lock(tx, context, suspects.iter().cloned()).await?;
        let mut drifts = Vec::new();
        for counts in count(tx)
            .await?
            .into_iter()
            .filter(|counts| suspects.contains(&counts.lane))
        {
            let counters = ["queued", "running", "held"]
                .into_iter()
                .zip(counts.said.into_iter().zip(counts.is));
            for (counter, (said, is)) in counters.filter(|(_, (said, is))| said != is) {
                drifts.push(Drift {
                    lane: Lane::from_key(&counts.lane),
                    counter,
                    said,
                    is,
                });
            }
            let [queued, running, held] = counts.is;
            unit.change_lane(&counts.lane, |lane| {
                (lane.queued, lane.running, lane.held) = (queued, running, held);
                // Too early only costs a look; the next claim sets it right.
                lane.due_at = if queued > 0 { 0 } else { NEVER };
            });
        }
        unit.store(tx).await?;
        Ok(drifts)
    })
}
