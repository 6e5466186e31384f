//! Exeunt: a connector runtime for identity leavers.
//!
//! An event says that a person left. Exeunt runs the tenant's connector, a sandboxed WebAssembly component, which
//! closes that person's account in one target system, and proves that it is closed.
//!
//! Data flows one way: [`intake`] turns an event into a decision, [`journal`] keeps it, [`dispatch`] runs the leaver procedure, [`sandbox`]
//! runs the plugin, [`capability`] is what the plugin may ask, [`evidence`] is what remains. [`tenant`] is what the
//! tenant configured. A library and a binary: everything that the binary does can be called from Rust.

pub mod author;
pub mod capability;
pub mod cli;
pub mod clock;
pub mod console;
pub mod dispatch;
pub mod evidence;
pub mod intake;
pub mod journal;
pub mod sandbox;
pub mod step;
pub mod tenant;
