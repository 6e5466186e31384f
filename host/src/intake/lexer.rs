//! Splits a JSONPath, RFC 9535's or Jayway's, into tokens.
//!
//! Only far enough to tell an operator from the same letters inside a string or a member's name; whether the whole is
//! a valid path, `serde_json_path` says.

use std::ops::Range;

/// One token and where it stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `$`
    Root,
    /// `@`
    Current,
    /// `.`
    Dot,
    /// `..`
    Descend,
    /// A bare word.
    Name,
    /// A literal in single or double quotes.
    Text,
    /// A number.
    Number,
    /// `/…/flags`, after `=~` only.
    Regex,
    /// `[`
    Open,
    /// `]`
    Close,
    /// `(`
    ParenOpen,
    /// `)`
    ParenClose,
    /// `?`
    Question,
    /// `*`
    Star,
    /// `,`
    Comma,
    /// `:`
    Colon,
    /// A comparison or logical operator, `===`, `!==` and `=~` among them.
    Operator,
    /// Anything else; also a literal that does not end.
    Other,
}

/// Longest first, so that `===` is not read as `==` and `=`.
const OPERATORS: [&str; 12] = ["===", "!==", "==", "!=", "<=", ">=", "&&", "||", "=~", "<", ">", "!"];

/// A path with its tokens.
pub(crate) struct Text<'t> {
    pub(crate) text: &'t str,
    pub(crate) tokens: Vec<Token>,
}

impl<'t> Text<'t> {
    /// Splits a path.
    pub(crate) fn new(text: &'t str) -> Self {
        Self {
            text,
            tokens: tokens(text),
        }
    }

    /// What the token is, where there is one.
    pub(crate) fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    /// The token as it is written; empty where there is none.
    pub(crate) fn word(&self, at: usize) -> &'t str {
        self.tokens.get(at).map_or("", |token| &self.text[token.span.clone()])
    }

    /// The text of the tokens from `range.start` up to but not including `range.end`.
    pub(crate) fn slice(&self, range: Range<usize>) -> &'t str {
        &self.text[self.tokens[range.start].span.start..self.tokens[range.end - 1].span.end]
    }

    /// The first token of the operand that ends before `at`.
    pub(crate) fn operand_before(&self, at: usize) -> Option<usize> {
        let mut last = at.checked_sub(1)?;
        if matches!(self.kind(last)?, Kind::Text | Kind::Number) {
            return Some(last);
        }
        if self.kind(last)? == Kind::ParenClose {
            let name = self.opening(last)?.checked_sub(1)?;
            return (self.kind(name)? == Kind::Name).then_some(name);
        }
        loop {
            match self.kind(last)? {
                Kind::Root | Kind::Current => return Some(last),
                Kind::Close => last = self.opening(last)?.checked_sub(1)?,
                Kind::Name | Kind::Star => {
                    let dot = last.checked_sub(1)?;
                    if !matches!(self.kind(dot)?, Kind::Dot | Kind::Descend) {
                        return None;
                    }
                    last = dot.checked_sub(1)?;
                }
                Kind::Descend => last = last.checked_sub(1)?,
                _ => return None,
            }
        }
    }

    /// The bracket that closes this one.
    pub(crate) fn closing(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for at in open..self.tokens.len() {
            match self.tokens[at].kind {
                Kind::Open | Kind::ParenOpen => depth += 1,
                Kind::Close | Kind::ParenClose => depth = depth.checked_sub(1)?,
                _ => {}
            }
            if depth == 0 {
                return Some(at);
            }
        }
        None
    }

    /// The bracket that this one closes.
    pub(crate) fn opening(&self, close: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for at in (0..=close).rev() {
            match self.tokens[at].kind {
                Kind::Close | Kind::ParenClose => depth += 1,
                Kind::Open | Kind::ParenOpen => depth = depth.checked_sub(1)?,
                _ => {}
            }
            if depth == 0 {
                return Some(at);
            }
        }
        None
    }
}

/// The tokens of a path; white space between them is left out.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        if next.is_whitespace() {
            at += next.len_utf8();
            continue;
        }
        let after_match = tokens.last().is_some_and(|token| &text[token.span.clone()] == "=~");
        let (kind, length) = token_at(&text[at..], next, after_match);
        tokens.push(Token {
            kind,
            span: at..at + length,
        });
        at += length;
    }
    tokens
}

fn token_at(rest: &str, next: char, after_match: bool) -> (Kind, usize) {
    if next == '/' && after_match {
        return regex(rest);
    }
    if let Some(operator) = OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
        return (Kind::Operator, operator.len());
    }
    match next {
        '\'' | '"' => literal(rest, next),
        '.' if rest.starts_with("..") => (Kind::Descend, 2),
        '.' => (Kind::Dot, 1),
        '$' => (Kind::Root, 1),
        '@' => (Kind::Current, 1),
        '[' => (Kind::Open, 1),
        ']' => (Kind::Close, 1),
        '(' => (Kind::ParenOpen, 1),
        ')' => (Kind::ParenClose, 1),
        '?' => (Kind::Question, 1),
        '*' => (Kind::Star, 1),
        ',' => (Kind::Comma, 1),
        ':' => (Kind::Colon, 1),
        '-' | '0'..='9' => number(rest, next),
        _ if is_name_start(next) => (Kind::Name, run(rest, |c| is_name_start(c) || c.is_ascii_digit())),
        other => (Kind::Other, other.len_utf8()),
    }
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn run(rest: &str, belongs: impl Fn(char) -> bool) -> usize {
    rest.find(|c| !belongs(c)).unwrap_or(rest.len())
}

fn number(rest: &str, next: char) -> (Kind, usize) {
    let sign = usize::from(next == '-');
    let length = sign + run(&rest[sign..], |c| c.is_ascii_digit());
    if length == sign {
        return (Kind::Other, 1);
    }
    // A fraction needs a digit after its dot: `0.length()` is an index and a function.
    let fraction = rest[length..]
        .strip_prefix('.')
        .map_or(0, |digits| run(digits, |c| c.is_ascii_digit()));
    (Kind::Number, if fraction > 0 { length + 1 + fraction } else { length })
}

fn literal(rest: &str, quote: char) -> (Kind, usize) {
    match end_of(rest, quote) {
        Some(end) => (Kind::Text, end),
        None => (Kind::Other, rest.len()),
    }
}

fn regex(rest: &str) -> (Kind, usize) {
    match end_of(rest, '/') {
        Some(end) => (Kind::Regex, end + run(&rest[end..], |c| c.is_ascii_alphabetic())),
        None => (Kind::Other, rest.len()),
    }
}

// Where a literal ends that starts with `quote`; a backslash takes the next character with it.
fn end_of(rest: &str, quote: char) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if c == quote {
            return Some(at + c.len_utf8());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        tokens(text).into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn a_literal_is_one_token_whatever_is_in_it() {
        use Kind::{Close, Current, Dot, Name, Open, Operator, Question, Root, Text};
        let expected = [Root, Open, Question, Current, Dot, Name, Operator, Text, Close];
        assert_eq!(kinds(r"$[?@.a == 'x in [1] =~ /y/ \' .length()']"), expected);
        assert_eq!(kinds("$[?@.a == \"it's\"]"), expected);
    }

    #[test]
    fn a_slash_opens_a_regular_expression_only_after_the_match_operator() {
        assert_eq!(kinds(r"@.a =~ /a\/b]'/i")[4], Kind::Regex);
        assert_eq!(kinds("@.a / 2")[3], Kind::Other);
        assert_eq!(kinds("@.a =~ /open")[4], Kind::Other);
    }

    #[test]
    fn numbers_and_dots_are_told_apart() {
        assert_eq!(kinds("[-1]"), [Kind::Open, Kind::Number, Kind::Close]);
        assert_eq!(kinds("1.5"), [Kind::Number]);
        assert_eq!(kinds("$..a"), [Kind::Root, Kind::Descend, Kind::Name]);
        assert_eq!(kinds("a-b"), [Kind::Name, Kind::Other, Kind::Name]);
    }

    proptest! {
        #[test]
        fn any_text_splits_into_tokens_that_lie_in_it_in_order(text in "\\PC{0,40}|[$@.\\[\\]()?*'\"/=~!a-z0-9 \\\\-]{0,40}") {
            let mut end = 0;
            for token in tokens(&text) {
                prop_assert!(token.span.start >= end && token.span.end > token.span.start);
                prop_assert!(text.get(token.span.clone()).is_some());
                end = token.span.end;
            }
        }
    }
}
