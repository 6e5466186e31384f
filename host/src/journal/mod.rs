//! The durable record: what came in, what is to be done about it, and what became of it.
//!
//! One SQL path over `sqlx::Any` serves SQLite (one machine) and PostgreSQL (many hosts). What the databases differ in is
//! all in [`dialect`]: a type's name, locks, whose clock times a lease, how a connection is set up.
//!
//! The one design decision: *lock the lanes, read, decide in Rust, write back*. Whatever changes a job first locks the
//! job's lane row (in the order of lane ids, so nobody deadlocks), loads the rows, applies plain functions to them and
//! stores them, counters included ([`unit`]). SQL holds no policy, so both databases cannot disagree about it, and the
//! counters that metrics and caps read are right by construction. The alternative, one conditional `UPDATE` for each
//! transition with `SKIP LOCKED`, saves a read; it spreads the rules over a dozen statements and starves a lane whose
//! row somebody always holds.
//!
//! A second decision follows from `fsync` being the price of a promise: events, and what dispatch writes, are committed
//! in groups ([`group`]). A caller is answered after the commit that holds its row. No caller's future owns a
//! transaction, since one that is dropped half-way would leave it open on a shared connection (sqlx#4385).

mod accept;
mod action;
mod address;
mod backoff;
mod breaker;
mod checkpoint;
mod claim;
mod claimed;
mod database;
mod dedupe;
mod dialect;
mod error;
mod event;
mod evidence;
mod export;
mod filter;
mod finish;
mod group;
mod heartbeat;
mod import;
mod lane;
mod migrate;
mod open;
mod operator;
mod query;
mod random;
mod reclaim;
mod reconcile;
mod replay;
mod retention;
mod rows;
mod schema;
mod show;
mod sql;
mod thread;
mod types;
mod unit;
mod work;

pub use accept::{Accepted, Dedupe, NewEvent, NewJob, NewState, Original};
pub use action::{Action, ActionRecord};
pub use backoff::Backoff;
pub use breaker::{BREAKER_HOLD, ClosureLimit, Reservation};
pub use claim::{MAX_CLAIM, Shares};
pub use claimed::ClaimedJob;
pub use error::JournalError;
pub use event::{EventRecord, EventSummary};
pub use export::{Exported, FORMAT};
pub use filter::JobFilter;
pub use finish::{Finish, Finished, UNSETTLED_HOLD};
pub use heartbeat::Extended;
pub use lane::{LaneStatus, Pause, Scope, Tally};
pub use open::{Changes, Engine, Journal, Options};
pub use operator::{HeldFilter, approval};
pub use query::{JobState, JobSummary, Listed, MAX_LOOK, MAX_PAGE, Page};
pub use random::{Random, SeededRandom, SharedRandom, SystemRandom};
pub use reclaim::Reclaimed;
pub use reconcile::Drift;

pub use schema::SCHEMA_VERSION;
pub use show::{Attempt, IntentRecord, JobRecord, Transcript, Transcripts};
pub use types::{ActionId, Decision, EventId, Fence, JobId, Lane, MAX_NAME_BYTES, Outcome, State};

#[cfg(test)]
pub(crate) mod testing {
    //! What other rooms' tests cannot make by themselves.

    use super::{Decision, Dedupe, Fence, JobId, Lane, NewEvent, NewJob, NewState};

    /// A fence that no journal knows.
    pub(crate) fn fence(tenant: &str, connector: &str) -> Fence {
        let lane = Lane::new(tenant, connector).expect("names");
        let (job, token) = (JobId::from(uuid::Uuid::nil()), 1);
        Fence { job, lane, token }
    }

    /// An event that is never a duplicate, with a job of one connector.
    pub(crate) fn leaver(tenant: &str, connector: &str, received_at: jiff::Timestamp) -> NewEvent {
        NewEvent {
            tenant: tenant.to_owned(),
            source: "hr".to_owned(),
            dedupe: Dedupe::None,
            body: Vec::new(),
            received_at,
            occurred_at: None,
            decision: Decision::Leaver,
            reason: "left".to_owned(),
            person: Some("{}".to_owned()),
            person_key: None,
            replays: None,
            actor: None,
            jobs: vec![NewJob {
                connector: connector.to_owned(),
                state: NewState::Queued,
            }],
        }
    }
}
