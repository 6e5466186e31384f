//! From one event's bytes to a decision: who left, not a leaver, or refused.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json;
use super::person::{Mapping, Person};
use super::rule::{Rule, Verdict};
use super::sailpoint::Event;
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

/// A source, ready for events.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    connectors: Vec<String>,
    rule: Rule,
    mapping: Mapping,
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
        let SourceKind::SailPoint = config.kind;
        let (rule, mapping) = (Rule::new(config), Mapping::new(config));
        match (rule, mapping) {
            (Ok(rule), Ok(mapping)) => Ok(Self {
                name: config.name.clone(),
                connectors: config.connectors.clone(),
                rule,
                mapping,
            }),
            (Err(mut error), Err(other)) => {
                error.merge(other);
                Err(error)
            }
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        }
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

    /// Judges one event. Never panics; the work is bounded by the limits on event and path, and is CPU only.
    #[must_use]
    pub fn decide(&self, body: &[u8]) -> Decision {
        self.judge(body).unwrap_or_else(|reason| Decision::Refused { reason })
    }

    fn judge(&self, body: &[u8]) -> Result<Decision, String> {
        let whole = Value::Object(json::parse(body)?);
        let Value::Object(members) = &whole else {
            return Err("expected a JSON object".to_owned());
        };
        let event = Event::read(members)?;
        let reason = match self.rule.judge(&event, &whole) {
            Verdict::Leaver(reason) => reason,
            Verdict::NotALeaver(reason) => return Ok(Decision::NotALeaver { reason }),
        };
        event.check_person()?;
        let person = self.mapping.person(&event.identity, &whole)?;
        if person.target_id.is_none() && person.email.is_none() {
            return Err(self.nobody(&event));
        }
        Ok(Decision::Leaver { person, reason })
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
