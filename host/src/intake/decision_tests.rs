use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::intake::{MAX_PERSON_FIELD_BYTES, is_documented_sample};
use crate::tenant::HostConfig;

const ATTRIBUTE: &str = r#"leaver = { attribute = "userStatus", becomes = ["inactive"] }"#;

fn tenant(lines: &str) -> Tenant {
    let text = format!("[sources.hr]\nkind = \"sailpoint\"\n{lines}\n");
    Tenant::parse(
        &text,
        Path::new("tenants/acme.toml"),
        &HostConfig::default_for(Path::new(".")),
    )
    .unwrap()
}

fn source(lines: &str) -> Source {
    sources(&tenant(lines)).unwrap().remove("hr").unwrap()
}

fn sample(name: &str) -> Value {
    let file = format!("{}/testdata/sailpoint/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap()
}

fn leaver_event() -> Value {
    sample("constructed-leaver-native-change-userStatus-inactive.json")
}

fn decide(lines: &str, event: &Value) -> Decision {
    source(lines).decide(&serde_json::to_vec(event).unwrap())
}

fn leaver(decision: Decision) -> (Person, String) {
    match decision {
        Decision::Leaver { person, reason } => (person, reason),
        other => panic!("not a leaver: {other:?}"),
    }
}

fn not_a_leaver(decision: Decision) -> String {
    match decision {
        Decision::NotALeaver { reason } => reason,
        other => panic!("expected not a leaver: {other:?}"),
    }
}

fn refused(decision: Decision) -> String {
    match decision {
        Decision::Refused { reason } => reason,
        other => panic!("expected refused: {other:?}"),
    }
}

/// Somebody else's webhook passes on what a test of a workflow sends.
#[test]
fn a_published_sample_is_held_whoever_sends_it() {
    let webhook = "[sources.hr]\nkind = \"webhook\"\nfilter = \"$[?($.left == true)]\"\n\
                   person = { id = \"$.id\", email = \"$.mail\" }\n";
    let host = HostConfig::default_for(Path::new("."));
    let tenant = Tenant::parse(webhook, Path::new("tenants/acme.toml"), &host).unwrap();
    let source = sources(&tenant).unwrap().remove("hr").unwrap();
    let why = |id: &str| {
        let event = json!({"left": true, "id": id, "mail": "ann@acme.example"});
        let reading = source.read(&serde_json::to_vec(&event).unwrap());
        assert!(matches!(reading.decision, Decision::Leaver { .. }), "{reading:?}");
        source.objection(&reading, Timestamp::UNIX_EPOCH).map(|(why, _)| why)
    };
    assert_eq!(why("2c91808568c529c60168cca6f90c1313"), Some("sample-event"));
    assert_eq!(why("2c91808568c529c60168cca6f90c1314"), None);
}

/// It names nobody who could be looked for, so it is no reason to keep an account open.
#[test]
fn a_name_that_cannot_be_kept_is_left_out_unless_it_was_asked_for() {
    for name in ["Ann\tEnglish", &"x".repeat(MAX_PERSON_FIELD_BYTES + 1)] {
        let mut event = leaver_event();
        event["identity"]["name"] = json!(name);
        let (person, _) = leaver(decide(ATTRIBUTE, &event));
        assert_eq!((person.id.is_some(), person.name), (true, None));
        let mapped = format!("{ATTRIBUTE}\nperson = {{ name = \"$.identity.name\" }}");
        assert!(refused(decide(&mapped, &event)).contains("person.name"));
    }
}

#[test]
fn a_native_change_to_inactive_is_a_leaver_and_the_person_comes_from_the_identity() {
    let (person, reason) = leaver(decide(ATTRIBUTE, &leaver_event()));
    assert_eq!(person.id.as_deref(), Some("2c91808978eb9fab0178fb8ca6d308fb"));
    assert_eq!(person.email.as_deref(), Some("ann.english@sample_email.com"));
    assert_eq!(person.name.as_deref(), Some("Ann English"));
    assert_eq!((person.target_id, person.attributes), (None, Vec::new()));
    assert_eq!(reason, r#"userStatus became "inactive" (was "active")"#);
}

#[test]
fn attribute_and_value_are_compared_without_case_and_across_types() {
    let becomes = |values: &str| format!("leaver = {{ attribute = \"USERSTATUS\", becomes = [{values}] }}");
    for (values, now, is_leaver) in [
        (r#""InActive""#, json!("INACTIVE"), true),
        (r#""inactive""#, json!("active"), false),
        (r#""true""#, json!(true), true),
        ("true", json!("True"), true),
        ("true", json!(1), false),
        ("1", json!("1"), true),
        (r#""1""#, json!(1), true),
        ("1", json!(1.0), true),
        ("1", json!("1.0"), false),
        ("0.5", json!(0.5), true),
        (r#""gone", "left""#, json!("left"), true),
        (r#""left""#, json!(["here", "left"]), true),
        (r#""left""#, json!({"left": "left"}), false),
        (r#""null""#, Value::Null, false),
        (r#""ÄRGER""#, json!("ärger"), true),
    ] {
        let mut event = leaver_event();
        event["singleValueAttributeChanges"][0]["newValue"] = now.clone();
        let decision = decide(&becomes(values), &event);
        assert_eq!(
            matches!(decision, Decision::Leaver { .. }),
            is_leaver,
            "[{values}] {now}: {decision:?}"
        );
    }
}

#[test]
fn each_family_is_read_by_its_own_field_names() {
    let lines = |attribute: &str, becomes: &str| {
        format!("leaver = {{ attribute = \"{attribute}\", becomes = [\"{becomes}\"] }}")
    };
    let mapped = "\nperson = { email = \"$.identity.name\" }";
    for (file, attribute, becomes) in [
        (
            "native-change-account-updated.json",
            "title",
            "call center representative",
        ),
        (
            "native-change-account-updated.json",
            "accountFlags",
            "User Account is Disabled",
        ),
        ("native-change-account-created.json", "givenName", "peter"),
        ("account-updated-v2.json", "email", "john.doe@gmail.com"),
        ("account-attributes-changed.json", "sn", "ryans"),
        ("identity-attributes-changed.json", "department", "marketing"),
        (
            "identity-attributes-changed-lifecycle.json",
            "cloudLifecycleState",
            "terminated",
        ),
    ] {
        let event = sample(file);
        let decision = decide(&(lines(attribute, becomes) + mapped), &event);
        assert!(matches!(decision, Decision::Leaver { .. }), "{file}: {decision:?}");
        assert!(is_documented_sample(&event), "{file}");
        let decision = decide(&(lines(attribute, "something else") + mapped), &event);
        assert!(matches!(decision, Decision::NotALeaver { .. }), "{file}: {decision:?}");
    }
}

#[test]
fn every_published_payload_with_a_person_or_account_is_known_as_a_sample() {
    let index = sample("index.json");
    let official = index["files"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|file| file["official"] == true);
    let mut known = 0;
    for file in official {
        let event = sample(file["file"].as_str().unwrap());
        if event.pointer("/identity/id").or(event.pointer("/account/id")).is_some() {
            assert!(is_documented_sample(&event), "{}", file["file"]);
            known += 1;
        }
    }
    assert!(known >= 9, "{known}");
    let mut event = leaver_event();
    event["identity"]["id"] = json!("5d1f");
    event["account"]["id"] = json!("77aa");
    assert!(!is_documented_sample(&event));
}

#[test]
fn a_deletion_is_no_attribute_that_became_something_and_the_reason_gives_the_filter() {
    let event = sample("native-change-account-deleted.json");
    let reason = not_a_leaver(decide(
        r#"leaver = { attribute = "cn", becomes = ["null", false, 0] }"#,
        &event,
    ));
    assert!(reason.contains("cn became empty"), "{reason}");
    leaver(decide(r#"filter = "$[?$.eventType == 'ACCOUNT_DELETED']""#, &event));

    let event = sample("account-deleted-v2.json");
    let reason = not_a_leaver(decide(ATTRIBUTE, &event));
    let filter = reason.split_once("filter = ").unwrap().1;
    leaver(decide(&format!("filter = {filter}"), &event));
}

#[test]
fn what_is_not_a_leaver_says_why() {
    let reason = not_a_leaver(decide(ATTRIBUTE, &sample("native-change-account-updated.json")));
    assert_eq!(
        reason,
        r#"userStatus did not change; what changed: "title", "accountFlags""#
    );
    let mut event = leaver_event();
    event["singleValueAttributeChanges"][0]["newValue"] = json!("on leave");
    assert_eq!(
        not_a_leaver(decide(ATTRIBUTE, &event)),
        r#"userStatus became "on leave", which is none of: inactive"#
    );
    let reason = not_a_leaver(decide("filter = '$.nope'", &event));
    assert!(reason.contains("$.nope"), "{reason}");
}

#[test]
fn an_account_that_is_not_correlated_never_names_a_leaver() {
    let event = sample("constructed-leaver-native-change-uncorrelated.json");
    let reason = refused(decide(ATTRIBUTE, &event));
    assert!(reason.contains("not correlated"), "{reason}");
    for (value, expected) in [
        (json!("False"), "not correlated"),
        (json!(0), "must be true or false"),
        (Value::Null, "true or false"),
    ] {
        let mut event = leaver_event();
        event["account"]["correlated"] = value;
        let reason = refused(decide(ATTRIBUTE, &event));
        assert!(reason.contains(expected), "{reason}");
    }
    let mut event = leaver_event();
    event["account"].as_object_mut().unwrap().remove("correlated");
    assert!(refused(decide(ATTRIBUTE, &event)).contains("account.correlated is missing"));
    let mut event = leaver_event();
    event["account"]["correlated"] = json!("TRUE");
    leaver(decide(ATTRIBUTE, &event));
    // A mapping does not get around it.
    let mut event = sample("account-attributes-changed.json");
    event["account"]["correlated"] = json!(false);
    let lines = r#"leaver = { attribute = "sn", becomes = ["ryans"] }
        person = { email = "$.account.name" }"#;
    assert!(refused(decide(lines, &event)).contains("not correlated"));
}

#[test]
fn a_machine_account_never_names_a_leaver() {
    let lines = "filter = \"$[?$.event.type == 'ACCOUNT_DELETED_V2']\"";
    let mut event = sample("account-deleted-v2.json");
    leaver(decide(lines, &event));
    event["account"]["isMachine"] = json!(true);
    assert!(refused(decide(lines, &event)).contains("machine account"));
}

#[test]
fn a_leaver_without_an_address_is_refused_with_the_mapping_to_write() {
    let lifecycle = r#"leaver = { attribute = "cloudLifecycleState", becomes = ["terminated"] }"#;
    let event = sample("identity-attributes-changed-lifecycle.json");
    let reason = refused(decide(lifecycle, &event));
    assert!(reason.contains("identity attributes changed"), "{reason}");
    assert!(
        reason.contains(r#"[sources.hr] write where it is: person = { email = "$.identity.email" }"#),
        "{reason}"
    );

    let mut event = sample("account-updated-v2.json");
    event["identity"].as_object_mut().unwrap().remove("email");
    let rule = r#"leaver = { attribute = "sn", becomes = ["Doe"] }"#;
    let reason = refused(decide(rule, &event));
    let line = reason.split_once("write ").unwrap().1;
    let (person, _) = leaver(decide(&format!("{rule}\n{line}"), &event));
    assert_eq!(person.email.as_deref(), Some("john.doe@gmail.com"));
}

#[test]
fn mapped_fields_come_from_where_the_mapping_leads() {
    let lines = format!(
        "{ATTRIBUTE}\nperson = {{ id = \"$.account.nativeIdentity\", target_id = \"$.account.name\", email = \
         \"$.identity.manager.email\", name = \"$.identity.alias\", source = \"$.source.name\", known = \
         \"$.account.correlated\" }}"
    );
    let (person, _) = leaver(decide(&lines, &leaver_event()));
    assert_eq!(person.id.as_deref(), Some("E00412"));
    assert_eq!(person.target_id.as_deref(), Some("Ann.English"));
    assert_eq!(person.email.as_deref(), Some("martena.heath@sample_email.com"));
    assert_eq!(person.name.as_deref(), Some("Ann.English"));
    let attributes = [
        ("known".to_owned(), "true".to_owned()),
        ("source".to_owned(), "HR System".to_owned()),
    ];
    assert_eq!(person.attributes, attributes);
    let json = serde_json::to_string(&person).unwrap();
    assert_eq!(serde_json::from_str::<Person>(&json).unwrap(), person);
}

#[test]
fn a_mapping_that_does_not_lead_to_one_value_is_named() {
    for (path, expected) in [
        ("$.nope", "leads to nothing"),
        ("$.identity.manager", "leads to an object"),
        ("$.identity[*]", "leads to 6 values"),
        ("$.account.uuid", "leads to null"),
    ] {
        let lines = format!("{ATTRIBUTE}\nperson = {{ email = \"{path}\" }}");
        let reason = refused(decide(&lines, &leaver_event()));
        assert!(
            reason.starts_with(&format!("the mapping person.email = {path:?}")),
            "{reason}"
        );
        assert!(reason.contains(expected), "{reason}");
    }
    let mut event = leaver_event();
    event["identity"]["email"] = json!(" ");
    let lines = format!("{ATTRIBUTE}\nperson = {{ email = \"$.identity.email\" }}");
    assert!(refused(decide(&lines, &event)).contains("empty text"));
    assert!(refused(decide(ATTRIBUTE, &event)).contains("no e-mail address"));
}

#[test]
fn odd_addresses_pass_as_they_are_and_control_characters_do_not() {
    for email in [
        "O'Neil+x@Acme.example",
        "\"a b\"@acme.example",
        "jürgen@äöü.example",
        "a@b?x=1&y=../%2e#",
    ] {
        let mut event = leaver_event();
        event["identity"]["email"] = json!(email);
        assert_eq!(leaver(decide(ATTRIBUTE, &event)).0.email.as_deref(), Some(email));
    }
    for email in ["a@b.example\r\nX-Injected: 1", "a\0@b", "a\u{85}b"] {
        let mut event = leaver_event();
        event["identity"]["email"] = json!(email);
        assert!(refused(decide(ATTRIBUTE, &event)).contains("identity.email holds a control character"));
    }
    let mut event = leaver_event();
    event["identity"]["email"] = json!("a".repeat(MAX_PERSON_FIELD_BYTES));
    leaver(decide(ATTRIBUTE, &event));
    event["identity"]["email"] = json!("a".repeat(MAX_PERSON_FIELD_BYTES + 1));
    assert!(refused(decide(ATTRIBUTE, &event)).contains("1025 bytes"));
}

#[test]
fn bad_events_are_refused_with_what_was_expected_and_what_was_seen() {
    let source = source(ATTRIBUTE);
    let with = |pointer: &str, value: Value| {
        let mut event = leaver_event();
        *event.pointer_mut(pointer).unwrap() = value;
        event.to_string().into_bytes()
    };
    let without = |name: &str| {
        let mut event = leaver_event();
        event.as_object_mut().unwrap().remove(name);
        event.to_string().into_bytes()
    };
    for (body, expected) in [
        (b"<xml/>".to_vec(), "not JSON"),
        (b"[{},{}]".to_vec(), "expected a JSON object, saw a list"),
        (b"{}".to_vec(), "saw nothing in it"),
        (vec![b'x'; 10 * 1024 * 1024], "the limit is 1048576"),
        (
            sample("identity-created.json").to_string().into_bytes(),
            r#"saw "attributes", "identity""#,
        ),
        (
            sample("account-aggregation-completed.json").to_string().into_bytes(),
            "unknown event",
        ),
        (
            with("/eventType", json!("ACCOUNT_MOVED")),
            r#"unknown eventType "ACCOUNT_MOVED"; expected ACCOUNT_CREATED"#,
        ),
        (with("/eventType", json!(7)), "eventType must be a string, is a number"),
        (without("identity"), "lacks `identity`"),
        (
            with("/identity", json!("Ann")),
            "identity must be an object, is a string",
        ),
        (with("/identity/id", Value::Null), "lacks `identity.id`"),
        (
            with("/identity/id", json!({"a": 1})),
            "identity.id must be a string, is an object",
        ),
        (
            with("/identity/email", json!(["a@b"])),
            "identity.email must be a string, is a list",
        ),
        (
            with("/singleValueAttributeChanges", json!({})),
            "singleValueAttributeChanges must be a list, is an object",
        ),
        (
            with("/singleValueAttributeChanges/0", json!(1)),
            "singleValueAttributeChanges[0] must be an object",
        ),
        (
            with("/singleValueAttributeChanges/0/name", json!(1)),
            "singleValueAttributeChanges[0].name must be a string",
        ),
        (
            with("/multiValueAttributeChanges", json!([{"name": "x", "addedValues": 1}])),
            "addedValues must be a list",
        ),
        (with("/account", json!([])), "account must be an object, is a list"),
        (
            with("/source/name", json!("{{$.trigger.source.name}}")),
            "did not fill in",
        ),
        (
            br#"{"event":{"type":"OTHER"},"identity":{"id":"1"}}"#.to_vec(),
            "unknown event.type",
        ),
        (
            br#"{"event":{},"identity":{"id":"1"}}"#.to_vec(),
            "event.type is missing",
        ),
    ] {
        let reason = refused(source.decide(&body));
        assert!(reason.contains(expected), "{expected}: {reason}");
        assert!(reason.len() < 600 && !reason.contains('\n'), "{reason}");
    }
}

#[test]
fn wrong_paths_of_all_sources_are_one_error_with_their_lines() {
    let text = r#"
[sources.hr]
kind = "sailpoint"
filter = "$[?(@.eventType == 'X')]"

[sources.it]
kind = "sailpoint"
filter = "$.c[?(@.a in ['x'])]"
person = { email = "$.identity..", team = "$.list.last()" }
"#;
    let host = HostConfig::default_for(Path::new("."));
    let tenant = Tenant::parse(text, Path::new("tenants/acme.toml"), &host).unwrap();
    let error = sources(&tenant).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 4, "{error}");
    assert!(
        lines[0].starts_with("tenants/acme.toml:4: sources.hr.filter: "),
        "{error}"
    );
    assert!(lines[0].ends_with("write $[?($.eventType == 'X')]"), "{error}");
    assert!(
        lines[1].starts_with("tenants/acme.toml:8: sources.it.filter: "),
        "{error}"
    );
    assert!(
        lines[2].starts_with("tenants/acme.toml:9: sources.it.person.email: "),
        "{error}"
    );
    assert!(lines[3].ends_with("write $.list[-1]"), "{error}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "(userStatus|inactive|ACCOUNT_UPDATED|ACCOUNT_DELETED_V2|a@b.example|true|\\PC{0,6})".prop_map(Value::from),
    ];
    let name = "(identity|account|event|eventType|type|changes|singleValueAttributeChanges|\
                multiValueAttributeChanges|addedValues|name|attribute|newValue|oldValue|id|email|correlated|isMachine|\
                attributes|\\PC{0,4})";
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_decided_and_a_leaver_can_always_be_looked_for(value in any_json()) {
        for lines in [ATTRIBUTE, "filter = '$..[?@.name == \"userStatus\"]'", "filter = '$'\nperson = { email = '$.identity.id' }"] {
            if let Decision::Leaver { person, .. } = decide(lines, &value) {
                prop_assert!(person.email.is_some() || person.target_id.is_some());
            }
        }
    }

    #[test]
    fn changing_one_place_of_a_real_event_never_panics(
        pointer in "(/identity|/account|/eventType|/singleValueAttributeChanges)(/0|/id|/email|/correlated)?",
        value in any_json(),
    ) {
        let mut event = leaver_event();
        if let Some(place) = event.pointer_mut(&pointer) {
            *place = value;
        }
        if let Decision::Leaver { person, .. } = decide(ATTRIBUTE, &event) {
            prop_assert!(person.id.is_some() && person.email.is_some());
        }
    }

    #[test]
    fn any_bytes_are_decided(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let refused = matches!(source(ATTRIBUTE).decide(&body), Decision::Refused { .. });
        prop_assert!(refused);
    }
}
