//! `[sources.NAME]`: where events come from, which of them are leavers, and who they name.

use std::time::Duration;

use toml::de::DeValue;

use super::error::Location;
use super::names::{did_you_mean, nearest, quoted};
use super::places::join;
use super::policy::read_duration;
use super::reader::{Item, Section, Table};
use super::secrets::SecretScope;
use super::source_auth::SourceAuth;

/// Most values in `becomes`: 100. A longer list is a sign that a filter is meant.
const MAX_BECOMES: usize = 100;

/// Longest name of an attribute, and longest value that it becomes: 1 KiB. They stand in the reason of each event.
const MAX_RULE_BYTES: usize = 1024;

/// Most mapped attributes of a person: 32; they go into every sandbox call and into evidence.
const MAX_ATTRIBUTES: usize = 32;

/// How old an event may be, where it says when it happened: 7 days. A weekend and an outage of some days are younger; an
/// address is hardly given to somebody else sooner.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// One source of events.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Its name.
    pub name: String,
    /// What sends the events.
    pub kind: SourceKind,
    /// How the sender proves who it is, where it is a server that asks.
    pub auth: Option<SourceAuth>,
    /// Which events are leavers.
    pub leaver: LeaverRule,
    /// Where the person's fields come from, where not from the usual place.
    pub person: PersonMapping,
    /// JSONPath to the source's own id of an event, by which a repetition is told for ever.
    pub id: Option<String>,
    /// JSONPath to when the event happened.
    pub time: Option<String>,
    /// An event that is older is held. Default [`DEFAULT_MAX_AGE`].
    pub max_age: Duration,
    /// The connectors that it feeds, in the order of their names.
    pub connectors: Vec<String>,
    section: Section,
}

/// What sends the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// SailPoint Identity Security Cloud: an event trigger or a workflow that forwards one.
    SailPoint,
    /// Anything that posts JSON. A `filter` says what a leaver is, `person` who it is.
    Webhook,
}

/// Which events are leavers.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaverRule {
    /// The event says that this attribute became one of these values.
    Attribute {
        /// Name of the attribute, compared without case.
        name: String,
        /// Values, at least one.
        becomes: Vec<Becomes>,
    },
    /// This RFC 9535 JSONPath finds something in the event.
    Filter(String),
}

/// A value in `becomes`.
#[derive(Debug, Clone, PartialEq)]
pub enum Becomes {
    /// Text, compared without case.
    Text(String),
    /// True or false; the text `"true"` is equal to it.
    Bool(bool),
    /// A number; the text `"1"` is equal to 1.
    Number(f64),
}

/// JSONPaths to a person's fields, each of which overrides the usual place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PersonMapping {
    /// The source's own id of the person.
    pub id: Option<String>,
    /// The person's id in the target system.
    pub target_id: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Display name.
    pub name: Option<String>,
    /// Further fields, as (name, JSONPath).
    pub attributes: Vec<(String, String)>,
}

impl SourceConfig {
    /// The place of a key of this source, such as `filter` or `person.email`; its table for the empty key.
    #[must_use]
    pub fn at(&self, key: &str) -> Location {
        self.section.at(key)
    }

    /// Reads one source; `connectors` are the names that the tenant has.
    pub(crate) fn read(name: &str, mut table: Table<'_>, scope: &SecretScope, connectors: &[&str]) -> Self {
        let kind = table.require("kind", "kind = \"sailpoint\" or kind = \"webhook\"");
        let kind = kind
            .and_then(|item| item.accept(parse_kind(item.string()?)))
            .unwrap_or(SourceKind::SailPoint);
        let auth = table
            .get("auth")
            .and_then(|item| SourceAuth::read(item.table()?, scope));
        let leaver = match kind {
            SourceKind::SailPoint => read_leaver(&mut table),
            SourceKind::Webhook => read_filter(&mut table),
        };
        let person = table.get("person").and_then(|item| item.table());
        let person = person.map(|person| read_person(&person)).unwrap_or_default();
        if kind == SourceKind::Webhook && person.email.is_none() && person.target_id.is_none() {
            table.note(
                "does not say where an event names the person; write person = { email = \"$.email\" }, or target_id",
            );
        }
        let mut path = |key| table.get(key).and_then(|item| item.string()).map(str::to_owned);
        let (id, time) = (path("id"), path("time"));
        let max_age = read_max_age(&mut table, time.is_some());
        let connectors = match table.get("connectors") {
            Some(item) => read_connectors(&item, connectors),
            None => connectors.iter().map(|name| (*name).to_owned()).collect(),
        };
        let section = table.section();
        table.finish();
        Self {
            name: name.to_owned(),
            kind,
            auth,
            leaver: leaver.unwrap_or(LeaverRule::Filter(String::new())),
            person,
            id,
            time,
            max_age,
            connectors,
            section,
        }
    }
}

fn read_max_age(table: &mut Table<'_>, has_time: bool) -> Duration {
    let Some(item) = table.get("max_age") else {
        return DEFAULT_MAX_AGE;
    };
    if !has_time {
        item.note("has no effect without `time`; write where an event says when it happened: time = \"$.time\"");
    }
    read_duration(&item).unwrap_or(DEFAULT_MAX_AGE)
}

// What changed and to what is something that only SailPoint's events say in a known way.
fn read_filter(table: &mut Table<'_>) -> Option<LeaverRule> {
    const WRITE: &str = "filter = \"$[?$.status == 'left']\", or filter = \"$\" where every event is a leaver";
    if let Some(leaver) = table.get("leaver") {
        leaver.note(format!("is for the kind `sailpoint`; write {WRITE}"));
    }
    let filter = table.require("filter", WRITE)?;
    filter.string().map(|text| LeaverRule::Filter(text.to_owned()))
}

fn parse_kind(text: &str) -> Result<SourceKind, String> {
    match text {
        "sailpoint" => Ok(SourceKind::SailPoint),
        "webhook" => Ok(SourceKind::Webhook),
        other => Err(format!(
            "{} is not a kind of source; {}",
            quoted(other),
            did_you_mean(other, ["sailpoint", "webhook"])
        )),
    }
}

fn read_leaver(table: &mut Table<'_>) -> Option<LeaverRule> {
    const WRITE: &str = "leaver = { attribute = \"userStatus\", becomes = [\"inactive\"] }, or filter = \"JSONPATH\"";
    let leaver = table.get("leaver");
    let filter = table.get("filter");
    match (leaver, filter) {
        (Some(leaver), None) => read_attribute(leaver.table()?),
        (None, Some(filter)) => filter.string().map(|text| LeaverRule::Filter(text.to_owned())),
        (Some(_), Some(filter)) => {
            filter.note(format!(
                "stands beside `leaver`, and only one of them can decide; write {WRITE}"
            ));
            None
        }
        (None, None) => {
            table.note(format!("does not say which events are leavers; write {WRITE}"));
            None
        }
    }
}

fn read_attribute(mut table: Table<'_>) -> Option<LeaverRule> {
    let name_item = table.require("attribute", "attribute = \"userStatus\"");
    let name = name_item.as_ref().and_then(|item| item.string());
    if let (Some(item), Some("")) = (&name_item, name.map(str::trim)) {
        item.note("is empty; write the attribute's name as the event spells it");
    }
    if let (Some(item), Some(name)) = (&name_item, name)
        && name.len() > MAX_RULE_BYTES
    {
        item.note(format!("is over {MAX_RULE_BYTES} bytes, the limit"));
    }
    let becomes = table
        .require("becomes", "becomes = [\"inactive\"]")
        .map(|item| read_becomes(&item));
    table.finish();
    Some(LeaverRule::Attribute {
        name: name?.to_owned(),
        becomes: becomes?,
    })
}

fn read_becomes(item: &Item<'_>) -> Vec<Becomes> {
    let Some(list) = item.list() else { return Vec::new() };
    if list.is_empty() {
        item.note("is empty, so nobody would ever leave; write [\"inactive\"]");
    } else if list.len() > MAX_BECOMES {
        item.note(format!("has over {MAX_BECOMES} values, the limit; write a filter"));
    }
    list.iter().filter_map(read_value).collect()
}

fn read_value(item: &Item<'_>) -> Option<Becomes> {
    match item.value() {
        DeValue::String(text) if text.trim().is_empty() => {
            item.note("is empty, and an attribute that was cleared is not a leaver; write a value, or a filter");
            None
        }
        DeValue::String(text) if text.len() > MAX_RULE_BYTES => {
            item.note(format!("is over {MAX_RULE_BYTES} bytes, the limit"));
            None
        }
        DeValue::String(text) => Some(Becomes::Text(text.clone().into_owned())),
        DeValue::Boolean(value) => Some(Becomes::Bool(*value)),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok().map(Becomes::Number),
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => Some(Becomes::Number(number)),
            _ => item.wrong("a string, a number, true or false", item.value()),
        },
        other => item.wrong("a string, a decimal number, true or false", other),
    }
}

fn read_person(table: &Table<'_>) -> PersonMapping {
    let mut mapping = PersonMapping::default();
    for (key, item) in table.entries() {
        let Some(path) = item.string().map(str::to_owned) else {
            continue;
        };
        match key {
            "id" => mapping.id = Some(path),
            "target_id" => mapping.target_id = Some(path),
            "email" => mapping.email = Some(path),
            "name" => mapping.name = Some(path),
            other => {
                check_attribute_name(other, &item);
                mapping.attributes.push((other.to_owned(), path));
            }
        }
    }
    if mapping.attributes.len() > MAX_ATTRIBUTES {
        table.note(format!("has over {MAX_ATTRIBUTES} attributes, the limit"));
    }
    mapping
}

// Any other key is an attribute, so a slip such as `emial` would quietly lose the person's address.
fn check_attribute_name(name: &str, item: &Item<'_>) {
    const MAX_ATTRIBUTE_NAME_BYTES: usize = 64;
    if let Some(meant) = nearest(name, ["id", "target_id", "email", "name"]) {
        item.note(format!(
            "unknown key; did you mean `{meant}`? An attribute needs a name that is less like it"
        ));
    } else if name.is_empty() || name.len() > MAX_ATTRIBUTE_NAME_BYTES || name.chars().any(char::is_control) {
        item.note(format!(
            "an attribute's name has 1 to {MAX_ATTRIBUTE_NAME_BYTES} bytes and no control characters"
        ));
    }
}

fn read_connectors(item: &Item<'_>, known: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let written = item.strings();
    if written.is_empty() {
        item.note("names no connector, so the source would feed none; leave it out to feed all");
    }
    for (name, item) in written {
        if !known.contains(&name) {
            let known = known.iter().copied();
            item.note(format!(
                "there is no [{}]; {}",
                join("connectors", name),
                did_you_mean(name, known)
            ));
        } else if names.iter().any(|other| other == name) {
            item.note(format!("{} is named twice; once is enough", quoted(name)));
        }
        names.push(name.to_owned());
    }
    names.sort();
    names
}
