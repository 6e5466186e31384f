//! What `wit/` says, in Rust. Generated; nothing is written here by hand.

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

wit_bindgen::generate!({ path: "../../../wit", world: "connector" });

use crate::Connector;
export!(Connector with_types_in self);
