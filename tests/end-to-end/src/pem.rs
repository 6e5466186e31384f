//! The forms that a private key comes in.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What stands before the PKCS#1 key in a PKCS#8 (RFC 5208) of an RSA key of 2048 bits: version, algorithm, lengths.
const PKCS8_HEAD: usize = 26;

/// The bytes of a PEM that is one block.
///
/// # Panics
///
/// When it is not.
#[must_use]
pub fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).expect("base64")
}

/// Bytes as PEM, 64 characters a line.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    let packed = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = packed.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem + &format!("-----END {label}-----\n")
}

/// A fresh private key that nobody knows, PKCS#8.
///
/// # Panics
///
/// When it cannot be made.
#[must_use]
pub fn fresh() -> String {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).expect("its form");
    pem("PRIVATE KEY", der.as_ref())
}

/// A PKCS#8 key (`PRIVATE KEY`) as PKCS#1 (`RSA PRIVATE KEY`).
#[must_use]
pub fn pkcs1(pkcs8: &str) -> String {
    pem("RSA PRIVATE KEY", &der(pkcs8)[PKCS8_HEAD..])
}

/// The public half of a PKCS#8 key, as `RSA PUBLIC KEY`.
///
/// # Panics
///
/// When it is no private key.
#[must_use]
pub fn public_key(pkcs8: &str) -> String {
    let pair = KeyPair::from_pkcs8(&der(pkcs8)).expect("a private key");
    pem("RSA PUBLIC KEY", pair.public_key().as_ref())
}
