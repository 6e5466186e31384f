//! Signatures of plugins: who vouches for a component.
//!
//! Ed25519 over a text with a purpose and a version around the digest, so that a signature of anything else, made with
//! the same key, never counts as one of a plugin. A detached file holds one signature a line: several may vouch.

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::names::quoted;

/// Largest file of signatures: 4 KiB, some 25 of them.
pub const MAX_SIGNATURES_BYTES: usize = 4096;

/// Most public keys of one list: 32, more than teams that release plugins.
pub const MAX_SIGNERS: usize = 32;

/// Begins each line of a file of signatures, and names its form.
const LINE: &str = "exeunt-signature-1";
/// Begins the text that is signed.
const PURPOSE: &str = "exeunt plugin signature 1";
/// Begins a public key.
const KIND: &str = "ed25519:";
/// Bytes of a public key.
const KEY_BYTES: usize = 32;
/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 64;

/// Whose signature counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// Reads `ed25519:` and 32 bytes in base64.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = text.strip_prefix(KIND).and_then(|packed| STANDARD.decode(packed).ok());
        let bytes = bytes.and_then(|bytes| <[u8; KEY_BYTES]>::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| {
            format!(
                "{} is not a public key; write \"ed25519:…\" as `exeunt plugin keygen` prints it",
                quoted(text)
            )
        })
    }

    fn verifies(self, digest: &str, signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        key.verify(message(digest).as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A private key that signs plugins.
pub struct PrivateKey(Ed25519KeyPair);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.public()).finish()
    }
}

/// The library would not make, write or use a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library refused")]
pub struct Refused;

impl PrivateKey {
    /// A new key.
    ///
    /// # Errors
    /// The machine has no randomness.
    pub fn generate() -> Result<Self, Refused> {
        Ed25519KeyPair::generate().map(Self).map_err(|_| Refused)
    }

    /// Reads PKCS#8 in PEM, as [`PrivateKey::to_pem`] and `openssl genpkey -algorithm ed25519` write it.
    ///
    /// # Errors
    /// It is something else; nothing of it is in the message.
    pub fn from_pem(pem: &SecretString) -> Result<Self, String> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.expose_secret().as_bytes()).ok();
        let pair = key.and_then(|key| Ed25519KeyPair::from_pkcs8(key.secret_pkcs8_der()).ok());
        pair.map(Self)
            .ok_or_else(|| "does not hold an Ed25519 key in PEM; make one with `exeunt plugin keygen`".to_owned())
    }

    /// PKCS#8 in PEM.
    ///
    /// # Errors
    /// The library's.
    pub fn to_pem(&self) -> Result<SecretString, Refused> {
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&self.0).map_err(|_| Refused)?;
        // 48 bytes: one line of PEM.
        let packed = Zeroizing::new(STANDARD.encode(der.as_ref()));
        let (head, foot) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
        Ok(SecretString::from(format!("{head}\n{}\n{foot}\n", *packed)))
    }

    /// Whose signatures it makes.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }
}

/// Where the signatures of a plugin's file are: beside it, with `.sig` at the end.
#[must_use]
pub fn signature_file(plugin: &Path) -> PathBuf {
    let mut name = plugin.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

/// What is signed.
fn message(digest: &str) -> String {
    format!("{PURPOSE}\n{digest}\n")
}

/// The signatures of one plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures(Vec<(PublicKey, [u8; SIGNATURE_BYTES])>);

impl Signatures {
    /// Reads a file of signatures.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() > MAX_SIGNATURES_BYTES {
            return Err(format!(
                "is over {MAX_SIGNATURES_BYTES} bytes, the limit for signatures"
            ));
        }
        let text = std::str::from_utf8(text).map_err(|_| "is not a file of signatures".to_owned())?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let all: Option<Vec<_>> = lines.map(line).collect();
        match all {
            Some(all) if !all.is_empty() => Ok(Self(all)),
            _ => Err(format!(
                "is not a file of signatures: each line is `{LINE} ed25519:KEY SIGNATURE`; make it with `exeunt plugin sign`"
            )),
        }
    }

    /// Signs a plugin, in the place of an earlier signature of this key.
    pub fn sign(&mut self, key: &PrivateKey, digest: &str) {
        let mut signature = [0; SIGNATURE_BYTES];
        signature.copy_from_slice(key.0.sign(message(digest).as_bytes()).as_ref());
        self.0.retain(|(by, _)| *by != key.public());
        self.0.push((key.public(), signature));
    }

    /// With further ones: each key's first signature.
    #[must_use]
    pub fn and(mut self, more: &Self) -> Self {
        for (by, signature) in &more.0 {
            if self.0.iter().all(|(known, _)| known != by) {
                self.0.push((*by, *signature));
            }
        }
        self
    }

    /// Those that are of this digest. A line may say anything, and one that is kept stands in the way of others.
    #[must_use]
    pub fn of(mut self, digest: &str) -> Self {
        self.0.retain(|(by, signature)| by.verifies(digest, signature));
        self
    }

    /// Whether one of these keys has signed the plugin of this digest.
    ///
    /// # Errors
    /// Who has signed instead, or that the signature is of another plugin.
    pub fn verify(&self, digest: &str, signers: &[PublicKey]) -> Result<(), String> {
        let mut known = self.0.iter().filter(|(by, _)| signers.contains(by)).peekable();
        if known.peek().is_none() {
            let others: Vec<String> = self.0.iter().map(|(by, _)| by.to_string()).collect();
            return Err(format!(
                "it is signed by {}, whose signature does not count here",
                others.join(", ")
            ));
        }
        if known.any(|(by, signature)| by.verifies(digest, signature)) {
            return Ok(());
        }
        Err(format!(
            "its signature is not one of {digest}; sign that file with `exeunt plugin sign`"
        ))
    }
}

/// The file's text.
impl fmt::Display for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(by, signature)| writeln!(f, "{LINE} {by} {}", STANDARD.encode(signature)))
    }
}

fn line(line: &str) -> Option<(PublicKey, [u8; SIGNATURE_BYTES])> {
    let mut words = line.split_whitespace();
    let (form, key, signature) = (words.next()?, words.next()?, words.next()?);
    if form != LINE || words.next().is_some() {
        return None;
    }
    let signature = STANDARD.decode(signature).ok()?;
    Some((PublicKey::parse(key).ok()?, signature.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:00ff";

    fn signed(keys: &[&PrivateKey]) -> Signatures {
        let mut signatures = Signatures::default();
        keys.iter().for_each(|key| signatures.sign(key, DIGEST));
        signatures
    }

    #[test]
    fn a_key_survives_being_written_and_signs_the_same() {
        let key = PrivateKey::generate().unwrap();
        let again = PrivateKey::from_pem(&key.to_pem().unwrap()).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(PublicKey::parse(&key.public().to_string()).unwrap(), key.public());
        assert_eq!(signed(&[&again]), signed(&[&key]), "Ed25519 is deterministic");
        let secret = key.to_pem().unwrap();
        let inside = secret.expose_secret().lines().nth(1).unwrap();
        assert_eq!(inside.len(), 64, "one line of PEM");
        assert!(!format!("{key:?}").contains(inside));
    }

    #[test]
    fn a_signature_is_of_one_digest_by_one_key() {
        let (ours, theirs) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let signatures = signed(&[&ours]);
        assert_eq!(signatures.verify(DIGEST, &[theirs.public(), ours.public()]), Ok(()));
        assert!(
            signatures
                .verify("sha256:00fe", &[ours.public()])
                .unwrap_err()
                .contains("sha256:00fe")
        );
        let refused = signatures.verify(DIGEST, &[theirs.public()]).unwrap_err();
        assert!(refused.contains(&ours.public().to_string()), "{refused}");
        assert!(signatures.verify(DIGEST, &[]).is_err());
        // Their signature under our name.
        let mut forged = signed(&[&theirs]);
        forged.0[0].0 = ours.public();
        assert!(forged.verify(DIGEST, &[ours.public()]).is_err());
        assert_eq!(forged.and(&signed(&[&theirs])).of(DIGEST), signed(&[&theirs]));
    }

    #[test]
    fn the_bare_digest_and_other_purposes_do_not_count() {
        let key = PrivateKey::generate().unwrap();
        for text in [
            DIGEST.to_owned(),
            format!("{DIGEST}\n"),
            message(DIGEST).replace('1', "2"),
        ] {
            let signature = key.0.sign(text.as_bytes()).as_ref().try_into().unwrap();
            let signatures = Signatures(vec![(key.public(), signature)]);
            assert!(signatures.verify(DIGEST, &[key.public()]).is_err(), "{text}");
        }
    }

    #[test]
    fn several_may_sign_and_each_once() {
        let (ours, theirs) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let mut signatures = signed(&[&ours, &theirs]);
        signatures.sign(&ours, "sha256:01");
        assert_eq!(signatures.0.len(), 2);
        let text = signatures.to_string();
        assert_eq!(Signatures::parse(text.as_bytes()).unwrap(), signatures);
        assert!(signatures.verify("sha256:01", &[ours.public()]).is_ok());
        assert!(signatures.verify(DIGEST, &[theirs.public()]).is_ok());
    }

    #[test]
    fn what_is_no_file_of_signatures_is_refused() {
        let line = signed(&[&PrivateKey::generate().unwrap()]).to_string();
        let line = line.trim();
        let wrong = [
            String::new(),
            "\n\n".to_owned(),
            line.replace("-1 ", "-2 "),
            line.replace("ed25519:", "ed448:"),
            format!("{line} more"),
            line[..line.len() - 8].to_owned(),
            format!("{line}\n-----BEGIN"),
            "x".repeat(MAX_SIGNATURES_BYTES + 1),
        ];
        for text in wrong {
            assert!(Signatures::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Signatures::parse(&[0xff]).is_err());
        let padded = format!("{line}{}", " ".repeat(MAX_SIGNATURES_BYTES - line.len()));
        assert!(Signatures::parse(padded.as_bytes()).is_ok(), "at the limit");
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        let pem = SecretString::from("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
        let refused = PrivateKey::from_pem(&pem).unwrap_err();
        assert!(!refused.contains("c2VjcmV0"), "{refused}");
        for text in ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", &"A".repeat(44)] {
            assert!(PublicKey::parse(text).is_err(), "{text}");
        }
    }
}
