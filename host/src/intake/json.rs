//! An event's bytes as JSON, within limits.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::tenant::quoted;

/// Largest event: 1 MiB. The largest documented SailPoint payload has 4 KiB.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// Deepest nesting: 64 levels; the documented payloads have 5. Below `serde_json`'s own 128, so that the error is ours.
pub const MAX_EVENT_DEPTH: usize = 64;

/// Most values in one event: 10,000; the documented payloads have at most 120. A filter inside a filter compares each
/// value with each, so this bounds the work of one decision.
pub const MAX_EVENT_VALUES: usize = 10_000;

/// Most members of the event itself: 64; the documented payloads have at most 8. `$[?…]` runs once for each of them.
pub const MAX_EVENT_MEMBERS: usize = 64;

/// Most wrappings around an event: 3. A workflow step may send a list of one as text, and that as text once more.
const MAX_WRAPPINGS: usize = 3;

/// What a workflow engine leaves behind where it could not fill in a value.
pub(crate) const PLACEHOLDER: &str = "{{$";

/// Parses an event: one JSON object, no name twice, no placeholder left in it.
///
/// A workflow engine that puts a value into a body by template may send a list of one instead of the object, or the
/// object as text; both are taken for the object itself.
pub(crate) fn parse(body: &[u8]) -> Result<Map<String, Value>, String> {
    if body.len() > MAX_EVENT_BYTES {
        return Err(format!(
            "the event has {} bytes; the limit is {MAX_EVENT_BYTES}",
            body.len()
        ));
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err("the event is empty; expected a JSON object".to_owned());
    }
    let mut seen = Seen::default();
    let mut value = read(body, &mut seen)?;
    for _ in 0..MAX_WRAPPINGS {
        if seen.placeholder {
            break;
        }
        value = match value {
            Value::Array(mut list) if list.len() == 1 => list.remove(0),
            Value::String(text) if text.trim_start().starts_with(['{', '[']) => read(text.as_bytes(), &mut seen)?,
            other => {
                value = other;
                break;
            }
        };
    }
    if seen.placeholder {
        return Err(format!(
            "the event holds `{PLACEHOLDER}`: the workflow that sent it did not fill in a value; correct its step"
        ));
    }
    match value {
        Value::Object(members) if members.len() > MAX_EVENT_MEMBERS => Err(format!(
            "the event has {} members; the limit is {MAX_EVENT_MEMBERS}",
            members.len()
        )),
        Value::Object(members) => Ok(members),
        other => Err(format!("expected a JSON object, saw {}", type_of(&other))),
    }
}

fn read(text: &[u8], seen: &mut Seen) -> Result<Value, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    Node { seen, depth: 1 }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| explain(&error))
}

/// The JSON type of a value, with its article.
pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn explain(error: &serde_json::Error) -> String {
    if error.is_data() {
        format!("the event cannot be accepted: {error}")
    } else {
        format!("the event is not JSON: {error}")
    }
}

#[derive(Default)]
struct Seen {
    values: usize,
    placeholder: bool,
}

struct Node<'s> {
    seen: &'s mut Seen,
    depth: usize,
}

impl Node<'_> {
    fn text(&mut self, text: &str) {
        self.seen.placeholder |= text.contains(PLACEHOLDER);
    }

    fn child(&mut self) -> Node<'_> {
        Node {
            seen: self.seen,
            depth: self.depth + 1,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.seen.values += 1;
        if self.seen.values > MAX_EVENT_VALUES {
            return Err(D::Error::custom(format!("over {MAX_EVENT_VALUES} values, the limit")));
        }
        if self.depth > MAX_EVENT_DEPTH {
            return Err(D::Error::custom(format!(
                "nested over {MAX_EVENT_DEPTH} levels deep, the limit"
            )));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(mut self, value: &str) -> Result<Value, E> {
        self.text(value);
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self.child())? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    // A name that comes twice is refused: another reader of the same bytes may take the other one.
    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            self.text(&name);
            let value = object.next_value_seed(self.child())?;
            if members.contains_key(&name) {
                return Err(A::Error::custom(format!(
                    "the name {} comes twice in one object",
                    quoted(&name)
                )));
            }
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

/// A value from an event for a reason: as JSON, at most 80 characters, lists and objects by their type.
pub(crate) fn shown_value(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(_) | Value::Object(_) => type_of(value).to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
