use proptest::prelude::*;
use serde_json::json;

use super::*;

const MAX_AGE: Duration = Duration::from_secs(3600);

fn read(value: &serde_json::Value) -> Occurred {
    Occurred::read(&Path::compile("$.at").unwrap(), &json!({"at": value}))
}

fn at(text: &str) -> Occurred {
    Occurred::At(text.parse().unwrap())
}

#[test]
fn a_time_is_read_as_rfc_3339_or_as_seconds_or_milliseconds() {
    for (value, expected) in [
        (json!("2026-11-23T12:00:00Z"), "2026-11-23T12:00:00Z"),
        (json!("2026-11-23T14:00:00.5+02:00"), "2026-11-23T12:00:00.5Z"),
        (json!(1_795_435_200), "2026-11-23T12:00:00Z"),
        (json!("1795435200"), "2026-11-23T12:00:00Z"),
        (json!(1_795_435_200.5), "2026-11-23T12:00:00.5Z"),
        (json!(1_795_435_200_250_i64), "2026-11-23T12:00:00.25Z"),
        (json!(0), "1970-01-01T00:00:00Z"),
        (json!(-1), "1969-12-31T23:59:59Z"),
    ] {
        assert_eq!(read(&value), at(expected), "{value}");
    }
}

#[test]
fn what_is_no_time_is_unknown_with_the_place() {
    for value in [
        json!("soon"),
        json!(""),
        json!("NaN"),
        json!("inf"),
        json!("1e30"),
        json!(true),
        json!([1]),
        json!(null),
    ] {
        let Occurred::Unknown(why) = read(&value) else {
            panic!("{value} was read")
        };
        assert!(why.starts_with("the mapping time = \"$.at\" leads to "), "{why}");
    }
}

#[test]
fn an_age_is_bounded_on_both_sides() {
    let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    let word = |occurred: &Occurred| occurred.objection(MAX_AGE, now).map(|(word, _)| word);
    for (occurred, expected) in [
        (Occurred::Unsaid, None),
        (at("2026-11-23T12:00:00Z"), None),
        (at("2026-11-23T11:00:00Z"), None),
        (at("2026-11-23T10:59:59.999Z"), Some(OLD_HOLD)),
        (at("2026-11-24T12:00:00Z"), None),
        (at("2026-11-24T12:00:00.001Z"), Some(AGE_HOLD)),
        (Occurred::Unknown("x".to_owned()), Some(AGE_HOLD)),
    ] {
        assert_eq!(word(&occurred), expected, "{occurred:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_harm(text in "\\PC{0,30}") {
        let now = Timestamp::UNIX_EPOCH;
        let _ = read(&json!(text)).objection(MAX_AGE, now);
    }

    #[test]
    fn any_number_is_read_without_harm(number in any::<f64>()) {
        let _ = read(&json!(number)).objection(MAX_AGE, Timestamp::MAX);
    }
}
