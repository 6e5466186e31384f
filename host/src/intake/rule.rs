//! Which events are leavers.

use serde_json::Value;

use super::json::shown_value;
use super::jsonpath::Path;
use super::sailpoint::{Change, Event, Family};
use crate::tenant::{Becomes, ConfigError, LeaverRule, SourceConfig, quoted};

/// A rule, compiled.
#[derive(Debug, Clone)]
pub(crate) enum Rule {
    Attribute {
        name: String,
        folded: String,
        becomes: Vec<String>,
    },
    Filter(Path),
}

/// What a rule says of an event, with its reason.
#[derive(Debug)]
pub(crate) enum Verdict {
    Leaver(String),
    NotALeaver(String),
}

impl Rule {
    /// Compiles a source's rule.
    pub(crate) fn new(config: &SourceConfig) -> Result<Self, ConfigError> {
        match &config.leaver {
            LeaverRule::Attribute { name, becomes } => Ok(Self::Attribute {
                name: name.clone(),
                folded: name.to_lowercase(),
                becomes: becomes.iter().map(folded_config).collect(),
            }),
            LeaverRule::Filter(text) => Path::compile(text)
                .map(Self::Filter)
                .map_err(|error| config.at("filter").error(error.message)),
        }
    }

    /// As [`Path::is_laborious`].
    pub(crate) fn is_laborious(&self) -> bool {
        matches!(self, Self::Filter(path) if path.is_laborious())
    }

    /// Judges one event; `event` is what is known of it where its kind of source has a known form.
    pub(crate) fn judge(&self, event: Option<&Event<'_>>, whole: &Value) -> Verdict {
        match self {
            Self::Filter(path) if path.matches(whole) => Verdict::Leaver("the filter matches".to_owned()),
            Self::Filter(path) => {
                Verdict::NotALeaver(format!("the filter finds nothing in this event: {}", path.text()))
            }
            Self::Attribute { name, folded, becomes } => match event {
                Some(event) => judge_attribute(event, name, folded, becomes),
                None => Verdict::NotALeaver("the event does not say what changed".to_owned()),
            },
        }
    }
}

fn judge_attribute(event: &Event<'_>, name: &str, folded: &str, becomes: &[String]) -> Verdict {
    let own: Vec<&Change<'_>> = event
        .changes
        .iter()
        .filter(|change| change.attribute.to_lowercase() == folded)
        .collect();
    let fits = |value: &Value| folded_event(value).is_some_and(|value| becomes.contains(&value));
    for change in &own {
        if let Some(value) = change.now.iter().find(|value| fits(value)) {
            let before = change
                .before
                .map(|before| format!(" (was {})", shown_value(before)))
                .unwrap_or_default();
            return Verdict::Leaver(format!("{} became {}{before}", change.attribute, shown_value(value)));
        }
    }
    Verdict::NotALeaver(match own.first() {
        Some(change) => format!(
            "{} became {}, which is none of: {}",
            change.attribute,
            new_value(change),
            becomes.join(", ")
        ),
        None => format!("{name} did not change; {}", what_changed(event)),
    })
}

fn new_value(change: &Change<'_>) -> String {
    match change.now.as_slice() {
        [] => "empty".to_owned(),
        [value] => shown_value(value),
        many => format!("a list of {} values", many.len()),
    }
}

fn what_changed(event: &Event<'_>) -> String {
    const SHOWN: usize = 12;
    if event.changes.is_empty() {
        return match event.family {
            Family::NativeChange { deleted: true } => {
                "the account was deleted; to act on that, write filter = \"$[?$.eventType == 'ACCOUNT_DELETED']\""
                    .to_owned()
            }
            Family::AccountV2 { deleted: true } => {
                "the account was deleted; to act on that, write filter = \"$[?$.event.type == 'ACCOUNT_DELETED_V2']\""
                    .to_owned()
            }
            _ => "the event carries no changed attribute".to_owned(),
        };
    }
    let mut names: Vec<String> = event
        .changes
        .iter()
        .take(SHOWN)
        .map(|change| quoted(change.attribute))
        .collect();
    if event.changes.len() > SHOWN {
        names.push("…".to_owned());
    }
    format!("what changed: {}", names.join(", "))
}

fn folded_config(value: &Becomes) -> String {
    match value {
        Becomes::Text(text) => text.to_lowercase(),
        Becomes::Bool(value) => value.to_string(),
        Becomes::Number(number) => number_text(*number),
    }
}

// Texts, booleans and numbers are compared as text, since SailPoint sends `"inactive": "true"` as readily as `true`.
fn folded_event(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.to_lowercase()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => number.as_f64().map(number_text),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

// Rust writes a whole f64 without a fraction, so 1.0 and 1 are the same text.
fn number_text(number: f64) -> String {
    number.to_string()
}
