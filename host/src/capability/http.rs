//! `http`: requests to the target.
//!
//! Every check happens before anything leaves (`check.rs`). Only then is a URL written, from the operator's base URL and
//! the checked path.

use bytes::Bytes;
use reqwest::header::{HOST, HeaderValue};
use tokio::time::Instant;

use super::call::{Call, Effect, Exchange, LimitReached, Unanswered};
use super::check::{Checked, place};
use super::descriptor::{Method, Verb};
use super::grant::Grant;
use super::headers;
use super::names::{AddressRefused, asked_by};
use super::network::Outgoing;
use super::token::Token;
use crate::step;

/// A guest's request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Endpoint name.
    pub endpoint: String,
    /// Method.
    pub method: Method,
    /// Path below the endpoint's base URL.
    pub path: String,
    /// Query parameters, not encoded.
    pub query: Vec<(String, String)>,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Option<Vec<u8>>,
}

/// A target's answer, secrets blanked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body, decompressed.
    pub body: Vec<u8>,
}

/// Why an answer was not received.
enum NotReceived {
    /// The guest learns it.
    Told(HttpError),
    /// It ends the call.
    Over(LimitReached),
}

impl From<HttpError> for NotReceived {
    fn from(error: HttpError) -> Self {
        Self::Told(error)
    }
}

/// The limit that ends a call whose endpoint answers with a secret that was never sent there.
pub const STRAY_SECRETS: &str = "secrets from where none went";

/// Why there is no response, as the guest learns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpError {
    /// The host does not allow it.
    Denied(String),
    /// The target has not seen the request.
    NotSent(String),
    /// The request went out and no whole answer came back.
    NoAnswer(String),
    /// The answer is over a limit.
    TooLarge(String),
}

impl Call {
    /// Sends a guest's request and waits for the whole answer.
    ///
    /// Cancelling (the verb's wall clock) leaves the exchange in the record without a status, and an unsafe one as
    /// [`Effect::Unknown`].
    ///
    /// # Errors
    ///
    /// Outer: a budget is used up, which ends the call. Inner: what the guest is told.
    pub async fn send(
        &mut self,
        request: Request,
        token: Option<&Token>,
    ) -> Result<Result<Response, HttpError>, LimitReached> {
        self.count()?;
        self.used.requests += 1;
        if self.used.requests > self.grant.limits.requests {
            return Err(LimitReached {
                limit: "requests",
                allowed: u64::from(self.grant.limits.requests),
            });
        }
        let mut checked = match self.check(request) {
            Ok(checked) => checked,
            Err(text) => return Ok(Err(HttpError::Denied(self.deny(text)))),
        };
        if let Some(Err(text)) = token.map(|token| place(token, &mut checked)) {
            return Ok(Err(HttpError::Denied(self.deny(text))));
        }
        // Here and not before: what is denied has changed nothing, and the guest may ask better.
        if !checked.method.is_safe() {
            self.used.unsafe_requests += 1;
        }
        self.exchange(checked).await
    }

    /// Sends what was checked, reads the answer within its limits, blanks secrets and keeps the record.
    pub(super) async fn exchange(&mut self, checked: Checked) -> Result<Result<Response, HttpError>, LimitReached> {
        let started = Instant::now();
        let is_unsafe_close = !checked.method.is_safe() && self.verb == Verb::Close;
        let keep_bodies = checked.keep_bodies;
        let endpoint = checked.endpoint.clone();
        self.begin(&checked, is_unsafe_close);
        if is_unsafe_close {
            step::passed("closing");
        }
        let limit = self.grant.limits.exchange;
        let answer = match tokio::time::timeout(limit, self.transmit(checked)).await {
            Ok(answer) => answer,
            Err(_) => Err(NotReceived::Told(HttpError::NoAnswer(format!(
                "no whole answer within {} s",
                limit.as_secs()
            )))),
        };
        if is_unsafe_close {
            step::passed("close-answered");
        }
        let answer = match answer {
            Ok(response) if self.holds_stray_secret(&endpoint, &response).await => {
                let unread = Err(HttpError::TooLarge("it holds a secret".to_owned()));
                self.end(&unread, started, is_unsafe_close, keep_bodies);
                return Err(LimitReached {
                    limit: STRAY_SECRETS,
                    allowed: 0,
                });
            }
            Ok(response) => Ok(self.scrub(response).await),
            Err(NotReceived::Told(error)) => Err(error),
            Err(NotReceived::Over(reached)) => {
                let unread = Err(HttpError::TooLarge(reached.to_string()));
                self.end(&unread, started, is_unsafe_close, keep_bodies);
                return Err(reached);
            }
        };
        self.end(&answer, started, is_unsafe_close, keep_bodies);
        if self.used.received > self.grant.limits.received {
            return Err(LimitReached {
                limit: "received",
                allowed: self.grant.limits.received as u64,
            });
        }
        Ok(answer)
    }

    async fn transmit(&mut self, checked: Checked) -> Result<Response, NotReceived> {
        let grant = &self.grant;
        if let Some(transport) = grant.network.transport() {
            let answer = transport.answer(&Outgoing {
                endpoint: &checked.endpoint,
                method: checked.method,
                path: &checked.path,
                query: &checked.query,
                url: &checked.url,
                headers: &checked.headers,
                body: checked.body.as_ref().map(|body| body.as_slice()),
            });
            let response = answer?;
            self.used.received = self.used.received.saturating_add(response.body.len());
            return Ok(self.within_limits(response)?);
        }
        let mut url = checked.url;
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or(443);
        let client = grant
            .network
            .client(&grant.tenant, &grant.network_settings, port, grant.limits.connect)
            .map_err(|error| HttpError::NotSent(format!("cannot build a client: {}", causes(&error))))?;
        let method = reqwest::Method::from_bytes(checked.method.to_string().as_bytes()).unwrap_or(reqwest::Method::GET);
        let mut headers = checked.headers;
        // An explicit port in the URL would win over the one of `connect_to`, so it moves into `Host`.
        if let (Some(explicit), Some(host)) = (url.port(), url.host_str().map(str::to_owned))
            && grant.network_settings.connect_to(&host, explicit).is_some()
            && let Ok(value) = HeaderValue::from_str(&format!("{host}:{explicit}"))
        {
            headers.insert(HOST, value);
            url.set_port(None).ok();
        }
        let mut request = client.request(method, url).headers(headers);
        if let Some(body) = checked.body {
            // Wiped when the client drops it. What it copies into its own buffers on the way is not.
            request = request.body(Bytes::from_owner(body));
        }
        let response = asked_by(&grant.tenant, request.send())
            .await
            .map_err(|error| match refused(&error) {
                Some(address) => HttpError::Denied(self.deny(address.to_string())),
                None => classify(&error, grant, &host, port),
            })?;
        self.receive(response).await
    }

    async fn receive(&mut self, mut response: reqwest::Response) -> Result<Response, NotReceived> {
        let limits = &self.grant.limits;
        let status = response.status().as_u16();
        let head: usize = response
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if head > limits.response_head {
            return Err(head_too_large(limits.response_head).into());
        }
        let headers = headers::to_guest(response.headers());
        let mut body = Vec::new();
        // The cap is on decompressed bytes, chunk by chunk, so a compressed bomb ends here too.
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| HttpError::NoAnswer(causes(&error)))?
        {
            // Piece by piece: an answer that breaks off, or takes too long, was received as far as it came.
            let taken = chunk.len().min(limits.response_body - body.len());
            self.used.received = self.used.received.saturating_add(taken);
            if taken < chunk.len() {
                return Err(body_too_large(limits.response_body).into());
            }
            self.answers.grow(chunk.len()).map_err(NotReceived::Over)?;
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, headers, body })
    }

    /// An answer that came whole, if the limits allow it.
    fn within_limits(&self, response: Response) -> Result<Response, HttpError> {
        let limits = &self.grant.limits;
        let fields = response.headers.iter();
        if fields.map(|(name, value)| name.len() + value.len()).sum::<usize>() > limits.response_head {
            return Err(head_too_large(limits.response_head));
        }
        if response.body.len() > limits.response_body {
            return Err(body_too_large(limits.response_body));
        }
        Ok(response)
    }

    /// Whether an endpoint answers with a secret of a key that does not go there. Mostly it is a guess, and what is blanked
    /// would tell the plugin that it was right. Tokens are not looked for: nobody guesses one while it lives, and all of
    /// one kind begin alike.
    async fn holds_stray_secret(&self, endpoint: &str, response: &Response) -> bool {
        let Some(strays) = self.grant.strays.get(endpoint) else {
            return false;
        };
        let fields = response.headers.iter();
        let fields = fields.flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        for bytes in fields.chain([response.body.as_slice()]) {
            if strays.finds(bytes).await {
                self.deny(format!(
                    "an answer of endpoint `{endpoint}` holds a secret of this connector that does not go there; it was \
                     guessed, stands there by chance, or the target shows what it was sent elsewhere"
                ));
                return true;
            }
        }
        false
    }

    async fn scrub(&self, response: Response) -> Response {
        Response {
            status: response.status,
            headers: response
                .headers
                .into_iter()
                .map(|(name, value)| (self.clean(name), self.clean(value)))
                .collect(),
            body: self.clean_bytes(response.body).await,
        }
    }

    fn begin(&self, checked: &Checked, is_unsafe_close: bool) {
        let clean_pairs = |pairs: Vec<(String, String)>| -> Vec<(String, String)> {
            let pairs = pairs.into_iter();
            pairs
                .map(|(name, value)| (self.clean(name), self.clean(value)))
                .collect()
        };
        let exchange = Exchange {
            endpoint: checked.endpoint.clone(),
            method: checked.method.to_string(),
            path: self.clean(checked.path.clone()),
            query: clean_pairs(checked.query.clone()),
            request_headers: clean_pairs(headers::sent(&checked.headers)),
            request_body: checked
                .body
                .as_deref()
                .filter(|_| checked.keep_bodies)
                .and_then(|body| self.keep_text(body))
                .map(|body| self.clean(body)),
            at: self.grant.clock.now(),
            error: Some("not finished".to_owned()),
            unanswered: Some(Unanswered::NoAnswer),
            ..Exchange::default()
        };
        let mut record = self.note();
        record.exchanges.push(exchange);
        // Before the first byte leaves: a crash or a time-out from here on must count as "may have happened".
        if is_unsafe_close {
            record.effect = Effect::Unknown;
        }
    }

    fn end(&self, answer: &Result<Response, HttpError>, started: Instant, is_unsafe_close: bool, keep_bodies: bool) {
        let mut record = self.note();
        if is_unsafe_close {
            record.effect = match answer {
                Ok(_) => Effect::Answered,
                Err(HttpError::NotSent(_) | HttpError::Denied(_)) => Effect::None,
                Err(HttpError::NoAnswer(_) | HttpError::TooLarge(_)) => Effect::Unknown,
            };
        }
        let Some(exchange) = record.exchanges.last_mut() else {
            return;
        };
        exchange.ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match answer {
            Ok(response) => {
                exchange.error = None;
                exchange.status = Some(response.status);
                exchange.response_headers.clone_from(&response.headers);
                exchange.trace_token = self.trace_token(&response.headers);
                if keep_bodies {
                    exchange.response_body = self.keep_text(&response.body);
                }
            }
            Err(
                HttpError::Denied(text)
                | HttpError::NotSent(text)
                | HttpError::NoAnswer(text)
                | HttpError::TooLarge(text),
            ) => {
                exchange.error = Some(text.clone());
            }
        }
        exchange.unanswered = answer.as_ref().err().map(Unanswered::from);
    }

    fn trace_token(&self, headers: &[(String, String)]) -> Option<String> {
        let wanted = self.grant.trace_header.as_deref()?;
        headers
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.chars().take(256).collect())
    }

    fn keep_text(&self, body: &[u8]) -> Option<String> {
        let most = self.grant.limits.transcript_body;
        if body.len() > most {
            return None;
        }
        // What is no text grows to three times its size where each byte is replaced.
        let text = String::from_utf8_lossy(body).into_owned();
        (text.len() <= most).then_some(text)
    }
}

fn head_too_large(most: usize) -> HttpError {
    HttpError::TooLarge(format!("the answer's head is over {most} bytes"))
}

fn body_too_large(most: usize) -> HttpError {
    HttpError::TooLarge(format!("the answer's body is over {most} bytes"))
}

fn classify(error: &reqwest::Error, grant: &Grant, host: &str, port: u16) -> HttpError {
    if error.is_connect() || error.is_builder() {
        let settings = &grant.network_settings;
        // The library says "unsuccessful" of a proxy that refuses, and not who that was.
        let through = match (settings.proxy, settings.connect_to(host, port)) {
            (Some(proxy), _) => format!("through the proxy {proxy}: "),
            (None, Some(address)) => format!("at {address}, where `connect_to` leads: "),
            (None, None) => String::new(),
        };
        let mut text = format!("{through}{}", causes(error));
        if text.contains("UnknownIssuer") {
            let tenant = &grant.tenant;
            text +=
                &format!("; the host's operator names its authority as `ca` under [tenants.{tenant}] in exeunt.toml");
        }
        HttpError::NotSent(text)
    } else {
        HttpError::NoAnswer(causes(error))
    }
}

/// The address that was refused, where that is why nothing was sent. Only an operator can mend that.
fn refused(error: &reqwest::Error) -> Option<&AddressRefused> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref() {
            return Some(refused);
        }
        cause = error.source();
    }
    None
}

/// An error with its causes. Without the URL: a query may name a person.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    // Whoever reads this operates no TLS library, which points to its manual.
    if let Some(manual) = text.find(": https://docs.rs/") {
        text.truncate(manual);
    }
    if text.is_empty() {
        "the request failed".to_owned()
    } else {
        text
    }
}
