use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;

fn text(name: &str) -> String {
    std::fs::read_to_string(format!("{}/testdata/keys/{name}.pem", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn load(pem: &str) -> Result<SigningKey, String> {
    let at = Location::file_only(std::path::Path::new("tenants/acme.toml"));
    SigningKey::from_pem(&SecretString::from(pem), &at).map_err(|error| error.to_string())
}

fn refusal(pem: &str) -> String {
    load(pem).expect_err("must be refused")
}

#[test]
fn pkcs1_and_pkcs8_of_the_same_key_are_the_same_key() {
    let (one, other) = (load(&text("pkcs1")).unwrap(), load(&text("pkcs8")).unwrap());
    assert_eq!(one.digest(), other.digest());
    assert_eq!((one.bits(), other.bits()), (2048, 2048));
    assert!(load(&text("pkcs1").replace('\n', "\r\n")).is_ok());
    assert!(
        load(&format!(
            "Bag Attributes: none\n{}{}",
            text("certificate"),
            text("pkcs8")
        ))
        .is_ok()
    );
}

#[test]
fn an_assertion_has_exactly_the_header_and_claims_and_verifies_with_the_public_key() {
    let key = load(&text("pkcs8")).unwrap();
    let claims = json!({"iss": "a", "sub": "b", "exp": 1});
    let token = key.sign(&claims).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let decoded = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    assert_eq!(decoded(parts[0]), r#"{"typ":"JWT","alg":"RS256"}"#);
    assert_eq!(serde_json::from_str::<Value>(&decoded(parts[1])).unwrap(), claims);
    let public = rsa::pkcs8::Document::from_pem(&text("public-pkcs1")).unwrap().1;
    let public = DecodingKey::from_rsa_der(public.as_bytes());
    let signed = format!("{}.{}", parts[0], parts[1]);
    assert!(jsonwebtoken::crypto::verify(parts[2], signed.as_bytes(), &public, Algorithm::RS256).unwrap());
    assert!(!jsonwebtoken::crypto::verify(parts[2], b"another", &public, Algorithm::RS256).unwrap());
}

#[test]
fn what_is_no_private_rsa_key_says_what_it_is_and_what_to_do() {
    for (name, what, remedy) in [
        ("public", "is a public key", "the private key is needed"),
        ("public-pkcs1", "is a public key", "the private key is needed"),
        ("certificate", "is a certificate", "the private key"),
        (
            "encrypted-pkcs1",
            "encrypted with a passphrase (legacy PEM)",
            "openssl rsa -in",
        ),
        (
            "encrypted-pkcs8",
            "encrypted with a passphrase (PKCS#8)",
            "openssl rsa -in",
        ),
        ("ec-sec1", "elliptic-curve key", "openssl genrsa"),
        ("ec-pkcs8", "elliptic-curve key", "openssl genrsa"),
        ("ed25519", "Ed25519", "openssl genrsa"),
        ("rsa-pss", "RSA-PSS", "openssl genrsa"),
        ("openssh", "OpenSSH's own format", "ssh-keygen -p -m PEM"),
        ("bits-1024", "1024 bits", "openssl genrsa"),
    ] {
        let error = refusal(&text(name));
        assert!(
            error.starts_with("tenants/acme.toml: ") && error.contains(what),
            "{name}: {error}"
        );
        assert!(error.contains(remedy), "{name}: {error}");
    }
}

#[test]
fn a_key_that_was_cut_off_or_damaged_says_so() {
    for name in ["pkcs1", "pkcs8"] {
        let whole = text(name);
        let lines: Vec<&str> = whole.lines().collect();
        let without_end = lines[..lines.len() - 1].join("\n");
        assert!(refusal(&without_end).contains("cut off"), "{name}");
        let without_middle = [&lines[..8], &lines[12..]].concat().join("\n");
        assert!(refusal(&without_middle).contains("cut off"), "{name}");
        assert!(
            refusal(&whole.replacen('\n', "\n!!", 2)).contains("cut off or damaged"),
            "{name}"
        );
    }
    assert!(refusal("hello").contains("is not PEM"));
    assert!(refusal(&text("pkcs8").replace('\n', "\\n")).contains(r"two characters `\n`"));
    assert!(refusal("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n").contains("cut off"));
}

#[test]
fn a_key_whose_numbers_do_not_fit_together_is_refused() {
    // One byte of the modulus changed, in the middle of the third line: still DER, no longer a key.
    let whole = text("pkcs1");
    let mut lines: Vec<String> = whole.lines().map(str::to_owned).collect();
    let changed = if lines[3].starts_with('A') { "B" } else { "A" };
    lines[3].replace_range(0..1, changed);
    let error = refusal(&lines.join("\n"));
    assert!(error.contains("do not fit together"), "{error}");
}

#[test]
fn limits_on_length_hold_at_and_one_past() {
    assert_eq!(load(&text("pkcs8")).unwrap().bits(), MIN_KEY_BITS);
    assert!(refusal(&text("bits-2047")).contains("2047 bits; 2048 or more"));
    assert_eq!(load(&text("bits-8192")).unwrap().bits(), MAX_KEY_BITS);
    assert!(refusal(&text("bits-8200")).contains("8200 bits; at most 8192"));
}

#[test]
fn neither_debug_nor_errors_show_any_of_the_key() {
    let whole = text("pkcs8");
    let shown = format!("{:?}", load(&whole).unwrap());
    assert_eq!(shown, "SigningKey(2048 bits, [REDACTED])");
    for name in ["encrypted-pkcs1", "ec-pkcs8", "rsa-pss", "bits-1024"] {
        let content = text(name);
        let error = refusal(&content);
        assert!(
            content
                .lines()
                .filter(|line| line.len() > 30 && !line.contains('-'))
                .all(|line| !error.contains(line))
        );
    }
    // A dash that was lost in copying makes the key a part of the label.
    let secret = whole.lines().nth(1).unwrap();
    for damaged in [
        whole.replacen("KEY-----", "KEY----", 1),
        whole.replacen("KEY-----", "KEY", 1),
        whole.replacen("KEY-----", "KEY", 1).replace('\n', " "),
        whole.replacen("KEY-----", "KEY----", 1).replace('\n', ""),
        whole
            .replacen("KEY-----", "KEY----", 1)
            .replace('\n', "")
            .replace(" KEY", ""),
        format!("-----BEGIN {secret}-----\n{secret}"),
    ] {
        let error = refusal(&damaged);
        assert!(error.contains("its BEGIN line does not end"), "{error}");
        assert!(!error.contains(&secret[..8]), "{error}");
    }
}
