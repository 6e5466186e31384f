use proptest::prelude::*;

use super::*;

#[test]
fn patterns_match_whole_values_without_case() {
    let protected = Protected::new([
        "CEO@acme.example",
        "svc-*@acme.example",
        "*@board.example",
        "a*b*c",
        "o'neil+x@*",
    ]);
    for (value, pattern) in [
        ("ceo@ACME.example", Some("CEO@acme.example")),
        ("xceo@acme.example", None),
        ("ceo@acme.example.org", None),
        ("svc-backup@acme.example", Some("svc-*@acme.example")),
        ("svc-@acme.example", Some("svc-*@acme.example")),
        ("svc@acme.example", None),
        ("Ann@Board.Example", Some("*@board.example")),
        ("abbc", Some("a*b*c")),
        ("abcb", None),
        ("O'Neil+x@h", Some("o'neil+x@*")),
        ("", None),
    ] {
        assert_eq!(protected.matches(value), pattern, "{value}");
    }
    assert_eq!(Protected::new(["ÄRGER@*"]).matches("ärger@x"), Some("ÄRGER@*"));
    assert_eq!(Protected::new(["*"]).matches(""), Some("*"));
    assert_eq!(Protected::new(["a?[b]"]).matches("axb"), None);
    assert!(Protected::default().matches("x").is_none());
}

#[test]
fn other_spellings_of_the_same_letters_are_protected_too() {
    let patterns = [
        "j\u{f6}rg@b\u{fc}cher.example",
        "*@caf\u{e9}.example",
        "ceo@acme.example",
        "ann@xn--mller-kva.example",
        "*@z\u{fc}*.example",
        "*.\u{f6}l.example",
    ];
    let protected = Protected::new(patterns);
    for (value, pattern) in [
        ("jo\u{308}rg@bu\u{308}cher.example", Some(0)),
        ("J\u{d6}RG@xn--bcher-kva.example\u{a0}", Some(0)),
        ("ann@XN--CAF-DMA.example", Some(1)),
        ("ann@caf\u{e9}.example", Some(1)),
        ("\u{ff43}eo@acme.example", Some(2)),
        ("ceo\u{200b}@acme.example", Some(2)),
        (" ceo@acme.example ", Some(2)),
        ("ann@m\u{fc}ller.example", Some(3)),
        ("ann@z\u{fc}rich.example", Some(4)),
        ("ann@xn--zrich-kva.example", Some(4)),
        ("ann@sub.\u{f6}l.example", Some(5)),
        ("jorg@bucher.example", None),
    ] {
        let expected = pattern.map(|number: usize| patterns[number]);
        assert_eq!(protected.matches(value), expected, "{value}");
    }
}

#[test]
fn many_stars_take_no_exponential_time() {
    let pattern = "*a".repeat(100) + "b";
    assert_eq!(Protected::new([pattern.as_str()]).matches(&"a".repeat(10_000)), None);
}

#[test]
fn durations_are_numbers_with_a_unit() {
    let seconds = |text: &str| parse_duration(text).unwrap().as_secs();
    assert_eq!(["90s", "5m", "1h", "3650d"].map(seconds), [90, 300, 3600, 315_360_000]);
    for wrong in ["", "h", "1", "1 h", "-1h", "+1h", "1.5h", "1w", "1hh", "é", "1é"] {
        let error = parse_duration(wrong).unwrap_err();
        assert!(error.contains("such as \"1h\""), "{wrong}: {error}");
    }
    assert!(parse_duration("0h").unwrap_err().contains("is zero"));
    assert!(parse_duration("3653d").is_ok());
    for long in ["3654d", "99999999999999999999999d", "18446744073709551615h"] {
        assert!(parse_duration(long).unwrap_err().contains("3653 days"), "{long}");
    }
}

proptest! {
    #[test]
    fn a_pattern_fits_exactly_what_its_regular_expression_fits(pattern in "[ab*]{0,8}", value in "[ab]{0,10}") {
        let regex = regex::Regex::new(&format!("^{}$", pattern.replace('*', ".*"))).unwrap();
        prop_assert_eq!(fits(&pattern, &value), regex.is_match(&value));
    }
}
