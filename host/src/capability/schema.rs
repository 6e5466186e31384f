//! Settings schemas: JSON Schema 2020-12, small enough to be worked through on the host's own time.
//!
//! A schema is a program that the host runs over the settings, outside the sandbox and its limits. Two kilobytes of
//! `$ref`, each used twice by the one before, keep a validator busy for years. So references are followed here first,
//! and what they unfold to is counted.

use std::collections::HashMap;

use serde_json::Value;

/// Longest schema, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// Most values in a schema with every reference written out. DocuSign's has about 60.
const MAX_UNFOLDED: u64 = 20_000;
/// What a pattern counts for, so that there are at most 39. DocuSign's schema has 4.
const PATTERN: u64 = 500;
/// Most bytes of one compiled pattern, and of what matching caches. `(\p{L}{100}){100}` would take gigabytes.
const PATTERN_BYTES: usize = 1024 * 1024;
/// Deepest nesting with every reference written out: as deep as JSON may be written without. Each level is a step of
/// recursion, here and in the validator, and a thread's stack ends the process with it.
const MAX_DEPTH: usize = 127;
/// The dialect, where the schema names one.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Keywords that change what a reference means. Nobody needs them to describe a connector's settings.
const MOVING: [&str; 5] = ["$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef"];

/// Reads a schema.
///
/// # Errors
///
/// What is wrong with it, in words for the connector's author.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let wrong = |what: String| format!("settings-schema {what}");
    if text.len() > MAX_BYTES {
        return Err(wrong(format!(
            "has {} bytes, at most {MAX_BYTES} are allowed",
            text.len()
        )));
    }
    let schema: Value = serde_json::from_str(text).map_err(|error| wrong(format!("is not JSON: {error}")))?;
    let Some(members) = schema.as_object() else {
        return Err(wrong("is not a JSON object".to_owned()));
    };
    if members.get("$schema").is_some_and(|dialect| dialect != DIALECT) {
        return Err(wrong(format!("is not of the dialect {DIALECT}")));
    }
    let mut known = HashMap::new();
    if unfolded(&schema, &schema, &mut known, MAX_DEPTH).map_err(wrong)?.values > MAX_UNFOLDED {
        return Err(wrong(format!(
            "has more than {MAX_UNFOLDED} values when its references are written out, a pattern counted as {PATTERN}"
        )));
    }
    validator(&schema).map_err(wrong)?;
    Ok(schema)
}

/// What checks settings against a schema. Patterns are matched in linear time, without look-around.
///
/// # Errors
///
/// What is wrong with the schema.
pub(super) fn validator(schema: &Value) -> Result<jsonschema::Validator, String> {
    let patterns = jsonschema::PatternOptions::regex()
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES);
    jsonschema::options()
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| format!("is not a JSON Schema, or has a pattern that is too large or looks around: {error}"))
}

/// A value with its references written out.
#[derive(Debug, Clone, Copy)]
struct Unfolded {
    values: u64,
    depth: usize,
}

/// What references lead to; none while one is being followed.
type Known<'a> = HashMap<&'a str, Option<Unfolded>>;

/// What `value` is with its references written out, at most `room` deep.
fn unfolded<'a>(value: &'a Value, root: &'a Value, known: &mut Known<'a>, room: usize) -> Result<Unfolded, String> {
    let Some(below) = room.checked_sub(1) else {
        return Err(too_deep());
    };
    let mut sum = 1_u64;
    let mut depth = 0;
    let mut add = |of: Unfolded| {
        sum = sum.saturating_add(of.values);
        depth = depth.max(of.depth);
    };
    let children: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(members) => {
            if let Some(keyword) = MOVING
                .iter()
                .find(|keyword| members.get(**keyword).is_some_and(Value::is_string))
            {
                return Err(format!("uses `{keyword}`; refer to \"#/$defs/NAME\" instead"));
            }
            let patterns = members
                .get("patternProperties")
                .and_then(Value::as_object)
                .map_or(0, |own| own.len());
            let pattern = usize::from(members.get("pattern").is_some_and(Value::is_string));
            let values = PATTERN.saturating_mul((patterns + pattern) as u64);
            add(Unfolded { values, depth: 0 });
            if let Some(Value::String(reference)) = members.get("$ref") {
                add(referred(reference, root, known, below)?);
            }
            Box::new(members.values())
        }
        _ => return Ok(Unfolded { values: 1, depth: 1 }),
    };
    for child in children {
        add(unfolded(child, root, known, below)?);
    }
    Ok(Unfolded {
        values: sum,
        depth: depth + 1,
    })
}

fn too_deep() -> String {
    format!("is nested more than {MAX_DEPTH} deep when its references are written out")
}

fn referred<'a>(reference: &'a str, root: &'a Value, known: &mut Known<'a>, room: usize) -> Result<Unfolded, String> {
    let shown: String = reference.chars().take(120).flat_map(char::escape_debug).collect();
    match known.get(reference) {
        Some(Some(target)) if target.depth > room => return Err(too_deep()),
        Some(Some(target)) => return Ok(*target),
        Some(None) => return Err(format!("refers to itself by \"{shown}\"")),
        None => {}
    }
    let target = reference
        .strip_prefix('#')
        .filter(|pointer| !pointer.contains('%'))
        .and_then(|pointer| root.pointer(pointer))
        .ok_or_else(|| format!("refers to \"{shown}\"; a reference is \"#/$defs/NAME\", and the name is there"))?;
    known.insert(reference, None);
    let target = unfolded(target, root, known, room)?;
    known.insert(reference, Some(target));
    Ok(target)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain(links: usize) -> String {
        let mut definitions = serde_json::Map::new();
        for link in 0..links {
            let next = json!({"$ref": format!("#/$defs/d{}", link + 1)});
            definitions.insert(format!("d{link}"), json!({"allOf": [next, next]}));
        }
        definitions.insert(format!("d{links}"), json!({"type": "string"}));
        json!({"$defs": definitions, "$ref": "#/$defs/d0"}).to_string()
    }

    #[test]
    fn references_that_unfold_to_little_are_fine() {
        let schema = json!({
            "$schema": DIALECT,
            "$defs": {"name": {"type": "string", "minLength": 1}},
            "properties": {"first": {"$ref": "#/$defs/name"}, "$ref": {"$ref": "#/$defs/name"}},
        });
        assert_eq!(parse(&schema.to_string()), Ok(schema));
        assert!(parse(&chain(8)).is_ok());
    }

    #[test]
    fn references_that_unfold_to_much_are_refused() {
        let error = parse(&chain(16)).unwrap_err();
        assert!(error.contains("written out"), "{error}");
    }

    /// A chain of definitions, each so many levels deep and the last a string, and the schema that begins it.
    fn nested(links: usize, levels: usize) -> String {
        let mut definitions = serde_json::Map::new();
        for link in 0..links {
            let mut value = match link + 1 {
                last if last == links => json!({"type": "string"}),
                next => json!({"$ref": format!("#/$defs/d{next}")}),
            };
            for _ in 0..levels {
                value = json!({ "not": value });
            }
            definitions.insert(format!("d{link}"), value);
        }
        json!({"$defs": definitions, "$ref": "#/$defs/d0"}).to_string()
    }

    #[test]
    fn nesting_has_an_end_however_it_is_written() {
        let fits = |links, levels| parse(&nested(links, levels));
        assert_eq!(
            fits(24, 4).map(drop),
            Ok(()),
            "24 * 5 levels below `$defs`, and a string"
        );
        assert!(fits(25, 4).unwrap_err().contains("deep"));
        assert!(fits(32, 120).unwrap_err().contains("deep"), "a stack of 4,000");
        // What is known from another place is as deep where it is used again.
        let deep = r##"{"$defs": DEFS, "properties": {"a": {"$ref": "#/$defs/d0"}, "b": BELOW}}"##;
        let whole: Value = serde_json::from_str(&nested(24, 4)).unwrap();
        let below = "{\"not\":".repeat(10) + "{\"$ref\":\"#/$defs/d0\"}" + &"}".repeat(10);
        let deep = deep
            .replace("DEFS", &whole["$defs"].to_string())
            .replace("BELOW", &below);
        assert!(parse(&deep).unwrap_err().contains("deep"), "{deep}");
    }

    #[test]
    fn references_that_do_not_end_here_are_refused() {
        let cases = [
            (json!({"$ref": "#"}), "itself"),
            (
                json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
                "itself",
            ),
            (json!({"$ref": "#/$defs/missing"}), "#/$defs/NAME"),
            (json!({"$ref": "https://elsewhere.example/schema"}), "#/$defs/NAME"),
            (json!({"$ref": "file:///etc/passwd"}), "#/$defs/NAME"),
            (json!({"properties": {"a": {"$id": "other", "$ref": "#/b"}}}), "`$id`"),
            (json!({"$dynamicRef": "#"}), "`$dynamicRef`"),
            (json!({"$schema": "http://json-schema.org/draft-04/schema#"}), "dialect"),
        ];
        for (schema, expected) in cases {
            let error = parse(&schema.to_string()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn patterns_are_few_small_and_linear() {
        let many = |count: usize| {
            let properties: serde_json::Map<String, Value> = (0..count)
                .map(|number| (format!("p{number}"), json!({"pattern": "^a$"})))
                .collect();
            json!({ "properties": properties }).to_string()
        };
        assert!(parse(&many(39)).is_ok());
        assert!(parse(&many(40)).unwrap_err().contains("a pattern counted as"));
        for pattern in [r"^(\p{L}{100}){100}$", "^(?=a)b", r"^(a)\1$"] {
            let error = parse(&json!({ "pattern": pattern }).to_string()).unwrap_err();
            assert!(error.contains("too large or looks around"), "{pattern}: {error}");
        }
        let schema: Value = json!({"pattern": "^(a+)+$"});
        assert!(!validator(&schema).unwrap().is_valid(&json!("a".repeat(100_000) + "!")));
    }

    #[test]
    fn the_size_is_bounded() {
        let of = |bytes: usize| format!("{{\"title\":\"{}\"}}", "x".repeat(bytes - 12));
        assert_eq!(of(MAX_BYTES).len(), MAX_BYTES);
        assert!(parse(&of(MAX_BYTES)).is_ok());
        assert!(parse(&of(MAX_BYTES + 1)).unwrap_err().contains("bytes"));
    }
}
