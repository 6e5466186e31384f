//! The key that signs assertions.
//!
//! Two crates look at it. `rsa` parses and checks it, since jsonwebtoken takes any PEM (a public key, 1024 bits) and
//! fails only at the first signature; aws-lc-rs signs, since `rsa` has no constant-time private operation.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rsa::pkcs1::der::pem;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey, EncodeRsaPublicKey, RsaPrivateKeyRef};
use rsa::pkcs8::PrivateKeyInfoRef;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::error::{ConfigError, Location};

/// Shortest RSA key: 2048 bits, the least that RFC 7518 section 3.3 allows for RS256 and that DocuSign makes.
pub const MIN_KEY_BITS: usize = 2048;

/// Longest RSA key: 8192 bits, the most that aws-lc-rs signs with. One signature takes some 40 ms there.
pub const MAX_KEY_BITS: usize = 8192;

/// Longest label of a PEM block that counts as one: 40 bytes. The longest of a key has 21.
const MAX_LABEL_BYTES: usize = 40;

const MAKE_ONE: &str = "make one with `openssl genrsa -out key.pem 2048`";

/// A private RSA key that was tried out when it was loaded.
pub struct SigningKey {
    key: EncodingKey,
    public_digest: [u8; 32],
    bits: usize,
}

/// Signing failed, although it worked when the key was loaded.
#[derive(Debug, thiserror::Error)]
#[error("the assertion could not be signed: {0}")]
pub struct SignError(#[from] jsonwebtoken::errors::Error);

impl SigningKey {
    /// Reads a private RSA key in PEM, PKCS#1 (`RSA PRIVATE KEY`) or PKCS#8 (`PRIVATE KEY`), and signs once with it.
    ///
    /// `location` is where the operator wrote the reference to it.
    ///
    /// # Errors
    /// It is something else, cut off, too short or too long; the message says what it is and what to do.
    pub fn from_pem(pem: &SecretString, location: &Location) -> Result<Self, ConfigError> {
        Self::parse(pem.expose_secret()).map_err(|message| location.error(message))
    }

    /// A JWT with these claims and the header `{"typ":"JWT","alg":"RS256"}`, without `kid`.
    ///
    /// # Errors
    /// The crypto library refused, which it did not at load.
    pub fn sign(&self, claims: &Value) -> Result<String, SignError> {
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, &self.key)?)
    }

    /// SHA-256 of the public key (DER of PKCS#1): changes with the key and tells nothing about it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.public_digest
    }

    /// Length of the modulus.
    #[cfg(test)]
    fn bits(&self) -> usize {
        self.bits
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (label, block) = first_block(text)?;
        check_label(label, block)?;
        if block.contains("\\n") {
            return Err(
                r"holds the two characters `\n` where its lines should end; put real line ends there".to_owned(),
            );
        }
        let (_, der) = pem::decode_vec(block.as_bytes()).map_err(|error| broken(label, &error.to_string()))?;
        let der = Zeroizing::new(der);
        let pkcs1 = match label {
            "PRIVATE KEY" => inner_key(&der)?,
            _ => der.as_slice(),
        };
        let bits = modulus_bits(label, pkcs1)?;
        let key = rsa::PrivateKey::from_pkcs1_der(pkcs1)
            .map_err(|error| format!("is an RSA key whose numbers do not fit together ({error}); {MAKE_ONE}"))?;
        Self::try_out(&key, bits)
    }

    fn try_out(key: &rsa::PrivateKey, bits: usize) -> Result<Self, String> {
        let refused = |error: &dyn fmt::Display| format!("is an RSA key that cannot sign ({error}); {MAKE_ONE}");
        let public = key.as_public_key().to_pkcs1_der().map_err(|error| refused(&error))?;
        let private = key.to_pkcs1_der().map_err(|error| refused(&error))?;
        let public_digest = Sha256::digest(public.as_bytes()).into();
        let key = Self {
            key: EncodingKey::from_rsa_der(private.as_bytes()),
            public_digest,
            bits,
        };
        let probe = b"exeunt signs once when it loads a key";
        let signature = jsonwebtoken::crypto::sign(probe, &key.key, Algorithm::RS256).map_err(|e| refused(&e))?;
        let public = DecodingKey::from_rsa_der(public.as_bytes());
        match jsonwebtoken::crypto::verify(&signature, probe, &public, Algorithm::RS256) {
            Ok(true) => Ok(key),
            Ok(false) => Err(refused(&"its signature does not verify")),
            Err(error) => Err(refused(&error)),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} bits, [REDACTED])", self.bits)
    }
}

// The first PEM block that is a key of any kind; `openssl` writes text, parameters or certificates around it.
fn first_block(text: &str) -> Result<(&str, &str), String> {
    let mut certificate = false;
    let mut rest = text;
    while let Some(start) = rest.find("-----BEGIN ") {
        let block = &rest[start..];
        let after = &block["-----BEGIN ".len()..];
        let Some(label) = label(after) else {
            let why = "its BEGIN line does not end in five dashes";
            return Err(format!("is cut off or damaged ({why}); copy the whole file"));
        };
        let end = format!("-----END {label}-----");
        let Some(length) = block.find(&end).map(|at| at + end.len()) else {
            return Err(broken(label, "the END line is missing"));
        };
        rest = &block[length..];
        match label {
            "CERTIFICATE" => certificate = true,
            "RSA PARAMETERS" | "EC PARAMETERS" | "DH PARAMETERS" => {}
            _ => return Ok((label, &block[..length])),
        }
    }
    if certificate {
        return Err("is a certificate; the private key that belongs to it is needed".to_owned());
    }
    Err(format!(
        "is not PEM: there is no line -----BEGIN PRIVATE KEY-----; {MAKE_ONE}"
    ))
}

// The label of a BEGIN line, from behind `BEGIN `. What does not look like one is not a label but, where a dash was lost,
// the key itself, which must not get into an error.
fn label(after: &str) -> Option<&str> {
    let (label, _) = after.lines().next()?.split_once("-----")?;
    let is_one = label.len() <= MAX_LABEL_BYTES && label.bytes().all(|b| b.is_ascii_uppercase() || b == b' ');
    is_one.then_some(label)
}

fn check_label(label: &str, block: &str) -> Result<(), String> {
    let decrypt = "decrypt it with `openssl rsa -in key.pem -out plain.pem`";
    match label {
        "RSA PRIVATE KEY" if block.contains("ENCRYPTED") => Err(format!(
            "is a private key encrypted with a passphrase (legacy PEM); {decrypt}"
        )),
        "RSA PRIVATE KEY" | "PRIVATE KEY" => Ok(()),
        "ENCRYPTED PRIVATE KEY" => Err(format!(
            "is a private key encrypted with a passphrase (PKCS#8); {decrypt}"
        )),
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {
            Err("is a public key; the private key is needed (the public one goes to the target)".to_owned())
        }
        "EC PRIVATE KEY" => Err(format!("is an elliptic-curve key; RS256 needs RSA: {MAKE_ONE}")),
        "DSA PRIVATE KEY" => Err(format!("is a DSA key; RS256 needs RSA: {MAKE_ONE}")),
        "OPENSSH PRIVATE KEY" => Err(
            "is in OpenSSH's own format; turn it into PEM with `ssh-keygen -p -m PEM -f \
                                      key.pem`, if it is an RSA key"
                .to_owned(),
        ),
        other => Err(format!(
            "is PEM of the kind `{}`, not a private RSA key; {MAKE_ONE}",
            other.escape_debug()
        )),
    }
}

fn broken(label: &str, why: &str) -> String {
    format!(
        "is cut off or damaged ({why}) after -----BEGIN {}-----; copy the whole file",
        label.escape_debug()
    )
}

fn inner_key(der: &[u8]) -> Result<&[u8], String> {
    let info = PrivateKeyInfoRef::try_from(der).map_err(|error| broken("PRIVATE KEY", &error.to_string()))?;
    match info.algorithm.oid.to_string().as_str() {
        "1.2.840.113549.1.1.1" => Ok(info.private_key.as_bytes()),
        "1.2.840.113549.1.1.10" => Err(format!("is an RSA-PSS key, which RS256 cannot use; {MAKE_ONE}")),
        "1.2.840.10045.2.1" => Err(format!("is an elliptic-curve key; RS256 needs RSA: {MAKE_ONE}")),
        "1.3.101.112" => Err(format!("is an Ed25519 key; RS256 needs RSA: {MAKE_ONE}")),
        other => Err(format!(
            "is a private key of another kind (object identifier {other}); {MAKE_ONE}"
        )),
    }
}

fn modulus_bits(label: &str, pkcs1: &[u8]) -> Result<usize, String> {
    let key = RsaPrivateKeyRef::try_from(pkcs1).map_err(|error| broken(label, &error.to_string()))?;
    let modulus = key.modulus.as_bytes();
    let zeros = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    match (modulus.len() * 8).saturating_sub(zeros) {
        bits if bits < MIN_KEY_BITS => Err(format!(
            "is an RSA key of {bits} bits; {MIN_KEY_BITS} or more are needed: {MAKE_ONE}"
        )),
        bits if bits > MAX_KEY_BITS => Err(format!(
            "is an RSA key of {bits} bits; at most {MAX_KEY_BITS} are supported: {MAKE_ONE}"
        )),
        bits => Ok(bits),
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
