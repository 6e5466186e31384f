//! What a filter says in Jayway's dialect, and how RFC 9535 says it.
//!
//! SailPoint's trigger filters are Jayway JSONPath, so those are what operators bring. Most run as they are. The rest
//! either does not parse, or parses and means something else: a filter on an object tests the object in Jayway and
//! each of its members in RFC 9535. Both are found here, one after the other, and rewritten for the error message.

use std::collections::BTreeSet;
use std::ops::Range;

use super::jsonpath::MAX_PATH_BYTES;
use super::lexer::{Kind, Text};
use super::rephrase::{Right, say};

/// What is Jayway's in a filter.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    /// Each construct, in words.
    pub(crate) what: Vec<String>,
    /// The whole filter in RFC 9535, where each construct can be said in it.
    pub(crate) instead: Option<String>,
}

/// Most rewrites of one filter; each removes a construct, so a filter that needs more is not one a person wrote.
const MAX_REWRITES: usize = 64;

/// Jayway's operators that are words, in any case.
const WORDS: [&str; 12] = [
    "in", "nin", "contains", "anyof", "noneof", "subsetof", "all", "size", "empty", "exists", "type", "matches",
];

/// Jayway's functions at the end of a path.
const FUNCTIONS: [&str; 14] = [
    "length", "size", "first", "last", "index", "min", "max", "avg", "stddev", "sum", "keys", "concat", "append",
    "entries",
];

/// Members of SailPoint's payloads that are objects: a filter on one of them has the same trap as one on the root.
const OBJECTS: [&str; 10] = [
    "",
    "identity",
    "identity.attributes",
    "identity.manager",
    "source",
    "source.owner",
    "source.governanceGroup",
    "account",
    "account.attributes",
    "event",
];

/// Looks for what is Jayway's; `None` where there is nothing.
pub(crate) fn diagnose(text: &str) -> Option<Diagnosis> {
    let mut what: Vec<String> = Vec::new();
    let mut current = text.to_owned();
    for _ in 0..MAX_REWRITES {
        let Some(found) = Text::new(&current).find() else {
            let instead = Some(current);
            return (!what.is_empty()).then_some(Diagnosis { what, instead });
        };
        if !what.contains(&found.what) {
            what.push(found.what);
        }
        match found.rewritten {
            // What would be refused once it is written need not be worked on: each step can say its operands many times.
            Some(rewritten) if rewritten.len() <= MAX_PATH_BYTES => current = rewritten,
            _ => break,
        }
    }
    Some(Diagnosis { what, instead: None })
}

struct Found {
    what: String,
    rewritten: Option<String>,
}

impl<'t> Text<'t> {
    // Functions before operators, so that an operator finds `length(…)` as its operand; filters on objects last, when
    // every `@` that a rewrite brings is in its place.
    fn find(&self) -> Option<Found> {
        self.find_start()
            .or_else(|| (0..self.tokens.len()).find_map(|at| self.find_function(at)))
            .or_else(|| (0..self.tokens.len()).find_map(|at| self.find_operator(at)))
            .or_else(|| self.find_object_filter())
            .or_else(|| self.find_scan_filter())
            .or_else(|| (0..self.tokens.len()).find_map(|at| self.find_element_filter(at)))
            .or_else(|| self.find_number())
    }

    /// The whole text with these tokens replaced.
    fn replace(&self, range: Range<usize>, with: &str) -> String {
        let start = self.tokens[range.start].span.start;
        let end = self.tokens[range.end - 1].span.end;
        format!("{}{with}{}", &self.text[..start], &self.text[end..])
    }

    fn find_start(&self) -> Option<Found> {
        let with = match self.kind(0)? {
            Kind::Name => format!("$.{}", self.word(0)),
            Kind::Open => "$[".to_owned(),
            Kind::Current => "$".to_owned(),
            _ => return None,
        };
        let what = "a path that does not start with `$` is Jayway's".to_owned();
        Some(Found {
            what,
            rewritten: Some(self.replace(0..1, &with)),
        })
    }

    fn find_function(&self, at: usize) -> Option<Found> {
        let name = self.word(at + 1);
        let called = self.kind(at)? == Kind::Dot && self.kind(at + 2) == Some(Kind::ParenOpen);
        if !called || !FUNCTIONS.contains(&name) {
            return None;
        }
        let what = format!("`.{name}()` is Jayway's");
        let rewritten = self.rewrite_function(at, name);
        Some(Found { what, rewritten })
    }

    fn rewrite_function(&self, at: usize, name: &str) -> Option<String> {
        let start = self.operand_before(at)?;
        let end = self.closing(at + 2)? + 1;
        let path = self.slice(start..at);
        let arguments = end - 1 - (at + 3);
        let with = match (name, arguments) {
            // Alone it is a number, and every number matches; a comparison is what was meant.
            ("length" | "size", 0) if start == 0 && end == self.tokens.len() => format!("$[?length({path}) > 0]"),
            ("length" | "size", 0) => format!("length({path})"),
            ("first", 0) => format!("{path}[0]"),
            ("last", 0) => format!("{path}[-1]"),
            ("index", 1) if self.kind(at + 3) == Some(Kind::Number) => format!("{path}[{}]", self.word(at + 3)),
            _ => return None,
        };
        Some(self.replace(start..end, &with))
    }

    fn find_operator(&self, at: usize) -> Option<Found> {
        let word = self.word(at);
        let plain = word.to_lowercase();
        let what = format!("`{plain}` is Jayway's");
        if self.kind(at)? == Kind::Operator {
            return match word {
                "===" | "!==" => Some(Found {
                    what,
                    rewritten: Some(self.replace(at..at + 1, &word[..2])),
                }),
                "=~" => Some(Found {
                    what,
                    rewritten: self.rewrite_operator(at, "=~"),
                }),
                _ => None,
            };
        }
        let is_operator = self.kind(at)? == Kind::Name && WORDS.contains(&plain.as_str()) && self.ends_operand(at);
        is_operator.then(|| Found {
            what,
            rewritten: self.rewrite_operator(at, &plain),
        })
    }

    /// Whether the token before `at` ends an operand, so that an operator may follow. After a dot it is a name.
    fn ends_operand(&self, at: usize) -> bool {
        use Kind::{Close, Current, Name, Number, ParenClose, Root, Star, Text};
        let before = at.checked_sub(1).and_then(|before| self.kind(before));
        matches!(
            before,
            Some(Close | Current | Name | Number | ParenClose | Root | Star | Text)
        )
    }

    fn rewrite_operator(&self, at: usize, operator: &str) -> Option<String> {
        let start = self.operand_before(at)?;
        let left = self.slice(start..at);
        let (right, end) = self.operand_after(at + 1)?;
        let with = say(left, operator, &right)?;
        Some(self.replace(start..end, &with))
    }

    /// What stands from `at` on, and the token after it.
    fn operand_after(&self, at: usize) -> Option<(Right<'t>, usize)> {
        match self.kind(at)? {
            Kind::Open => {
                let close = self.closing(at)?;
                let inner: Vec<usize> = (at + 1..close).filter(|i| self.kind(*i) != Some(Kind::Comma)).collect();
                let literals = inner.iter().all(|i| self.is_literal(*i));
                let list = inner.into_iter().map(|i| self.word(i)).collect();
                literals.then_some((Right::List(list), close + 1))
            }
            Kind::Regex => Some((Right::Regex(self.word(at)), at + 1)),
            Kind::Root | Kind::Current => {
                let mut end = at + 1;
                loop {
                    match self.kind(end) {
                        Some(Kind::Open) => end = self.closing(end)? + 1,
                        Some(Kind::Dot | Kind::Descend) => end += 2,
                        _ => break,
                    }
                }
                (end <= self.tokens.len()).then(|| (Right::Path(self.slice(at..end)), end))
            }
            _ => self.is_literal(at).then(|| (Right::Literal(self.word(at)), at + 1)),
        }
    }

    fn is_literal(&self, at: usize) -> bool {
        match self.kind(at) {
            Some(Kind::Text | Kind::Number) => true,
            Some(Kind::Name) => ["true", "false", "null"].contains(&self.word(at)),
            _ => false,
        }
    }

    /// A filter with `@` on something that is an object.
    fn find_object_filter(&self) -> Option<Found> {
        (0..self.tokens.len()).find_map(|open| {
            let base = self.object_before(open)?;
            let close = self.closing(open)?;
            let own = self.own_current(open, close);
            if own.is_empty() {
                return None;
            }
            let mut rewritten = self.text.to_owned();
            for at in own.into_iter().rev() {
                rewritten.replace_range(self.tokens[at].span.clone(), base);
            }
            let what = format!(
                "`{base}[?…@…]` tests `{base}` itself in Jayway, but each of its members in RFC 9535, where this would \
                 {} match",
                if self.is_negated(open, close) {
                    "nearly always"
                } else {
                    "never"
                }
            );
            Some(Found {
                what,
                rewritten: Some(rewritten),
            })
        })
    }

    fn is_negated(&self, open: usize, close: usize) -> bool {
        (open..close).any(|at| ["!=", "!"].contains(&self.word(at)))
    }

    /// The path before a bracket, where it is known to lead to an object.
    fn object_before(&self, open: usize) -> Option<&'t str> {
        if self.kind(open)? != Kind::Open {
            return None;
        }
        let start = self.operand_before(open)?;
        let absolute = self.kind(start)? == Kind::Root;
        let mut names = Vec::new();
        let mut at = start + 1;
        while at < open {
            match (self.kind(at)?, self.kind(at + 1)?) {
                (Kind::Dot, Kind::Name) => {
                    names.push(self.word(at + 1));
                    at += 2;
                }
                (Kind::Open, Kind::Text) if self.kind(at + 2) == Some(Kind::Close) => {
                    names.push(self.word(at + 1).trim_matches(['\'', '"']));
                    at += 3;
                }
                _ => return None,
            }
        }
        (absolute && OBJECTS.contains(&names.join(".").as_str())).then(|| self.slice(start..open))
    }

    /// A negated filter with `@` on whatever is found, or on every member: most of that is objects, so it would match
    /// nearly everybody. What was meant cannot be said for sure, so nothing is written instead.
    fn find_scan_filter(&self) -> Option<Found> {
        let open = match (self.kind(0)?, self.kind(1)?, self.kind(2)?) {
            (Kind::Root, Kind::Descend, Kind::Open) => 2,
            (Kind::Root, Kind::Dot | Kind::Descend, Kind::Star) if self.kind(3) == Some(Kind::Open) => 3,
            _ => return None,
        };
        let close = self.closing(open)?;
        let base = self.slice(0..open);
        (self.is_negated(open, close) && !self.own_current(open, close).is_empty()).then(|| Found {
            what: format!(
                "`{base}[?…@…]` tests each object itself in Jayway, but each object's members in RFC 9535, where this \
                 would nearly always match; name the list that holds what you look for, or compare `$.` paths"
            ),
            rewritten: None,
        })
    }

    /// A filter with `@.…` on what another filter, `*` or an index has found: Jayway tests an object itself there, RFC
    /// 9535 each of its members, so that `==` would never match and `!=` nearly always.
    fn find_element_filter(&self, open: usize) -> Option<Found> {
        let close = self.closing(open)?;
        let own = self.own_current(open, close);
        let before = open.checked_sub(1)?;
        if self.kind(open)? != Kind::Open || !own.iter().any(|at| self.has_member(*at)) {
            return None;
        }
        let (start, rewritten) = match self.kind(before)? {
            Kind::Star => {
                let dot = before.checked_sub(1)?;
                let is_member = self.kind(dot)? == Kind::Dot;
                (dot, is_member.then(|| self.replace(dot..before + 1, "")))
            }
            Kind::Close => {
                let start = self.opening(before)?;
                let joined = |first, second| format!("[?({first}) && ({second})]");
                match (self.kind(start + 1)?, before - start) {
                    (Kind::Question, _) => {
                        let both = joined(self.slice(start + 2..before), self.slice(open + 2..close));
                        (start, Some(self.replace(start..close + 1, &both)))
                    }
                    (Kind::Star, 2) => (start, Some(self.replace(start..before + 1, ""))),
                    (Kind::Text, 2) => return None,
                    _ => (start, None),
                }
            }
            _ => return None,
        };
        // Without the `*` it would be a filter on an object, which means something else again.
        let rewritten = rewritten.filter(|text: &String| Text::new(text).find_object_filter().is_none());
        let what = format!(
            "`{}[?…@.…]` tests what was found itself in Jayway, but each of its members in RFC 9535",
            self.slice(start..open)
        );
        Some(Found { what, rewritten })
    }

    /// Whether something is taken from what stands at `at`.
    fn has_member(&self, at: usize) -> bool {
        matches!(self.kind(at + 1), Some(Kind::Dot | Kind::Descend | Kind::Open))
    }

    /// A number and the same number as text are equal in Jayway, and not in RFC 9535: a comparison of a path with one of
    /// them that is not also made with the other.
    fn find_number(&self) -> Option<Found> {
        let made = (0..self.tokens.len()).filter_map(|at| Some((at, self.comparison(at)?)));
        let made: Vec<_> = made.collect();
        let known: BTreeSet<_> = made.iter().map(|(_, comparison)| *comparison).collect();
        made.iter().find_map(|(at, (path, operator, literal))| {
            let plain = literal.trim_matches(['\'', '"']);
            let is_number = serde_json::from_str::<serde_json::Number>(plain).is_ok();
            let joint = match *operator {
                "==" if is_number => "||",
                "!=" if is_number => "&&",
                _ => return None,
            };
            let twins = match plain == *literal {
                true => [format!("'{plain}'"), format!("\"{plain}\"")],
                false => [plain.to_owned(), plain.to_owned()],
            };
            if twins
                .iter()
                .any(|twin| known.contains(&(path, operator, twin.as_str())))
            {
                return None;
            }
            let what = format!("`{operator} {literal}` holds for the number and for the text {plain} in Jayway");
            let (start, end) = (self.operand_before(*at)?, self.operand_after(at + 1)?.1);
            let [twin, _] = twins;
            let both = format!("({path} {operator} {literal} {joint} {path} {operator} {twin})");
            let rewritten = Some(self.replace(start..end, &both));
            Some(Found { what, rewritten })
        })
    }

    /// The path, the operator and the literal of the comparison at `at`, whichever of the two comes first.
    fn comparison(&self, at: usize) -> Option<(&'t str, &'t str, &'t str)> {
        if self.kind(at)? != Kind::Operator {
            return None;
        }
        let start = self.operand_before(at)?;
        let is_path = |at: usize| matches!(self.kind(at), Some(Kind::Root | Kind::Current)) && self.has_member(at);
        let left = self.slice(start..at);
        match self.operand_after(at + 1)?.0 {
            Right::Literal(literal) if is_path(start) => Some((left, self.word(at), literal)),
            Right::Path(path) if is_path(at + 1) && start + 1 == at && self.is_literal(start) => {
                Some((path, self.word(at), left))
            }
            _ => None,
        }
    }

    /// The `@` that belong to the filter in this bracket, not to one inside it.
    fn own_current(&self, open: usize, close: usize) -> Vec<usize> {
        let mut own = Vec::new();
        let mut filters: Vec<bool> = Vec::new();
        for at in open..=close {
            match self.tokens[at].kind {
                Kind::Open => filters.push(false),
                Kind::Close => drop(filters.pop()),
                Kind::Question => {
                    if let Some(filter) = filters.last_mut() {
                        *filter = true;
                    }
                }
                Kind::Current if filters.iter().filter(|filter| **filter).count() == 1 && filters[0] => own.push(at),
                _ => {}
            }
        }
        own
    }
}
