//! JSONPath (RFC 9535), compiled when a tenant is loaded.

use std::fmt;

use serde_json::Value;
use serde_json_path::{JsonPath, ParseError};

use super::jayway::{Diagnosis, diagnose};
use super::json::type_of;
use super::lexer::{Kind, Text, Token};
use super::regexp;
use super::rephrase::unquoted;
use crate::tenant::quoted;

/// Longest path: 4 KiB. A filter that lists fifty sources by id has 3 KiB.
pub const MAX_PATH_BYTES: usize = 4096;

/// Deepest nesting of brackets and parentheses: 8. The parser tries alternatives at each level, so its time doubles.
pub const MAX_PATH_NESTING: usize = 8;

/// Most filters inside each other: 2, so that a decision's work is at most the square of an event's values.
const MAX_FILTER_NESTING: usize = 2;

/// Most descendant segments (`..`): 1, for the same reason.
const MAX_DESCENTS: usize = 1;

/// A compiled path.
#[derive(Clone)]
pub(crate) struct Path {
    text: String,
    path: JsonPath,
    singular: bool,
    laborious: bool,
}

/// Why a path was not accepted.
#[derive(Debug)]
pub(crate) struct PathError {
    /// What is wrong and what to write.
    pub(crate) message: String,
    /// The text to write, where there is one; it compiles.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the message holds it too; tests compile and run it")
    )]
    pub(crate) instead: Option<String>,
}

/// Most selectors between two brackets: 16, such as names of members.
const MAX_SELECTORS: usize = 16;

/// Most brackets with several selectors: one. Each may lead to the same values several times, and with each further one
/// all of them are multiplied.
const MAX_SELECTOR_LISTS: usize = 1;

/// Most calls of `match` and `search`: 4. Each compiles its pattern for each value.
const MAX_PATTERN_CALLS: usize = 4;

/// Above this, 2 to the power of 53, a number that was read with a fraction or an exponent may have lost digits.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Path {
    /// Compiles a path; what is Jayway's, or could never match, is refused.
    pub(crate) fn compile(text: &str) -> Result<Self, PathError> {
        let wrong = |message| PathError { message, instead: None };
        if text.len() > MAX_PATH_BYTES {
            return Err(wrong(format!(
                "is over {MAX_PATH_BYTES} bytes, the limit for a JSONPath"
            )));
        }
        check_limits(text).map_err(wrong)?;
        if let Some(diagnosis) = diagnose(text) {
            return Err(dialect(&diagnosis));
        }
        Self::strict(text).map_err(wrong)
    }

    /// Whether the path finds something, as Jayway's users understand it: of a path to one place, a value that is
    /// neither null nor an empty list; of a path that may lead to many, any value at all.
    pub(crate) fn matches(&self, event: &Value) -> bool {
        let found = self.path.query(event);
        if !self.singular {
            return !found.is_empty();
        }
        found.first().is_some_and(|value| match value {
            Value::Null => false,
            Value::Array(list) => !list.is_empty(),
            _ => true,
        })
    }

    /// The one text, number, true or false that the path leads to, as text.
    pub(crate) fn one(&self, event: &Value) -> Result<String, String> {
        let found = self.path.query(event).all();
        match found.as_slice() {
            [Value::String(text)] => Ok(text.clone()),
            // Beyond 64 bits it was rounded when it was read: two ids would be one.
            [Value::Number(number)]
                if number
                    .as_f64()
                    .is_some_and(|value| number.is_f64() && value.abs() >= EXACT) =>
            {
                Err("leads to a number with more digits than can be read exactly; send it as text".to_owned())
            }
            [Value::Number(number)] => Ok(number.to_string()),
            [Value::Bool(value)] => Ok(value.to_string()),
            [] => Err("leads to nothing in this event".to_owned()),
            [other] => Err(format!("leads to {}, where one text is needed", type_of(other))),
            many => Err(format!("leads to {} values, where one is needed", many.len())),
        }
    }

    /// Whether it may look at each value of an event once for each other: a filter inside which paths lead to many.
    pub(crate) fn is_laborious(&self) -> bool {
        self.laborious
    }

    /// The path as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn strict(text: &str) -> Result<Self, String> {
        check_limits(text)?;
        let path = JsonPath::parse(text).map_err(|error| unreadable(text, &error))?;
        let split = Text::new(text);
        check_selectors(&split)?;
        check_patterns(&split)?;
        Ok(Self {
            text: text.to_owned(),
            path,
            singular: is_singular(&split.tokens),
            laborious: is_laborious(&split),
        })
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({})", self.text)
    }
}

fn dialect(diagnosis: &Diagnosis) -> PathError {
    let instead = diagnosis.instead.clone().filter(|text| Path::strict(text).is_ok());
    let what = diagnosis.what.join("; ");
    let message = match &instead {
        Some(text) => format!("is not JSONPath as RFC 9535 has it: {what}; write {text}"),
        None => format!(
            "is not JSONPath as RFC 9535 has it: {what}, and there is no direct way to say it; compare single values \
             with == and join them with && and ||"
        ),
    };
    PathError { message, instead }
}

fn unreadable(text: &str, error: &ParseError) -> String {
    // A byte offset from 0, whatever its documentation says.
    let from = text.get(error.position()..).unwrap_or_default();
    let place = if from.is_empty() {
        "at its end".to_owned()
    } else {
        format!("from {} on", quoted(from))
    };
    // Its usual message says no more than that.
    let why = if error.message() == "parser error" {
        String::new()
    } else {
        format!(" ({})", error.message())
    };
    format!(
        "is not JSONPath as RFC 9535 has it: cannot be read {place}{why}; a name with other characters than letters, \
         digits and `_` goes into ['…']"
    )
}

fn check_limits(text: &str) -> Result<(), String> {
    let mut nesting: Vec<bool> = Vec::new();
    let mut descents = 0;
    for token in Text::new(text).tokens {
        match token.kind {
            Kind::Open | Kind::ParenOpen => nesting.push(false),
            Kind::Close | Kind::ParenClose => drop(nesting.pop()),
            Kind::Question => nesting.last_mut().into_iter().for_each(|filter| *filter = true),
            Kind::Descend => descents += 1,
            _ => {}
        }
        if nesting.len() > MAX_PATH_NESTING {
            return Err(format!("nests brackets over {MAX_PATH_NESTING} levels deep, the limit"));
        }
        if nesting.iter().filter(|filter| **filter).count() > MAX_FILTER_NESTING {
            return Err(format!(
                "nests filters over {MAX_FILTER_NESTING} levels deep, the limit"
            ));
        }
    }
    if descents > MAX_DESCENTS {
        return Err(format!(
            "has over {MAX_DESCENTS} `..`, the limit; name the members on the way"
        ));
    }
    Ok(())
}

/// Not of Jayway's dialect, in which brackets may hold a list.
fn check_selectors(text: &Text<'_>) -> Result<(), String> {
    // Of each bracket that is open; none for a parenthesis.
    let mut selectors: Vec<Option<usize>> = Vec::new();
    let mut lists = 0;
    for token in &text.tokens {
        match token.kind {
            Kind::Open => selectors.push(Some(1)),
            Kind::ParenOpen => selectors.push(None),
            Kind::Close | Kind::ParenClose => drop(selectors.pop()),
            Kind::Comma => {
                let Some(Some(count)) = selectors.last_mut() else {
                    continue;
                };
                *count += 1;
                lists += usize::from(*count == 2);
                if *count > MAX_SELECTORS {
                    return Err(format!("has over {MAX_SELECTORS} selectors in one `[…]`, the limit"));
                }
            }
            _ => {}
        }
    }
    if lists > MAX_SELECTOR_LISTS {
        return Err(format!(
            "has over {MAX_SELECTOR_LISTS} `[…, …]` with several selectors, the limit; write a path for each"
        ));
    }
    Ok(())
}

// A pattern that does not compile is no error to the library, it never matches; one taken from the event would let
// its sender choose the work.
fn check_patterns(text: &Text<'_>) -> Result<(), String> {
    let mut calls = 0;
    for at in 0..text.tokens.len() {
        let function = text.word(at);
        let after_dot = at > 0 && matches!(text.kind(at - 1), Some(Kind::Dot | Kind::Descend));
        let called = text.kind(at) == Some(Kind::Name) && text.kind(at + 1) == Some(Kind::ParenOpen);
        if after_dot || !called || !["match", "search"].contains(&function) {
            continue;
        }
        calls += 1;
        if calls > MAX_PATTERN_CALLS {
            return Err(format!(
                "calls match() or search() over {MAX_PATTERN_CALLS} times, the limit; put the variants into one pattern, \
                 with `|`"
            ));
        }
        let pattern =
            second_argument(&text.tokens[at + 2..]).and_then(|token| unquoted(&text.text[token.span.clone()]));
        let Some(pattern) = pattern else {
            return Err(format!(
                "has a pattern in {function}() that is not a plain literal; write it in quotes"
            ));
        };
        regexp::check(&pattern)
            .map_err(|error| format!("has a pattern in {function}() that could never match: {error}"))?;
        if is_multiplied(text, at) {
            return Err(format!(
                "calls {function}() in a filter that looks at the whole event once for each member of a list; start \
                 the inner path with `@`, or move {function}() to the outer filter"
            ));
        }
    }
    Ok(())
}

// The library compiles a pattern for each comparison, some 20 µs. An inner filter on a path from the root runs over
// the same list again and again: with two lists of 3,000 that would be minutes.
fn is_multiplied(text: &Text<'_>, at: usize) -> bool {
    let around = |at: usize| {
        let open = (0..at)
            .rev()
            .find(|open| text.kind(*open) == Some(Kind::Open) && text.closing(*open).is_none_or(|close| close > at))?;
        Some((open, text.operand_before(open)?))
    };
    let Some((inner, start)) = around(at) else { return false };
    let Some((_, outer)) = around(inner) else { return false };
    let outer_is_root = text.kind(outer) == Some(Kind::Root) && text.kind(outer + 1) == Some(Kind::Open);
    text.kind(start) == Some(Kind::Root) && !outer_is_root
}

/// The token between the comma and the end of a call, where it is the only one there.
fn second_argument(tokens: &[Token]) -> Option<&Token> {
    let mut depth = 0_usize;
    let comma = tokens.iter().position(|token| {
        match token.kind {
            Kind::Open | Kind::ParenOpen => depth += 1,
            Kind::Close | Kind::ParenClose => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.kind == Kind::Comma
    })?;
    let end = tokens.get(comma + 2)?;
    (end.kind == Kind::ParenClose).then(|| &tokens[comma + 1])
}

/// Whether a path leads to one place at most: names and indexes only.
fn is_singular(tokens: &[Token]) -> bool {
    use Kind::{Close, Dot, Name, Number, Open, Root, Text};
    tokens
        .iter()
        .all(|token| matches!(token.kind, Close | Dot | Name | Number | Open | Root | Text))
}

/// Whether something in a filter leads to many places, `*`, `..`, a slice or another filter, or compiles a pattern anew
/// for each value.
fn is_laborious(text: &Text<'_>) -> bool {
    let mut brackets: Vec<bool> = Vec::new();
    for (at, token) in text.tokens.iter().enumerate() {
        let in_filter = brackets.contains(&true);
        match token.kind {
            Kind::ParenOpen if in_filter && ["match", "search"].contains(&text.word(at.saturating_sub(1))) => {
                return true;
            }
            Kind::Open => brackets.push(false),
            Kind::Close => drop(brackets.pop()),
            Kind::Star | Kind::Descend | Kind::Colon | Kind::Question if in_filter => return true,
            Kind::Question => brackets.last_mut().into_iter().for_each(|filter| *filter = true),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
#[path = "jsonpath_tests.rs"]
mod tests;
