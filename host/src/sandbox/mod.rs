//! Runs plugins: one engine for all tenants, a fresh store for each verb call.
//!
//! Keeping instances warm between calls lost: a fresh one costs some 20 microseconds against a network round trip,
//! and what a call left behind could reach the next person's. No WASI is linked, so a guest has what the contract
//! gives it and nothing else.

#![doc = ""]
#![doc = include_str!("attacks.md")]

mod account;
mod admission;
mod bindings;
mod cache;
mod call;
mod compiler;
mod describe;
mod engine;
mod imports;
mod limiter;
mod limits;
mod pace;
mod sweep;

pub use admission::{AdmissionError, CONTRACT, Plugin, inspect};
pub use bindings::exeunt::connector::types::{Account, Failure, Limit, LimitKind, Person, Refusal, Standing};
pub use bindings::exports::exeunt::connector::user_closure::Accounts;
pub(crate) use cache::kept_manifest;
pub use cache::{CacheError, PluginCache};
pub use call::{Ended, Fault};
pub use compiler::{CompileLimits, Compiler, compile_here};
pub use engine::Sandbox;
pub use limits::{SandboxLimits, TICK};
