//! What happens to a leaver: the procedure, step by step, for each connector of the tenant; and which tenants, sources
//! and connectors are live, read from files and replaced as a whole (`live_tenants`, and what it stands on).
//!
//! The host orchestrates and a plugin only speaks its target's language, so that policy, retries and proof are written
//! once. Letting a plugin run the whole closure lost: each author would have to get verification right, and a dry run
//! would be a promise instead of a property.

mod accepted;
mod ask;
mod changes;
mod chores;
mod connector;
mod gate;
mod guard;
mod history;
mod job;
mod leases;
mod live;
mod live_tenants;
mod loads;
mod plugins;
mod probe;
mod problem;
mod procedure;
mod proof;
mod registry_plugins;
mod registry_pull;
mod service;
mod stamp;
mod stop;
mod verbs;
mod worker;

pub use ask::{Asked, ask, by_hand};
pub use connector::{Connector, Runtime};
pub use gate::Gate;
pub use history::{History, Ran};
pub use job::run_job;
pub use live::LiveTenant;
pub use live_tenants::LiveTenants;
pub use probe::{Probe, probe};
pub use procedure::{Attempt, attempt};
pub use service::{Connectors, Lookup, Service, ServiceOptions};
pub use stop::Stop;
