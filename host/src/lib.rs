//! Exeunt: a connector runtime for identity leavers.
//!
//! An event says that a person left. Exeunt runs the tenant's connector, a sandboxed WebAssembly component, which
//! closes that person's account in one target system, and proves that it is closed.
//!
//! Data flows one way: [`intake`] turns an event into a decision, [`journal`] keeps it, [`dispatch`] runs the leaver
//! procedure, [`sandbox`] runs the plugin, [`capability`] is what the plugin may ask for, and [`evidence`] is what
//! remains. [`tenant`] is what operators configured; [`console`] is the HTTP API for them, [`cli`] the command line, and
//! [`author`] the kit for those who write connectors.
//!
//! One crate, of which the binary is a few lines. A crate for each room lost: nobody uses one room without the others.

#[cfg(not(unix))]
compile_error!("Exeunt runs on Unix: it keeps secrets and compiled code in files that only one user may read");

pub mod author;
pub mod capability;
pub mod cli;
pub mod clock;
pub mod console;
pub mod dispatch;
pub mod evidence;
pub mod intake;
pub mod journal;
mod per_tenant;
mod problem_details;
pub mod sandbox;
pub mod step;
pub mod tenant;
mod text;
