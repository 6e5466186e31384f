//! What the connector says of itself.

use plugin_docusign::description::{KeyKind, Method, Verb};
use plugin_docusign::{SCHEMA, Settings, Wire, describe};
use serde_json::{Value, json};

use crate::script::*;

#[test]
fn only_close_writes_and_only_to_the_users_of_the_one_account() {
    let writes: Vec<_> = describe()
        .reach
        .into_iter()
        .filter(|reach| reach.method != Method::Get)
        .collect();
    assert!(
        writes
            .iter()
            .all(|reach| reach.verb == Verb::Close && reach.method == Method::Delete)
    );
    assert!(writes.iter().all(|reach| {
        reach
            .path
            .starts_with("/restapi/v2.1/accounts/{settings:/account_id}/users")
    }));
}

#[test]
fn every_closure_names_the_user_and_nobody_else() {
    let closes = describe().reach.into_iter().filter(|reach| reach.verb == Verb::Close);
    let named: Vec<(bool, Option<String>, Vec<String>)> = closes
        .map(|reach| (reach.path.ends_with("/{account}"), reach.body, reach.query))
        .collect();
    let body = r#"{"users":[{"userId":"{account}"}]}"#.to_owned();
    assert_eq!(
        named,
        [(false, Some(body), vec!["delete".to_owned()]), (true, None, Vec::new())]
    );
}

#[test]
fn the_articles_request_is_nobodys_by_default() {
    let reach = describe().reach;
    let optional: Vec<_> = reach.iter().filter(|reach| reach.optional).collect();
    assert_eq!(optional.len(), 1);
    assert_eq!(
        (optional[0].endpoint.as_str(), optional[0].verb),
        ("account", Verb::Close)
    );
    assert!(optional[0].path.ends_with("/users/{account}"));
}

#[test]
fn the_key_signs_for_the_settings_and_its_token_goes_to_declared_endpoints() {
    let description = describe();
    let [key] = description.keys.as_slice() else {
        panic!("one key")
    };
    let KeyKind::SigningKey(signing) = &key.kind else {
        panic!("a signing key")
    };
    assert_eq!(
        (signing.issuer.as_str(), signing.subject.as_str()),
        ("/integration_key", "/user_id")
    );
    assert_eq!(
        (signing.exchange.endpoint.as_str(), signing.exchange.path.as_str()),
        ("account", "/oauth/token")
    );
    let names: Vec<&str> = description
        .endpoints
        .iter()
        .map(|endpoint| endpoint.name.as_str())
        .collect();
    assert_eq!(key.usable_at, names);
    assert_eq!(
        description.endpoints[0].default_base_url.as_deref(),
        Some("https://account.docusign.com")
    );
    assert_eq!(description.endpoints[1].default_base_url, None);
    assert_eq!(description.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(description.trace_header.as_deref(), Some("X-DocuSign-TraceToken"));
}

#[test]
fn the_schema_and_the_code_say_the_same_of_settings() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let with = |name: &str, value: Value| {
        let mut settings = settings();
        settings[name] = value;
        settings
    };
    let mut missing = settings();
    missing.as_object_mut().unwrap().remove("user_id");
    let rows = [
        (settings(), true),
        (with("account_id", json!(ACCOUNT_ID.to_uppercase())), true),
        (with("also_remove", json!([])), true),
        (with("also_remove", json!(["SigningGroupsEmail", "Groups"])), true),
        (with("redirect_uri", json!("http://localhost:8080/callback")), true),
        (with("wire", json!("article")), true),
        (with("wire", json!("current")), true),
        (missing, false),
        (with("account_id", json!(1_234_567)), false),
        (with("account_id", json!("1234567")), false),
        (with("integration_key", json!(format!("{INTEGRATION_KEY}0"))), false),
        (with("integration_key", json!(INTEGRATION_KEY.replace('-', ""))), false),
        (with("user_id", json!("connector@acme.example")), false),
        (with("user_id", json!(null)), false),
        (with("also_remove", json!("Groups")), false),
        (with("also_remove", json!(["Envelopes"])), false),
        (with("redirect_uri", json!("")), false),
        (with("redirect_uri", json!("https://a b")), false),
        (with("redirect_uri", json!("ftp://acme.example")), false),
        (with("wire", json!("Article")), false),
        (json!([]), false),
    ];
    for (settings, fine) in rows {
        assert_eq!(validator.is_valid(&settings), fine, "schema: {settings}");
        assert_eq!(Settings::parse(&settings.to_string()).is_ok(), fine, "code: {settings}");
    }
    assert!(
        !validator.is_valid(&with("acount_id", json!(ACCOUNT_ID))),
        "an unknown setting"
    );
}

#[test]
fn settings_have_their_documented_defaults() {
    let read = Settings::parse(&settings().to_string()).unwrap();
    assert_eq!(
        (read.wire, read.redirect_uri.as_str()),
        (Wire::Current, "https://www.docusign.com")
    );
    assert!(read.also_remove.is_empty());
}

#[test]
fn wrong_settings_are_not_repeated() {
    let pasted = "-----BEGIN RSA PRIVATE KEY-----";
    for name in [
        "account_id",
        "integration_key",
        "user_id",
        "redirect_uri",
        "wire",
        "also_remove",
    ] {
        let mut settings = settings();
        settings[name] = json!(pasted);
        assert!(
            !Settings::parse(&settings.to_string()).unwrap_err().contains("BEGIN"),
            "{name}"
        );
    }
    assert!(Settings::parse("{").unwrap_err().contains("not JSON"));
}
