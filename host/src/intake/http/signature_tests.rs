use axum::http::HeaderValue;
use proptest::prelude::*;

use super::*;

// The example of the specification's libraries (standard-webhooks, tests of all languages).
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const MESSAGE_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const AT: i64 = 1_614_265_330;
const EXPECTED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn secret(text: &str) -> Result<SigningSecret, String> {
    SigningSecret::parse(&SecretString::from(text))
}

fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [(ID, id), (TIMESTAMP, timestamp), (SIGNATURE, signature)] {
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn verified(timestamp: &str, signature: &str, body: &[u8], now: i64) -> bool {
    let secret = secret(SECRET).unwrap();
    Signed::read(&headers(MESSAGE_ID, timestamp, signature))
        .is_some_and(|signed| signed.verify([&secret], body, Timestamp::from_second(now).unwrap()))
}

#[test]
fn the_specifications_own_example_is_verified() {
    assert!(verified("1614265330", EXPECTED, BODY, AT));
    let mac = secret(SECRET).unwrap().sign(MESSAGE_ID, "1614265330", BODY);
    assert_eq!(format!("v1,{}", STANDARD.encode(mac)), EXPECTED);
}

#[test]
fn one_of_several_signatures_and_secrets_is_enough() {
    let wrong = format!("v1,{}", STANDARD.encode([7; 32]));
    for line in [
        format!("{wrong} {EXPECTED}"),
        format!("{EXPECTED} {wrong}"),
        format!(
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== {EXPECTED}"
        ),
        format!("v2,x  {EXPECTED} v1 v1,"),
    ] {
        assert!(verified("1614265330", &line, BODY, AT), "{line}");
    }
    let (old, new) = (
        secret("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX").unwrap(),
        secret(SECRET).unwrap(),
    );
    let signed = Signed::read(&headers(MESSAGE_ID, "1614265330", EXPECTED)).unwrap();
    assert!(signed.verify([&old, &new], BODY, Timestamp::from_second(AT).unwrap()));
    assert!(!signed.verify([&old], BODY, Timestamp::from_second(AT).unwrap()));
    assert!(!signed.verify([], BODY, Timestamp::from_second(AT).unwrap()));
}

#[test]
fn as_much_is_tried_without_a_secret_as_with_two_and_what_stands_for_one_fits_nothing() {
    let secrets: Vec<_> = (0..3).map(|_| SigningSecret::dummy()).collect();
    for (count, tries) in [(0, 2), (1, 2), (2, 2), (3, 3)] {
        let tried: Vec<_> = tried(&secrets[..count]).collect();
        assert_eq!((tried.len(), tried.iter().flatten().count()), (tries, count));
    }
    let forged = STANDARD.encode(SigningSecret::dummy().sign("msg_1", &AT.to_string(), BODY));
    let signed = Signed::read(&headers("msg_1", &AT.to_string(), &format!("v1,{forged}"))).unwrap();
    let now = Timestamp::from_second(AT).unwrap();
    assert!(signed.verify([&secrets[0]], BODY, now), "the same key as a secret");
    assert!(!signed.verify([], BODY, now));
}

#[test]
fn what_was_changed_does_not_verify() {
    assert!(!verified("1614265330", EXPECTED, br#"{"test": 2432232315}"#, AT));
    assert!(!verified("1614265331", EXPECTED, BODY, AT));
    assert!(!verified("1614265330", &EXPECTED.replace("g0h", "g1h"), BODY, AT));
    assert!(!verified("1614265330", &EXPECTED.replace("v1,", "v1a,"), BODY, AT));
}

#[test]
fn the_time_may_be_five_minutes_off_and_not_a_second_more() {
    for (now, expected) in [(AT + 300, true), (AT + 301, false), (AT - 300, true), (AT - 301, false)] {
        assert_eq!(verified("1614265330", EXPECTED, BODY, now), expected, "{now}");
    }
}

#[test]
fn headers_that_make_no_sense_are_none() {
    let read = |id: &str, timestamp: &str, signature: &str| Signed::read(&headers(id, timestamp, signature));
    assert!(read(MESSAGE_ID, "1614265330", EXPECTED).is_some());
    for timestamp in ["", "x", "-1", "+1", "01", "0", "1.5", " 1", "99999999999999999999"] {
        assert_eq!(read(MESSAGE_ID, timestamp, EXPECTED), None, "{timestamp:?}");
    }
    for signature in [
        "",
        "v1",
        "v1,",
        "v1,AAAA",
        "v1a,AAAA",
        "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ] {
        assert_eq!(read(MESSAGE_ID, "1", signature), None, "{signature:?}");
    }
    assert!(read(&"x".repeat(MAX_WEBHOOK_ID_BYTES), "1", EXPECTED).is_some());
    assert_eq!(read(&"x".repeat(MAX_WEBHOOK_ID_BYTES + 1), "1", EXPECTED), None);
    assert_eq!(read("", "1", EXPECTED), None);
    assert_eq!(read("a b", "1", EXPECTED), None);
    let many = |count: usize| vec![EXPECTED; count].join(" ");
    assert!(read(MESSAGE_ID, "1", &many(MAX_SIGNATURES)).is_some());
    assert_eq!(read(MESSAGE_ID, "1", &many(MAX_SIGNATURES + 1)), None);
    for name in [ID, TIMESTAMP, SIGNATURE] {
        let mut twice = headers(MESSAGE_ID, "1", EXPECTED);
        twice.append(name, HeaderValue::from_static("1"));
        assert_eq!(Signed::read(&twice), None, "two headers are two opinions");
    }
}

#[test]
fn a_secret_has_the_length_that_the_specification_says() {
    let sized = |bytes: usize| secret(&format!("whsec_{}", STANDARD.encode(vec![1; bytes])));
    assert!(sized(24).is_ok() && sized(64).is_ok());
    assert!(sized(23).unwrap_err().contains("23 bytes"));
    assert!(sized(65).unwrap_err().contains("65 bytes"));
    let shown = secret("whsec_not base64!").unwrap_err();
    assert!(
        shown.contains("whsec_ and base64") && !shown.contains("not base64!"),
        "{shown}"
    );
    assert!(secret(SECRET.trim_start_matches("whsec_")).is_ok());
    assert_eq!(format!("{:?}", secret(SECRET).unwrap()), "SigningSecret(…)");
}

proptest! {
    #[test]
    fn any_headers_are_read_without_harm(id in "[ -~]{0,40}", timestamp in "[ -~]{0,20}", signature in "[ -~]{0,120}") {
        let secret = SigningSecret::dummy();
        let signed = Signed::read(&headers(&id, &timestamp, &signature));
        let verified = signed.is_some_and(|signed| signed.verify([&secret], b"{}", Timestamp::UNIX_EPOCH));
        prop_assert!(!verified);
    }

    #[test]
    fn what_is_signed_is_verified_and_nothing_else(
        key in prop::collection::vec(any::<u8>(), 24..=64),
        body in prop::collection::vec(any::<u8>(), 0..200),
        id in "[!-~]{1,40}",
        at in 1_i64..4_000_000_000,
        flip in any::<prop::sample::Index>(),
    ) {
        let secret = SigningSecret(Zeroizing::new(key));
        let at_text = at.to_string();
        let mut mac = secret.sign(&id, &at_text, &body);
        let line = |mac: &[u8]| format!("v1,{}", STANDARD.encode(mac));
        let now = Timestamp::from_second(at).unwrap();
        let signed = Signed::read(&headers(&id, &at_text, &line(&mac))).unwrap();
        prop_assert!(signed.verify([&secret], &body, now));
        let bit = flip.index(256);
        mac[bit / 8] ^= 1 << (bit % 8);
        let forged = Signed::read(&headers(&id, &at_text, &line(&mac))).unwrap();
        prop_assert!(!forged.verify([&secret], &body, now));
    }
}
