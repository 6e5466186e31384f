//! `http`: requests to the target.
//!
//! Every check happens before anything leaves, in one order: budgets, verb, path, headers, reach, body, token. Only then
//! is a URL written, from the operator's base URL and the checked path.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

use super::call::{Call, Effect, Exchange, LimitReached};
use super::descriptor::{Method, Placement, Reach, Verb};
use super::headers;
use super::network::AddressRefused;
use super::path::RequestPath;
use super::text::quoted;
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

/// A request that passed every check.
pub(super) struct Checked {
    pub(super) endpoint: String,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) url: Url,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
    /// Whether the transcript keeps bodies: not those of token exchanges, nor those of pages.
    pub(super) keep_bodies: bool,
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
        self.exchange(checked).await
    }

    fn check(&mut self, request: Request) -> Result<Checked, String> {
        let Request {
            endpoint,
            method,
            path,
            query,
            headers,
            body,
        } = request;
        let grant = Arc::clone(&self.grant);
        let Some(base) = grant.endpoints.get(&endpoint) else {
            let endpoint = quoted(&endpoint);
            return Err(format!(
                "the descriptor has no endpoint `{endpoint}`; author: declare it in `endpoints`, then the operator binds \
                 it under {}",
                grant.operator()
            ));
        };
        if method.is_safe() && body.is_some() {
            return Err(format!("{method} cannot have a body"));
        }
        if !method.is_safe() && self.verb != Verb::Close {
            return Err(format!(
                "`{}` cannot send {method}: reading verbs cannot write; author: do it in `close`, by a line \
                 `close {method} {endpoint} …` of `reach`",
                self.verb
            ));
        }
        let path = RequestPath::parse(&path)?;
        self.check_size(&query, &headers, body.as_deref())?;
        let mut headers = headers::from_guest(&headers)?;
        let lines = self.check_reach(&endpoint, method, &path)?;
        let path_text = path.encoded();
        let url = join(base.url(), &path_text, &query)?;
        let body = if method.is_safe() {
            None
        } else {
            self.declared_body(&lines, &query, body.as_deref())?.map(Zeroizing::new)
        };
        if body.is_some() {
            headers::declare_json(&mut headers)?;
        }
        if !method.is_safe() {
            self.used.unsafe_requests += 1;
        }
        let keep_bodies = self.verb != Verb::Page;
        Ok(Checked {
            endpoint,
            method,
            path: path_text,
            url,
            query,
            headers,
            body,
            keep_bodies,
        })
    }

    fn check_size(
        &self,
        query: &[(String, String)],
        headers: &[(String, String)],
        body: Option<&[u8]>,
    ) -> Result<(), String> {
        let limits = &self.grant.limits;
        let head: usize = query
            .iter()
            .chain(headers)
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if head > limits.request_head {
            return Err(format!(
                "query and headers have {head} bytes, at most {} are allowed",
                limits.request_head
            ));
        }
        let fields = query.len() + headers.len();
        if fields > limits.request_fields {
            return Err(format!(
                "query and headers have {fields} fields, at most {} are allowed",
                limits.request_fields
            ));
        }
        let body = body.map_or(0, <[u8]>::len);
        if body > limits.request_body {
            return Err(format!(
                "the body has {body} bytes, at most {} are allowed",
                limits.request_body
            ));
        }
        Ok(())
    }

    /// The granted lines that the request fits. The denial names both lines: the author's in the descriptor and the
    /// operator's in the tenant file.
    pub(super) fn check_reach(
        &self,
        endpoint: &str,
        method: Method,
        path: &RequestPath,
    ) -> Result<Vec<&Reach>, String> {
        let grant = &self.grant;
        let account = self.account.as_deref();
        let fits = |reach: &&Reach| reach.verb == self.verb && reach.endpoint == endpoint && reach.method == method;
        let granted = grant.reach.iter().filter(fits);
        let granted: Vec<&Reach> = granted.filter(|reach| reach.path.matches(path, account)).collect();
        if !granted.is_empty() {
            return Ok(granted);
        }
        let asked = format!("{} {method} {endpoint} {}", self.verb, path.encoded());
        let withheld = grant.withheld.iter().filter(fits).find(|reach| {
            let template = reach.path.with_settings(&grant.settings);
            template.is_ok_and(|template| template.matches(path, account))
        });
        Err(match withheld {
            Some(reach) => format!(
                "`{asked}` is not granted; operator: write reach = {} under {}",
                grant.reach_with(reach),
                grant.operator()
            ),
            None => format!(
                "`{asked}` is not in the descriptor's reach; author: declare `{} {method} {endpoint} …` in `reach`, \
                 then the operator of {} can grant it",
                self.verb,
                grant.operator()
            ),
        })
    }

    /// What an unsafe request carries: what one of the granted lines declares for this account, in the host's own
    /// spelling, and none where it declares none.
    fn declared_body(
        &self,
        lines: &[&Reach],
        query: &[(String, String)],
        body: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, String> {
        if self.account().is_empty() {
            return Err("there is no account to close".to_owned());
        }
        if self.used.unsafe_requests >= self.grant.limits.unsafe_requests {
            return Err(format!(
                "`close` may send {} unsafe request",
                self.grant.limits.unsafe_requests
            ));
        }
        let mut refused = Err("nothing is granted".to_owned());
        for line in lines {
            refused = self.carried(line, query, body);
            if refused.is_ok() {
                break;
            }
        }
        refused
    }

    fn carried(
        &self,
        line: &Reach,
        query: &[(String, String)],
        body: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, String> {
        if let Some((name, _)) = query.iter().find(|(name, _)| !line.query.contains(name)) {
            return Err(format!(
                "`{line}` has no query parameter `{}`; author: list it in that line's `query`",
                quoted(name)
            ));
        }
        let Some(template) = &line.body else {
            return match body {
                None => Ok(None),
                Some(_) => Err(format!(
                    "`{line}` has no body; author: declare it in that line's `body`"
                )),
            };
        };
        let declared = template.filled(&self.grant.settings, self.account());
        let sent: Option<Value> = body.and_then(|body| serde_json::from_slice(body).ok());
        if sent.as_ref() != Some(&declared) {
            return Err(format!(
                "the body is not the one that `{line}` declares for this account; author: send that, or declare another"
            ));
        }
        Ok(Some(declared.to_string().into_bytes()))
    }

    /// Sends what was checked, reads the answer within its limits, blanks secrets and keeps the record.
    pub(super) async fn exchange(&mut self, checked: Checked) -> Result<Result<Response, HttpError>, LimitReached> {
        let started = Instant::now();
        let is_unsafe_close = !checked.method.is_safe() && self.verb == Verb::Close;
        let keep_bodies = checked.keep_bodies;
        self.begin(&checked, is_unsafe_close);
        if is_unsafe_close {
            step::passed("closing");
        }
        let limit = self.grant.limits.exchange;
        let answer = match tokio::time::timeout(limit, self.transmit(checked)).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::NoAnswer(format!(
                "no whole answer within {} s",
                limit.as_secs()
            ))),
        };
        if is_unsafe_close {
            step::passed("close-answered");
        }
        let answer = answer.map(|response| self.scrub(response));
        self.end(&answer, started, is_unsafe_close, keep_bodies);
        // What was cut off at the limit was received all the same.
        let received = match &answer {
            Ok(response) => response.body.len(),
            Err(HttpError::TooLarge(_)) => self.grant.limits.response_body,
            Err(_) => 0,
        };
        self.used.received = self.used.received.saturating_add(received);
        if self.used.received > self.grant.limits.received {
            return Err(LimitReached {
                limit: "received",
                allowed: self.grant.limits.received as u64,
            });
        }
        Ok(answer)
    }

    async fn transmit(&self, checked: Checked) -> Result<Response, HttpError> {
        let grant = &self.grant;
        if let Some(transport) = grant.network.transport() {
            let body = checked.body.as_ref().map(|body| body.as_slice());
            return transport.answer(checked.method, &checked.url, body);
        }
        let mut url = checked.url;
        let port = url.port_or_known_default().unwrap_or(443);
        let client = grant
            .network
            .client(&grant.network_settings, port, grant.limits.connect)
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
        let response = request.send().await.map_err(|error| match refused(&error) {
            Some(address) => HttpError::Denied(self.deny(address.to_string())),
            None => classify(&error, grant.network_settings.proxy),
        })?;
        self.receive(response).await
    }

    async fn receive(&self, mut response: reqwest::Response) -> Result<Response, HttpError> {
        let limits = &self.grant.limits;
        let status = response.status().as_u16();
        let head: usize = response
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if head > limits.response_head {
            return Err(HttpError::TooLarge(format!(
                "the answer's head is over {} bytes",
                limits.response_head
            )));
        }
        let headers = headers::to_guest(response.headers());
        let mut body = Vec::new();
        // The cap is on decompressed bytes, chunk by chunk, so a compressed bomb ends here too.
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| HttpError::NoAnswer(causes(&error)))?
        {
            if body.len() + chunk.len() > limits.response_body {
                return Err(HttpError::TooLarge(format!(
                    "the answer's body is over {} bytes",
                    limits.response_body
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, headers, body })
    }

    fn scrub(&self, response: Response) -> Response {
        Response {
            status: response.status,
            headers: response
                .headers
                .into_iter()
                .map(|(name, value)| (self.clean(name), self.clean(value)))
                .collect(),
            body: self.clean_bytes(response.body),
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
            request_body: checked
                .body
                .as_deref()
                .filter(|_| checked.keep_bodies)
                .and_then(|body| self.keep_text(body))
                .map(|body| self.clean(body)),
            at: self.grant.clock.now(),
            error: Some("not finished".to_owned()),
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
    }

    fn trace_token(&self, headers: &[(String, String)]) -> Option<String> {
        let wanted = self.grant.trace_header.as_deref()?;
        headers
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.chars().take(256).collect())
    }

    fn keep_text(&self, body: &[u8]) -> Option<String> {
        (body.len() <= self.grant.limits.transcript_body).then(|| String::from_utf8_lossy(body).into_owned())
    }
}

/// Adds the token in the way that its key says, if it may go to this endpoint.
fn place(token: &Token, checked: &mut Checked) -> Result<(), String> {
    if !token.usable_at().contains(&checked.endpoint) {
        return Err(format!(
            "the token may not be sent to endpoint `{}`; author: list it in the key's `usable-at`, then the operator binds \
             it in `endpoints`",
            checked.endpoint
        ));
    }
    let (name, value) = match token.placement() {
        Placement::Bearer => (AUTHORIZATION, Zeroizing::new(format!("Bearer {}", token.secret()))),
        Placement::Basic => {
            let pair = Zeroizing::new(STANDARD.encode(token.secret()));
            (AUTHORIZATION, Zeroizing::new(format!("Basic {}", *pair)))
        }
        Placement::Header(name) => {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| "the key's header name is malformed".to_owned())?;
            (name, Zeroizing::new(token.secret().to_owned()))
        }
    };
    let mut value =
        HeaderValue::from_str(&value).map_err(|_| "the token has a character that no header can carry".to_owned())?;
    value.set_sensitive(true);
    checked.headers.insert(name, value);
    Ok(())
}

/// The operator's base URL with the checked path below it.
pub(super) fn join(base: &Url, path: &str, query: &[(String, String)]) -> Result<Url, String> {
    let mut url = base.clone();
    let whole = format!("{}{path}", base.path().trim_end_matches('/'));
    url.set_path(&whole);
    // The url crate would fold dot segments; the path was checked for them, so any change is a bug to stop at.
    if url.path() != whole {
        return Err(format!("the path `{path}` does not survive being written as a URL"));
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

fn classify(error: &reqwest::Error, proxy: Option<SocketAddr>) -> HttpError {
    if error.is_connect() || error.is_builder() {
        // The library says "unsuccessful" of a proxy that refuses, and not who that was.
        let through = proxy
            .map(|proxy| format!("through the proxy {proxy}: "))
            .unwrap_or_default();
        HttpError::NotSent(format!("{through}{}", causes(error)))
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
    if text.is_empty() {
        "the request failed".to_owned()
    } else {
        text
    }
}
