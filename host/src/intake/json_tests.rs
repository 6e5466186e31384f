use proptest::prelude::*;

use super::*;

fn refusal(body: &[u8]) -> String {
    parse(body).expect_err("must be refused")
}

#[test]
fn what_is_no_json_object_says_what_it_is() {
    for (body, expected) in [
        (&b""[..], "is empty"),
        (b"  \r\n", "is empty"),
        (b"hello", "not JSON"),
        (b"{\"a\":", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"{\"a\":\"\xff\"}", "not JSON"),
        (b"{\"a\":1e999}", "not JSON"),
        (b"[]", "saw a list"),
        (b"[{},{}]", "saw a list"),
        (b"[[[[{}]]]]", "saw a list"),
        (br#""{\"a\":""#, "not JSON"),
        (b"null", "saw null"),
        (b"\"text\"", "saw a string"),
        (b"12", "saw a number"),
    ] {
        let reason = refusal(body);
        assert!(reason.contains(expected), "{body:?}: {reason}");
    }
}

#[test]
fn a_name_that_comes_twice_is_refused() {
    let reason = refusal(br#"{"account":{"correlated":false,"correlated":true}}"#);
    assert!(reason.contains("\"correlated\" comes twice"), "{reason}");
}

#[test]
fn a_list_of_one_and_an_object_as_text_are_taken_for_the_object() {
    let plain = parse(br#"{"a":{"b":"c"}}"#).unwrap();
    for body in [
        r#"[{"a":{"b":"c"}}]"#,
        r#""{\"a\":{\"b\":\"c\"}}""#,
        r#"" [{\"a\":{\"b\":\"c\"}}] ""#,
        r#"["{\"a\":{\"b\":\"c\"}}"]"#,
        r#"[[[{"a":{"b":"c"}}]]]"#,
    ] {
        assert_eq!(parse(body.as_bytes()).as_ref(), Ok(&plain), "{body}");
    }
}

#[test]
fn what_is_inside_text_counts_towards_the_limits() {
    let many = |values: usize| {
        let text = format!("{{\"a\":[{}]}}", vec!["1"; values - 3].join(","));
        serde_json::to_vec(&text).unwrap()
    };
    assert!(parse(&many(MAX_EVENT_VALUES)).is_ok());
    assert!(refusal(&many(MAX_EVENT_VALUES + 1)).contains("10000 values"));
    assert!(refusal(br#""{\"a\":1,\"a\":2}""#).contains("comes twice"));
}

#[test]
fn a_placeholder_is_found_in_values_names_and_escapes() {
    for body in [
        r#"{"a":"{{$.trigger.id}}"}"#,
        r#"{"{{$x":1}"#,
        r#"{"a":[{"b":"x \u007b\u007b$"}]}"#,
        r#""{\"a\":\"{{$.trigger.id}}\"}""#,
        r#""{{$.trigger}}""#,
        r#""{\"a\":\"\\u007b{$.trigger.id}}\"}""#,
    ] {
        assert!(refusal(body.as_bytes()).contains("did not fill in"), "{body}");
    }
    assert!(parse(br#"{"a":"{{ $ }} {$"}"#).is_ok());
}

#[test]
fn limits_hold_at_and_one_past() {
    let sized = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8)).into_bytes();
    assert!(parse(&sized(MAX_EVENT_BYTES)).is_ok());
    assert!(refusal(&sized(MAX_EVENT_BYTES + 1)).contains("1048577 bytes"));

    let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1)).into_bytes();
    assert!(parse(&deep(MAX_EVENT_DEPTH)).is_ok());
    assert!(refusal(&deep(MAX_EVENT_DEPTH + 1)).contains("64 levels"));
    assert!(refusal(&deep(100_000)).contains("64 levels"));

    let many = |values: usize| format!("{{\"a\":[{}]}}", vec!["1"; values - 2].join(",")).into_bytes();
    assert!(parse(&many(MAX_EVENT_VALUES)).is_ok());
    assert!(refusal(&many(MAX_EVENT_VALUES + 1)).contains("10000 values"));

    let wide = |members: usize| {
        let members: Vec<String> = (0..members).map(|n| format!("\"m{n}\":1")).collect();
        format!("{{{}}}", members.join(",")).into_bytes()
    };
    assert!(parse(&wide(MAX_EVENT_MEMBERS)).is_ok());
    assert!(refusal(&wide(MAX_EVENT_MEMBERS + 1)).contains("65 members"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,6}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn unwrapped(value: Value) -> Value {
    match value {
        Value::Array(mut list) if list.len() == 1 => unwrapped(list.remove(0)),
        Value::String(text) => unwrapped(serde_json::from_str(&text).unwrap()),
        other => other,
    }
}

proptest! {
    #[test]
    fn what_is_accepted_is_what_serde_json_reads(value in any_json()) {
        let body = serde_json::to_vec(&value).unwrap();
        match parse(&body) {
            Ok(members) => prop_assert_eq!(Value::Object(members), unwrapped(value)),
            Err(reason) => prop_assert!(!value.is_object() || reason.contains("{{$"), "{}", reason),
        }
    }
}
