//! `credentials`: tokens for secrets that the guest never sees.
//!
//! The host writes the claims, signs, posts to the declared place and keeps what comes back. The guest chooses scope
//! and encoding. It cannot aim a secret: where it goes is in the descriptor that the operator accepted.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::call::{Call, LimitReached};
use super::descriptor::{Exchange, KeyKind, Verb};
use super::grant::{Grant, Key, KeyMaterial};
use super::http::Response;
use super::redeem::TokenRequest;
use super::scrub::Scrubber;
use super::token::Token;
use crate::tenant::SigningKey;
use crate::text::quoted;

const FORM: &str = "application/x-www-form-urlencoded";
/// RFC 7523 section 2.1.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
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
    pub async fn jwt_bearer(&mut self, asked: JwtGrant) -> Result<Result<Token, GrantError>, LimitReached> {
        self.count()?;
        let grant = Arc::clone(&self.grant);
        let terms = match self.permit(&asked.scope).and_then(|()| terms(&grant, &asked)) {
            Ok(terms) => terms,
            Err(text) => return Ok(Err(GrantError::Denied(self.deny(text)))),
        };
        let requests = terms.key.materials.iter().map(|material| match material {
            KeyMaterial::Signing(signing) => assertion_request(signing, &terms.claims, asked.encoding),
            KeyMaterial::Secret(_) => Err(no_key(&asked.key, "signing key")),
        });
        self.redeem(&terms.key.declaration, terms.exchange, requests).await
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
        let grant = Arc::clone(&self.grant);
        let (declared, exchange, id) = match self.permit(scope).and_then(|()| client(&grant, key)) {
            Ok(client) => client,
            Err(text) => return Ok(Err(GrantError::Denied(self.deny(text)))),
        };
        let requests = declared.materials.iter().map(|material| match material {
            KeyMaterial::Secret(secret) => client_request(id, secret, scope),
            KeyMaterial::Signing(_) => Err(no_key(key, "client secret")),
        });
        self.redeem(&declared.declaration, exchange, requests).await
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
            .and_then(|key| match (&key.declaration.kind, key.materials.first()) {
                (KeyKind::ApiKey { placement }, Some(KeyMaterial::Secret(secret))) => {
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
}

/// What a JWT bearer grant is asked for with: the key, where it is exchanged, the claims.
struct Terms<'a> {
    key: &'a Key,
    exchange: &'a Exchange,
    claims: Value,
}

fn terms<'a>(grant: &'a Grant, asked: &JwtGrant) -> Result<Terms<'a>, String> {
    let Some(key) = grant.keys.get(&asked.key) else {
        return Err(no_key(&asked.key, "signing key"));
    };
    let KeyKind::SigningKey {
        exchange,
        issuer,
        subject,
    } = &key.declaration.kind
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
    Ok(Terms { key, exchange, claims })
}

fn assertion_request(signing: &SigningKey, claims: &Value, encoding: Encoding) -> Result<TokenRequest, String> {
    let signed = signing.sign(claims);
    let assertion = Zeroizing::new(signed.map_err(|error| format!("signing failed: {error}"))?);
    let (content_type, body) = match encoding {
        Encoding::Form => {
            let members = [("grant_type", JWT_BEARER), ("assertion", assertion.as_str())];
            (FORM, form(&members))
        }
        // An assertion is base64 and dots, so nothing in it has to be escaped.
        Encoding::Json => {
            let body = format!("{{\"grant_type\":\"{JWT_BEARER}\",\"assertion\":\"{}\"}}", *assertion);
            ("application/json", Zeroizing::new(body))
        }
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Header and claims are no secret, and a token may begin with the very same header: looked for, it would be
    // blanked in the answer that brings it. The rest of the word goes with the signature.
    let signature = assertion.rsplit('.').next().unwrap_or_default();
    let injected = Scrubber::new([signature]);
    Ok(TokenRequest {
        headers,
        body,
        injected,
    })
}

/// A client's key, where it is exchanged, and its id.
fn client<'a>(grant: &'a Grant, name: &str) -> Result<(&'a Key, &'a Exchange, &'a str), String> {
    let key = grant.keys.get(name).ok_or_else(|| no_key(name, "client secret"))?;
    let KeyKind::ClientSecret { exchange, client_id } = &key.declaration.kind else {
        return Err(no_key(name, "client secret"));
    };
    let id = grant.settings.pointer(client_id).and_then(Value::as_str);
    Ok((key, exchange, id.unwrap_or_default()))
}

/// `client_id:secret` for HTTP Basic, each form-encoded first (RFC 6749 section 2.3.1).
fn client_request(id: &str, secret: &SecretString, scope: &str) -> Result<TokenRequest, String> {
    let encode = |text: &str| Zeroizing::new(url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>());
    let pair = Zeroizing::new(format!("{}:{}", *encode(id), *encode(secret.expose_secret())));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    // The secret as it stands in the pair may be spelled unlike the secret itself. Not the pair: a client's id is none.
    let injected = Scrubber::new(pair.split(':').skip(1).chain([encoded.as_str()]));
    let authorization = Zeroizing::new(format!("Basic {}", *encoded));
    let mut authorization = HeaderValue::from_str(&authorization)
        .map_err(|_| "the client secret cannot be sent as HTTP Basic".to_owned())?;
    authorization.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, authorization);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
    let mut members = vec![("grant_type", "client_credentials")];
    if !scope.is_empty() {
        members.push(("scope", scope));
    }
    let body = form(&members);
    Ok(TokenRequest {
        headers,
        body,
        injected,
    })
}

/// Room for all of it at once: a text that grows leaves copies of a secret behind.
fn form(members: &[(&str, &str)]) -> Zeroizing<String> {
    let room = members
        .iter()
        .map(|(name, value)| 2 + 3 * (name.len() + value.len()))
        .sum();
    let mut serializer = url::form_urlencoded::Serializer::new(String::with_capacity(room));
    Zeroizing::new(serializer.extend_pairs(members).finish())
}

fn no_key(name: &str, kind: &str) -> String {
    format!("the descriptor has no {kind} `{}`", quoted(name))
}
