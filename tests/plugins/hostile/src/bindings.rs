//! What `wit/` says, in Rust, generated; and the four things that take unsafe code to try.

#![allow(
    unsafe_code,
    reason = "generated code passes values over the sandbox's boundary by pointer; handles are forged on purpose"
)]
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    rust_2018_idioms,
    clippy::all,
    reason = "generated code; the documentation is in wit/"
)]

use self::exeunt::connector::credentials::AccessToken;

wit_bindgen::generate!({
    path: "../../../wit",
    world: "connector",
});

use crate::Connector;
export!(Connector with_types_in self);

#[link(wasm_import_module = "exeunt:connector/log@0.1.0")]
unsafe extern "C" {
    /// `log.write` as the canonical ABI has it: level, message, fields, each list as pointer and length.
    #[link_name = "write"]
    fn raw_log(level: i32, message: usize, message_len: usize, fields: usize, fields_len: usize);
}

/// Logs a message and fields that the guest does not have.
pub fn log_claiming(message_len: usize, fields_len: usize) {
    unsafe { raw_log(1, 8, message_len, 8, fields_len) }
}

/// A handle out of thin air.
pub fn forged(handle: u32) -> AccessToken {
    unsafe { AccessToken::from_handle(handle) }
}

/// The number of a handle.
pub fn number(token: &AccessToken) -> u32 {
    token.handle()
}
