//! The JWT grant of `POST /oauth/token`: every check of an assertion, in order.
//!
//! Which check comes first where several fail is not documented. This order goes from what needs no knowledge to what
//! needs most: form, issuer and audience, signature, times, subject, consent.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::call::{Call, Reply};
use crate::state::{State, Token};
use crate::switches::LongAssertion;
use crate::tls::ACCOUNT_NAMES;
use crate::{Status, ids, keys};

/// Seconds an access token lives, whatever the assertion says.
const TOKEN_LIFETIME: i64 = 3600;

/// Seconds an assertion may live by the documentation.
const ASSERTION_LIFETIME: i64 = 3600;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Why there is no token.
enum Refusal {
    InvalidRequest,
    ConsentRequired,
    InvalidGrant(Option<&'static str>),
}

const BAD_SIGNATURE: Refusal = Refusal::InvalidGrant(Some("no_valid_keys_or_signatures"));

impl Refusal {
    fn reply(&self) -> Reply {
        match self {
            Self::InvalidRequest => Reply::oauth_error("invalid_request", None),
            Self::ConsentRequired => Reply::oauth_error("consent_required", None),
            Self::InvalidGrant(description) => Reply::oauth_error("invalid_grant", *description),
        }
    }
}

/// Answers a token request.
pub(crate) fn exchange(state: &mut State, call: &Call) -> Reply {
    let granted = request(call, state.article).and_then(|assertion| grant(state, &assertion));
    match granted {
        Ok(token) => {
            let scope = token.scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
            let mut body = json!({
                "access_token": state.issue(token),
                "token_type": "Bearer",
                "expires_in": TOKEN_LIFETIME,
            });
            if state.switches.token_scope_member {
                body["scope"] = Value::from(scope);
            }
            Reply::json(200, &body)
        }
        Err(refusal) => refusal.reply(),
    }
}

/// The assertion of a well-formed request. JSON bodies are for the article only: DocuSign takes forms.
fn request(call: &Call, article: bool) -> Result<String, Refusal> {
    let (grant_type, assertion) = if call.is_json() && article {
        let body: Map<String, Value> = serde_json::from_slice(&call.body).map_err(|_| Refusal::InvalidRequest)?;
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        (text("grant_type"), text("assertion"))
    } else if call.is_form() {
        let pairs: Vec<_> = form_urlencoded::parse(&call.body).into_owned().collect();
        let text = |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        };
        (text("grant_type"), text("assertion"))
    } else {
        return Err(Refusal::InvalidRequest);
    };
    match (grant_type.as_deref(), assertion) {
        (Some(JWT_BEARER), Some(assertion)) if !assertion.is_empty() => Ok(assertion),
        _ => Err(Refusal::InvalidRequest),
    }
}

fn grant(state: &State, assertion: &str) -> Result<Token, Refusal> {
    let jwt = Jwt::parse(assertion).ok_or(BAD_SIGNATURE)?;
    let integration_key = check_issuer(state, &jwt)?;
    check_times(state, &jwt)?;
    let scopes = jwt.scopes().ok_or(Refusal::InvalidRequest)?;
    let user_id = check_subject(state, &jwt)?;
    check_consent(state, &integration_key, user_id.as_deref(), &scopes)?;
    Ok(Token {
        user_id,
        scopes,
        expires_at: state.clock.now() + TOKEN_LIFETIME,
    })
}

fn check_issuer(state: &State, jwt: &Jwt<'_>) -> Result<String, Refusal> {
    const UNKNOWN: Refusal = Refusal::InvalidGrant(Some("issuer_not_found"));
    let audience = jwt.text("aud").ok_or(BAD_SIGNATURE)?;
    if audience.is_empty() || audience.contains(['/', ':']) {
        return Err(BAD_SIGNATURE);
    }
    let issuer = jwt.text("iss").ok_or(UNKNOWN)?.to_ascii_lowercase();
    let keys = state.integration_keys.get(&issuer).ok_or(UNKNOWN)?;
    if !ACCOUNT_NAMES.iter().any(|name| name.eq_ignore_ascii_case(audience)) {
        return Err(UNKNOWN);
    }
    let is_signed = keys
        .iter()
        .any(|key| keys::verifies(&key.key, jwt.signed.as_bytes(), &jwt.signature));
    if is_signed { Ok(issuer) } else { Err(BAD_SIGNATURE) }
}

fn check_times(state: &State, jwt: &Jwt<'_>) -> Result<(), Refusal> {
    let now = state.clock.now();
    let expires = jwt.seconds("exp").ok_or(BAD_SIGNATURE)?;
    if jwt.seconds("nbf").is_some_and(|from| from > now) {
        return Err(BAD_SIGNATURE);
    }
    if expires <= now {
        return Err(Refusal::InvalidGrant(Some("expired_grant")));
    }
    let issued = jwt.seconds("iat").unwrap_or(now);
    let is_long = expires.saturating_sub(issued) > ASSERTION_LIFETIME && !state.article;
    match state.switches.long_assertion {
        LongAssertion::InvalidGrant if is_long => Err(Refusal::InvalidGrant(None)),
        LongAssertion::InvalidRequest if is_long => Err(Refusal::InvalidRequest),
        _ => Ok(()),
    }
}

/// The user an assertion is for; none asks for an application token.
fn check_subject(state: &State, jwt: &Jwt<'_>) -> Result<Option<String>, Refusal> {
    let Some(subject) = jwt.claims.get("sub") else {
        return Ok(None);
    };
    let subject = subject.as_str().filter(|subject| ids::is_guid(subject));
    let subject = subject
        .ok_or(Refusal::InvalidGrant(Some("invalid_subject")))?
        .to_ascii_lowercase();
    let is_active = |account: &crate::Account| account.user(&subject).is_some_and(|user| user.status == Status::Active);
    if state.accounts.iter().any(is_active) {
        Ok(Some(subject))
    } else {
        Err(Refusal::InvalidGrant(Some("user_not_found")))
    }
}

/// Every requested scope must have been consented to, and `impersonation` always.
fn check_consent(state: &State, key: &str, user: Option<&str>, scopes: &BTreeSet<String>) -> Result<(), Refusal> {
    let consent = state
        .consents
        .get(&(key.to_owned(), user.unwrap_or_default().to_owned()));
    let consent = consent.ok_or(Refusal::ConsentRequired)?;
    let is_covered = consent.contains("impersonation") && scopes.is_subset(consent);
    if is_covered {
        Ok(())
    } else {
        Err(Refusal::ConsentRequired)
    }
}

/// An assertion, decoded and not yet believed.
struct Jwt<'a> {
    /// Header and payload as they were signed.
    signed: &'a str,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

impl<'a> Jwt<'a> {
    /// None where the text is no JWT signed with RS256.
    fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Map<String, Value> = decode(header)?;
        if header.get("alg")?.as_str()? != "RS256" {
            return None;
        }
        Some(Self {
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
            claims: decode(payload)?,
        })
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }

    fn seconds(&self, claim: &str) -> Option<i64> {
        let value = self.claims.get(claim)?;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "a float out of range saturates, which is a far date"
        )]
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
    }

    /// The requested scopes; none where there are none.
    fn scopes(&self) -> Option<BTreeSet<String>> {
        let scopes: BTreeSet<String> = self.text("scope")?.split_whitespace().map(str::to_owned).collect();
        (!scopes.is_empty()).then_some(scopes)
    }
}

fn decode(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
