//! The attack table of the documentation is the one of this suite.

use std::path::Path;

/// Every row, in the order of the lists. That each test exists, the compiler sees to.
fn table() -> String {
    let rooms = [
        ("What a plugin does", &for_each_attack!(rows)[..]),
        ("What a plugin says of itself", &for_each_lie!(rows)[..]),
        ("What a file or a name is", &for_each_file!(rows)[..]),
    ];
    let mut text = String::new();
    for (title, rows) in rooms {
        text += &format!("# {title}\n\n| attack | what stops it | test |\n|---|---|---|\n");
        for (what, stops, room, test) in rows {
            text += &format!("| {what} | {stops} | `{room}::{test}` |\n");
        }
        text += "\n";
    }
    text + NOT_STOPPED
}

/// What no limit and no check stops, so that nobody looks for it in vain.
const NOT_STOPPED: &str = "\
# What is not stopped

| attack | what bounds it |
|---|---|
| plugin that lies from end to end: it finds another person's account under the leaver's address, closes it, and reads \
  it truly as closed | it is the only one who speaks the target's language. A protected id is refused whatever it says of \
  the address, so protect by id what must never be closed; the breaker counts; pinning and signatures say whose plugin it is |
| registry that its operator granted and that leads the host to an address inside (redirects, the place of its tokens) \
  | GET alone, within limits; what comes is taken only with the digest that was asked for |
| sender with a tenant's secret that fills the journal's disk with large events, which are kept for months | `events_per_second`, \
  1 MiB an event, `[retention] events`; watch the disk, and take the secret out of the tenant's file |
";

#[test]
fn the_table_in_the_documentation_is_this_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sandbox/attacks.md");
    let rendered = Path::new(env!("CARGO_TARGET_TMPDIR")).join("attacks.md");
    std::fs::write(&rendered, table()).unwrap();
    let said = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(said == table(), "run: cp {} {}", rendered.display(), file.display());
}
