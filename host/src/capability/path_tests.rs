use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn a_plain_path_is_sent_as_it_is() {
    let path = RequestPath::parse("/restapi/v2.1/accounts/4f2b/users").unwrap();
    assert_eq!(path.encoded(), "/restapi/v2.1/accounts/4f2b/users");
}

#[test]
fn data_keeps_its_meaning_in_one_spelling() {
    let path = RequestPath::parse("/users/a%2Bb@example.com").unwrap();
    let template = PathTemplate::parse("/users/{account}").unwrap();
    assert!(template.matches(&path, Some("a+b@example.com")));
    assert_eq!(path.encoded(), "/users/a%2Bb%40example.com");
}

#[test]
fn whatever_can_be_read_in_two_ways_is_refused() {
    let paths = [
        "",
        "users",
        "//evil.example/x",
        "/a//b",
        "/a/",
        "/",
        "/../x",
        "/a/..",
        "/a/./b",
        "/%2e%2e/x",
        "/.%2E/x",
        "/..;x=1/y",
        "/a%2fb",
        "/a%5Cb",
        "/a\\b",
        "/%252e%252e/x",
        "/a%252fb",
        "/a%00b",
        "/a%0d%0ab",
        "/a\r\nHost: x",
        "/a?x=1",
        "/a#b",
        "/a%zz",
        "/a%2",
        "/%ff",
        "/ä",
        "/%EF%BC%8E%EF%BC%8E/x",
        "/%E2%88%95x",
        "https://evil.example/x",
        "/a b",
        "/a{b}",
    ];
    for path in paths {
        assert!(RequestPath::parse(path).is_err(), "{path:?} was accepted");
    }
}

#[test]
fn a_path_at_the_limit_passes_and_one_past_it_does_not() {
    let at = format!("/{}", "a".repeat(MAX_PATH_BYTES - 1));
    assert!(RequestPath::parse(&at).is_ok());
    assert!(RequestPath::parse(&format!("{at}a")).is_err());
}

#[test]
fn a_template_matches_its_own_account_and_setting_only() {
    let template = PathTemplate::parse("/v2/accounts/{settings:/account_id}/users/{account}").unwrap();
    assert_eq!(
        template.to_string(),
        "/v2/accounts/{settings:/account_id}/users/{account}"
    );
    let unresolved = RequestPath::parse("/v2/accounts/A/users/U").unwrap();
    assert!(
        !template.matches(&unresolved, Some("U")),
        "a setting that was not put in matches nothing"
    );

    let template = template.with_settings(&json!({"account_id": "A"})).unwrap();
    let fits = |path: &str, account| template.matches(&RequestPath::parse(path).unwrap(), account);
    assert!(fits("/v2/accounts/A/users/U", Some("U")));
    assert!(!fits("/v2/accounts/A/users/U", Some("V")));
    assert!(!fits("/v2/accounts/A/users/U", None));
    assert!(!fits("/v2/accounts/B/users/U", Some("U")));
    assert!(!fits("/v2/accounts/A/users/U/groups", Some("U")));
}

#[test]
fn a_setting_cannot_bring_in_more_than_one_segment() {
    let template = PathTemplate::parse("/{settings:/id}").unwrap();
    for id in [
        json!("a/b"),
        json!(".."),
        json!(""),
        json!("%2e%2e"),
        json!(7),
        json!(null),
    ] {
        assert!(template.with_settings(&json!({ "id": id })).is_err());
    }
}

#[test]
fn templates_that_make_no_sense_are_refused() {
    for template in [
        "",
        "x",
        "/{",
        "/{other}",
        "/{settings:x}",
        "/a{any}",
        "/{any}b",
        "/a//b",
        "/../b",
        "/a?b",
    ] {
        assert!(PathTemplate::parse(template).is_err(), "{template:?} was accepted");
    }
}

proptest! {
    #[test]
    fn what_was_accepted_parses_again_to_the_same(path in "/[ -~]{0,40}") {
        if let Ok(parsed) = RequestPath::parse(&path) {
            prop_assert_eq!(RequestPath::parse(&parsed.encoded()).unwrap(), parsed);
        }
    }

    #[test]
    fn no_accepted_path_leaves_its_prefix(path in "/([.%/a-f0-9;\\\\]|%2e|%2f|%5c){0,24}") {
        if let Ok(parsed) = RequestPath::parse(&path) {
            let url = url::Url::parse(&format!("https://target.example/prefix{}", parsed.encoded())).unwrap();
            prop_assert!(url.path().starts_with("/prefix/"));
            prop_assert_eq!(url.host_str(), Some("target.example"));
        }
    }

    #[test]
    fn parsing_never_panics(path in ".{0,64}") {
        let _ = RequestPath::parse(&path);
        let _ = PathTemplate::parse(&path);
    }
}
