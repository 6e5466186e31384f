//! Events that are wrong, and people whose address is meant to do harm: a clear reason, and nothing half done.

use docusign_sim::Status;
use end_to_end::{World, event, event_with};
use serde_json::{Value, json};

const ANN: &str = "ann.english@acme.example";

/// Each body is refused with its reason, and DocuSign is not asked.
async fn refused(cases: impl IntoIterator<Item = (Vec<u8>, &'static str)>) {
    let world = World::new().await;
    let ann = world.user(ANN);
    for (body, said) in cases {
        let ran = world.run(&body).await;
        ran.refused_the_event(&[said]);
        assert!(
            ran.stdout.len() < 4096,
            "what was sent is not sent back whole: {} bytes",
            ran.stdout.len()
        );
    }
    assert_eq!(world.status(&ann), Status::Active);
    world.was_not_asked();
}

/// The usual event with one change.
fn but(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    event_with(ANN, change)
}

#[tokio::test]
async fn what_is_not_a_json_object_is_refused() {
    let whole = event(ANN);
    let cut = whole[..whole.len() / 2].to_vec();
    refused([
        (b"".to_vec(), "the event is empty"),
        (b" \r\n\t".to_vec(), "the event is empty"),
        (b"hello".to_vec(), "is not JSON"),
        (b"<event/>".to_vec(), "is not JSON"),
        (cut, "is not JSON"),
        ([whole.as_slice(), b"{}"].concat(), "is not JSON"),
        (b"{\"identity\": \"\xff\xfe\"}".to_vec(), "is not JSON"),
        (b"\x00\x01\x02\x1b[31m".to_vec(), "is not JSON"),
        (b"null".to_vec(), "expected a JSON object, saw null"),
        (b"17".to_vec(), "expected a JSON object, saw a number"),
        (
            [b"[", whole.as_slice(), b",", whole.as_slice(), b"]"].concat(),
            "expected a JSON object, saw a list",
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_is_too_large_or_too_deep_is_refused() {
    let ten_megabytes = but(|event| event["account"]["notes"] = json!("x".repeat(10 * 1024 * 1024)));
    let deep = [
        b"{\"identity\":".as_slice(),
        &b"[".repeat(200_000),
        &b"]".repeat(200_000),
        b"}",
    ]
    .concat();
    let wide = but(|event| event["entitlementChanges"] = json!(vec![0; 20_000]));
    refused([
        (ten_megabytes, "the limit is 1048576"),
        (deep, "levels deep, the limit"),
        (wide, "values, the limit"),
    ])
    .await;
}

#[tokio::test]
async fn an_event_of_an_unknown_shape_is_refused() {
    refused([
        (b"{}".to_vec(), "saw nothing in it"),
        (
            br#"{"user": {"email": "ann.english@acme.example"}, "left": true}"#.to_vec(),
            "\"user\"",
        ),
        (
            but(|event| event["eventType"] = json!("ACCOUNT_EXPLODED")),
            "ACCOUNT_EXPLODED",
        ),
        (
            but(|event| event["eventType"] = json!(17)),
            "eventType must be a string, is a number",
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_event_without_a_person_is_refused() {
    refused([
        (
            but(|event| drop(event.as_object_mut().map(|event| event.remove("identity")))),
            "lacks `identity`",
        ),
        (but(|event| event["identity"] = Value::Null), "lacks `identity`"),
        (
            but(|event| event["identity"]["id"] = Value::Null),
            "lacks `identity.id`",
        ),
        (
            but(|event| event["identity"]["email"] = Value::Null),
            "carries no e-mail address",
        ),
        (
            but(|event| event["identity"]["email"] = json!("")),
            "person = { email = \"$.identity.email\" }",
        ),
        (
            but(|event| event["identity"]["email"] = json!("   ")),
            "carries no e-mail address",
        ),
    ])
    .await;
}

#[tokio::test]
async fn members_of_a_wrong_type_are_refused() {
    refused([
        (
            but(|event| event["identity"] = json!("ann")),
            "identity must be an object, is a string",
        ),
        (
            but(|event| event["identity"]["email"] = json!([ANN])),
            "identity.email must be a string, is a list",
        ),
        (
            but(|event| event["identity"]["email"] = json!({"value": ANN})),
            "identity.email must be a string",
        ),
        (
            but(|event| event["account"] = json!([])),
            "account must be an object, is a list",
        ),
        (
            but(|event| event["account"]["correlated"] = json!("perhaps")),
            "account.correlated must be true or false",
        ),
        (
            but(|event| event["singleValueAttributeChanges"] = json!({})),
            "must be a list, is an object",
        ),
        (
            but(|event| event["singleValueAttributeChanges"][0] = json!("userStatus")),
            "must be an object, is a string",
        ),
        (
            but(|event| event["singleValueAttributeChanges"][0]["name"] = json!(1)),
            "must be a string, is a number",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_name_that_comes_twice_is_refused() {
    let whole = String::from_utf8(event(ANN)).expect("text");
    let twice = whole.replacen('{', r#"{"identity":{"id":"x","email":"ceo@acme.example"},"#, 1);
    refused([(twice.into_bytes(), "\"identity\" comes twice")]).await;
}

#[tokio::test]
async fn header_and_line_injection_in_an_address_is_refused() {
    let address = |address: &str| event_with(address, |_| ());
    refused([
        (
            address("ann.english@acme.example\r\nX-Injected: yes"),
            "identity.email holds a control character",
        ),
        (
            address("ann.english@acme.example\0"),
            "identity.email holds a control character",
        ),
        (
            address("ann.english@acme.example\u{1b}[2J"),
            "identity.email holds a control character",
        ),
        (
            address(&format!("{}@acme.example", "a".repeat(2000))),
            "the limit for a person's field",
        ),
    ])
    .await;
}

#[tokio::test]
async fn url_injection_in_an_address_stays_in_its_parameter() {
    let addresses = [
        "ann.english@acme.example&status=Closed",
        "ann.english@acme.example&count=1&start_position=99",
        "ann.english@acme.example#fragment",
        "ann.english@acme.example%0d%0aX-Injected:%20yes",
        "../../oauth/token?x=@acme.example",
        "ann.english@acme.example/../../groups",
        "*@acme.example",
        "%@acme.example",
        "'or'1'='1@acme.example",
    ];
    let world = World::new().await;
    let ann = world.user(ANN);
    for address in addresses {
        world.simulator.clear_requests();
        world.run(&event(address)).await.ended("no_account", 0);
        let searches = world.seen("GET", "/users");
        let query = searches[0].query.as_deref().expect("a query");
        let sent: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let expected = [("email", address), ("count", "100"), ("start_position", "0")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!((sent.as_slice(), searches.len()), (expected.as_slice(), 1), "{query}");
    }
    assert_eq!(world.status(&ann), Status::Active);
    world.was_only_read();
}

#[tokio::test]
async fn an_address_that_is_none_is_not_searched_for() {
    let world = World::new().await;
    for address in [
        "ann.english",
        "ann english@acme.example",
        "ann\u{a0}english@acme.example",
    ] {
        world
            .run(&event(address))
            .await
            .ended_because("failed", 4, &["is not an e-mail address"]);
    }
    assert!(
        world.seen("GET", "/users").is_empty(),
        "a filter that fits everybody must not be sent"
    );
}

#[tokio::test]
async fn an_unusual_address_closes_its_own_account_and_no_other() {
    let pairs = [
        ("ann.english+contracts@acme.example", ANN),
        (ANN, "ann.english+contracts@acme.example"),
        (r#""ann\"english"@acme.example"#, "annenglish@acme.example"),
        ("o'hara@acme.example", "ohara@acme.example"),
        ("jörg.müller@acme.example", "jorg.muller@acme.example"),
        ("JÖRG.MÜLLER@acme.example", "jorg.müller@acme.example"),
        ("用户@例え.example", "用@例え.example"),
        // One letter, or a letter and its accent: two addresses.
        ("re\u{301}ne@acme.example", "r\u{e9}ne@acme.example"),
    ];
    for (own, other) in pairs {
        let world = World::new().await;
        let other = world.user(other);
        let held = world.user(&own.to_lowercase());
        world.run(&event(own)).await.ended("closed", 0);
        assert_eq!(
            [world.status(&held), world.status(&other)],
            [Status::Closed, Status::Active],
            "{own}"
        );
    }
}

#[tokio::test]
async fn a_person_with_only_a_look_alike_has_no_account() {
    // The Kelvin sign becomes `k` in lower case, and the long s `S` in upper case.
    for (own, other) in [
        ("\u{212a}atja@acme.example", "katja@acme.example"),
        ("katja@acme.example", "\u{212a}atja@acme.example"),
        ("chri\u{17f}@acme.example", "chris@acme.example"),
    ] {
        let world = World::new().await;
        let id = world.user(other);
        world.run(&event(own)).await.ended("no_account", 0);
        assert_eq!(world.status(&id), Status::Active);
        world.was_only_read();
    }
}

#[tokio::test]
async fn an_event_that_a_workflow_wrapped_once_is_taken_for_itself() {
    let world = World::new().await;
    let _ = world.user(ANN);
    let whole = event(ANN);
    let list = [b"[", whole.as_slice(), b"]"].concat();
    world.run(&list).await.ended("closed", 0);
    let text = json!(String::from_utf8(whole).expect("text")).to_string();
    world.run(text.as_bytes()).await.ended("already_closed", 0);
}
