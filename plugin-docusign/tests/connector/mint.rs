//! The token: how it is asked for, what it is checked against, and every error of docusign.com's token endpoint.

use plugin_docusign::description::Verb;
use plugin_docusign::{Encoding, Failure, Grant, GrantError, HttpError, LimitKind, mint};
use serde_json::{Value, json};

use crate::script::*;

const USERINFO: &str = "GET account /oauth/userinfo";

fn userinfo(accounts: &Value) -> Value {
    json!({ "sub": CALLER, "name": "Connector", "email": "connector@acme.example", "accounts": accounts })
}

fn account(id: &str, base: &str) -> Value {
    json!({ "account_id": id, "is_default": true, "account_name": "Acme", "base_uri": base })
}

fn rejected(status: u16, body: &Value) -> Script {
    rejected_with(status, body.to_string().as_bytes())
}

fn rejected_with(status: u16, body: &[u8]) -> Script {
    Script::during(Verb::Mint).refuses_grant(GrantError::Rejected(response(status, body)))
}

fn invalid_grant(description: &str) -> Script {
    rejected(
        400,
        &json!({ "error": "invalid_grant", "error_description": description }),
    )
}

#[test]
fn a_token_is_asked_for_by_form_with_both_scopes_and_checked_against_userinfo() {
    let accounts = json!([
        account(OTHER, "https://na3.docusign.net"),
        account(ACCOUNT_ID, "https://demo.docusign.net")
    ]);
    let host = Script::during(Verb::Mint)
        .grants()
        .then(USERINFO, (200, userinfo(&accounts)));
    mint(&host).unwrap();
    host.ends();
    let grant = Grant {
        key: "signing".into(),
        scope: "signature impersonation".into(),
        encoding: Encoding::Form,
        lifetime: None,
    };
    assert_eq!(host.granted(), grant);
    assert_eq!(
        host.log(),
        [format!(
            "info the token is good for the account account_id={ACCOUNT_ID} trace_token={TRACE}"
        )]
    );
}

#[test]
fn the_article_asks_by_json_for_an_assertion_until_2033() {
    let accounts = json!([account(ACCOUNT_ID, "https://demo.docusign.net")]);
    let host = Script::during(Verb::Mint)
        .setting("wire", json!("article"))
        .grants()
        .then(USERINFO, (200, userinfo(&accounts)));
    mint(&host).unwrap();
    let grant = host.granted();
    assert_eq!(
        (grant.encoding, grant.lifetime),
        (Encoding::Json, Some(1_999_999_999 - NOW))
    );
}

#[test]
fn base_uris_are_the_same_whatever_their_case_port_and_last_slash() {
    for base in [
        "https://demo.docusign.net/",
        "HTTPS://Demo.DocuSign.net",
        "https://demo.docusign.net:443",
    ] {
        let accounts = json!([account(&ACCOUNT_ID.to_uppercase(), base)]);
        let host = Script::during(Verb::Mint)
            .grants()
            .then(USERINFO, (200, userinfo(&accounts)));
        mint(&host).unwrap();
    }
}

#[test]
fn another_base_uri_than_the_bound_one_is_answered_with_the_line_to_write() {
    for bound in [
        "https://demo.docusign.net",
        "https://eu.docusign.net/restapi",
        "https://eu.docusign.net:8443",
    ] {
        let accounts = json!([account(ACCOUNT_ID, "https://eu.docusign.net")]);
        let host = Script::during(Verb::Mint)
            .esign(bound)
            .grants()
            .then(USERINFO, (200, userinfo(&accounts)));
        let line = "endpoints = { account = \"https://account-d.docusign.com\", esign = \"https://eu.docusign.net\" }";
        assert_told(mint(&host), "misconfigured", &[line, bound, TRACE]);
    }
}

#[test]
fn an_account_that_the_user_does_not_belong_to_is_answered_with_those_it_does() {
    let accounts = json!([account(OTHER, "https://demo.docusign.net")]);
    let host = Script::during(Verb::Mint)
        .grants()
        .then(USERINFO, (200, userinfo(&accounts)));
    assert_told(
        mint(&host),
        "misconfigured",
        &[ACCOUNT_ID, &format!("{OTHER} (Acme)"), "settings.account_id", TRACE],
    );

    let host = Script::during(Verb::Mint)
        .grants()
        .then(USERINFO, (200, userinfo(&json!([]))));
    assert_told(
        mint(&host),
        "misconfigured",
        &["belongs to no account", "settings.user_id", TRACE],
    );
}

#[test]
fn userinfo_that_makes_no_sense_is_unexpected() {
    let other_user = json!({ "sub": OTHER, "accounts": [account(ACCOUNT_ID, "https://demo.docusign.net")] });
    let no_base = userinfo(&json!([{ "account_id": ACCOUNT_ID, "account_name": "Acme" }]));
    for body in [other_user, no_base, json!({ "sub": CALLER }), json!([]), json!("x")] {
        let host = Script::during(Verb::Mint).grants().then(USERINFO, (200, body));
        assert_told(mint(&host), "unexpected", &[TRACE]);
    }
    for body in [
        "",
        "<html>down for maintenance</html>",
        "{\"accounts\":[{\"account_id\":",
    ] {
        let host = Script::during(Verb::Mint).grants().then(USERINFO, (200, body));
        assert_told(mint(&host), "unexpected", &["is not JSON", TRACE]);
    }
}

#[test]
fn a_401_of_userinfo_is_a_bad_token_and_no_outage() {
    let body = json!({ "error": "internal_server_error", "reference_id": OTHER });
    let host = Script::during(Verb::Mint).grants().then(USERINFO, (401, body));
    assert_told(mint(&host), "unauthorized", &["internal_server_error", TRACE]);
}

#[test]
fn userinfo_has_limits_and_outages_too() {
    let limited = error("HOURLY_APIINVOCATION_LIMIT_EXCEEDED", "The hourly limit is 1000.");
    let host = Script::during(Verb::Mint).grants().then(USERINFO, (429, limited));
    assert_told(mint(&host), "rate-limited", &["The hourly limit is 1000.", TRACE]);
    // What the answer leaves unsaid: userinfo's allowance is by the hour.
    let host = Script::during(Verb::Mint).grants().then(USERINFO, (429, "<html>"));
    let Err(Failure::RateLimited(limit)) = mint(&host) else {
        panic!("no limit");
    };
    assert_eq!((limit.kind, limit.until), (LimitKind::Quota, Some(NOW + 300)));
    let host = Script::during(Verb::Mint).grants().then(USERINFO, (503, "<html>"));
    assert_told(mint(&host), "unavailable", &[TRACE]);
    let host = Script::during(Verb::Mint)
        .grants()
        .then(USERINFO, (400, json!({ "error": "invalid_request" })));
    assert_told(mint(&host), "misconfigured", &["userinfo", TRACE]);
    let host = Script::during(Verb::Mint)
        .grants()
        .then(USERINFO, HttpError::NoAnswer("timed out".into()));
    assert_told(mint(&host), "unavailable", &["timed out"]);
}

#[test]
fn consent_required_carries_the_consent_url() {
    let host = rejected(400, &json!({ "error": "consent_required" }));
    let url = format!(
        "https://account-d.docusign.com/oauth/auth?response_type=code&scope=signature%20impersonation\
         &client_id={INTEGRATION_KEY}&redirect_uri=https%3A%2F%2Fwww.docusign.com"
    );
    let (case, text) = told(mint(&host));
    assert_eq!(case, "consent-required");
    assert!(text.ends_with(&format!("accept at {url}")), "{text}");
    assert!(text.contains(TRACE) && text.contains(CALLER), "{text}");
}

#[test]
fn the_consent_url_takes_the_redirect_uri_of_the_settings() {
    let host = rejected(400, &json!({ "error": "consent_required" }))
        .setting("redirect_uri", json!("https://iam.acme.example/callback?x=1&y"));
    let encoded = "redirect_uri=https%3A%2F%2Fiam.acme.example%2Fcallback%3Fx%3D1%26y";
    assert_told(mint(&host), "consent-required", &[encoded]);
}

#[test]
fn a_user_that_is_not_there_names_user_id() {
    for description in ["user_not_found", "invalid_subject"] {
        let host = invalid_grant(description);
        assert_told(
            mint(&host),
            "misconfigured",
            &["settings.user_id", CALLER, description, "account-d", TRACE],
        );
    }
}

#[test]
fn an_issuer_that_is_not_there_names_the_integration_key_and_the_environment() {
    let parts = [
        "integration key",
        INTEGRATION_KEY,
        "https://account-d.docusign.com",
        "issuer_not_found",
        TRACE,
    ];
    assert_told(mint(&invalid_grant("issuer_not_found")), "misconfigured", &parts);
}

#[test]
fn a_signature_that_fits_no_key_names_the_key_and_the_clock() {
    let parts = [
        "keys.signing",
        "Apps and Keys",
        "clock",
        "no_valid_keys_or_signatures",
        TRACE,
    ];
    assert_told(
        mint(&invalid_grant("no_valid_keys_or_signatures")),
        "misconfigured",
        &parts,
    );
}

#[test]
fn an_expired_assertion_names_the_clock() {
    let now = NOW.to_string();
    assert_told(
        mint(&invalid_grant("expired_grant")),
        "misconfigured",
        &["clock", &now, "expired_grant", TRACE],
    );
}

#[test]
fn an_invalid_grant_without_a_reason_names_all_that_can_be_wrong() {
    let host = rejected(400, &json!({ "error": "invalid_grant" }));
    assert_told(
        mint(&host),
        "misconfigured",
        &["does not say why", INTEGRATION_KEY, CALLER, "signing", TRACE],
    );
}

#[test]
fn a_malformed_request_names_the_endpoint_and_in_the_article_the_wire() {
    let body = json!({ "error": "invalid_request", "error_description": "unsupported_media_type" });
    assert_told(
        mint(&rejected(400, &body)),
        "misconfigured",
        &["endpoint `account`", "invalid_request", TRACE],
    );
    let article = rejected(400, &body).setting("wire", json!("article"));
    assert_told(mint(&article), "misconfigured", &["wire = \"current\"", TRACE]);
    let article = rejected_with(415, b"").setting("wire", json!("article"));
    assert_told(
        mint(&article),
        "misconfigured",
        &["wire = \"current\"", "HTTP 415", TRACE],
    );
}

#[test]
fn any_other_reason_is_told_in_its_own_words() {
    for error in [
        "invalid_client",
        "unauthorized_client",
        "invalid_scope",
        "unsupported_grant_type",
        "unheard_of",
    ] {
        assert_told(
            mint(&rejected(400, &json!({ "error": error }))),
            "misconfigured",
            &[error, TRACE],
        );
        assert_told(
            mint(&rejected(401, &json!({ "error": error }))),
            "misconfigured",
            &[error, TRACE],
        );
    }
}

#[test]
fn a_host_that_does_not_sign_in_is_a_wrong_binding() {
    assert_told(
        mint(&rejected_with(404, b"<html>")),
        "misconfigured",
        &["https://account.docusign.com", TRACE],
    );
}

#[test]
fn outages_of_the_sign_in_are_unavailable() {
    for status in [408, 444, 500, 502, 503, 504] {
        assert_told(
            mint(&rejected_with(status, b"<html>")),
            "unavailable",
            &[&format!("HTTP {status}"), TRACE],
        );
    }
    for error in ["temporarily_unavailable", "server_error", "internal_server_error"] {
        assert_told(
            mint(&rejected(400, &json!({ "error": error }))),
            "unavailable",
            &[error, TRACE],
        );
    }
    let host = Script::during(Verb::Mint).refuses_grant(GrantError::Unreachable("no route".into()));
    assert_told(mint(&host), "unavailable", &["no route"]);
}

#[test]
fn limits_of_the_sign_in_are_limits() {
    let host = rejected(429, &error("HOURLY_APIINVOCATION_LIMIT_EXCEEDED", "too many"));
    match mint(&host).unwrap_err() {
        Failure::RateLimited(limit) => assert_eq!((limit.kind, limit.until), (LimitKind::Quota, Some(NOW + 300))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_that_make_no_sense_are_unexpected() {
    for (status, body) in [
        (200, "{}"),
        (302, ""),
        (400, "<html>"),
        (400, ""),
        (400, "{\"error\":"),
        (418, "[]"),
    ] {
        assert_told(
            mint(&rejected_with(status, body.as_bytes())),
            "unexpected",
            &[&format!("HTTP {status}"), TRACE],
        );
    }
}

#[test]
fn a_denied_grant_is_passed_on_word_by_word() {
    let text = "write max_assertion = \"10y\" in exeunt.toml";
    let host = Script::during(Verb::Mint).refuses_grant(GrantError::Denied(text.into()));
    assert_eq!(told(mint(&host)), ("denied", text.to_owned()));
}
