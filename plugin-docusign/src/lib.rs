//! The DocuSign connector: finds a leaver's users in one DocuSign account and closes them.
//!
//! The logic is plain Rust over the trait [`Host`], and a shim of one file joins it to the contract in `wit/`. So the
//! same code runs inside the sandbox, natively in tests against scripted answers, and natively in the benchmark that
//! the sandbox is measured against. Writing it against the generated imports directly would be a file shorter, and it
//! could be tested through a component only.
//!
//! Answers are read as [`serde_json::Value`], field by field, and not into derived types: DocuSign writes booleans as
//! `"True"` and numbers as strings, and a surprise in a field that nobody needs must not hide the one that matters.
//!
//! Where a fact comes from is said where it is used; "eSignature" is DocuSign's eSignature REST API v2.1.

mod bindings;
mod close;
mod descriptor;
mod errors;
mod find;
mod host;
mod mint;
mod oauth;
mod page;
mod reply;
mod settings;
#[cfg(target_arch = "wasm32")]
mod shim;
mod user;
mod users;

/// Memory of one verb call, never given back: the call's sandbox is thrown away when it ends.
///
/// The standard allocator asks for each page when it needs it, and memory that grows and shrinks is mapped anew for
/// every call, which costs all calls beside it more than this one. Pages that are not touched cost nothing, but count
/// towards the 1 GiB of a tenant's calls together: of 13 MiB in all it holds the 64 that may run at once, with 3 MiB of
/// answers each, and of 33 MiB it held 31. 12 MiB are enough for an answer of 4 MiB, parsed; DocuSign's largest page of
/// 100 users is below 200 KiB.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static MEMORY: static_alloc::Bump<[u8; 12 << 20]> = static_alloc::Bump::uninit();

pub use bindings::exeunt::connector::credentials::{Encoding, Grant, GrantError};
pub use bindings::exeunt::connector::http::{HttpError, Method, Request};
pub use bindings::exeunt::connector::log::Level;
pub use bindings::exeunt::connector::types::{Account, Failure, Limit, LimitKind, Person, Refusal, Response, Standing};
pub use bindings::exports::exeunt::connector::descriptor as description;
pub use bindings::exports::exeunt::connector::user_closure::Accounts;
pub use close::close;
pub use descriptor::describe;
pub use find::{find, read};
pub use host::Host;
pub use mint::mint;
pub use page::page;
pub use settings::{SCHEMA, Settings, Wire};
