//! One verb call as the capabilities see it: its grant, its budgets, and the record of what it did.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::descriptor::Verb;
use super::grant::Grant;
use super::http::HttpError;
use super::memory::Held;
use super::scrub::Scrubber;
use super::token::Token;

/// One exchange with a target, as the transcript keeps it. Secrets are already blanked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Endpoint name.
    pub endpoint: String,
    /// Method.
    pub method: String,
    /// Path below the endpoint's base URL.
    pub path: String,
    /// Query parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<(String, String)>,
    /// Request header fields of the guest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub request_headers: Vec<(String, String)>,
    /// Request body; none for token exchanges and above the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_body: Option<String>,
    /// Status, if a whole answer came.
    pub status: Option<u16>,
    /// Response header fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub response_headers: Vec<(String, String)>,
    /// Response body, where it is text and within the limit; none for token exchanges and pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_body: Option<String>,
    /// The target's own name for the request.
    pub trace_token: Option<String>,
    /// Why there is no whole answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The same in the contract's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<Unanswered>,
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// Why there is no whole answer: the cases of the contract's `http-error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unanswered {
    /// The host does not allow it.
    Denied,
    /// The target has not seen the request.
    NotSent,
    /// The request went out and no whole answer came back.
    NoAnswer,
    /// The answer is over a limit.
    TooLarge,
}

impl From<&HttpError> for Unanswered {
    fn from(error: &HttpError) -> Self {
        match error {
            HttpError::Denied(_) => Self::Denied,
            HttpError::NotSent(_) => Self::NotSent,
            HttpError::NoAnswer(_) => Self::NoAnswer,
            HttpError::TooLarge(_) => Self::TooLarge,
        }
    }
}

impl Unanswered {
    /// The error with its text.
    #[must_use]
    pub fn with(self, text: String) -> HttpError {
        match self {
            Self::Denied => HttpError::Denied(text),
            Self::NotSent => HttpError::NotSent(text),
            Self::NoAnswer => HttpError::NoAnswer(text),
            Self::TooLarge => HttpError::TooLarge(text),
        }
    }
}

/// A guest's log line, secrets blanked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// What it says.
    pub message: String,
    /// Fields.
    pub fields: Vec<(String, String)>,
}

/// What is known of the one request in a call that could change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effect {
    /// Nothing unsafe left the host.
    #[default]
    None,
    /// Something unsafe left and no whole answer came back: it may have happened.
    Unknown,
    /// Something unsafe left and was answered.
    Answered,
}

/// What a verb call did, kept outside the sandbox so that it survives a trap or a time-out.
#[derive(Debug, Default, Clone)]
pub struct CallRecord {
    /// Exchanges in order. The last one may be unfinished.
    pub exchanges: Vec<Exchange>,
    /// Log lines.
    pub log: Vec<LogLine>,
    /// What became of an unsafe request.
    pub effect: Effect,
    /// The first request or token that the host denied, and why; for the operator.
    pub denied: Option<String>,
    /// The guest's clock: how many exchanges there had been, and the seconds that it was told from then on.
    pub clock: Vec<(usize, u64)>,
    /// When the token that was lent to the call expires, where it does.
    pub token_expires: Option<Timestamp>,
}

/// Budgets used so far.
#[derive(Debug, Default)]
pub(super) struct Used {
    pub(super) host_calls: u32,
    pub(super) requests: u32,
    pub(super) unsafe_requests: u32,
    pub(super) grants: u32,
    pub(super) received: usize,
    pub(super) log_lines: u32,
}

/// One verb call as the capabilities see it.
#[derive(Debug)]
pub struct Call {
    pub(super) grant: Arc<Grant>,
    pub(super) verb: Verb,
    pub(super) account: Option<String>,
    pub(super) used: Used,
    pub(super) minted: Option<Token>,
    /// Finds what this call sent or could send: the token lent to it or made in it, assertions.
    injected: Scrubber,
    /// Answers of its targets.
    pub(super) answers: Held,
    record: Arc<Mutex<CallRecord>>,
}

impl Call {
    /// A call of `verb`; `account` is the id that `read` and `close` are called with.
    #[must_use]
    pub fn new(grant: Arc<Grant>, verb: Verb, account: Option<String>) -> Self {
        Self {
            grant,
            verb,
            account,
            used: Used::default(),
            minted: None,
            injected: Scrubber::default(),
            answers: Held::default(),
            record: Arc::default(),
        }
    }

    /// Which verb runs.
    #[must_use]
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// Whose connector it is.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.grant.tenant
    }

    /// A handle on the record, to read when the call has ended, however it ended.
    #[must_use]
    pub fn record(&self) -> Arc<Mutex<CallRecord>> {
        Arc::clone(&self.record)
    }

    /// Takes the room for targets' answers from a tenant's memory. It goes back with the call, since its record keeps
    /// what the guest has read.
    pub fn answers_are_held_in(&mut self, memory: Held) {
        self.answers = memory;
    }

    /// Lends a token to the call. Whatever a target sends from here on is searched for it, also in answer to requests
    /// without it: a target may show in one place what it was sent in another.
    pub fn lend(&mut self, token: &Token) {
        self.injected(token.scrubber());
        self.note().token_expires = token.expires();
    }

    /// The id that `read` and `close` are called with; empty elsewhere.
    #[must_use]
    pub fn account(&self) -> &str {
        self.account.as_deref().unwrap_or_default()
    }

    /// Whether `token` is the one made in this call.
    #[must_use]
    pub fn minted(&self, token: &Token) -> bool {
        self.minted.as_ref().is_some_and(|minted| minted.is(token))
    }

    /// Counts one host call.
    ///
    /// # Errors
    ///
    /// None are left.
    pub fn count(&mut self) -> Result<(), LimitReached> {
        self.used.host_calls += 1;
        if self.used.host_calls > self.grant.limits.host_calls {
            return Err(LimitReached {
                limit: "host-calls",
                allowed: u64::from(self.grant.limits.host_calls),
            });
        }
        Ok(())
    }

    /// The settings as the guest gets them.
    #[must_use]
    pub fn settings(&self) -> &str {
        &self.grant.settings_text
    }

    /// The base URL of an endpoint as the guest gets it.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Option<&str> {
        self.grant.endpoint(name)
    }

    /// Seconds since 1970, as the guest gets them. Its clock stands still between two exchanges, so that the record of
    /// it is short and whole, and a guest cannot time the host.
    #[must_use]
    pub fn now(&self) -> u64 {
        let mut record = self.note();
        let exchanges = record.exchanges.len();
        match record.clock.last() {
            Some((since, seconds)) if *since == exchanges => *seconds,
            _ => {
                let seconds = u64::try_from(self.grant.clock.now().as_second()).unwrap_or(0);
                record.clock.push((exchanges, seconds));
                seconds
            }
        }
    }

    /// Has something injected looked for in every answer and log line from here on.
    pub(super) fn injected(&mut self, scrubber: &Scrubber) {
        self.injected = self.injected.and(scrubber);
    }

    /// What finds everything injected so far.
    pub(super) fn scrubber(&self) -> &Scrubber {
        &self.injected
    }

    /// Text of a target or guest without what the host injected.
    #[must_use]
    pub fn clean(&self, text: String) -> String {
        self.injected.text(self.grant.scrubber.text(text))
    }

    /// As [`Call::clean`], for bodies.
    pub(super) async fn clean_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.injected.bytes(self.grant.scrubber.bytes(bytes).await).await
    }

    pub(super) fn note(&self) -> MutexGuard<'_, CallRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a denial for the operator and words it for the guest. Only the first of a call is logged: a guest may
    /// run into as many as it likes.
    pub(super) fn deny(&self, text: String) -> String {
        let text = self.clean(text);
        // The first is the cause, and what a guest tries afterwards its consequence.
        if self.note().denied.is_none() {
            self.note().denied = Some(text.clone());
            let (tenant, connector, verb) = (&self.grant.tenant, &self.grant.connector, self.verb);
            tracing::warn!(tenant, connector, %verb, "denied: {text}");
        }
        text
    }
}

/// A budget that ends the call: the guest is stopped, not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the limit `{limit}` ({allowed}) is used up")]
pub struct LimitReached {
    /// Its name.
    pub limit: &'static str,
    /// How much is allowed.
    pub allowed: u64,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::author::{ScriptedTarget, Stage, StageKeys};
    use crate::capability::{Descriptor, EndpointDeclaration, Method, Network, PathTemplate, Reach, Request};
    use crate::clock::ManualClock;

    fn descriptor() -> Descriptor {
        Descriptor {
            name: "target".to_owned(),
            version: "1.0.0".to_owned(),
            settings_schema: serde_json::json!({}),
            endpoints: vec![EndpointDeclaration {
                name: "api".to_owned(),
                purpose: "everything".to_owned(),
                default_base_url: None,
            }],
            keys: Vec::new(),
            reach: vec![Reach {
                verb: Verb::Find,
                endpoint: "api".to_owned(),
                method: Method::Get,
                path: PathTemplate::parse("/users").unwrap(),
                query: Vec::new(),
                body: None,
                optional: false,
            }],
            trace_header: None,
        }
    }

    #[tokio::test]
    async fn a_guest_s_clock_stands_still_between_two_exchanges_and_the_record_has_it_whole() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(100).unwrap()));
        let stage = Stage {
            settings: serde_json::json!({}),
            endpoints: BTreeMap::new(),
            reach: None,
            clock: clock.clone(),
            network: Network::answered_by(Arc::new(ScriptedTarget::new(Vec::new()))),
        };
        let grant = stage.grant(&descriptor(), &StageKeys::default()).unwrap();
        let mut call = Call::new(Arc::new(grant), Verb::Find, None);
        assert_eq!(call.now(), 100);
        clock.advance(Duration::from_secs(5));
        assert_eq!(call.now(), 100);
        let request = Request {
            endpoint: "api".to_owned(),
            method: Method::Get,
            path: "/users".to_owned(),
            query: Vec::new(),
            headers: vec![("Accept".to_owned(), "text/plain".to_owned())],
            body: None,
        };
        assert!(matches!(call.send(request, None).await, Ok(Err(HttpError::NotSent(_)))));
        assert_eq!(call.now(), 105);
        let record = call.record();
        let record = record.lock().unwrap();
        assert_eq!(record.clock, [(0, 100), (1, 105)]);
        let exchange = &record.exchanges[0];
        assert_eq!(
            exchange.request_headers,
            [("accept".to_owned(), "text/plain".to_owned())]
        );
        assert_eq!(exchange.unanswered, Some(Unanswered::NotSent));
    }
}
