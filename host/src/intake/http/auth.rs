//! Who sends: bearer token, user and password, or signature.
//!
//! From outside a tenant, a source and a secret that do not exist look the same. So the work depends on what a request
//! presents, never on what is configured: credentials in a header are compared before the body is read, a signature
//! after it, and where there is nothing to compare with, a dummy takes its place.

use std::fmt;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::signature::{Signed, SigningSecret};
use crate::tenant::{ConfigError, SecretRef, SourceAuth};

/// Shortest bearer token or password of a sender: 16 bytes, which cannot be guessed over a network if they are random.
const MIN_SECRET_BYTES: usize = 16;

/// SHA-256 of a secret: all of one length, so that comparing takes one time.
type Digest = [u8; 32];

/// What a source asks of its sender, secrets resolved.
pub(super) enum Auth {
    Bearer(Vec<Digest>),
    Basic(Vec<Digest>),
    Webhook(Vec<SigningSecret>),
}

impl Auth {
    /// Resolves the secrets.
    ///
    /// # Errors
    /// Those of all secrets that cannot be read or used, with their lines.
    pub(super) fn resolve(config: &SourceAuth) -> Result<Self, ConfigError> {
        let plain = |secret: &SecretRef| {
            let secret_text = secret.resolve()?;
            let checked = check_plain(&secret_text).and_then(|()| check_length(&secret_text));
            checked.map_err(|message| secret.location().error(message))?;
            Ok(secret_text)
        };
        match config {
            SourceAuth::Bearer(secrets) => all(secrets, |secret| {
                plain(secret).map(|text| digest(text.expose_secret().as_bytes()))
            })
            .map(Self::Bearer),
            SourceAuth::Basic { user, passwords } => all(passwords, |password| {
                let secret = password.resolve()?;
                check_length(&secret).map_err(|message| password.location().error(message))?;
                let pair = SecretString::from(format!("{user}:{}", secret.expose_secret()));
                Ok(digest(pair.expose_secret().as_bytes()))
            })
            .map(Self::Basic),
            SourceAuth::Webhook(secrets) => all(secrets, |secret| {
                SigningSecret::parse(&secret.resolve()?).map_err(|message| secret.location().error(message))
            })
            .map(Self::Webhook),
        }
    }
}

impl Auth {
    /// What it asks for, for the log.
    pub(super) fn words(&self) -> &'static str {
        match self {
            Self::Bearer(_) => "the source asks for one of its bearer tokens",
            Self::Basic(_) => "the source asks for its user and one of its passwords",
            Self::Webhook(_) => {
                "the source asks for a signature with one of its webhook secrets, of the last five minutes"
            }
        }
    }

    /// Whether messages are signed, so that their id is the sender's word.
    pub(super) fn is_signature(&self) -> bool {
        matches!(self, Self::Webhook(_))
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer(…)",
            Self::Basic(_) => "Basic(…)",
            Self::Webhook(_) => "Webhook(…)",
        })
    }
}

fn all<T>(secrets: &[SecretRef], read: impl Fn(&SecretRef) -> Result<T, ConfigError>) -> Result<Vec<T>, ConfigError> {
    let mut errors = Vec::new();
    let read = secrets
        .iter()
        .filter_map(|secret| read(secret).map_err(|error| errors.push(error)).ok());
    let read = read.collect();
    ConfigError::collect(errors).map(|()| read)
}

// A header carries visible ASCII; anything else could be written in two ways, and would fit in one of them at best.
fn check_plain(secret: &SecretString) -> Result<(), &'static str> {
    if secret.expose_secret().bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err("holds other characters than visible ASCII, which an HTTP header cannot carry safely; make another secret")
}

/// Whoever guesses it has people's accounts closed.
fn check_length(secret: &SecretString) -> Result<(), &'static str> {
    if secret.expose_secret().len() >= MIN_SECRET_BYTES {
        return Ok(());
    }
    Err("is shorter than 16 bytes, and whoever guesses it closes accounts; make one with `openssl rand -hex 32`")
}

fn digest(text: &[u8]) -> Digest {
    Sha256::digest(text).into()
}

/// What a request presents.
#[derive(Debug)]
pub(super) struct Presented {
    authorization: Option<Authorization>,
    signed: Option<Signed>,
}

#[derive(Debug, PartialEq, Eq)]
enum Authorization {
    Bearer(Digest),
    Basic(Digest),
}

impl Presented {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let authorization = super::router::only(headers, &header::AUTHORIZATION).and_then(Authorization::parse);
        Self {
            authorization,
            signed: Signed::read(headers),
        }
    }

    /// Whether the body is needed to tell.
    pub(super) fn is_signed(&self) -> bool {
        self.signed.is_some()
    }

    /// The sender's id of a signed message.
    pub(super) fn signed_id(&self) -> Option<&str> {
        self.signed.as_ref().map(Signed::id)
    }

    /// What it is, for the log, without anything of it.
    pub(super) fn words(&self, now: Timestamp) -> String {
        match (&self.signed, &self.authorization) {
            (Some(signed), _) => format!("a webhook signature made {} s ago", signed.age(now)),
            (None, Some(Authorization::Bearer(_))) => "a bearer token".to_owned(),
            (None, Some(Authorization::Basic(_))) => "a user and a password".to_owned(),
            (None, None) => "no credentials that can be read".to_owned(),
        }
    }

    /// Whether this is what `auth` asks for. Without one it never is, in the same time.
    pub(super) fn fits(&self, auth: Option<&Auth>, body: &[u8], now: Timestamp) -> bool {
        let by_signature = self.signed.as_ref().is_some_and(|signed| match auth {
            Some(Auth::Webhook(secrets)) => signed.verify(secrets, body, now),
            _ => in_vain(signed.verify([], body, now)),
        });
        let by_header = match (&self.authorization, auth) {
            (Some(Authorization::Bearer(given)), Some(Auth::Bearer(known))) => any(given, known),
            (Some(Authorization::Basic(given)), Some(Auth::Basic(known))) => any(given, known),
            (Some(Authorization::Bearer(given) | Authorization::Basic(given)), _) => in_vain(any(given, &[[0; 32]])),
            (None, _) => false,
        };
        by_signature | by_header
    }
}

impl Authorization {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, credentials) = text.split_once(' ')?;
        let credentials = credentials.trim_matches(' ');
        if credentials.is_empty() {
            None
        } else if scheme.eq_ignore_ascii_case("bearer") {
            Some(Self::Bearer(digest(credentials.as_bytes())))
        } else if scheme.eq_ignore_ascii_case("basic") {
            STANDARD.decode(credentials).ok().map(|pair| Self::Basic(digest(&pair)))
        } else {
            None
        }
    }
}

// The compiler must not see that the work is for nothing.
fn in_vain(fits: bool) -> bool {
    std::hint::black_box(fits);
    false
}

fn any(given: &Digest, known: &[Digest]) -> bool {
    let fits = known
        .iter()
        .fold(Choice::from(0), |fits, known| fits | known.ct_eq(given));
    fits.into()
}

/// The token of `Authorization: Bearer TOKEN`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = super::router::only(headers, &header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
