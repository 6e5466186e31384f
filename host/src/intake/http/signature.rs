//! Signatures as Standard Webhooks 1.0.0 has them (github.com/standard-webhooks/standard-webhooks, spec).
//!
//! The sender signs `ID.TIMESTAMP.BODY` with HMAC-SHA256 and sends `v1,BASE64`, one for each of its secrets, separated by
//! spaces, in `webhook-signature`. Other versions (`v1a` is asymmetric) are passed over.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

/// How far a message's time may be from ours: 5 minutes, as the specification's own libraries have it. Within it a
/// repetition is told by its id.
pub const SIGNATURE_TOLERANCE: Duration = Duration::from_secs(300);

/// Longest `webhook-id`: 256 bytes. Known senders use about 30.
pub const MAX_WEBHOOK_ID_BYTES: usize = 256;

/// Most signatures of one message: 8, as many as a source has secrets; each is compared with each.
pub const MAX_SIGNATURES: usize = 8;

/// Secrets that are tried at least: 2, as many as a source has while one is changed. Where a source has fewer, or there is
/// none, dummies make up for it, so that the time tells nobody whether an address exists. Of one with more it would.
const LEAST_TRIED: usize = 2;

/// A signing secret has 24 to 64 bytes, says the specification.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// A secret that messages are signed with.
pub(super) struct SigningSecret(Zeroizing<Vec<u8>>);

impl SigningSecret {
    /// Reads `whsec_BASE64`; the prefix may be missing, as some senders show it without.
    ///
    /// # Errors
    /// What is wrong with it, without any of it.
    pub(super) fn parse(text: &SecretString) -> Result<Self, String> {
        const WRITE: &str = "write it as the sender shows it: whsec_ and base64";
        let text = text.expose_secret().trim();
        let text = text.strip_prefix("whsec_").unwrap_or(text);
        let key = STANDARD.decode(text).map(Zeroizing::new);
        let key = key.map_err(|_| format!("is not a signing secret of Standard Webhooks; {WRITE}"))?;
        if !SECRET_BYTES.contains(&key.len()) {
            return Err(format!(
                "is a signing secret of {} bytes, where Standard Webhooks has {} to {}; {WRITE}",
                key.len(),
                SECRET_BYTES.start(),
                SECRET_BYTES.end()
            ));
        }
        Ok(Self(key))
    }

    /// One that nobody signs with, to do the same work for a source that is not there.
    pub(super) fn dummy() -> Self {
        Self(Zeroizing::new(vec![0; *SECRET_BYTES.start()]))
    }

    fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return [0; 32];
        };
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// The headers of a signed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    id: String,
    timestamp: String,
    seconds: i64,
    signatures: Vec<[u8; 32]>,
}

impl Signed {
    /// Reads the three headers; none where one is missing, comes twice, or makes no sense.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let id = super::router::only(headers, &ID)?;
        if id.is_empty() || id.len() > MAX_WEBHOOK_ID_BYTES || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let timestamp = super::router::only(headers, &TIMESTAMP)?;
        // No sign and no leading zero: the text is signed, and one time should have one text.
        let plain = timestamp.bytes().all(|b| b.is_ascii_digit()) && !timestamp.starts_with('0');
        let seconds = timestamp.parse().ok().filter(|_| plain)?;
        let signatures = signatures(super::router::only(headers, &SIGNATURE)?)?;
        Some(Self {
            id: id.to_owned(),
            timestamp: timestamp.to_owned(),
            seconds,
            signatures,
        })
    }

    /// The sender's id of the message.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// For how long it has been signed, in seconds; negative where the sender's clock is ahead.
    pub(super) fn age(&self, now: Timestamp) -> i64 {
        now.as_second().saturating_sub(self.seconds)
    }

    /// Whether the message is signed with one of the secrets, and of now. Always tries all of them.
    pub(super) fn verify<'s>(
        &self,
        secrets: impl IntoIterator<Item = &'s SigningSecret>,
        body: &[u8],
        now: Timestamp,
    ) -> bool {
        let dummy = SigningSecret::dummy();
        let mut fits = Choice::from(0);
        for secret in tried(secrets) {
            let expected = secret.unwrap_or(&dummy).sign(&self.id, &self.timestamp, body);
            for signature in &self.signatures {
                let is_secret = Choice::from(u8::from(secret.is_some()));
                fits |= signature.ct_eq(&expected) & is_secret;
            }
        }
        bool::from(fits) && self.age(now).unsigned_abs() <= SIGNATURE_TOLERANCE.as_secs()
    }
}

/// All secrets, and nothing in place of those that are missing.
fn tried<'s>(secrets: impl IntoIterator<Item = &'s SigningSecret>) -> impl Iterator<Item = Option<&'s SigningSecret>> {
    let mut secrets = secrets.into_iter();
    (0..).map_while(move |number| match secrets.next() {
        Some(secret) => Some(Some(secret)),
        None => (number < LEAST_TRIED).then_some(None),
    })
}

/// The `v1` signatures of a header; none where there is none, or too many.
fn signatures(header: &str) -> Option<Vec<[u8; 32]>> {
    let mut signatures = Vec::new();
    for part in header.split(' ').filter(|part| !part.is_empty()) {
        let Some(text) = part.strip_prefix("v1,") else { continue };
        let Some(signature) = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()) else {
            continue;
        };
        if signatures.len() == MAX_SIGNATURES {
            return None;
        }
        signatures.push(signature);
    }
    (!signatures.is_empty()).then_some(signatures)
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
