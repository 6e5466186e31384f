//! Keeping the leases of jobs that are worked on.
//!
//! On a connection of its own: together with what else is written, a lane that somebody keeps locked would cost this host
//! the leases of all its jobs.

use std::time::Duration;

use sqlx::AnyConnection;

use super::database::{Context, Step, Writer};
use super::error::JournalError;
use super::open::Journal;
use super::types::{Fence, State, milliseconds};
use super::unit::Unit;

#[derive(Debug)]
struct Heartbeat {
    fences: Vec<Fence>,
    lease: i64,
}

impl Journal {
    /// Extends the leases of jobs that are still being worked on, and returns those that are lost: stop working on
    /// them. A claim may be lost whose job this host has in a later one. One that was put down meanwhile is not lost.
    ///
    /// Send it at a third of the lease, so that one may get lost.
    ///
    /// # Errors
    /// None of its own. Where one lane cannot be had for some seconds ([`JournalError::is_locked`]), none is extended.
    pub async fn heartbeat(&self, fences: &[Fence], lease: Duration) -> Result<Vec<Fence>, JournalError> {
        if fences.is_empty() {
            return Ok(Vec::new());
        }
        let heartbeat = Heartbeat {
            fences: fences.to_vec(),
            lease: milliseconds(lease),
        };
        self.write_if(Writer::Lease, heartbeat, run, |_| false).await
    }
}

fn run<'c>(tx: &'c mut AnyConnection, context: &'c Context, heartbeat: &'c Heartbeat) -> Step<'c, Vec<Fence>> {
    Box::pin(async move {
        let Heartbeat { fences, lease } = heartbeat;
        context.dialect.wait_briefly(tx).await?;
        let mut unit = Unit::lock(tx, context, fences.iter().map(|fence| fence.lane.key())).await?;
        unit.load(tx, fences.iter().map(|fence| fence.job.0)).await?;
        let now = context.dialect.lease_time(tx, &*context.options.clock).await?;
        let lost = extend(&mut unit, fences, now.saturating_add(*lease));
        unit.store(tx).await?;
        Ok(lost)
    })
}

fn extend(unit: &mut Unit, fences: &[Fence], until: i64) -> Vec<Fence> {
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
    lost
}
