//! The token endpoint: secrets go there, a token comes back and stays.
//!
//! During a rotation a key has two secrets, and only the target knows which of them it accepts. They are tried in
//! their order, the next one only where the answer says that this one is not accepted: any other failure (no consent, a
//! limit, no answer) is not the secret's, and a second try would double it. Remembering which one was accepted last lost:
//! a token is minted once an hour, and a memory could be wrong.

use jiff::Timestamp;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use zeroize::{Zeroize, Zeroizing};

use super::call::{Call, LimitReached};
use super::check::{Checked, join};
use super::credentials::GrantError;
use super::descriptor::{Exchange, KeyDeclaration, Method, Placement};
use super::http::{HttpError, Response};
use super::path::RequestPath;
use super::scrub::{Scrubber, blank_opaque};
use super::token::Token;

/// Longest token answer, in bytes: room for the token and for what stands beside it, such as an id token.
const MAX_ANSWER: usize = 64 * 1024;
/// Longest access token, in bytes; more does not fit in a request head.
const MAX_TOKEN: usize = 12 * 1024;
/// Life of a token whose server does not say, in seconds (RFC 6749 section 5.1 only recommends `expires_in`).
const UNSTATED_LIFE: i64 = 300;
/// Longest life of a token that is believed, in seconds.
const MAX_LIFE: i64 = 24 * 3600;

/// One way to ask for a token: what is sent, and what finds its secrets in whatever comes back.
pub(super) struct TokenRequest {
    pub(super) headers: HeaderMap,
    pub(super) body: Zeroizing<String>,
    pub(super) injected: Scrubber,
}

impl Call {
    /// Asks with one secret of a key after the other, until one is accepted or refused for another reason.
    pub(super) async fn redeem(
        &mut self,
        key: &KeyDeclaration,
        exchange: &Exchange,
        requests: impl Iterator<Item = Result<TokenRequest, String>> + Send,
    ) -> Result<Result<Token, GrantError>, LimitReached> {
        let url = match self.place_of(exchange) {
            Ok(url) => url,
            Err(text) => return Ok(Err(GrantError::Denied(self.deny(text)))),
        };
        let mut last = GrantError::Denied(format!("key `{}` has no secret", key.name));
        for (number, request) in requests.enumerate() {
            let request = match request {
                Ok(request) => request,
                Err(text) => return Ok(Err(GrantError::Denied(self.deny(text)))),
            };
            match self.ask(key, exchange, url.clone(), request).await? {
                Err(GrantError::Rejected(response)) if refuses_the_secret(&response) => {
                    last = GrantError::Rejected(response);
                }
                answer => {
                    if number > 0 && answer.is_ok() {
                        self.tell_of_rotation(&key.name);
                    }
                    return Ok(answer);
                }
            }
        }
        Ok(Err(last))
    }

    fn place_of(&self, exchange: &Exchange) -> Result<Url, String> {
        let path = RequestPath::parse(&exchange.path)?;
        self.check_reach(&exchange.endpoint, Method::Post, &path)?;
        match self.grant.endpoints.get(&exchange.endpoint) {
            Some(base) => join(base.url(), &exchange.path, &[]),
            None => Err(format!("no endpoint `{}`", exchange.endpoint)),
        }
    }

    /// The old secret still works and the new one does not yet: somebody has to finish that.
    fn tell_of_rotation(&self, key: &str) {
        let (tenant, connector) = (&self.grant.tenant, &self.grant.connector);
        tracing::warn!(
            tenant,
            connector,
            key,
            "the target does not accept the first secret of this key, the second one made the token"
        );
    }

    async fn ask(
        &mut self,
        key: &KeyDeclaration,
        exchange: &Exchange,
        url: Url,
        request: TokenRequest,
    ) -> Result<Result<Token, GrantError>, LimitReached> {
        let TokenRequest {
            mut headers,
            mut body,
            injected,
        } = request;
        self.injected(&injected);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let checked = Checked {
            endpoint: exchange.endpoint.clone(),
            method: Method::Post,
            path: exchange.path.clone(),
            url,
            query: Vec::new(),
            headers,
            body: Some(Zeroizing::new(std::mem::take(&mut *body).into_bytes())),
            keep_bodies: false,
        };
        let mut response = match self.exchange(checked).await? {
            Ok(response) => response,
            Err(HttpError::Denied(text)) => return Ok(Err(GrantError::Denied(text))),
            Err(HttpError::NotSent(text) | HttpError::NoAnswer(text) | HttpError::TooLarge(text)) => {
                return Ok(Err(GrantError::Unreachable(text)));
            }
        };
        let now = self.grant.clock.now();
        Ok(match read_token(&response) {
            Some((secret, life)) => {
                response.body.zeroize();
                let expires = Timestamp::from_second(now.as_second().saturating_add(life)).ok();
                let token = Token::new(
                    secret,
                    Placement::Bearer,
                    key.usable_at.clone(),
                    now,
                    expires,
                    self.scrubber(),
                );
                self.lend(&token);
                self.clean_last_head();
                self.minted = Some(token.clone());
                Ok(token)
            }
            None => {
                let response = without_token(response);
                if let Some(exchange) = self.note().exchanges.last_mut() {
                    exchange.response_headers.clone_from(&response.headers);
                    exchange.trace_token = exchange.trace_token.take().filter(|_| !response.headers.is_empty());
                }
                Err(GrantError::Rejected(response))
            }
        })
    }
}

impl Call {
    /// The head of the answer that brought a token was kept before the token was known; it may be in there as well.
    fn clean_last_head(&self) {
        let mut record = self.note();
        let Some(exchange) = record.exchanges.last_mut() else {
            return;
        };
        for (name, value) in &mut exchange.response_headers {
            *name = self.clean(std::mem::take(name));
            *value = self.clean(std::mem::take(value));
        }
        exchange.trace_token = exchange.trace_token.take().map(|trace| self.clean(trace));
    }
}

/// Whether the server says that it does not accept the secret itself: an assertion that it cannot verify is
/// `invalid_grant` (RFC 7523 section 3.1), a client that it does not know by this secret `invalid_client` (RFC 6749
/// section 5.2).
fn refuses_the_secret(response: &Response) -> bool {
    let answer: Option<Value> = serde_json::from_slice(&response.body).ok();
    let error = answer.as_ref().and_then(|answer| answer.get("error")?.as_str());
    matches!(response.status, 400 | 401) && matches!(error, Some("invalid_grant" | "invalid_client"))
}

/// The two members of a token answer that count. Everything else is passed over without being kept.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
}

/// The access token and its life in seconds, if the answer is one (RFC 6749 section 5.1).
fn read_token(response: &Response) -> Option<(SecretString, i64)> {
    if !(200..300).contains(&response.status) || response.body.len() > MAX_ANSWER {
        return None;
    }
    let answer: TokenAnswer = serde_json::from_slice(&response.body).ok()?;
    let life = match answer.expires_in {
        Value::Number(seconds) => seconds
            .as_i64()
            .or_else(|| seconds.as_f64().map(|seconds| seconds as i64)),
        Value::String(seconds) => seconds.trim().parse().ok(),
        _ => None,
    };
    let token = answer.access_token;
    let sendable = token.bytes().all(|b| b.is_ascii_graphic());
    let fits = !token.is_empty() && token.len() <= MAX_TOKEN && sendable;
    fits.then(|| {
        (
            SecretString::from(token),
            life.unwrap_or(UNSTATED_LIFE).clamp(0, MAX_LIFE),
        )
    })
}

/// An answer that may hold a token in a shape that we cannot read goes to the guest with its status only. A refusal goes
/// there in its own words, without those that could be a token: one that was never handed over cannot be looked for.
fn without_token(mut response: Response) -> Response {
    let mentions = |needle: &[u8]| response.body.windows(needle.len()).any(|part| part == needle);
    if (200..300).contains(&response.status) || mentions(b"access_token") {
        response.body = Vec::new();
        response.headers = Vec::new();
        return response;
    }
    for (_, value) in &mut response.headers {
        *value = blank_opaque(value);
    }
    let words = String::from_utf8(response.body).unwrap_or_default();
    response.body = blank_opaque(&words).into_bytes();
    response
}
