//! `credentials`: tokens for secrets that the guest never sees.
//!
//! The host writes the claims, signs, posts to the declared place and keeps what comes back. The guest chooses scope
//! and encoding. It cannot aim a secret: where it goes is in the descriptor that the operator accepted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Call, LimitReached};
use super::descriptor::{Exchange, KeyKind, Method, Placement, Verb};
use super::grant::KeyMaterial;
use super::http::{Checked, HttpError, Response, join};
use super::path::RequestPath;
use super::scrub::{Scrubber, blank_opaque};
use super::text::quoted;
use super::token::Token;

/// RFC 7523 section 2.1.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Longest token answer, in bytes: room for the token and for what stands beside it, such as an id token.
const MAX_ANSWER: usize = 64 * 1024;
/// Longest access token, in bytes; more does not fit in a request head.
const MAX_TOKEN: usize = 12 * 1024;
/// Life of a token whose server does not say, in seconds (RFC 6749 section 5.1 only recommends `expires_in`).
const UNSTATED_LIFE: i64 = 300;
/// Longest life of a token that is believed, in seconds.
const MAX_LIFE: i64 = 24 * 3600;
/// Longest scope, in bytes.
const MAX_SCOPE: usize = 2048;

/// How a token request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-www-form-urlencoded`.
    Form,
    /// A JSON object.
    Json,
}

/// A JWT bearer grant as a guest asks for it.
#[derive(Debug, Clone)]
pub struct JwtGrant {
    /// Key name.
    pub key: String,
    /// Scopes.
    pub scope: String,
    /// How the request is written.
    pub encoding: Encoding,
    /// Life of the assertion in seconds.
    pub lifetime: Option<u64>,
}

/// Why there is no token, as the guest learns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantError {
    /// The host does not allow it.
    Denied(String),
    /// No connection, or no whole answer.
    Unreachable(String),
    /// The server answered with something that is not a token.
    Rejected(Response),
}

impl Call {
    /// Signs an assertion and exchanges it.
    ///
    /// # Errors
    ///
    /// Outer: a budget is used up, which ends the call. Inner: what the guest is told.
    pub async fn jwt_bearer(&mut self, grant: JwtGrant) -> Result<Result<Token, GrantError>, LimitReached> {
        self.count()?;
        let (assertion, exchange, usable_at) = match self.permit(&grant.scope).and_then(|()| self.assert(&grant)) {
            Ok(signed) => signed,
            Err(text) => return Ok(Err(GrantError::Denied(self.deny(text)))),
        };
        let members = [("grant_type", JWT_BEARER), ("assertion", assertion.as_str())];
        let (content_type, body) = match grant.encoding {
            Encoding::Form => ("application/x-www-form-urlencoded", form(&members)),
            Encoding::Json => (
                "application/json",
                json!({"grant_type": JWT_BEARER, "assertion": assertion}).to_string(),
            ),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        // Header and claims are no secret, and a token may begin with the very same header: looked for, it would be
        // blanked in the answer that brings it. The rest of the word goes with the signature.
        let signature = assertion.rsplit('.').next().unwrap_or_default();
        self.injected(&Scrubber::new([signature]));
        self.redeem(&exchange, headers, body, usable_at).await
    }

    /// Exchanges a client secret.
    ///
    /// # Errors
    ///
    /// As [`Call::jwt_bearer`].
    pub async fn client_credentials(
        &mut self,
        key: &str,
        scope: &str,
    ) -> Result<Result<Token, GrantError>, LimitReached> {
        self.count()?;
        let (pair, exchange, usable_at) = match self.permit(scope).and_then(|()| self.client(key)) {
            Ok(client) => client,
            Err(text) => return Ok(Err(GrantError::Denied(self.deny(text)))),
        };
        let mut members = vec![("grant_type", "client_credentials")];
        if !scope.is_empty() {
            members.push(("scope", scope));
        }
        let encoded = SecretString::from(STANDARD.encode(pair.expose_secret()));
        // The secret as it stands in the pair may be spelled unlike the secret itself.
        let parts = pair.expose_secret().split(':').skip(1);
        self.injected(&Scrubber::new(
            parts.chain([pair.expose_secret(), encoded.expose_secret()]),
        ));
        let Ok(mut authorization) = HeaderValue::from_str(&format!("Basic {}", encoded.expose_secret())) else {
            return Ok(Err(GrantError::Denied(
                self.deny("the client secret cannot be sent as HTTP Basic".to_owned()),
            )));
        };
        authorization.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        self.redeem(&exchange, headers, form(&members), usable_at).await
    }

    /// A static key as a token.
    ///
    /// # Errors
    ///
    /// As [`Call::jwt_bearer`].
    pub fn api_key(&mut self, key: &str) -> Result<Result<Token, GrantError>, LimitReached> {
        self.count()?;
        if let Err(text) = self.permit("") {
            return Ok(Err(GrantError::Denied(self.deny(text))));
        }
        let found = self
            .grant
            .keys
            .get(key)
            .and_then(|key| match (&key.declaration.kind, &key.material) {
                (KeyKind::ApiKey { placement }, KeyMaterial::Secret(secret)) => {
                    Some((secret.clone(), placement.clone(), key.declaration.usable_at.clone()))
                }
                _ => None,
            });
        let Some((secret, placement, usable_at)) = found else {
            return Ok(Err(GrantError::Denied(self.deny(no_key(key, "static key")))));
        };
        let token = Token::new(
            secret,
            placement,
            usable_at,
            self.grant.clock.now(),
            None,
            self.scrubber(),
        );
        self.minted = Some(token.clone());
        Ok(Ok(token))
    }

    /// Grants exist in `mint` only, a limited number of times.
    fn permit(&mut self, scope: &str) -> Result<(), String> {
        if self.verb != Verb::Mint {
            return Err(format!("`{}` cannot ask for a token: only `mint` can", self.verb));
        }
        if scope.len() > MAX_SCOPE || scope.chars().any(char::is_control) {
            return Err(format!(
                "the scope has a control character or more than {MAX_SCOPE} bytes"
            ));
        }
        if self.used.grants >= self.grant.limits.grants {
            return Err(format!("`mint` may ask for {} token", self.grant.limits.grants));
        }
        self.used.grants += 1;
        Ok(())
    }

    fn assert(&self, asked: &JwtGrant) -> Result<(String, Exchange, Vec<String>), String> {
        let grant = &self.grant;
        let found = grant.keys.get(&asked.key).map(|key| (&key.declaration, &key.material));
        let Some((declaration, KeyMaterial::Signing(signing))) = found else {
            return Err(no_key(&asked.key, "signing key"));
        };
        let KeyKind::SigningKey {
            exchange,
            issuer,
            subject,
        } = &declaration.kind
        else {
            return Err(no_key(&asked.key, "signing key"));
        };
        let most = grant.max_assertion.as_secs();
        let lifetime = asked.lifetime.unwrap_or(most.min(3600));
        if lifetime > most {
            return Err(format!(
                "an assertion of {lifetime} s is longer than the {most} s allowed; operator: write max_assertion = \
                 \"{}d\" under [connectors.{}] in tenants/{}.toml",
                lifetime.div_ceil(86400),
                grant.connector,
                grant.tenant
            ));
        }
        let audience = grant
            .endpoints
            .get(&exchange.endpoint)
            .map(|base| base.host())
            .unwrap_or_default();
        let now = grant.clock.now().as_second();
        let claims = json!({
            "iss": grant.settings.pointer(issuer),
            "sub": grant.settings.pointer(subject),
            "aud": audience,
            "iat": now,
            "exp": now.saturating_add_unsigned(lifetime),
            "scope": asked.scope,
        });
        let assertion = signing
            .sign(&claims)
            .map_err(|error| format!("signing failed: {error}"))?;
        Ok((assertion, exchange.clone(), declaration.usable_at.clone()))
    }

    /// `client_id:secret` for HTTP Basic, each form-encoded first (RFC 6749 section 2.3.1).
    fn client(&self, key: &str) -> Result<(SecretString, Exchange, Vec<String>), String> {
        let grant = &self.grant;
        let found = grant.keys.get(key).map(|key| (&key.declaration, &key.material));
        let Some((declaration, KeyMaterial::Secret(secret))) = found else {
            return Err(no_key(key, "client secret"));
        };
        let KeyKind::ClientSecret { exchange, client_id } = &declaration.kind else {
            return Err(no_key(key, "client secret"));
        };
        let id = grant
            .settings
            .pointer(client_id)
            .and_then(Value::as_str)
            .unwrap_or_default();
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encode(id), encode(secret.expose_secret()));
        Ok((
            SecretString::from(pair),
            exchange.clone(),
            declaration.usable_at.clone(),
        ))
    }

    async fn redeem(
        &mut self,
        exchange: &Exchange,
        mut headers: HeaderMap,
        body: String,
        usable_at: Vec<String>,
    ) -> Result<Result<Token, GrantError>, LimitReached> {
        let path = RequestPath::parse(&exchange.path);
        let granted = path.and_then(|path| self.check_reach(&exchange.endpoint, Method::Post, &path).map(drop));
        if let Err(text) = granted {
            return Ok(Err(GrantError::Denied(self.deny(text))));
        }
        let base = self.grant.endpoints.get(&exchange.endpoint);
        let url = match base.map(|base| join(base.url(), &exchange.path, &[])) {
            Some(Ok(url)) => url,
            Some(Err(text)) => return Ok(Err(GrantError::Denied(self.deny(text)))),
            None => {
                return Ok(Err(GrantError::Denied(
                    self.deny(format!("no endpoint `{}`", exchange.endpoint)),
                )));
            }
        };
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let checked = Checked {
            endpoint: exchange.endpoint.clone(),
            method: Method::Post,
            path: exchange.path.clone(),
            url,
            query: Vec::new(),
            headers,
            body: Some(body.into_bytes()),
            keep_bodies: false,
        };
        let response = match self.exchange(checked).await? {
            Ok(response) => response,
            Err(HttpError::Denied(text)) => return Ok(Err(GrantError::Denied(text))),
            Err(HttpError::NotSent(text) | HttpError::NoAnswer(text) | HttpError::TooLarge(text)) => {
                return Ok(Err(GrantError::Unreachable(text)));
            }
        };
        let now = self.grant.clock.now();
        Ok(match read_token(&response) {
            Some((secret, life)) => {
                let expires = Timestamp::from_second(now.as_second().saturating_add(life)).ok();
                let token = Token::new(secret, Placement::Bearer, usable_at, now, expires, self.scrubber());
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

fn form(members: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(members)
        .finish()
}

fn no_key(name: &str, kind: &str) -> String {
    format!("the descriptor has no {kind} `{}`", quoted(name))
}
