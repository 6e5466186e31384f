//! Bodies of requests that change something: declared by the descriptor, written by the host.
//!
//! Looking for the account's id in whatever a guest sends lost: `{"note":"leaver","id":"ceo"}` has it too. So the
//! descriptor declares the whole body, the guest's is compared with it as JSON, and what leaves is the host's own
//! spelling. A body with a member twice, which servers read in two ways, thereby leaves with that member once.

use std::fmt;

use serde_json::Value;

/// Longest template, in bytes. A closure names one account.
pub const MAX_BODY_TEMPLATE: usize = 4096;

/// The JSON body of an unsafe request, with placeholders for whole strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyTemplate {
    template: Value,
}

/// What a string of a template stands for.
enum Word<'a> {
    Literal,
    Account,
    Setting(&'a str),
}

fn word(text: &str) -> Result<Word<'_>, String> {
    match text.strip_prefix('{') {
        None => Ok(Word::Literal),
        Some("account}") => Ok(Word::Account),
        Some(rest) => match rest.strip_prefix("settings:").and_then(|rest| rest.strip_suffix('}')) {
            Some(pointer) if pointer.starts_with('/') => Ok(Word::Setting(pointer)),
            _ => Err("has a string that begins with `{` and is neither `{account}` nor `{settings:/…}`".to_owned()),
        },
    }
}

impl BodyTemplate {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words for the connector's author.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: String| format!("the body template {what}");
        if text.len() > MAX_BODY_TEMPLATE {
            return Err(wrong(format!(
                "has {} bytes, at most {MAX_BODY_TEMPLATE} are allowed",
                text.len()
            )));
        }
        let template: Value = serde_json::from_str(text).map_err(|error| wrong(format!("is not JSON: {error}")))?;
        for text in strings(&template) {
            word(text).map_err(wrong)?;
        }
        Ok(Self { template })
    }

    /// Whether the account is named in it.
    #[must_use]
    pub fn names_account(&self) -> bool {
        strings(&self.template).any(|text| matches!(word(text), Ok(Word::Account)))
    }

    /// The pointers into the settings that it needs.
    pub fn pointers(&self) -> impl Iterator<Item = &str> {
        strings(&self.template).filter_map(|text| match word(text) {
            Ok(Word::Setting(pointer)) => Some(pointer),
            _ => None,
        })
    }

    /// The body for one account.
    #[must_use]
    pub fn filled(&self, settings: &Value, account: &str) -> Value {
        fill(&self.template, settings, account)
    }
}

impl fmt::Display for BodyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.template.fmt(f)
    }
}

/// Every string value; names of members stay as they are.
fn strings(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::String(text) => Box::new(std::iter::once(text.as_str())),
        Value::Array(items) => Box::new(items.iter().flat_map(strings)),
        Value::Object(members) => Box::new(members.values().flat_map(strings)),
        _ => Box::new(std::iter::empty()),
    }
}

fn fill(template: &Value, settings: &Value, account: &str) -> Value {
    match template {
        Value::String(text) => match word(text) {
            Ok(Word::Account) => account.into(),
            Ok(Word::Setting(pointer)) => settings.pointer(pointer).cloned().unwrap_or_default(),
            _ => text.as_str().into(),
        },
        Value::Array(items) => items.iter().map(|item| fill(item, settings, account)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), fill(value, settings, account)))
            .collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_strings_are_filled_in_once() {
        let template = BodyTemplate::parse(r#"{"a":["{account}",1],"b":{"c":"{settings:/x}"},"d":"not {account}"}"#);
        let template = template.unwrap();
        assert!(template.names_account());
        assert_eq!(template.pointers().collect::<Vec<_>>(), ["/x"]);
        let filled = template.filled(&json!({"x": "{account}"}), "leaver");
        let wanted = json!({"a": ["leaver", 1], "b": {"c": "{account}"}, "d": "not {account}"});
        assert_eq!(filled, wanted, "a setting is no template");
    }

    #[test]
    fn what_could_be_a_placeholder_but_is_none_is_refused() {
        for text in [
            r#""{acount}""#,
            r#"["{"]"#,
            r#""{settings:x}""#,
            r#""{account} ""#,
            r#""{any}""#,
        ] {
            let error = BodyTemplate::parse(text).unwrap_err();
            assert!(error.contains("`{account}`"), "{text}: {error}");
        }
        assert!(BodyTemplate::parse("{").unwrap_err().contains("not JSON"));
    }

    #[test]
    fn the_size_is_bounded() {
        let of = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert!(BodyTemplate::parse(&of(MAX_BODY_TEMPLATE)).is_ok());
        assert!(
            BodyTemplate::parse(&of(MAX_BODY_TEMPLATE + 1))
                .unwrap_err()
                .contains("bytes")
        );
    }
}
