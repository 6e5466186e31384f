//! Says one comparison of Jayway's in RFC 9535.

use super::jsonpath::MAX_PATH_BYTES;
use super::regexp;

/// What stands right of an operator, each as it is written.
pub(crate) enum Right<'t> {
    List(Vec<&'t str>),
    Literal(&'t str),
    Regex(&'t str),
    Path(&'t str),
}

/// `left operator right` in RFC 9535.
pub(crate) fn say(left: &str, operator: &str, right: &Right<'_>) -> Option<String> {
    let each = |comparison: &str, joint: &str, item: &str, list: &[&str]| {
        list.iter()
            .map(|value| format!("{item} {comparison} {value}"))
            .collect::<Vec<_>>()
            .join(joint)
    };
    if let Right::List(list) = right
        && list.iter().map(|value| left.len() + value.len()).sum::<usize>() > MAX_PATH_BYTES
    {
        return None;
    }
    let is_path = left.starts_with(['$', '@']);
    // Inside a filter that a rewrite adds, a relative path would start from somewhere else.
    let stays = |operand: &str| !operand.starts_with('@');
    match (operator, right) {
        (_, Right::List(list)) if list.is_empty() => None,
        ("in", Right::List(list)) => Some(grouped(each("==", " || ", left, list), list.len())),
        ("nin", Right::List(list)) => Some(grouped(each("!=", " && ", left, list), list.len())),
        ("in", Right::Path(path)) if stays(left) => Some(format!("{path}[?@ == {left}]")),
        ("nin", Right::Path(path)) if stays(left) => Some(format!("!{path}[?@ == {left}]")),
        ("anyof", Right::List(list)) if is_path => Some(format!("{left}[?{}]", each("==", " || ", "@", list))),
        ("noneof", Right::List(list)) if is_path => {
            Some(format!("({left} && !{left}[?{}])", each("==", " || ", "@", list)))
        }
        ("subsetof", Right::List(list)) if is_path => {
            Some(format!("({left} && !{left}[?{}])", each("!=", " && ", "@", list)))
        }
        ("all", Right::List(list)) if is_path => {
            let tests: Vec<_> = list.iter().map(|value| format!("{left}[?@ == {value}]")).collect();
            Some(grouped(tests.join(" && "), list.len()))
        }
        // Jayway looks for a part of a text and for a member of a list.
        ("contains", Right::Literal(value)) if is_path => match unquoted(value) {
            Some(part) => {
                let pattern = quoted_literal(&regexp::literal(&part));
                Some(format!("(search({left}, {pattern}) || {left}[?@ == {value}])"))
            }
            None => Some(format!("{left}[?@ == {value}]")),
        },
        ("contains", Right::Path(path)) if is_path && stays(path) => Some(format!("{left}[?@ == {path}]")),
        ("size", Right::Literal(value) | Right::Path(value)) if is_path => Some(format!("length({left}) == {value}")),
        ("empty", Right::Literal("true")) if is_path => Some(format!("length({left}) == 0")),
        ("empty", Right::Literal("false")) if is_path => Some(format!("length({left}) > 0")),
        ("exists", Right::Literal("true")) if is_path => Some(left.to_owned()),
        ("exists", Right::Literal("false")) if is_path => Some(format!("!{left}")),
        ("=~", Right::Regex(regex)) => {
            let (pattern, flags) = regex[1..].rsplit_once('/')?;
            let pattern = regexp::from_java(pattern, flags)?;
            Some(format!("match({left}, {})", quoted_literal(&pattern)))
        }
        _ => None,
    }
}

fn grouped(expression: String, parts: usize) -> String {
    if parts > 1 {
        format!("({expression})")
    } else {
        expression
    }
}

/// The text that a literal stands for; `None` for what is no text, or has escapes other than a backslash before a
/// quote, a slash or itself.
pub(crate) fn unquoted(literal: &str) -> Option<String> {
    let quote = literal.chars().next().filter(|c| ['\'', '"'].contains(c))?;
    let inner = literal.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut out = String::new();
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => out.push(characters.next().filter(|c| ['\'', '"', '\\', '/'].contains(c))?),
            c => out.push(c),
        }
    }
    Some(out)
}

fn quoted_literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
