//! What a descriptor must be: names that are names, lists within limits, and lines that fit each other.
//!
//! All mistakes are told at once, to the plugin's author. Checking each where it is used lost: the first would hide the
//! others, and a plugin that is admitted would not yet be one that can run.

use std::collections::BTreeSet;

use super::body::BodyTemplate;
use super::descriptor::{Descriptor, KeyKind, Placement, Reach, Verb};
use crate::text::{excerpt, is_odd};

/// Most entries of one list in a descriptor; DocuSign's longest has 12.
const MAX_ENTRIES: usize = 64;
/// Longest text in a descriptor, in bytes.
const MAX_TEXT: usize = 1024;

impl Descriptor {
    /// Everything that is wrong with it; empty when it can be used.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.too_many();
        // What follows compares lists with each other.
        if !problems.is_empty() {
            return problems;
        }
        self.check_identity(&mut problems);
        self.check_endpoints(&mut problems);
        self.check_keys(&mut problems);
        self.check_reach(&mut problems);
        problems
    }

    fn too_many(&self) -> Vec<String> {
        let lists = [
            ("endpoints", self.endpoints.len()),
            ("keys", self.keys.len()),
            ("reach", self.reach.len()),
        ];
        let of_keys = self.keys.iter().map(|key| ("usable-at", key.usable_at.len()));
        let all = lists.into_iter().chain(of_keys);
        all.filter(|(_, count)| *count > MAX_ENTRIES)
            .take(MAX_ENTRIES)
            .map(|(list, count)| format!("{list} has {count} entries, at most {MAX_ENTRIES} are allowed"))
            .collect()
    }

    fn check_identity(&self, problems: &mut Vec<String>) {
        if !is_name(&self.name) {
            problems.push(format!("name `{}` is not of the form [a-z][a-z0-9-]*", cut(&self.name)));
        }
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let core = self.version.split(['-', '+']).next().unwrap_or_default();
        let is_odd_suffix = !self.version.bytes().all(|b| b.is_ascii_graphic());
        if self.version.len() > 64 || is_odd_suffix || core.split('.').count() != 3 || !core.split('.').all(digits) {
            problems.push(format!("version `{}` is not a semantic version", cut(&self.version)));
        }
        if let Some(header) = &self.trace_header
            && !is_header_name(header)
        {
            problems.push(format!("trace-header `{}` is not a header name", cut(header)));
        }
    }

    fn check_endpoints(&self, problems: &mut Vec<String>) {
        if self.endpoints.is_empty() {
            problems.push("endpoints is empty".to_owned());
        }
        check_names(
            "endpoint",
            self.endpoints.iter().map(|endpoint| endpoint.name.as_str()),
            problems,
        );
        for endpoint in &self.endpoints {
            if let Err(problem) = check_purpose(&endpoint.purpose) {
                problems.push(format!("endpoint {}: {problem}", cut(&endpoint.name)));
            }
            if let Some(base) = &endpoint.default_base_url
                && let Err(problem) = check_base_url(base)
            {
                problems.push(format!("endpoint {}: default-base-url {problem}", cut(&endpoint.name)));
            }
        }
    }

    fn check_keys(&self, problems: &mut Vec<String>) {
        check_names("key", self.keys.iter().map(|key| key.name.as_str()), problems);
        for key in &self.keys {
            let mut wrong = |what: String| problems.push(format!("key {}: {what}", cut(&key.name)));
            if let Err(problem) = check_purpose(&key.purpose) {
                wrong(problem);
            }
            for endpoint in &key.usable_at {
                if !self.has_endpoint(endpoint) {
                    wrong(format!("usable-at names `{}`, which is no endpoint", cut(endpoint)));
                }
            }
            let (exchange, pointers): (_, Vec<&String>) = match &key.kind {
                KeyKind::SigningKey {
                    exchange,
                    issuer,
                    subject,
                } => (Some(exchange), vec![issuer, subject]),
                KeyKind::ClientSecret { exchange, client_id } => (Some(exchange), vec![client_id]),
                KeyKind::ApiKey { placement } => {
                    if let Placement::Header(name) = placement
                        && (!is_header_name(name) || super::headers::is_host_owned(name))
                    {
                        wrong(format!("header `{}` cannot carry a key", cut(name)));
                    }
                    (None, Vec::new())
                }
            };
            for pointer in pointers {
                if !pointer.starts_with('/') || pointer.len() > MAX_TEXT {
                    wrong(format!("`{}` is not a JSON pointer", cut(pointer)));
                }
            }
            if let Some(exchange) = exchange {
                if !self.has_endpoint(&exchange.endpoint) {
                    wrong(format!(
                        "is exchanged at `{}`, which is no endpoint",
                        cut(&exchange.endpoint)
                    ));
                }
                if let Err(problem) = super::path::RequestPath::parse(&exchange.path) {
                    wrong(problem);
                }
            }
        }
    }

    fn check_reach(&self, problems: &mut Vec<String>) {
        for reach in &self.reach {
            if !self.has_endpoint(&reach.endpoint) {
                problems.push(format!(
                    "reach `{}`: `{}` is no endpoint",
                    cut(&reach.to_string()),
                    cut(&reach.endpoint)
                ));
            }
            for problem in reach.problems() {
                problems.push(format!("reach `{}`: {problem}", cut(&reach.to_string())));
            }
        }
    }

    fn has_endpoint(&self, name: &str) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.name == name)
    }
}

impl Reach {
    /// What is wrong with it by itself.
    fn problems(&self) -> Vec<&'static str> {
        let in_body = self.body.as_ref().is_some_and(BodyTemplate::names_account);
        let names_account = self.path.names_account() || in_body;
        let is_unsafe = !self.method.is_safe();
        let odd_query =
            |name: &String| name.is_empty() || name.len() > MAX_TEXT || !name.bytes().all(|b| b.is_ascii_graphic());
        let checks = [
            (
                is_unsafe && self.verb != Verb::Close,
                "only `close` may use an unsafe method",
            ),
            (
                names_account && !matches!(self.verb, Verb::Read | Verb::Close),
                "`{account}` exists in `read` and `close` only",
            ),
            (
                is_unsafe && !names_account,
                "an unsafe line names `{account}` in its path or its body",
            ),
            (
                is_unsafe && self.path.has_any(),
                "an unsafe line cannot have `{any}` in its path",
            ),
            (
                !is_unsafe && (self.body.is_some() || !self.query.is_empty()),
                "`query` and `body` are for unsafe methods only",
            ),
            // What an operator reads and accepts must be what there is.
            (
                self.to_string().contains(is_odd),
                "a line has no control characters, and none that change the direction of text",
            ),
            (
                self.query.len() > MAX_ENTRIES || self.query.iter().any(odd_query),
                "`query` has too many names, or one that is too long or not printable ASCII",
            ),
        ];
        checks
            .into_iter()
            .filter_map(|(wrong, text)| wrong.then_some(text))
            .collect()
    }
}

fn check_names<'a>(what: &str, names: impl Iterator<Item = &'a str>, problems: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !is_name(name) {
            problems.push(format!(
                "{what} name `{}` is not of the form [a-z][a-z0-9-]*",
                cut(name)
            ));
        }
        if !seen.insert(name) {
            problems.push(format!("{what} `{}` is there twice", cut(name)));
        }
    }
}

/// A purpose is shown to the operator as it is.
fn check_purpose(purpose: &str) -> Result<(), String> {
    match purpose {
        long if long.len() > MAX_TEXT => Err(format!("purpose is over {MAX_TEXT} bytes")),
        odd if odd.contains(is_odd) => Err("purpose has control characters".to_owned()),
        _ => Ok(()),
    }
}

fn check_base_url(base: &str) -> Result<(), String> {
    let url = url::Url::parse(base).map_err(|error| format!("is not a URL: {error}"))?;
    let plain =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    let named = matches!(url.host(), Some(url::Host::Domain(_)));
    // The parser leaves out line ends and tabs; what is shown is the text.
    if url.scheme() != "https" || !plain || !named || base.len() > MAX_TEXT || base.contains(is_odd) {
        return Err("is not an https URL of a named host without user, query and fragment".to_owned());
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_header_name(name: &str) -> bool {
    name.len() <= 128 && reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// Text of a guest in a message for the operator: short and without control characters.
fn cut(text: &str) -> String {
    excerpt(text, 240)
}
