//! What operators and their machines ask the server: jobs, lanes, pauses, health, metrics.
//!
//! JSON under `/v1`, errors as RFC 9457 problem details, bearer tokens from [`tenant::Tokens`](crate::tenant::Tokens).
//! What a token of one tenant may not see looks as if it did not exist, and every act is journaled with the name of
//! the token.
//!
//! The one design decision: this room holds no state of its own. Each answer is read from the journal, so that any of
//! several hosts gives the same one, and gauges cannot drift from what they count. The alternative, counters in
//! memory that each change keeps up to date, is cheaper to scrape, and wrong after every crash and on every second
//! host.

mod access;
mod actions;
mod body;
mod events;
mod exposition;
mod health;
mod jobs;
mod lane_view;
mod lanes;
mod list;
mod metrics;
mod parameters;
mod problem;
mod recent;
mod router;
mod turns;
mod view;

pub use actions::{ActionPage, ActionView};
pub use body::{MAX_BODY_BYTES, MAX_REASON_BYTES};
pub use health::{Health, HealthProblem, HealthReport, Phase};
pub use lane_view::{LaneView, Lanes, PauseView, Released, Resumed, Since, Until};
pub use list::MAX_SCANS;
pub use metrics::install_metrics;
pub use router::{Console, nowhere, router, wrong_method};
pub use view::{EventPage, EventView, JobDetail, JobPage, JobView, TranscriptView};

#[cfg(test)]
pub(crate) mod testing;
