//! How large and how deep a parsed file may be, before anything goes through it by recursion or by its keys' paths.
//!
//! The parser takes 80 parts of a dotted key in each of 80 nested tables, and keys as long as the file: some KiB would
//! overflow a stack, and 2 MiB take any amount of memory, from all tenants. Nothing here recurses.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::reader::join;

/// Deepest nesting of tables and lists: 32. A connector's settings begin at the third level.
pub(super) const MAX_DEPTH: usize = 32;

/// Longest path of a key: 512 bytes. With a tenant's name and a host's, a grant's `connect_to` has 350 at most.
pub(super) const MAX_KEY_PATH_BYTES: usize = 512;

/// Most keys and list items: 200,000. A host that grants 10,000 tenants something each needs half of it.
pub(super) const MAX_ENTRIES: usize = 200_000;

/// What holds others.
enum Level<'t, 'i> {
    Table(&'t DeTable<'i>),
    List(&'t DeArray<'i>),
}

impl<'t, 'i> Level<'t, 'i> {
    fn of(value: &'t DeValue<'i>) -> Option<Self> {
        match value {
            DeValue::Table(table) => Some(Self::Table(table)),
            DeValue::Array(list) => Some(Self::List(list)),
            _ => None,
        }
    }

    /// Where each entry begins in the text, the bytes that it adds to a path, and its value.
    fn entries(self) -> Box<dyn Iterator<Item = (usize, usize, &'t DeValue<'i>)> + 't> {
        match self {
            Self::Table(table) => Box::new(table.iter().map(|(key, value)| {
                let bytes = join("", key.get_ref()).len() + 1;
                (key.span().start, bytes, value.get_ref())
            })),
            Self::List(list) => Box::new(list.iter().enumerate().map(|(index, value)| {
                let bytes = index.to_string().len() + 1;
                (value.span().start, bytes, value.get_ref())
            })),
        }
    }
}

/// The first thing that is beyond a limit: where it stands in the text, and what is wrong with it.
pub(super) fn objection(root: &DeTable<'_>) -> Option<(usize, String)> {
    let mut count = 0;
    let mut waiting = vec![(Level::Table(root), 1, 0)];
    while let Some((level, depth, path)) = waiting.pop() {
        for (at, bytes, value) in level.entries() {
            count += 1;
            if count > MAX_ENTRIES {
                let words = format!("the file has more than {MAX_ENTRIES} keys and list items, the limit; split it up");
                return Some((at, words));
            }
            let path = path + bytes;
            if path > MAX_KEY_PATH_BYTES + 1 {
                let words = format!(
                    "a key is over {MAX_KEY_PATH_BYTES} bytes with the tables around it, the limit; write a shorter one"
                );
                return Some((at, words));
            }
            let Some(inner) = Level::of(value) else { continue };
            if depth == MAX_DEPTH {
                let words = format!("tables and lists are nested more than {MAX_DEPTH} deep, the limit");
                return Some((at, words));
            }
            waiting.push((inner, depth + 1, path));
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tenant::reader::{MAX_PROBLEMS, read};

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
    fn of_very_many_mistakes_the_first_hundred_are_told() {
        let wrong = |count: usize| "= 1\n".repeat(count);
        let told = |text: &str| parse(text).unwrap_err().lines().count();
        assert_eq!(told(&wrong(MAX_PROBLEMS)), MAX_PROBLEMS);
        assert_eq!(told(&wrong(MAX_PROBLEMS + 1)), MAX_PROBLEMS);
    }
}
