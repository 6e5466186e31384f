use proptest::prelude::*;

use super::*;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("\\PC{0,6}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

#[test]
fn members_are_sorted_by_the_bytes_of_their_names() {
    let value: Value =
        serde_json::from_str(r#"{ "b" : [1, 2.50, null], "a\u0041" : {"é": true, "e": "x\n\""} }"#).unwrap();
    let expected = r#"{"aA":{"e":"x\n\"","é":true},"b":[1,2.5,null]}"#;
    assert_eq!(String::from_utf8(canonical(&value)).unwrap(), expected);
}

#[test]
fn the_order_of_a_list_is_content() {
    assert_ne!(of_any(&json!({"a": [1, 2]})), of_any(&json!({"a": [2, 1]})));
}

proptest! {
    #[test]
    fn canonical_json_says_the_same(value in any_json()) {
        let again: Value = serde_json::from_slice(&canonical(&value)).unwrap();
        prop_assert_eq!(again, value);
    }

    #[test]
    fn white_space_does_not_count_and_everything_else_does(one in any_json(), other in any_json()) {
        let pretty: Value = serde_json::from_str(&serde_json::to_string_pretty(&one).unwrap()).unwrap();
        prop_assert_eq!(of_any(&pretty), of_any(&one));
        prop_assert_eq!(of_any(&one) == of_any(&other), one == other);
    }
}
