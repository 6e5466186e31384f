use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(body: &Value) -> Result<LeaverRequest, String> {
    LeaverRequest::parse(body.to_string().as_bytes())
}

fn ann() -> LeaverRequest {
    let person = Person {
        email: Some("ann@acme.example".to_owned()),
        ..Person::default()
    };
    LeaverRequest {
        person,
        connectors: None,
    }
}

#[test]
fn a_person_is_read_whole() {
    let body =
        json!({"email": " ann@acme.example ", "target_id": "t", "id": "i", "name": "Ann", "connectors": ["b", "a"]});
    let leaver = parse(&body).unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        leaver.person,
        Person {
            id: text("i"),
            target_id: text("t"),
            email: text("ann@acme.example"),
            name: text("Ann"),
            attributes: vec![]
        }
    );
    assert_eq!(leaver.connectors, Some(vec!["b".to_owned(), "a".to_owned()]));
}

#[test]
fn what_templates_make_of_a_leaver_is_the_leaver() {
    let object = json!({"email": "ann@acme.example"});
    for body in [
        object.clone(),
        json!([object]),
        json!(object.to_string()),
        json!([object.to_string()]),
        json!(json!([object]).to_string()),
        json!({"email": "ann@acme.example", "id": null, "connectors": null}),
    ] {
        assert_eq!(parse(&body), Ok(ann()), "{body}");
    }
    let one = parse(&json!({"email": "ann@acme.example", "connectors": "docusign"})).unwrap();
    assert_eq!(one.connectors, Some(vec!["docusign".to_owned()]));
}

#[test]
fn what_names_nobody_is_refused_with_what_to_send() {
    for (body, expected) in [
        (json!({}), "nobody is named: send `email`, or `target_id`"),
        (json!({"id": "i", "name": "Ann"}), "nobody is named"),
        (json!({"email": ""}), "`email` is empty"),
        (json!({"email": 1}), "`email` must be a string, is a number"),
        (json!({"email": "a\nb"}), "`email` holds a control character"),
        (
            json!({"email": "{{$.trigger.identity.email}}"}),
            "did not fill in a value",
        ),
        (
            json!({"emial": "a@b"}),
            "unknown member \"emial\"; did you mean `email`?",
        ),
        (
            json!({"email": "a@b", "dry_run": true}),
            "unknown member \"dry_run\"; known: email, ",
        ),
        (json!({"email": "a@b", "connectors": []}), "`connectors` is empty"),
        (json!({"email": "a@b", "connectors": [1]}), "holds a number"),
        (json!({"email": "a@b", "connectors": {"a": 1}}), "holds an object"),
        (
            json!([{"email": "a@b"}, {"email": "c@d"}]),
            "expected a JSON object, saw a list",
        ),
        (json!(1), "expected a JSON object, saw a number"),
    ] {
        let error = parse(&body).unwrap_err();
        assert!(error.contains(expected), "{body}: {error}");
    }
}

#[test]
fn connectors_are_the_tenants_own() {
    let known = ["docusign".to_owned(), "second".to_owned()];
    let of = |names: &[&str]| {
        let connectors = Some(names.iter().map(|name| (*name).to_owned()).collect());
        LeaverRequest { connectors, ..ann() }.connectors(&known)
    };
    assert_eq!(ann().connectors(&known), Ok(known.to_vec()));
    assert_eq!(of(&["second", "docusign", "second"]), Ok(known.to_vec()));
    assert_eq!(
        of(&["docusing"]).unwrap_err(),
        "there is no connector \"docusing\"; did you mean `docusign`?"
    );
    assert_eq!(ann().connectors(&[]).unwrap_err(), "the tenant has no connector");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(body in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(LeaverRequest::parse(&body).is_err());
    }
}
