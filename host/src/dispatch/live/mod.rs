//! What is live: which tenants, sources and connectors there are, and which plugin each connector runs, as the files say.
//!
//! A tenant is read, its plugins are fetched and compiled, and then all of it is replaced at once, so that the procedure
//! sees the old tenant or the new one. Reading a file where a job needs it lost: a file half written would then stop a
//! job half done.

mod accepted;
mod changes;
mod chores;
mod connector;
mod history;
mod loads;
mod lookup;
mod plugins;
mod registry_plugins;
mod registry_pull;
mod runtime;
mod stamp;
mod tenant;
mod tenants;

pub use connector::Connector;
pub use history::{History, Ran};
pub use runtime::Runtime;
pub use tenant::{LiveTenant, Lookup};
pub use tenants::LiveTenants;
