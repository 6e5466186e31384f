//! From one event's bytes to a decision: who left, not a leaver, or refused.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::age::Occurred;
use super::jsonpath::Path;
use super::person::{Mapping, Person, one_text};
use super::rule::{Rule, Verdict};
use super::sailpoint::{Event, is_documented_sample, is_sample_person, sample_objection};
use super::{content, json};
use crate::tenant::{ConfigError, SourceConfig, SourceKind, Tenant};

/// What an event is. Each reason is one line for the operator; values of the event in it are quoted and cut short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Somebody left.
    Leaver {
        /// Who; with a `target_id` or an `email`.
        person: Person,
        /// What in the event says so.
        reason: String,
    },
    /// The event is understood, and nobody left by it.
    NotALeaver {
        /// Why not.
        reason: String,
    },
    /// The event is not understood, or must not be acted on.
    Refused {
        /// What was expected, what was seen, and what to write where the operator can change it.
        reason: String,
    },
}

/// What a source makes of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Who left, or why nobody did.
    pub decision: Decision,
    /// What tells a leaver from others; nothing for events that need no job.
    pub mark: Option<Mark>,
    /// When it happened.
    pub occurred: Occurred,
    /// True for a leaver of SailPoint's published samples.
    pub is_sample: bool,
}

/// What tells one event from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// The source's own id for it.
    Id(String),
    /// A digest of what it says.
    Content([u8; 32]),
}

/// A source, ready for events.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    kind: SourceKind,
    connectors: Vec<String>,
    rule: Rule,
    mapping: Mapping,
    id: Option<Path>,
    time: Option<Path>,
    max_age: Duration,
    laborious: bool,
}

/// All sources of a tenant.
///
/// # Errors
/// The mistakes of all of them.
pub fn sources(tenant: &Tenant) -> Result<BTreeMap<String, Source>, ConfigError> {
    let mut sources = BTreeMap::new();
    let mut errors = Vec::new();
    for (name, config) in &tenant.sources {
        match Source::new(config) {
            Ok(source) => drop(sources.insert(name.clone(), source)),
            Err(error) => errors.push(error),
        }
    }
    ConfigError::collect(errors)?;
    Ok(sources)
}

impl Source {
    /// Compiles a source's rule and mapping.
    ///
    /// # Errors
    /// A JSONPath that is not one, or means something else than its author thinks; with the line and what to write.
    pub fn new(config: &SourceConfig) -> Result<Self, ConfigError> {
        let path = |key: &str, text: &Option<String>| {
            let compile = |text: &String| Path::compile(text).map_err(|error| config.at(key).error(error.message));
            text.as_ref().map(compile).transpose()
        };
        let (id, time) = (path("id", &config.id), path("time", &config.time));
        let (rule, mapping) = (Rule::new(config), Mapping::new(config));
        let errors = [
            rule.as_ref().err(),
            mapping.as_ref().err(),
            id.as_ref().err(),
            time.as_ref().err(),
        ];
        ConfigError::collect(errors.into_iter().flatten().cloned())?;
        let (rule, mapping, id, time) = (rule?, mapping?, id?, time?);
        let is_laborious = |path: &Option<Path>| path.as_ref().is_some_and(Path::is_laborious);
        let laborious = rule.is_laborious() || mapping.is_laborious() || is_laborious(&id) || is_laborious(&time);
        Ok(Self {
            name: config.name.clone(),
            kind: config.kind,
            connectors: config.connectors.clone(),
            laborious,
            rule,
            mapping,
            id,
            time,
            max_age: config.max_age,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The connectors that it feeds.
    #[must_use]
    pub fn connectors(&self) -> &[String] {
        &self.connectors
    }

    /// Whether its paths may look at each value of an event once for each other, so that even a small one takes long.
    #[must_use]
    pub fn is_laborious(&self) -> bool {
        self.laborious
    }

    /// Judges one event. Never panics; the work is bounded by the limits on event and path, and is CPU only.
    #[must_use]
    pub fn decide(&self, body: &[u8]) -> Decision {
        self.read(body).decision
    }

    /// As [`Source::decide`], with what tells the event from others and when it happened.
    #[must_use]
    pub fn read(&self, body: &[u8]) -> Reading {
        self.judge(body).unwrap_or_else(|reason| Reading {
            decision: Decision::Refused { reason },
            mark: None,
            occurred: Occurred::Unsaid,
            is_sample: false,
        })
    }

    /// Why an event's jobs must wait for an operator, as a word ([`SAMPLE_HOLD`](super::SAMPLE_HOLD) and its like) and in
    /// words; none where nothing speaks against it.
    #[must_use]
    pub fn objection(&self, reading: &Reading, now: Timestamp) -> Option<(&'static str, String)> {
        if reading.is_sample {
            return Some(sample_objection());
        }
        reading.occurred.objection(self.max_age, now)
    }

    fn judge(&self, body: &[u8]) -> Result<Reading, String> {
        let whole = Value::Object(json::parse(body)?);
        let event = match (self.kind, &whole) {
            (SourceKind::SailPoint, Value::Object(members)) => Some(Event::read(members)?),
            _ => None,
        };
        let occurred = self
            .time
            .as_ref()
            .map_or(Occurred::Unsaid, |path| Occurred::read(path, &whole));
        let mut reason = match self.rule.judge(event.as_ref(), &whole) {
            Verdict::Leaver(reason) => reason,
            Verdict::NotALeaver(reason) => {
                let decision = Decision::NotALeaver { reason };
                return Ok(Reading {
                    decision,
                    mark: None,
                    occurred,
                    is_sample: false,
                });
            }
        };
        let person = self.person(event.as_ref(), &whole)?;
        let (mark, note) = self.mark(event.as_ref(), &whole, &person);
        reason.extend(note);
        let is_sample = is_sample_person(&person) || is_documented_sample(&whole);
        let decision = Decision::Leaver { person, reason };
        Ok(Reading {
            decision,
            mark: Some(mark),
            occurred,
            is_sample,
        })
    }

    fn person(&self, event: Option<&Event<'_>>, whole: &Value) -> Result<Person, String> {
        if let Some(event) = event {
            event.check_person()?;
        }
        let person = self.mapping.person(event.map(|event| &event.identity), whole)?;
        match event {
            Some(event) if person.target_id.is_none() && person.email.is_none() => Err(self.nobody(event)),
            _ => Ok(person),
        }
    }

    // An event without the id that it should have is no reason to keep an account open.
    fn mark(&self, event: Option<&Event<'_>>, whole: &Value, person: &Person) -> (Mark, Option<String>) {
        let read = |path: &Path| one_text(path, whole, &format!("the mapping id = {:?}", path.text()));
        let id = self.id.as_ref().map(read);
        let content = || match event {
            Some(event) => Mark::Content(content::of_sailpoint(event, whole, person)),
            None => Mark::Content(content::of_any(whole)),
        };
        match id {
            Some(Ok(id)) => (Mark::Id(id), None),
            Some(Err(why)) => (
                content(),
                Some(format!("; a repetition is told by content, since {why}")),
            ),
            None => (content(), None),
        }
    }

    fn nobody(&self, event: &Event<'_>) -> String {
        let name = &self.name;
        let family = event.family.name();
        match event.path_to_an_address() {
            Some(path) => format!(
                "the person has no e-mail address in identity.email and no id in the target; under [sources.{name}] \
                 write person = {{ email = \"{path}\" }}"
            ),
            None => format!(
                "this event ({family}) carries no e-mail address and no id in the target; let the workflow that \
                 forwards it add one, and under [sources.{name}] write where it is: person = {{ email = \
                 \"$.identity.email\" }} or person = {{ target_id = \"$.…\" }}"
            ),
        }
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
