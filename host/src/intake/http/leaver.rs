//! The body of a leaver on demand.

use serde_json::{Map, Value};

use crate::intake::Person;
use crate::intake::json::{parse, type_of};
use crate::intake::person::checked;
use crate::tenant::{did_you_mean, quoted};

const KEYS: [&str; 5] = ["email", "target_id", "id", "name", "connectors"];

/// Who left, and which of the tenant's connectors it is about: all of them where none are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaverRequest {
    pub(super) person: Person,
    pub(super) connectors: Option<Vec<String>>,
}

impl LeaverRequest {
    /// Reads `{ "email" or "target_id", "id"?, "name"?, "connectors"? }`. What templates of workflows make of it is
    /// accepted too: a list of one, the object as text, one connector instead of a list, null for what is not there.
    ///
    /// # Errors
    /// What is wrong, for the caller.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let members = parse(body)?;
        if let Some(unknown) = members.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!(
                "unknown member {}; {}",
                quoted(unknown),
                did_you_mean(unknown, KEYS)
            ));
        }
        let person = Person {
            id: field(&members, "id")?,
            target_id: field(&members, "target_id")?,
            email: field(&members, "email")?,
            name: field(&members, "name")?,
            attributes: Vec::new(),
        };
        if person.email.is_none() && person.target_id.is_none() {
            return Err("nobody is named: send `email`, or `target_id`, the person's id in the target".to_owned());
        }
        let connectors = connectors(members.get("connectors"))?;
        Ok(Self { person, connectors })
    }

    /// The connectors that are meant, sorted, of those that the tenant has.
    ///
    /// # Errors
    /// One that the tenant does not have; none at all.
    pub(super) fn connectors(&self, known: &[String]) -> Result<Vec<String>, String> {
        let Some(named) = &self.connectors else {
            return if known.is_empty() {
                Err("the tenant has no connector".to_owned())
            } else {
                Ok(known.to_vec())
            };
        };
        if let Some(unknown) = named.iter().find(|name| !known.contains(name)) {
            let known = known.iter().map(String::as_str);
            return Err(format!(
                "there is no connector {}; {}",
                quoted(unknown),
                did_you_mean(unknown, known)
            ));
        }
        let mut names = named.clone();
        names.sort();
        names.dedup();
        Ok(names)
    }
}

fn field(members: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Err(format!("`{name}` is empty; leave it out")),
        Some(Value::String(text)) => checked(text, &format!("`{name}`")).map(Some),
        Some(other) => Err(format!("`{name}` must be a string, is {}", type_of(other))),
    }
}

fn connectors(value: Option<&Value>) -> Result<Option<Vec<String>>, String> {
    let name = |value: &Value| match value {
        Value::String(name) => Ok(name.clone()),
        other => Err(format!(
            "`connectors` must be a list of names, holds {}",
            type_of(other)
        )),
    };
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) if list.is_empty() => {
            Err("`connectors` is empty; name one, or leave it out for all of them".to_owned())
        }
        Some(Value::Array(list)) => list.iter().map(name).collect::<Result<_, _>>().map(Some),
        Some(one) => name(one).map(|name| Some(vec![name])),
    }
}

#[cfg(test)]
#[path = "leaver_tests.rs"]
mod tests;
