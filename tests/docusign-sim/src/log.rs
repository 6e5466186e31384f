//! What the simulator saw. Secrets are never in it: digests stand for them.

use std::collections::VecDeque;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::call::{Call, Origin};

/// One request and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// Counts from 1, gaps where the log was cleared.
    pub seq: u64,
    /// Milliseconds since 1970, by the simulator's clock.
    pub at_ms: i64,
    /// Which listener.
    pub origin: Origin,
    /// HTTP method.
    pub method: String,
    /// `Host` header without its port.
    pub host: String,
    /// Path as sent.
    pub path: String,
    /// Query as sent.
    pub query: Option<String>,
    /// `Content-Type` as sent.
    pub content_type: Option<String>,
    /// Length of the request's body.
    pub body_bytes: usize,
    /// SHA-256 of the bearer token, hexadecimal.
    pub authorization_sha256: Option<String>,
    /// SHA-256 of the assertion, hexadecimal.
    pub assertion_sha256: Option<String>,
    /// Status of the answer; none where the connection was dropped.
    pub status: Option<u16>,
    /// `X-DocuSign-TraceToken` of the answer.
    pub trace_token: String,
    /// Faults that met this request, by their JSON names.
    pub faults: Vec<String>,
    /// Whether the request reached DocuSign, so that it could take effect.
    pub effect: bool,
}

/// Totals since the start or the last reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Requests at both origins.
    pub requests: u64,
    /// Access tokens issued.
    pub tokens_issued: u64,
    /// Memberships closed.
    pub closes: u64,
    /// DELETE items for memberships that were closed already.
    pub second_deletes: u64,
    /// Connections closed without an answer.
    pub dropped: u64,
    /// Records that the log no longer holds.
    pub forgotten: u64,
}

/// The latest requests.
#[derive(Debug)]
pub(crate) struct Log {
    records: VecDeque<Record>,
    capacity: usize,
    next: u64,
}

impl Log {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            records: VecDeque::new(),
            capacity,
            next: 1,
        }
    }

    /// Adds a record, numbers it, and says whether an old one had to go.
    pub(crate) fn push(&mut self, mut record: Record) -> bool {
        record.seq = self.next;
        self.next += 1;
        if self.capacity == 0 {
            return true;
        }
        let is_full = self.records.len() >= self.capacity;
        if is_full {
            self.records.pop_front();
        }
        self.records.push_back(record);
        is_full
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
    }
}

impl Record {
    /// The record of a request before it is answered.
    pub(crate) fn of(call: &Call, at_ms: i64) -> Self {
        let is_token_request = call.origin == Origin::Account && call.path == "/oauth/token";
        Self {
            seq: 0,
            at_ms,
            origin: call.origin,
            method: call.method.to_string(),
            host: call.host().to_owned(),
            path: without_tokens(&call.path),
            query: call.query.as_deref().map(without_tokens),
            content_type: call.header(&CONTENT_TYPE).map(str::to_owned),
            body_bytes: call.body.len(),
            authorization_sha256: call
                .headers
                .get(AUTHORIZATION)
                .map(|value| digest(call.bearer().map_or(value.as_bytes(), str::as_bytes))),
            assertion_sha256: is_token_request
                .then(|| call.assertion())
                .flatten()
                .map(|text| digest(text.as_bytes())),
            status: None,
            trace_token: String::new(),
            faults: Vec::new(),
            effect: true,
        }
    }
}

/// A token or an assertion in a URL is a client's mistake, and must not be repeated here. All of them begin alike.
fn without_tokens(text: &str) -> String {
    if text.contains("eyJ") {
        "(holds a token)".to_owned()
    } else {
        text.to_owned()
    }
}

fn digest(secret: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(secret) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
