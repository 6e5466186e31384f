//! What an operator writes.
#![no_main]

#[path = "../promises/tenant_file.rs"]
mod tenant_file;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenant_file::holds(data));
