//! The hostile component as it is built, and what can be made of it without building it again.

use std::path::Path;

use crate::attacks::{LIE_BYTES, LIE_MARK, Lie};

/// The component that `make plugins` leaves.
pub(crate) fn hostile() -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins/hostile.wasm");
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}; run `make plugins` first", file.display()))
}

/// The same, telling a lie in its descriptor.
pub(crate) fn telling(lie: Lie) -> Vec<u8> {
    let (name, _) = Lie::ALL.iter().find(|(_, known)| *known == lie).unwrap();
    let written = format!("{name:LIE_BYTES$}");
    let mark = format!("{LIE_MARK}{:LIE_BYTES$}", "");
    let mut bytes = hostile();
    let places = positions(&bytes, mark.as_bytes());
    assert_eq!(places.len(), 1, "the mark stands in the component once");
    let start = places[0] + LIE_MARK.len();
    bytes[start..start + LIE_BYTES].copy_from_slice(written.as_bytes());
    bytes
}

/// The same with more in it: items of a component in the text format, put at its end.
pub(crate) fn with(items: &str) -> Vec<u8> {
    let text = wasmprinter::print_bytes(hostile()).unwrap();
    let inside = text.trim_end().strip_suffix(')').unwrap();
    wat::parse_str(format!("{inside}{items})")).unwrap()
}

/// The same with each `from` replaced by a `to` of the same length.
pub(crate) fn with_replaced(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = hostile();
    let places = positions(&bytes, from.as_bytes());
    assert!(!places.is_empty(), "`{from}` stands in the component");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

fn positions(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(wanted.len()).enumerate();
    windows.filter(|(_, part)| *part == wanted).map(|(at, _)| at).collect()
}
