//! Where each key of a file stands, and how large and how deep a file may be.
//!
//! The parser takes 80 parts of a dotted key in each of 80 nested tables, and keys as long as the file: some KiB would
//! overflow a stack, and 2 MiB take any amount of memory, from all tenants. So nothing here recurses, and what is beyond a
//! limit is refused before anything else goes through the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::{ConfigError, Location};

/// Deepest nesting of tables and lists: 32. A connector's settings begin at the third level.
pub(super) const MAX_DEPTH: usize = 32;

/// Longest path of a key: 512 bytes. With a tenant's name and a host's, a grant's `connect_to` has 350 at most.
pub(super) const MAX_KEY_PATH_BYTES: usize = 512;

/// Most keys and list items: 200,000. A host that grants 10,000 tenants something each needs half of it.
pub(super) const MAX_ENTRIES: usize = 200_000;

/// From so many bytes of a line on, a column is counted in bytes: 64 KiB. To count characters from the line's beginning
/// for each item of a list would take the square of its length.
const LONG_LINE: usize = 64 * 1024;

/// Where each key of a file stands.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) file: Arc<Path>,
    positions: BTreeMap<String, (usize, usize)>,
}

impl Places {
    /// The place of a dotted key, or of the nearest table around it.
    pub(super) fn at(&self, key: &str) -> Location {
        let mut around = key;
        let position = loop {
            if let Some(position) = self.positions.get(around) {
                break Some(*position);
            }
            match around.rfind('.') {
                Some(dot) => around = &around[..dot],
                None => break None,
            }
        };
        Location::new(self.file.clone(), position, key.to_owned())
    }

    /// Looks at every key and list item once.
    ///
    /// # Errors
    /// One is beyond a limit. The tables are then to be [taken down](take_down).
    pub(super) fn index(file: &Path, lines: &Lines<'_>, root: &DeTable<'_>) -> Result<Self, ConfigError> {
        let file: Arc<Path> = file.into();
        let mut positions = BTreeMap::new();
        let mut waiting = vec![(Level::Table(root), 1, String::new())];
        while let Some((level, depth, around)) = waiting.pop() {
            for (path, at, value) in level.entries(&around) {
                let position = lines.position(at);
                let refuse =
                    |message: String| Err(Location::new(file.clone(), Some(position), String::new()).error(message));
                if positions.len() == MAX_ENTRIES {
                    return refuse(format!(
                        "the file has more than {MAX_ENTRIES} keys and list items, the limit; split it up"
                    ));
                }
                if path.len() > MAX_KEY_PATH_BYTES {
                    return refuse(format!(
                        "a key is over {MAX_KEY_PATH_BYTES} bytes with the tables around it, the limit; write a shorter one"
                    ));
                }
                if let Some(inner) = Level::of(value) {
                    if depth == MAX_DEPTH {
                        return refuse(format!(
                            "tables and lists are nested more than {MAX_DEPTH} deep, the limit"
                        ));
                    }
                    waiting.push((inner, depth + 1, path.clone()));
                }
                positions.insert(path, position);
            }
        }
        Ok(Self { file, positions })
    }
}

/// What holds others.
enum Level<'t, 'i> {
    Table(&'t DeTable<'i>),
    List(&'t DeArray<'i>),
}

/// The path of a key or list item, where it begins in the text, and its value.
type Entry<'t, 'i> = (String, usize, &'t DeValue<'i>);

impl<'t, 'i> Level<'t, 'i> {
    fn of(value: &'t DeValue<'i>) -> Option<Self> {
        match value {
            DeValue::Table(table) => Some(Self::Table(table)),
            DeValue::Array(list) => Some(Self::List(list)),
            _ => None,
        }
    }

    fn entries<'p>(self, around: &'p str) -> Box<dyn Iterator<Item = Entry<'t, 'i>> + 'p>
    where
        't: 'p,
    {
        match self {
            Self::Table(table) => Box::new(
                table
                    .iter()
                    .map(move |(key, value)| (join(around, key.get_ref()), key.span().start, value.get_ref())),
            ),
            Self::List(list) => Box::new(
                list.iter()
                    .enumerate()
                    .map(move |(index, value)| (format!("{around}.{index}"), value.span().start, value.get_ref())),
            ),
        }
    }
}

/// Drops what may be too deep to be dropped by recursion.
pub(super) fn take_down(root: DeTable<'_>) {
    let mut waiting: Vec<DeValue<'_>> = values(root).collect();
    while let Some(value) = waiting.pop() {
        match value {
            DeValue::Table(table) => waiting.extend(values(table)),
            DeValue::Array(list) => waiting.extend(list.into_iter().map(Spanned::into_inner)),
            _ => {}
        }
    }
}

fn values(table: DeTable<'_>) -> impl Iterator<Item = DeValue<'_>> {
    table.into_iter().map(|(_, value)| value.into_inner())
}

/// Appends a key to a dotted path, quoted as in TOML where it must be.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// A text and where its lines begin.
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self { text, starts }
    }

    /// Line and column of an offset, from 1.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let column = match self.text.get(start..offset) {
            Some(before) if before.len() < LONG_LINE => before.chars().count(),
            _ => offset.saturating_sub(start),
        };
        (line, column + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tenant::reader::read;

    fn parse(text: &str) -> Result<(), String> {
        let read = read(Path::new("acme.toml"), text, &|_| None, |_| ());
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_beyond_a_limit_is_refused_at_its_line() {
        let nested = |levels: usize| format!("\na = {}1{}", "[".repeat(levels), "]".repeat(levels));
        let named = |bytes: usize| format!("\n[a]\n{} = 1", "k".repeat(bytes - "a.".len()));
        let listed = |items: usize| format!("\na = [{}]", "0,".repeat(items));
        for (at, past, said) in [
            (nested(MAX_DEPTH - 1), nested(MAX_DEPTH), "nested more than 32 deep"),
            (
                named(MAX_KEY_PATH_BYTES),
                named(MAX_KEY_PATH_BYTES + 1),
                "over 512 bytes",
            ),
            (listed(MAX_ENTRIES - 1), listed(MAX_ENTRIES), "more than 200000 keys"),
        ] {
            assert_eq!(parse(&at), Ok(()), "{said}");
            let refused = parse(&past).unwrap_err();
            let line = past.lines().count();
            assert!(refused.starts_with(&format!("acme.toml:{line}: ")), "{refused:.80}");
            assert!(refused.contains(said), "{refused:.200}");
        }
    }

    #[test]
    fn a_small_file_takes_no_stack_and_a_large_one_no_memory() {
        // As deep as the parser allows: 80 parts of a key in each of 79 tables.
        let key = vec!["a"; 80].join(".");
        let deep = format!(
            "{} 1 {}",
            format!("{key} = {{").repeat(79).trim_end_matches('{'),
            "}".repeat(78)
        );
        assert!(
            parse(&deep).unwrap_err().contains("nested more than 32 deep"),
            "{}",
            deep.len()
        );
        let long = "k".repeat(1024 * 1024);
        let items = "0,".repeat(400_000);
        for text in [format!("{long} = [{items}]"), format!("[{long}]\na = [{items}]")] {
            assert!(parse(&text).unwrap_err().len() < 1000);
        }
    }

    #[test]
    fn of_what_is_no_toml_the_first_mistake_is_told() {
        let error = parse("a = [\"b\" }\nc = 1\nd = { }\n").unwrap_err();
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(":1:") && error.contains("not valid TOML"), "{error}");
    }
}
