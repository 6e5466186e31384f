//! What is taken for a plugin.
#![no_main]

#[path = "../promises/admission.rs"]
mod admission;

libfuzzer_sys::fuzz_target!(|data: &[u8]| admission::holds(data));
