//! Who left, as the event names them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::jsonpath::Path;
use super::sailpoint::Identity;
use crate::tenant::{ConfigError, PersonMapping, SourceConfig};

/// Longest field of a person: 1 KiB. An address has at most 320 bytes, a distinguished name rarely over 500.
pub const MAX_PERSON_FIELD_BYTES: usize = 1024;

/// An address as it is compared: without case in both parts, as DocuSign and SailPoint treat them, and in nothing else: a
/// plus-tag or a dot makes another address.
///
/// A letter outside ASCII never becomes one inside: Unicode lower-cases the Kelvin sign to `k`, which would let one
/// person's address name another's account.
pub(crate) fn folded_address(address: &str) -> String {
    let mut folded = String::with_capacity(address.len());
    for letter in address.trim().chars() {
        let mut small = letter.to_lowercase();
        if !letter.is_ascii() && small.clone().any(|c| c.is_ascii()) {
            folded.push(letter);
        } else {
            folded.extend(&mut small);
        }
    }
    folded
}

/// Who left. The contract's `person` has the same fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The source's own id of the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The person's id in the target system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_id: Option<String>,
    /// E-mail address, as the event spells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Further fields that the operator mapped, as (name, value).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, String)>,
}

/// A source's mapping, compiled.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    id: Option<Path>,
    target_id: Option<Path>,
    email: Option<Path>,
    name: Option<Path>,
    attributes: Vec<(String, Path)>,
}

impl Mapping {
    /// Compiles a source's mapping; all wrong paths are in the error.
    pub(crate) fn new(config: &SourceConfig) -> Result<Self, ConfigError> {
        let mut errors = Vec::new();
        let mut compile = |key: &str, text: &str| {
            let at = config.at(&format!("person.{key}"));
            Path::compile(text)
                .map_err(|error| errors.push(at.error(error.message)))
                .ok()
        };
        let PersonMapping {
            id,
            target_id,
            email,
            name,
            attributes,
        } = &config.person;
        let mut field = |key: &str, text: &Option<String>| text.as_ref().and_then(|text| compile(key, text));
        let mapping = Self {
            id: field("id", id),
            target_id: field("target_id", target_id),
            email: field("email", email),
            name: field("name", name),
            attributes: attributes
                .iter()
                .filter_map(|(key, text)| compile(key, text).map(|path| (key.clone(), path)))
                .collect(),
        };
        ConfigError::collect(errors)?;
        Ok(mapping)
    }

    /// As [`Path::is_laborious`], of any of its paths.
    pub(crate) fn is_laborious(&self) -> bool {
        let named = [&self.id, &self.target_id, &self.email, &self.name]
            .into_iter()
            .flatten();
        let mut paths = named.chain(self.attributes.iter().map(|(_, path)| path));
        paths.any(Path::is_laborious)
    }

    /// The person in an event: mapped fields from where the mapping leads, the others from the identity, where the event
    /// has one in a known place. The target's id comes by mapping only, since no SailPoint event is known to carry it.
    pub(crate) fn person(&self, identity: Option<&Identity<'_>>, event: &Value) -> Result<Person, String> {
        let field = |key: &str, path: &Option<Path>, usual: Option<&str>| match path {
            Some(path) => mapped(key, path, event).map(Some),
            None => usual.map(|text| checked(text, &format!("identity.{key}"))).transpose(),
        };
        let usual_name = identity.and_then(|identity| identity.name);
        let usual_name = usual_name.filter(|name| checked(name, "its name").is_ok());
        let attributes = self
            .attributes
            .iter()
            .map(|(key, path)| Ok((key.clone(), mapped(key, path, event)?)));
        Ok(Person {
            id: field("id", &self.id, identity.map(|identity| identity.id))?,
            target_id: field("target_id", &self.target_id, None)?,
            email: field("email", &self.email, identity.and_then(|identity| identity.email))?,
            // Nobody is found by it, so one that cannot be kept is left out where nobody has asked for it.
            name: field("name", &self.name, usual_name)?,
            attributes: attributes.collect::<Result<_, String>>()?,
        })
    }
}

fn mapped(key: &str, path: &Path, event: &Value) -> Result<String, String> {
    one_text(path, event, &format!("the mapping person.{key} = {:?}", path.text()))
}

/// The one text that a mapping leads to, within its limit and not empty.
pub(crate) fn one_text(path: &Path, event: &Value, place: &str) -> Result<String, String> {
    let text = path.one(event).map_err(|why| format!("{place} {why}"))?;
    if text.trim().is_empty() {
        return Err(format!("{place} leads to an empty text"));
    }
    checked(&text, place)
}

/// A field within its limit, without the blanks around it that people type and targets do not have. Whoever uses one
/// encodes it; a control character in it is no name or address in the first place.
pub(crate) fn checked(text: &str, place: &str) -> Result<String, String> {
    let text = text.trim();
    if text.len() > MAX_PERSON_FIELD_BYTES {
        Err(format!(
            "{place} has {} bytes; the limit for a person's field is {MAX_PERSON_FIELD_BYTES}",
            text.len()
        ))
    } else if text.chars().any(char::is_control) {
        Err(format!("{place} holds a control character"))
    } else {
        Ok(text.to_owned())
    }
}
