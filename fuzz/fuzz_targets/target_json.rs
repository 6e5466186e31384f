//! What a target answers.
#![no_main]

#[path = "../promises/target_json.rs"]
mod target_json;

use std::path::Path;

const PLUGIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins/docusign.wasm");

libfuzzer_sys::fuzz_target!(|data: &[u8]| target_json::holds(data, Path::new(PLUGIN)));
