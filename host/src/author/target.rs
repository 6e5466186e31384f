//! A target that follows a script: requests in order, each with its answer.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::capability::{HttpError, Method, Outgoing, Response, Transport};
use crate::text::is_odd;

/// Longest text of a difference that is shown, in characters: a page of JSON, not a page of users.
const MAX_SHOWN: usize = 2000;

/// One exchange as it should be.
#[derive(Debug, Clone)]
pub struct Step {
    /// Where it is written, for whoever has to look at it.
    pub place: String,
    /// Endpoint name.
    pub endpoint: String,
    /// Method.
    pub method: Method,
    /// Path below the endpoint's base URL.
    pub path: String,
    /// Query parameters; their order does not count.
    pub query: Vec<(String, String)>,
    /// Header fields that it must have.
    pub headers: Vec<(String, String)>,
    /// Whether it may have others besides.
    pub more_headers: bool,
    /// Its body.
    pub body: Body,
    /// What it is answered.
    pub answer: Result<Response, HttpError>,
}

/// The body that a request should have.
#[derive(Debug, Clone)]
pub enum Body {
    /// This, compared as JSON; none where it is none.
    Json(Option<Value>),
    /// Whatever the host wrote: the exchange of a key.
    Any,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where what should be is written.
    pub place: String,
    /// What differs.
    pub what: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub came: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.place, self.what)?;
        writeln!(f, "  expected  {}", shown(&self.expected))?;
        write!(f, "  came      {}", shown(&self.came))
    }
}

/// Text of a guest, made fit for a terminal.
fn shown(text: &str) -> String {
    let printable = text.chars().map(|c| if is_odd(c) { '\u{fffd}' } else { c });
    let mut short: String = printable.take(MAX_SHOWN).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        short.push('…');
    }
    short
}

/// A target that follows a script, and keeps what was not as it should be.
#[derive(Debug)]
pub struct ScriptedTarget {
    steps: Vec<Step>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: usize,
    differences: Vec<Difference>,
}

impl ScriptedTarget {
    /// A target that expects these exchanges.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        Self {
            steps,
            seen: Mutex::default(),
        }
    }

    /// How many requests came.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.seen().requests
    }

    /// What was not as it should be, requests that did not come included.
    #[must_use]
    pub fn differences(&self) -> Vec<Difference> {
        let seen = self.seen();
        let missing = self.steps.iter().skip(seen.requests).map(|step| Difference {
            place: step.place.clone(),
            what: "request".to_owned(),
            expected: step.line(),
            came: "no request".to_owned(),
        });
        seen.differences.iter().cloned().chain(missing).collect()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for ScriptedTarget {
    /// A request to another place than the script's has no answer there. One that differs in query, header or body is
    /// answered all the same, so that the rest can be seen too.
    fn answer(&self, request: &Outgoing<'_>) -> Result<Response, HttpError> {
        let mut seen = self.seen();
        let number = seen.requests;
        seen.requests += 1;
        let came = line(request.method, request.endpoint, request.path);
        let Some(step) = self.steps.get(number) else {
            seen.differences.push(Difference {
                place: self
                    .steps
                    .last()
                    .map_or_else(|| "the script".to_owned(), |step| step.place.clone()),
                what: format!("request {}", number + 1),
                expected: format!("no more than {} requests", self.steps.len()),
                came,
            });
            return Err(HttpError::NotSent(
                "the script has no answer: one request too many".to_owned(),
            ));
        };
        if step.line() != came {
            seen.differences
                .push(step.difference("request", step.line(), came.clone()));
            return Err(HttpError::NotSent(format!("the script has no answer to {came}")));
        }
        seen.differences.extend(step.compare(request));
        step.answer.clone()
    }
}

impl Step {
    fn line(&self) -> String {
        line(self.method, &self.endpoint, &self.path)
    }

    fn difference(&self, what: &str, expected: String, came: String) -> Difference {
        Difference {
            place: self.place.clone(),
            what: what.to_owned(),
            expected,
            came,
        }
    }

    fn compare(&self, request: &Outgoing<'_>) -> Vec<Difference> {
        let mut differences = Vec::new();
        if sorted(&self.query) != sorted(request.query) {
            differences.push(self.difference("query", pairs(&self.query), pairs(request.query)));
        }
        for (name, value) in &self.headers {
            let all = request.headers.get_all(name).iter();
            let came: Vec<String> = all
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect();
            // What was recorded is all that was sent; a script names what it wants to see.
            let recorded = || {
                self.headers
                    .iter()
                    .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            };
            let is_same = match self.more_headers {
                true => came.contains(value),
                false => recorded().map(|(_, value)| value).eq(&came),
            };
            if !is_same {
                differences.push(self.difference(&format!("header {name}"), value.clone(), or_none(&came)));
            }
        }
        let known = |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let own = request.headers.iter().filter(|(_, value)| !value.is_sensitive());
        let more: Vec<String> = own
            .filter(|(name, _)| !self.more_headers && !known(name.as_str()))
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        if !more.is_empty() {
            differences.push(self.difference("headers", "no others".to_owned(), more.join(", ")));
        }
        if let Body::Json(expected) = &self.body {
            let came = request.body.map(json_or_text);
            if came != *expected {
                let text = |body: Option<&Value>| body.map_or_else(|| "no body".to_owned(), Value::to_string);
                differences.push(self.difference("body", text(expected.as_ref()), text(came.as_ref())));
            }
        }
        differences
    }
}

/// A body as JSON, or as a JSON string where it is none.
pub(super) fn json_or_text(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(body).into_owned()))
}

fn line(method: Method, endpoint: &str, path: &str) -> String {
    format!("{method} {endpoint} {path}")
}

fn sorted(query: &[(String, String)]) -> Vec<&(String, String)> {
    let mut sorted: Vec<_> = query.iter().collect();
    sorted.sort();
    sorted
}

fn pairs(query: &[(String, String)]) -> String {
    let pairs: Vec<String> = sorted(query)
        .iter()
        .map(|(name, value)| format!("{name} = {value:?}"))
        .collect();
    or_none(&pairs)
}

fn or_none(list: &[String]) -> String {
    if list.is_empty() {
        "none".to_owned()
    } else {
        list.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use url::Url;

    use super::*;

    fn compared(more_headers: bool, recorded: &[&str], sent: &[&str]) -> Vec<String> {
        let step = Step {
            place: "here".to_owned(),
            endpoint: "api".to_owned(),
            method: Method::Get,
            path: "/users".to_owned(),
            query: Vec::new(),
            headers: recorded
                .iter()
                .map(|value| ("accept".to_owned(), (*value).to_owned()))
                .collect(),
            more_headers,
            body: Body::Json(None),
            answer: Err(HttpError::NoAnswer(String::new())),
        };
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append("accept", HeaderValue::from_str(value).expect("a value"));
        }
        let differences = step.compare(&Outgoing {
            endpoint: "api",
            method: Method::Get,
            path: "/users",
            query: &[],
            url: &Url::parse("https://api.example/users").expect("a URL"),
            headers: &headers,
            body: None,
        });
        differences.into_iter().map(|difference| difference.what).collect()
    }

    #[test]
    fn a_field_that_comes_once_more_is_a_difference_to_what_was_recorded() {
        let differs = ["header accept"];
        assert!(compared(false, &["a", "b"], &["a", "b"]).is_empty());
        assert_eq!(compared(false, &["a"], &["a", "b"]), differs);
        assert_eq!(compared(false, &["a"], &[]), differs);
        // A script names what it wants to see.
        assert!(compared(true, &["a"], &["a", "b"]).is_empty());
        assert_eq!(compared(true, &["a"], &["b"]), differs);
    }
}
