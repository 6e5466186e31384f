//! What happens to a leaver: the procedure, step by step, for each connector of the tenant. Which tenants and
//! connectors there are is a room of its own, [`live`].
//!
//! The host orchestrates and a plugin only speaks its target's language, so that policy, retries and proof are written
//! once. Letting a plugin run the whole closure lost: each author would have to get verification right, and a dry run
//! would be a promise instead of a property.

mod ask;
mod gate;
mod guard;
mod job;
mod leases;
mod live;
mod probe;
mod problem;
mod procedure;
mod proof;
mod service;
mod stop;
mod verbs;
mod worker;

pub use ask::{Asked, ask, by_hand};
pub use gate::Gate;
pub use guard::{HOLD_ADMINISTRATOR, HOLD_SEVERAL};
pub use job::run_job;
pub use live::{Connector, History, LiveTenant, LiveTenants, Lookup, Ran, Runtime};
pub use probe::{Probe, probe};
pub use procedure::{Attempt, attempt};
pub use service::{Connectors, Service, ServiceOptions};
pub use stop::Stop;
