//! Keeping the leases of jobs that are worked on.
//!
//! On a connection of its own, and without the lanes that somebody keeps locked: together with what else is written, one
//! of them would cost this host the leases of all its jobs.

use std::time::Duration;

use sqlx::AnyConnection;
use uuid::Uuid;

use super::database::{Context, Step, Writer};
use super::error::JournalError;
use super::open::Journal;
use super::types::{Fence, State, milliseconds};
use super::unit::{Unit, lock_free_jobs};

/// Longest wait for something that somebody has locked: 2 seconds, or an eighth of the lease. Usually it is for a commit.
const LONGEST_WAIT: i64 = 2_000;

/// What became of leases that were to be extended. All others were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extended {
    /// Somebody else has these jobs by now, or had them: stop working on them.
    pub lost: Vec<Fence>,
    /// Somebody has locked them or their lanes in the database, and their leases are what they were.
    pub locked: Vec<Fence>,
}

#[derive(Debug)]
struct Heartbeat {
    fences: Vec<Fence>,
    lease: i64,
}

impl Journal {
    /// Extends the leases of jobs that are still being worked on. A claim may be lost whose job this host has in a later
    /// one. One that was put down meanwhile is not lost.
    ///
    /// Send it at a third of the lease, so that one may get lost.
    ///
    /// # Errors
    /// None of its own.
    pub async fn heartbeat(&self, fences: &[Fence], lease: Duration) -> Result<Extended, JournalError> {
        if fences.is_empty() {
            return Ok(Extended::default());
        }
        let heartbeat = || Heartbeat {
            fences: fences.to_vec(),
            lease: milliseconds(lease),
        };
        let all = self.write_if(Writer::Lease, heartbeat(), all, |_| false).await;
        match all {
            // For one lock it waited too long, or for several together.
            Err(JournalError::Unavailable(_)) => self.write_if(Writer::Lease, heartbeat(), free, |_| false).await,
            all => all,
        }
    }
}

fn all<'c>(tx: &'c mut AnyConnection, context: &'c Context, heartbeat: &'c Heartbeat) -> Step<'c, Extended> {
    Box::pin(async move {
        let wait = LONGEST_WAIT.min(heartbeat.lease / 8);
        context.dialect.wait_for_locks(tx, wait).await?;
        let unit = Unit::lock(tx, context, heartbeat.lanes()).await?;
        let lost = extend(tx, context, unit, &heartbeat.fences, heartbeat.lease).await?;
        let locked = Vec::new();
        Ok(Extended { lost, locked })
    })
}

fn free<'c>(tx: &'c mut AnyConnection, context: &'c Context, heartbeat: &'c Heartbeat) -> Step<'c, Extended> {
    Box::pin(async move {
        context.dialect.wait_for_locks(tx, LONGEST_WAIT).await?;
        let unit = Unit::lock_free(tx, context, heartbeat.lanes()).await?;
        let ids: Vec<Uuid> = heartbeat.fences.iter().map(|fence| fence.job.0).collect();
        let jobs = lock_free_jobs(tx, context, &ids).await?;
        let is_free = |fence: &Fence| jobs.contains(&fence.job.0) && unit.lane(&fence.lane.key()).is_some();
        let (free, locked): (Vec<Fence>, Vec<Fence>) = heartbeat.fences.iter().cloned().partition(is_free);
        let lost = extend(tx, context, unit, &free, heartbeat.lease).await?;
        Ok(Extended { lost, locked })
    })
}

impl Heartbeat {
    fn lanes(&self) -> impl Iterator<Item = String> {
        self.fences.iter().map(|fence| fence.lane.key())
    }
}

/// Extends what is running, and returns what is lost.
async fn extend(
    tx: &mut AnyConnection,
    context: &Context,
    mut unit: Unit,
    fences: &[Fence],
    lease: i64,
) -> Result<Vec<Fence>, JournalError> {
    unit.load(tx, fences.iter().map(|fence| fence.job.0)).await?;
    let now = context.dialect.lease_time(tx, &*context.options.clock).await?;
    let until = now.saturating_add(lease);
    let mut lost = Vec::new();
    for fence in fences {
        match unit.job(fence.job.0) {
            Some(job) if job.fence == fence.token => {
                if job.state == State::Running {
                    unit.change(fence.job.0, |job| job.lease_until = Some(until));
                }
            }
            _ => lost.push(fence.clone()),
        }
    }
    unit.store(tx).await?;
    Ok(lost)
}
