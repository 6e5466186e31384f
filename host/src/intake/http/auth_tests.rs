use axum::http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn presented(lines: &[&str]) -> Presented {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    Presented::read(&headers)
}

fn fits(auth: &Auth, line: &str) -> bool {
    presented(&[line]).fits(Some(auth), b"", Timestamp::UNIX_EPOCH)
}

#[test]
fn any_of_the_bearer_secrets_fits() {
    let auth = Auth::Bearer(vec![digest(b"one"), digest(b"two")]);
    for line in ["Bearer one", "bearer two", "BEARER  two "] {
        assert!(fits(&auth, line), "{line}");
    }
    for line in [
        "Bearer three",
        "Bearer",
        "Bearer ",
        "one",
        "Bearer one two",
        "Basic b25l",
        "Bearerone",
        "",
        "Token one",
    ] {
        assert!(!fits(&auth, line), "{line}");
    }
    let twice = presented(&["Bearer one", "Bearer one"]);
    assert!(
        !twice.fits(Some(&auth), b"", Timestamp::UNIX_EPOCH),
        "two headers are two opinions"
    );
}

#[test]
fn user_and_password_must_both_fit() {
    let auth = Auth::Basic(vec![digest("isc:pass:wörd".as_bytes()), digest(b"isc:the one before")]);
    let line = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    assert!(fits(&auth, &line("isc:pass:wörd")) && fits(&auth, &line("isc:the one before")));
    for pair in ["isc:pass", "ISC:pass:wörd", "isc", ":", "", "isc:pass:wörd "] {
        assert!(!fits(&auth, &line(pair)), "{pair}");
    }
    assert!(!fits(&auth, "Basic isc:pass:word"));
    assert!(!fits(&auth, "Bearer isc:pass:word"));
}

#[test]
fn a_secret_of_one_scheme_is_none_of_another() {
    let text = "isc:secret";
    let (bearer, basic) = (
        Auth::Bearer(vec![digest(text.as_bytes())]),
        Auth::Basic(vec![digest(text.as_bytes())]),
    );
    assert!(!fits(&bearer, &format!("Basic {}", STANDARD.encode(text))));
    assert!(!fits(&basic, &format!("Bearer {text}")));
}

#[test]
fn nothing_fits_where_nothing_is_configured() {
    assert!(!presented(&["Bearer x"]).fits(None, b"", Timestamp::UNIX_EPOCH));
    assert!(!presented(&[]).fits(None, b"", Timestamp::UNIX_EPOCH));
    assert!(!presented(&[]).fits(Some(&Auth::Bearer(vec![digest(b"")])), b"", Timestamp::UNIX_EPOCH));
}

#[test]
fn a_secret_that_could_be_guessed_is_refused() {
    for (bytes, is_long_enough) in [(1, false), (MIN_SECRET_BYTES - 1, false), (MIN_SECRET_BYTES, true)] {
        let secret = SecretString::from("s".repeat(bytes));
        assert_eq!(check_length(&secret).is_ok(), is_long_enough, "{bytes}");
    }
}

#[test]
fn debug_shows_no_digest() {
    let shown = format!("{:?}", Auth::Bearer(vec![digest(b"one")]));
    assert_eq!(shown, "Bearer(…)");
}

proptest! {
    #[test]
    fn any_line_is_read_without_harm(line in "[ -~]{0,60}") {
        let auth = Auth::Bearer(vec![digest(b"a secret that no line of this test holds, for it is far too long to be one of them")]);
        prop_assert!(!fits(&auth, &line));
    }

    #[test]
    fn a_bearer_secret_fits_itself_only(secret in "[!-~]{1,40}", other in "[!-~]{1,40}") {
        let auth = Auth::Bearer(vec![digest(secret.as_bytes())]);
        let line = format!("Bearer {secret}");
        prop_assert!(fits(&auth, &line));
        let line = format!("Bearer {other}");
        prop_assert_eq!(fits(&auth, &line), secret == other);
    }
}
