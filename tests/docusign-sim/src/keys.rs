//! RSA keys: the caller's key pair, and the public keys that an integration key knows.

use anyhow::{Context as _, anyhow, bail};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A private key as a client needs it, and its public half as the account server needs it.
pub(crate) struct ClientKey {
    pub(crate) pem: String,
    pub(crate) public: ParsedPublicKey,
}

impl ClientKey {
    /// A fresh 2048-bit key: DocuSign generates the same size.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("failed to generate an RSA key"))?;
        Self::new(&pair)
    }

    /// Reads a private key, PKCS#8 or PKCS#1.
    pub(crate) fn from_pem(pem: &str) -> anyhow::Result<Self> {
        let (label, der) = decode(pem)?;
        let pair = match label {
            "PRIVATE KEY" => KeyPair::from_pkcs8(&der),
            "RSA PRIVATE KEY" => KeyPair::from_der(&der),
            other => bail!("expected a PEM of PRIVATE KEY or RSA PRIVATE KEY, this is {other}"),
        };
        Self::new(&pair.map_err(|reason| anyhow!("not an RSA private key of 2048 bits or more: {reason}"))?)
    }

    fn new(pair: &KeyPair) -> anyhow::Result<Self> {
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| anyhow!("failed to encode an RSA key"))?;
        Ok(Self {
            pem: encode("PRIVATE KEY", der.as_ref()),
            public: parse_public(pair.public_key().as_ref())?,
        })
    }
}

/// Reads a public key, SubjectPublicKeyInfo or PKCS#1.
pub(crate) fn public_from_pem(pem: &str) -> anyhow::Result<ParsedPublicKey> {
    let (label, der) = decode(pem)?;
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => parse_public(&der),
        "PRIVATE KEY" | "RSA PRIVATE KEY" => bail!("this is a private key: send its public half"),
        other => bail!("expected a PEM of PUBLIC KEY or RSA PUBLIC KEY, this is {other}"),
    }
}

/// Whether `signature` (RS256) over `message` was made with the private half of `key`.
pub(crate) fn verifies(key: &ParsedPublicKey, message: &[u8], signature: &[u8]) -> bool {
    key.verify_sig(message, signature).is_ok()
}

fn parse_public(der: &[u8]) -> anyhow::Result<ParsedPublicKey> {
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)
        .map_err(|reason| anyhow!("not an RSA public key of 2048 bits or more: {reason}"))
}

fn decode(pem: &str) -> anyhow::Result<(&str, Vec<u8>)> {
    let (_, rest) = pem.split_once("-----BEGIN ").context("not a PEM: no BEGIN line")?;
    let (label, rest) = rest
        .split_once("-----")
        .context("not a PEM: the BEGIN line has no end")?;
    let (body, _) = rest
        .split_once(&format!("-----END {label}-----"))
        .with_context(|| format!("not a whole PEM: no END line for {label}"))?;
    let packed: String = body.split_whitespace().collect();
    let der = STANDARD
        .decode(packed)
        .context("the PEM holds something else than base64")?;
    Ok((label, der))
}

fn encode(label: &str, der: &[u8]) -> String {
    let packed = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = packed.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
