//! What `removals.toml` takes out is still there: a line that has moved on would leave its defence untried.

use toml::Table;

#[test]
fn each_removal_finds_its_line_once() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let removals = std::fs::read_to_string(format!("{root}/tests/sandbox/removals.toml")).expect("the list");
    let removals: Table = removals.parse().expect("TOML");
    let removals = removals["removal"].as_array().expect("a list");
    assert!(!removals.is_empty());
    for removal in removals {
        let text = |key: &str| removal[key].as_str().expect("a text");
        let file = std::fs::read_to_string(format!("{root}/{}", text("file"))).expect("a file of ours");
        assert_eq!(
            file.matches(text("from")).count(),
            1,
            "{}: {}",
            text("file"),
            text("defence")
        );
    }
}
