//! One answer of DocuSign: status, trace token, body, and what it says went wrong.

use std::fmt::Write;

use serde_json::Value;

use crate::descriptor::TRACE_HEADER;
use crate::{Failure, Host, HttpError, Request, Response};

/// Characters of a target's text that go into a message: enough for every documented one, and a line stays a line.
const MAX_QUOTE: usize = 300;

/// An answer.
pub(crate) struct Reply(Response);

/// DocuSign's code and message for an error; empty where the body holds none.
#[derive(Default)]
pub(crate) struct Complaint {
    /// `errorCode` (eSignature) or `error` (OAuth), as written.
    pub(crate) code: String,
    /// `message` or `error_description`, made fit for a line.
    pub(crate) message: String,
}

impl Reply {
    /// Sends a request and takes the answer, whatever its status.
    pub(crate) fn to<H: Host>(host: &H, request: &Request, token: &H::Token) -> Result<Self, Failure> {
        host.send(request, Some(token)).map(Self).map_err(|error| match error {
            HttpError::Denied(text) => Failure::Denied(text),
            HttpError::NotSent(text) => Failure::Unavailable(format!("DocuSign was not reached: {text}")),
            HttpError::NoAnswer(text) => Failure::Unavailable(format!("DocuSign gave no whole answer: {text}")),
            HttpError::TooLarge(text) => Failure::Unexpected(format!("DocuSign's answer is too large: {text}")),
        })
    }

    /// An answer that came another way.
    pub(crate) fn from_response(response: Response) -> Self {
        Self(response)
    }

    pub(crate) fn status(&self) -> u16 {
        self.0.status
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.0.status)
    }

    pub(crate) fn has_body(&self) -> bool {
        !self.0.body.trim_ascii().is_empty()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let field = self
            .0
            .headers
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.trim())
    }

    /// The body as JSON, if it is any.
    pub(crate) fn value(&self) -> Option<Value> {
        serde_json::from_slice(&self.0.body).ok()
    }

    /// The body as JSON; a body that is empty, cut off or a web page makes no sense.
    pub(crate) fn json(&self) -> Result<Value, Failure> {
        self.value().ok_or_else(|| self.unexpected("is not JSON"))
    }

    /// What DocuSign says went wrong.
    pub(crate) fn complaint(&self) -> Complaint {
        self.value().map(|value| Complaint::of(&value)).unwrap_or_default()
    }

    /// `CODE: message (HTTP 400, trace token …)`, or as much of it as there is.
    pub(crate) fn words(&self) -> String {
        let complaint = self.complaint();
        let said = if complaint.code.is_empty() {
            self.excerpt()
        } else {
            complaint.to_string()
        };
        format!("{said} ({})", self.place())
    }

    /// Where to look it up: `HTTP 400, trace token …`.
    pub(crate) fn place(&self) -> String {
        let mut place = format!("HTTP {}", self.0.status);
        if let Some(trace) = self.header(TRACE_HEADER) {
            let _ = write!(place, ", trace token {}", quote(trace));
        }
        place
    }

    /// The trace token as fields of a log line, with others.
    pub(crate) fn fields(&self, others: &[(&str, &str)]) -> Vec<(String, String)> {
        let trace = self.header(TRACE_HEADER).map(|trace| ("trace_token", trace));
        others
            .iter()
            .copied()
            .chain(trace)
            .map(|(name, value)| (name.to_owned(), quote(value)))
            .collect()
    }

    /// An answer that makes no sense; `problem` follows "DocuSign's answer".
    pub(crate) fn unexpected(&self, problem: &str) -> Failure {
        Failure::Unexpected(format!(
            "DocuSign's answer {problem}: {} ({})",
            self.excerpt(),
            self.place()
        ))
    }

    fn excerpt(&self) -> String {
        if self.has_body() {
            quote(&String::from_utf8_lossy(&self.0.body))
        } else {
            "empty body".into()
        }
    }
}

impl Complaint {
    /// Reads `errorCode` and `message` (eSignature) or `error` and `error_description` (OAuth).
    pub(crate) fn of(value: &Value) -> Self {
        let text = |names: [&str; 2]| {
            names
                .iter()
                .find_map(|name| value.get(name)?.as_str())
                .map(quote)
                .unwrap_or_default()
        };
        Self {
            code: text(["errorCode", "error"]),
            message: text(["message", "error_description"]),
        }
    }

    pub(crate) fn is(&self, codes: &[&str]) -> bool {
        codes.iter().any(|code| self.code.eq_ignore_ascii_case(code))
    }
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// Text from outside as one line of bounded length.
pub(crate) fn quote(text: &str) -> String {
    let mut line: String = text
        .chars()
        .take(MAX_QUOTE)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if text.chars().nth(MAX_QUOTE).is_some() {
        line.push('…');
    }
    line
}
