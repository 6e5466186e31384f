//! What `wit/` says, in Rust. Generated; nothing is written here by hand.
//!
//! The records and variants are plain data on every target. The imported functions work inside a sandbox only.

#![allow(
    unsafe_code,
    reason = "generated code passes values over the sandbox's boundary by pointer"
)]
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    rust_2018_idioms,
    clippy::all,
    reason = "generated code; the documentation is in wit/"
)]

wit_bindgen::generate!({
    path: "../wit",
    world: "connector",
    additional_derives: [PartialEq, Eq],
});

// Here and not in the shim, because what this expands to needs the allowance for unsafe code.
#[cfg(target_arch = "wasm32")]
use crate::shim::Connector;
#[cfg(target_arch = "wasm32")]
export!(Connector with_types_in self);
