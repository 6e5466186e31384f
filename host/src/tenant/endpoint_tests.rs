use proptest::prelude::*;

use super::*;

fn grants(private: &[&str], insecure: &[&str]) -> NetworkGrants {
    let set = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
    NetworkGrants {
        private: set(private),
        insecure: set(insecure),
        ..NetworkGrants::default()
    }
}

fn parse(text: &str) -> Result<BaseUrl, String> {
    BaseUrl::parse(text, &NetworkGrants::default())
}

#[test]
fn a_base_url_is_normalised() {
    let base = parse("https://Demo.DocuSign.net:443/restapi/v2.1/").unwrap();
    assert_eq!(base.as_str(), "https://demo.docusign.net/restapi/v2.1");
    assert_eq!(
        (base.host(), base.port(), base.prefix()),
        ("demo.docusign.net", 443, "/restapi/v2.1")
    );
    assert!(base.is_https() && base.address().is_none());
    let plain = parse("https://account-d.docusign.com").unwrap();
    assert_eq!((plain.as_str(), plain.prefix()), ("https://account-d.docusign.com", ""));
    assert_eq!(
        parse("https://account-d.docusign.com/").unwrap().as_str(),
        plain.as_str()
    );
    assert_eq!(
        parse("https://h.example:8443/a").unwrap().as_str(),
        "https://h.example:8443/a"
    );
}

/// Found by fuzzing: a URL parser takes `s` for the host, and a reader what stands behind the `://`.
#[test]
fn a_url_with_two_hosts_is_refused() {
    for text in [
        "https:/s://4/A/b",
        "https:s://h.example",
        "https:/evil.example/://good.example",
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains("is not a URL with a host"), "{text}: {error}");
    }
}

#[test]
fn what_is_no_base_url_says_what_to_write() {
    for (text, expected) in [
        ("", "write https://HOST"),
        ("docusign.com", "write https://HOST"),
        ("https://", "write https://HOST"),
        ("https:host", "write https://HOST"),
        (
            "http://demo.docusign.net/x",
            "is not https; write https://demo.docusign.net/x",
        ),
        ("ftp://h.example", "has the scheme ftp"),
        ("https://h.example/?a=1", "has a query"),
        ("https://h.example?", "has a query"),
        ("https://h.example/#top", "has a fragment"),
        ("https://u:p@h.example", "has user info"),
        ("https://@h.example", "has user info"),
        ("https://h.example/a/../b", "segment `..`"),
        ("https://h.example/./a", "segment `.`"),
        ("https://h.example//a", "empty segment"),
        ("https://h.example/a//", "empty segment"),
        ("https://h.example/%2e%2e/a", "would have to be encoded"),
        ("https://h.example/ä", "would have to be encoded"),
        ("https://h.example\\@evil.example", "backslash"),
        (" https://h.example", "white space"),
        ("https://h.exa\tmple", "white space"),
        ("https://h.example:0", "port 0"),
        ("https://h.example:99999", "is not a URL"),
        ("https://h.example.", "ends in a dot"),
        ("https://a&b", "no host name"),
        ("https://-", "no host name"),
        ("https://10.0.0.5", "private = [\"10.0.0.5:443\"]"),
        ("https://8.8.8.8", "has an address for a host"),
        ("https://0x7f.1", "127.0.0.1:443"),
        ("https://2130706433", "127.0.0.1:443"),
        ("https://[::1]:8443", "[::1]:8443"),
        ("https://[::ffff:127.0.0.1]", "has an address for a host"),
        ("http://127.0.0.1:8080", "insecure = [\"127.0.0.1:8080\"]"),
        ("http://10.0.0.5:8080", "is not https"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn user_info_is_not_repeated() {
    assert!(!parse("https://user:hunter2@h.example").unwrap_err().contains("hunter2"));
}

#[test]
fn an_address_needs_its_own_grant_with_its_port() {
    let granted = grants(&["10.0.0.5:8443", "127.0.0.1:443"], &["127.0.0.1:8080"]);
    let base = BaseUrl::parse("https://10.0.0.5:8443/scim", &granted).unwrap();
    assert_eq!(base.address(), Some("10.0.0.5:8443".parse().unwrap()));
    assert!(BaseUrl::parse("https://10.0.0.5", &granted).is_err());
    assert!(BaseUrl::parse("https://[::ffff:127.0.0.1]", &granted).is_ok());
    let plain = BaseUrl::parse("http://127.0.0.1:8080", &granted).unwrap();
    assert!(!plain.is_https());
    assert!(BaseUrl::parse("http://127.0.0.1:8081", &granted).is_err());
    assert!(BaseUrl::parse("http://localhost:8080", &granted).is_err());
    assert!(BaseUrl::parse("http://127.0.0.1:443", &granted).is_err());
}

#[test]
fn limits_hold_at_and_one_past() {
    let long = |bytes: usize| format!("https://h.example/{}", "a".repeat(bytes - 18));
    assert!(parse(&long(MAX_URL_BYTES)).is_ok());
    assert!(parse(&long(MAX_URL_BYTES + 1)).unwrap_err().contains("1024 bytes"));
}

proptest! {
    #[test]
    fn what_is_accepted_is_https_to_a_name_and_says_the_same_when_read_again(
        text in "(https|http|HTTPS)://([a-z0-9.@:%\\[\\]-]{0,14}|127\\.0\\.0\\.1|\\PC{0,5})(/[a-z.%2e\\\\]{0,6}){0,3}[?#]?"
    ) {
        if let Ok(base) = parse(&text) {
            prop_assert!(base.is_https() && base.address().is_none());
            prop_assert!(base.url().query().is_none() && base.url().fragment().is_none());
            prop_assert!(base.url().username().is_empty() && base.url().password().is_none());
            prop_assert!(!base.prefix().split('/').skip(1).any(|segment| ["", ".", ".."].contains(&segment)));
            let again = parse(base.as_str()).unwrap();
            prop_assert_eq!(again.as_str(), base.as_str());
        }
    }
}
