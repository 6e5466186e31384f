//! What a guest asks for.
#![no_main]

#[path = "../promises/path.rs"]
mod path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| path::holds(data));
