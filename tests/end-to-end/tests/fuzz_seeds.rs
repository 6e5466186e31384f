//! What is fuzzed by hand (`docs/fuzzing.md`) holds for each target's seeds, so that CI compiles and runs it.

#[path = "../../../fuzz/promises/admission.rs"]
mod admission;
#[path = "../../../fuzz/promises/path.rs"]
mod path;
#[path = "../../../fuzz/promises/target_json.rs"]
mod target_json;
#[path = "../../../fuzz/promises/tenant_file.rs"]
mod tenant_file;

/// The seeds of a target.
fn seeds(target: &str) -> impl Iterator<Item = Vec<u8>> {
    let folder = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let seeds: Vec<_> = std::fs::read_dir(folder).expect("a folder of seeds").collect();
    assert!(!seeds.is_empty(), "{target}");
    seeds
        .into_iter()
        .map(|seed| std::fs::read(seed.expect("a seed").path()).expect("a file"))
}

#[test]
fn of_admission() {
    seeds("admission").for_each(|seed| admission::holds(&seed));
}

#[test]
fn of_paths() {
    seeds("path").for_each(|seed| path::holds(&seed));
}

#[test]
fn of_what_targets_answer() {
    let plugin = end_to_end::plugins().join("docusign.wasm");
    seeds("target_json").for_each(|seed| target_json::holds(&seed, &plugin));
}

#[test]
fn of_tenant_files() {
    seeds("tenant_file").for_each(|seed| tenant_file::holds(&seed));
}
