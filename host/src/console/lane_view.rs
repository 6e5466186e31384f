//! The JSON forms of lanes, pauses, and what acts on them answer.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::journal::{LaneStatus, Pause};

/// The lanes and what is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lanes {
    /// By tenant and connector.
    pub lanes: Vec<LaneView>,
    /// Pauses in force.
    pub pauses: Vec<PauseView>,
}

/// A lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneView {
    /// Its tenant.
    pub tenant: String,
    /// Its connector.
    pub connector: String,
    /// Most jobs that run at a time, over all hosts.
    pub cap: u32,
    /// Jobs that wait for their turn.
    pub queued: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that wait for an operator.
    pub held: u64,
    /// Since when the first of the queued jobs could have run.
    pub oldest_due: Option<Timestamp>,
    /// When the first of the queued jobs is tried again, where all of them wait for that.
    pub next_try: Option<Timestamp>,
    /// Until when the target wants nothing to be asked.
    pub resting: Option<Until>,
    /// Since when nothing runs until an operator has changed something.
    pub parked: Option<Since>,
    /// Since when the breaker is open.
    pub breaker: Option<Since>,
}

/// A beginning and a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// When it began.
    pub since: Timestamp,
    /// Why, in words.
    pub why: String,
}

/// An end and a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Until {
    /// When it ends.
    pub until: Timestamp,
    /// Why, in words.
    pub why: String,
}

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseView {
    /// The tenant; everything where absent.
    pub tenant: Option<String>,
    /// The connector; all of the tenant's where absent.
    pub connector: Option<String>,
    /// Whose token.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// How many jobs were let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Jobs.
    pub released: u64,
}

/// What resuming changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// Whether there was a pause of exactly this scope.
    pub resumed: bool,
    /// Whether the connector, or one of the tenant's, was parked; the connector, where it was named, may have rested.
    pub unparked: bool,
    /// The pause that still stops all of it: one of the tenant, or of everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub still_paused: Option<String>,
}

impl LaneView {
    pub(super) fn new(lane: &LaneStatus, now: Timestamp) -> Self {
        let since = |(since, why): &(Timestamp, String)| Since {
            since: *since,
            why: why.clone(),
        };
        let resting = lane.not_before.as_ref().filter(|(until, _)| *until > now);
        Self {
            tenant: lane.lane.tenant().to_owned(),
            connector: lane.lane.connector().to_owned(),
            cap: lane.cap,
            queued: lane.queued,
            running: lane.running,
            held: lane.held,
            oldest_due: lane.oldest_due.filter(|due| *due <= now),
            next_try: lane.oldest_due.filter(|due| *due > now),
            resting: resting.map(|(until, why)| Until {
                until: *until,
                why: why.clone(),
            }),
            parked: lane.parked.as_ref().map(since),
            breaker: lane.tripped.as_ref().map(since),
        }
    }
}

impl From<&Pause> for PauseView {
    fn from(pause: &Pause) -> Self {
        let (tenant, connector) = pause.scope.names();
        Self {
            tenant: tenant.map(str::to_owned),
            connector: connector.map(str::to_owned),
            actor: pause.actor.clone(),
            reason: pause.reason.clone(),
            at: pause.at,
        }
    }
}
