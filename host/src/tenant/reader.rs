//! Reads TOML with lines: every mistake is noted with its place, and reading goes on.
//!
//! A table knows a key once something asked for it; what nobody asked for is reported by [`Table::finish`]. So the
//! list of known keys cannot drift away from the code that reads them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Location, Problem};
use super::names::did_you_mean;
use super::places::{self, Lines, Places, join};

/// Largest configuration file: 2 MiB. A tenant with 10,000 protected addresses needs a sixth of it, and a host that grants
/// 10,000 tenants something each two thirds.
pub const MAX_CONFIG_BYTES: u64 = 2 * 1024 * 1024;

/// Most mistakes of one file that are told: 100. Whoever mends so many sees the others afterwards.
pub(super) const MAX_PROBLEMS: usize = 100;

/// Reads a configuration file.
pub(crate) fn read_text(file: &Path) -> Result<String, ConfigError> {
    let at = Location::file_only(file);
    let mut text = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut text))
        .map_err(|error| at.error(format!("cannot be read: {error}")))?;
    if text.len() as u64 > MAX_CONFIG_BYTES {
        return Err(at.error(format!(
            "is over {MAX_CONFIG_BYTES} bytes, the limit for a configuration file"
        )));
    }
    String::from_utf8(text).map_err(|_| at.error("is not UTF-8 text; save it as UTF-8"))
}

/// Says where a key belongs that is known, only not here.
pub(crate) type Elsewhere<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Collects what is wrong with one file.
pub(crate) struct Reader<'a> {
    places: Arc<Places>,
    problems: RefCell<Vec<Problem>>,
    elsewhere: Elsewhere<'a>,
}

impl Reader<'_> {
    fn note(&self, path: &str, message: impl Into<String>) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < MAX_PROBLEMS {
            problems.push(self.places.at(path).problem(message));
        }
    }
}

/// Parses `text` and lets `read` take what it needs.
///
/// `read` puts placeholders where it noted a problem; they are thrown away.
pub(crate) fn read<T>(
    file: &Path,
    text: &str,
    elsewhere: Elsewhere<'_>,
    read: impl for<'a> FnOnce(Table<'a>) -> T,
) -> Result<T, ConfigError> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::of(text);
    let places = match Places::index(file, &lines, root.get_ref()) {
        Ok(places) => Arc::new(places),
        Err(error) => {
            places::take_down(root.into_inner());
            return Err(error);
        }
    };
    // The first alone: what comes after it is mostly what the parser took the rest for.
    let syntax = errors.iter().take(1).map(|error| {
        let position = error.span().map(|span| lines.position(span.start));
        let message = error.message().replace('\n', ", ");
        Location::new(places.file.clone(), position, String::new()).problem(format!("not valid TOML: {message}"))
    });
    ConfigError::from_problems(syntax.collect())?;
    let reader = Reader {
        places,
        problems: RefCell::new(Vec::new()),
        elsewhere,
    };
    let value = read(Table {
        reader: &reader,
        path: String::new(),
        table: root.get_ref(),
        known: BTreeSet::new(),
    });
    ConfigError::from_problems(reader.problems.into_inner())?;
    Ok(value)
}

/// A table with the keys that were asked for so far.
pub(crate) struct Table<'a> {
    reader: &'a Reader<'a>,
    path: String,
    table: &'a DeTable<'a>,
    known: BTreeSet<&'static str>,
}

impl<'a> Table<'a> {
    /// The value of a key, which is known from now on.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.known.insert(key);
        self.table.get(key).map(|value| self.item(key, value))
    }

    /// The value of a key that must be there; `write` shows what to write.
    pub(crate) fn require(&mut self, key: &'static str, write: &str) -> Option<Item<'a>> {
        let item = self.get(key);
        if item.is_none() {
            self.note(format!("`{key}` is missing; write {write}"));
        }
        item
    }

    /// All entries, for a table whose keys the operator chooses.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, Item<'a>)> + use<'a, '_> {
        let table: &'a DeTable<'a> = self.table;
        table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), self.item(key.get_ref(), value)))
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(self) {
        for key in self.table.keys() {
            let key: &str = key.get_ref();
            if self.known.contains(key) {
                continue;
            }
            let hint = (self.reader.elsewhere)(key)
                .unwrap_or_else(|| format!("unknown key; {}", did_you_mean(key, self.known.iter().copied())));
            self.reader.note(&join(&self.path, key), hint);
        }
    }

    /// Notes a problem with the table as a whole.
    pub(crate) fn note(&self, message: impl Into<String>) {
        self.reader.note(&self.path, message);
    }

    /// The table's place, to keep.
    pub(crate) fn section(&self) -> Section {
        Section {
            places: self.reader.places.clone(),
            path: self.path.clone(),
        }
    }

    fn item(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Item<'a> {
        Item {
            reader: self.reader,
            path: join(&self.path, key),
            value: value.get_ref(),
        }
    }
}

/// A table of a file, kept after reading so that later checks can point into it.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    places: Arc<Places>,
    path: String,
}

impl Section {
    /// The place of a key below the table, given as it is written in TOML (`keys.signing`, `reach.0`); the table's
    /// own place for the empty key.
    pub(crate) fn at(&self, key: &str) -> Location {
        match (self.path.is_empty(), key.is_empty()) {
            (_, true) => self.places.at(&self.path),
            (true, false) => self.places.at(key),
            (false, false) => self.places.at(&format!("{}.{key}", self.path)),
        }
    }
}

/// One value with its place.
pub(crate) struct Item<'a> {
    reader: &'a Reader<'a>,
    path: String,
    value: &'a DeValue<'a>,
}

impl<'a> Item<'a> {
    /// A string.
    pub(crate) fn string(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            other => self.wrong("a string in quotes", other),
        }
    }

    /// Whether it is a string, for what may be a string or something else.
    pub(crate) fn is_string(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    /// Whether it is a table, where there should be none.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(*value),
            other => self.wrong("true or false", other),
        }
    }

    /// A whole number from 1 up.
    pub(crate) fn count(&self) -> Option<u32> {
        self.count_up_to(u32::MAX)
    }

    /// A whole number from 1 to `most`.
    pub(crate) fn count_up_to(&self, most: u32) -> Option<u32> {
        let count = match self.value {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            other => return self.wrong("a whole number", other),
        };
        match count {
            Some(count) if (1..=most).contains(&count) => Some(count),
            _ => {
                self.note(format!("must be from 1 to {most}"));
                None
            }
        }
    }

    /// A table.
    pub(crate) fn table(&self) -> Option<Table<'a>> {
        match self.value {
            DeValue::Table(table) => Some(Table {
                reader: self.reader,
                path: self.path.clone(),
                table,
                known: BTreeSet::new(),
            }),
            other => self.wrong("a table", other),
        }
    }

    /// A list.
    pub(crate) fn list(&self) -> Option<Vec<Item<'a>>> {
        match self.value {
            DeValue::Array(array) => {
                let items = array.iter().enumerate().map(|(index, value)| Item {
                    reader: self.reader,
                    path: format!("{}.{index}", self.path),
                    value: value.get_ref(),
                });
                Some(items.collect())
            }
            other => self.wrong("a list in square brackets", other),
        }
    }

    /// A list of strings, each with its place.
    pub(crate) fn strings(&self) -> Vec<(&'a str, Item<'a>)> {
        self.list()
            .into_iter()
            .flatten()
            .filter_map(|item| item.string().map(|text| (text, item)))
            .collect()
    }

    /// The parsed value, for what has more than one shape.
    pub(crate) fn value(&self) -> &'a DeValue<'a> {
        self.value
    }

    /// Keeps what `outcome` holds, or notes its message.
    pub(crate) fn accept<T>(&self, outcome: Result<T, String>) -> Option<T> {
        outcome.map_err(|message| self.note(message)).ok()
    }

    /// Notes a problem with the value.
    pub(crate) fn note(&self, message: impl Into<String>) {
        self.reader.note(&self.path, message);
    }

    /// The place of the value.
    pub(crate) fn location(&self) -> Location {
        self.reader.places.at(&self.path)
    }

    /// Notes that the value has the wrong type.
    pub(crate) fn wrong<T>(&self, expected: &str, found: &DeValue<'_>) -> Option<T> {
        self.note(format!("must be {expected}, is {}", type_name(found)));
        None
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
