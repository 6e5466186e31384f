use proptest::prelude::*;
use serde_json::json;

use super::*;

fn sample(name: &str) -> Value {
    let file = format!("{}/testdata/sailpoint/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap()
}

/// What the operator would end up with: the path as it is, or the text that its error says to write.
fn accepted(text: &str) -> Path {
    Path::compile(text).unwrap_or_else(|error| {
        let instead = error
            .instead
            .unwrap_or_else(|| panic!("{text}: no suggestion: {}", error.message));
        assert!(
            error.message.ends_with(&format!("write {instead}")),
            "{}",
            error.message
        );
        Path::compile(&instead).unwrap_or_else(|error| panic!("{text} -> {instead}: {}", error.message))
    })
}

fn instead(text: &str) -> String {
    Path::compile(text)
        .unwrap_err()
        .instead
        .unwrap_or_else(|| panic!("{text}: no suggestion"))
}

#[test]
fn every_vector_gives_jayways_answer_as_it_is_or_as_its_error_says_to_write_it() {
    let vectors = sample("filter-vectors.json");
    let vectors = vectors["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 19);
    let mut refused = Vec::new();
    for vector in vectors {
        let filter = vector["filter"].as_str().unwrap();
        if Path::compile(filter).is_err() {
            refused.push(filter);
        }
        let event = sample(vector["event"].as_str().unwrap());
        assert_eq!(
            accepted(filter).matches(&event),
            vector["jayway"] == "match",
            "{filter}"
        );
    }
    let expected = [
        "$.singleValueAttributeChanges[?(@.name == 'userStatus' && @.newValue =~ /inactive/i)]",
        "$.singleValueAttributeChanges[?(@.name == 'userStatus' && @.newValue in ['inactive','terminated'])]",
        "$[?(@.eventType == 'ACCOUNT_DELETED')]",
        "$[?($.accountChangeTypes anyof ['ENTITLEMENTS_ADDED'])]",
        "$[?($.identity.name contains \"archer\")]",
        "$[?($.changes.length() >= 3)]",
        "$[?(@.event.cause == 'AGGREGATION' && @.source.name == 'Active Directory')]",
    ];
    assert_eq!(refused, expected);
}

#[test]
fn each_jayway_construct_is_answered_with_its_rfc_9535_form() {
    for (jayway, rfc) in [
        ("$.c[?(@.a =~ /no.e/i)]", "$.c[?(match(@.a, '[nN][oO].[eE]'))]"),
        ("$.c[?(@.a in ['x', 'y'])]", "$.c[?((@.a == 'x' || @.a == 'y'))]"),
        ("$.c[?(@.a IN ['x'])]", "$.c[?(@.a == 'x')]"),
        (
            "$.c[?(@.a nin [1, true])]",
            "$.c[?(((@.a != 1 && @.a != '1') && @.a != true))]",
        ),
        ("$[?('x' in $.list)]", "$[?($.list[?@ == 'x'])]"),
        ("$[?($.list anyof ['x', 'y'])]", "$[?($.list[?@ == 'x' || @ == 'y'])]"),
        ("$[?($.list noneof ['x'])]", "$[?(($.list && !$.list[?@ == 'x']))]"),
        (
            "$[?($.list subsetof ['x', 'y'])]",
            "$[?(($.list && !$.list[?@ != 'x' && @ != 'y']))]",
        ),
        (
            "$[?($.list all ['x', 'y'])]",
            "$[?(($.list[?@ == 'x'] && $.list[?@ == 'y']))]",
        ),
        ("$[?($.list size 2)]", "$[?(length($.list) == 2)]"),
        ("$[?($.list empty false)]", "$[?(length($.list) > 0)]"),
        ("$[?($.list empty true)]", "$[?(length($.list) == 0)]"),
        (
            "$[?($.name contains 'a.c')]",
            "$[?((search($.name, 'a[.]c') || $.name[?@ == 'a.c']))]",
        ),
        ("$[?($.list contains 3)]", "$[?($.list[?@ == 3])]"),
        (
            "$[?($.list.length() in [1,2])]",
            "$[?((length($.list) == 1 || length($.list) == 2))]",
        ),
        ("$.changes.length()", "$[?length($.changes) > 0]"),
        ("$.list.first()", "$.list[0]"),
        ("$.list.last()", "$.list[-1]"),
        ("$.list.index(1)", "$.list[1]"),
        ("$.c[?(@.a === 'x')]", "$.c[?(@.a == 'x')]"),
        ("$.c[?(@.a !== 'x')]", "$.c[?(@.a != 'x')]"),
        ("eventType", "$.eventType"),
        ("@.eventType", "$.eventType"),
    ] {
        assert_eq!(instead(jayway), rfc, "{jayway}");
        assert!(Path::compile(rfc).is_ok(), "{rfc}");
    }
}

#[test]
fn the_suggestions_hold_where_jayway_holds() {
    let event = json!({"list": ["x", "y"], "name": "abc", "n": 2, "c": [{"a": "x"}], "none": []});
    for (filter, holds) in [
        ("$[?('x' in $.list)]", true),
        ("$[?('z' in $.list)]", false),
        ("$[?($.name in ['abc', 'd'])]", true),
        ("$[?($.name nin ['abc', 'd'])]", false),
        ("$[?($.list noneof ['z'])]", true),
        ("$[?($.list noneof ['x'])]", false),
        ("$[?($.missing noneof ['x'])]", false),
        ("$[?($.list subsetof ['x', 'y', 'z'])]", true),
        ("$[?($.list subsetof ['x'])]", false),
        ("$[?($.list all ['x', 'y'])]", true),
        ("$[?($.list all ['x', 'z'])]", false),
        ("$[?($.list size 2)]", true),
        ("$[?($.list size 3)]", false),
        ("$[?($.none empty true)]", true),
        ("$[?($.list empty true)]", false),
        ("$[?($.name contains 'b')]", true),
        ("$[?($.name contains '.')]", false),
        ("$[?($.list contains 'x')]", true),
        ("$[?($.list contains 'z')]", false),
        ("$.c[?(@.a =~ /X/i)]", true),
        ("$.c[?(@.a =~ /X/)]", false),
        ("$[?($.name =~ /b/)]", false),
        ("$[?($.name =~ /.*b.*/)]", true),
        ("$.list.length()", true),
    ] {
        assert_eq!(accepted(filter).matches(&event), holds, "{filter}");
    }
}

#[test]
fn a_filter_on_an_object_with_at_is_refused_with_the_absolute_form() {
    for (jayway, rfc) in [
        ("$[?(@.eventType == 'X')]", "$[?($.eventType == 'X')]"),
        ("$[?(@.status != \"Success\")]", "$[?($.status != \"Success\")]"),
        ("$[?@.a && !(@['b'] == 'x')]", "$[?$.a && !($['b'] == 'x')]"),
        (
            "$[?(@.changes[?(@.attribute == 'x')])]",
            "$[?($.changes[?(@.attribute == 'x')])]",
        ),
        (
            "$.account[?(@.correlated == true)]",
            "$.account[?($.account.correlated == true)]",
        ),
        (
            "$['account'][?(@['correlated'] != true)]",
            "$['account'][?($['account']['correlated'] != true)]",
        ),
        ("$.c[?($[?(@.a == 'x')])]", "$.c[?($[?($.a == 'x')])]"),
        (
            "$[?(@.a in ['x'] && @.b =~ /y/)]",
            "$[?($.a == 'x' && match($.b, 'y'))]",
        ),
    ] {
        assert_eq!(instead(jayway), rfc, "{jayway}");
    }
    let trap = Path::compile("$[?(@.status != 'Success')]").unwrap_err();
    assert!(trap.message.contains("nearly always match"), "{}", trap.message);
    let never = Path::compile("$[?(@.status == 'Success')]").unwrap_err();
    assert!(never.message.contains("never match"), "{}", never.message);
}

#[test]
fn a_filter_on_whatever_is_found_is_refused_and_nothing_is_guessed() {
    for scan in [
        "$..[?(@.eventType != 'X')]",
        "$.*[?(@.name != 'X')]",
        "$..*[?(!(@.name == 'X'))]",
    ] {
        let refused = Path::compile(scan).unwrap_err();
        assert!(refused.message.contains("name the list"), "{}", refused.message);
        assert_eq!(refused.instead, None, "{scan}");
    }
    // A list that is named, wherever it is, is no such thing.
    Path::compile("$..changes[?(@.attribute == 'x')]").unwrap();
}

#[test]
fn a_filter_on_what_was_found_is_refused_with_one_filter_for_both() {
    let event = json!({"changes": [
        {"attribute": "state", "new": "active"}, {"attribute": "title", "new": "x"}
    ]});
    for (jayway, rfc) in [
        (
            "$.changes[?(@.attribute == 'state')][?(@.new != 'active')]",
            "$.changes[?((@.attribute == 'state')) && ((@.new != 'active'))]",
        ),
        ("$.changes[*][?(@.new != 'active')]", "$.changes[?(@.new != 'active')]"),
        ("$.changes.*[?(@.new == 'y')]", "$.changes[?(@.new == 'y')]"),
    ] {
        assert_eq!(instead(jayway), rfc, "{jayway}");
        let holds = jayway.contains("[*]");
        assert_eq!(
            accepted(jayway).matches(&event),
            holds,
            "{jayway}: one change is to `x`"
        );
    }
    for one in [
        "$.changes[0][?(@.new != 'active')]",
        "$.changes[1:][?@.new == 'x']",
        "$.changes..*[?@.new == 'x']",
        "$[*][?@.id == 'x']",
    ] {
        let refused = Path::compile(one).unwrap_err();
        assert!(refused.message.contains("itself in Jayway"), "{}", refused.message);
        assert_eq!(refused.instead, None, "{one}");
    }
    let trap = JsonPath::parse("$.changes[?@.attribute == 'state'][?@.new != 'active']").unwrap();
    assert!(!trap.query(&event).is_empty(), "RFC 9535 tests the members");
    assert_eq!(
        instead("$.identity.attributes[?(@.state != 'active')]"),
        "$.identity.attributes[?($.identity.attributes.state != 'active')]"
    );
    // A list of texts has no members to be mistaken for, and a name is not known to be an object's.
    for fine in ["$.list[*][?@ == 'x']", "$['changes'][?@.new == 'x']"] {
        Path::compile(fine).unwrap_or_else(|error| panic!("{}", error.message));
    }
}

#[test]
fn a_number_is_compared_as_text_too() {
    for (jayway, rfc) in [
        ("$[?($.code == 514)]", "$[?(($.code == 514 || $.code == '514'))]"),
        ("$[?$.code != '514']", "$[?($.code != '514' && $.code != 514)]"),
        ("$.c[?(-1 == @.a)]", "$.c[?((@.a == -1 || @.a == '-1'))]"),
    ] {
        assert_eq!(instead(jayway), rfc, "{jayway}");
    }
    let both = accepted("$[?($.code == 514)]");
    for (event, holds) in [
        (json!({"code": 514}), true),
        (json!({"code": "514"}), true),
        (json!({"code": 5}), false),
    ] {
        assert_eq!(both.matches(&event), holds, "{event}");
    }
    for fine in [
        "$[?$.code == 'x']",
        "$[?$.code == '007']",
        "$[?length($.list) == 2]",
        "$[?$.code > 3]",
        "$.list[?@ == 3]",
    ] {
        Path::compile(fine).unwrap_or_else(|error| panic!("{}", error.message));
    }
}

#[test]
fn the_not_equal_trap_is_real_and_the_suggestion_is_free_of_it() {
    let event = json!({"status": "Success", "source": {"id": "1"}});
    let trap = JsonPath::parse("$[?(@.status != 'Success')]").unwrap();
    assert!(!trap.query(&event).is_empty());
    assert!(!accepted("$[?(@.status != 'Success')]").matches(&event));
    assert!(accepted("$[?(@.status == 'Success')]").matches(&event));
}

#[test]
fn words_that_are_operators_elsewhere_are_left_alone_in_strings_and_names() {
    for text in [
        "$.c[?(@.a == 'x in [1] =~ /y/ contains .length()')]",
        "$.c[?@.in == 'nin']",
        "$.in.contains.size.empty.all.type.length",
        "$['in']['size']",
        "$.c[?@.size && @['empty'] && @.length == 'x']",
        "$.c[?(@.a == \"it's =~ /x/\")]",
        "$.c[?match(@.a, 'in|all')]",
        "$.c[?(@ == 'x')]",
        "$..[?@.name == 'x']",
        "$.account.attributes.memberOf[?@ == 'CN=x']",
        "$.singleValueAttributeChanges[?@.name == 'x' && $.account.correlated == true].newValue",
    ] {
        assert!(
            Path::compile(text).is_ok(),
            "{text}: {}",
            Path::compile(text).unwrap_err().message
        );
    }
}

#[test]
fn what_cannot_be_said_in_rfc_9535_is_refused_without_a_made_up_suggestion() {
    for text in [
        "$[?($.list.max() > 3)]",
        "$.c[?(@.a =~ /x/s)]",
        "$.c[?(@.a =~ /(?=x)/)]",
        "$.c[?(@.a in $.list)]",
        "$.c[?(@.a in [])]",
        "$.c[?(@.a type 'STRING')]",
        "$.c[?(@.a =~",
        "$.c[?(@.a in",
        "$.c[?(.length() in ['x'])]",
    ] {
        let error = Path::compile(text).unwrap_err();
        assert_eq!(error.instead, None, "{text}");
        assert!(error.message.contains("RFC 9535"), "{}", error.message);
    }
}

#[test]
fn a_path_that_is_no_path_says_where_it_breaks() {
    for text in [
        "",
        "$.",
        "$[",
        "$.a b",
        "$[?@.a = 1]",
        "$.a[(@.length-1)]",
        "nonsense here",
        "$.some-name",
    ] {
        let error = Path::compile(text).unwrap_err();
        assert!(
            error.message.starts_with("is not JSONPath"),
            "{text}: {}",
            error.message
        );
    }
    let message = |text: &str| Path::compile(text).unwrap_err().message;
    let dash = message("$.some-name");
    assert!(dash.contains("from \"-name\" on") && dash.contains("['…']"), "{dash}");
    assert!(message("$.").contains("at its end"), "{}", message("$."));
    assert!(
        message("$.a[?length(@.b)]").contains("return type"),
        "{}",
        message("$.a[?length(@.b)]")
    );
}

#[test]
fn patterns_are_literals_that_compile() {
    assert!(Path::compile("$.c[?match(@.a, '[a-z]+')]").is_ok());
    assert!(Path::compile(r"$.c[?search(@.a, 'a\\.b')]").is_ok());
    let broken = Path::compile("$.c[?match(@.a, 'x(')]").unwrap_err().message;
    assert!(broken.contains("could never match"), "{broken}");
    let chosen = Path::compile("$.c[?search(@.a, $.pattern)]").unwrap_err().message;
    assert!(chosen.contains("not a plain literal"), "{chosen}");
    assert!(Path::compile("$.c[?@.d[?match(@.a, 'x')]]").is_ok());
    assert!(Path::compile("$[?$.c[?match(@.a, 'x')]]").is_ok());
    let many = Path::compile("$.c[?@.b == 'x' && $.d[?(match(@.a, 'x'))]]")
        .unwrap_err()
        .message;
    assert!(many.contains("start the inner path with `@`"), "{many}");
}

#[test]
fn a_match_is_a_value_that_is_neither_null_nor_an_empty_list() {
    let event = json!({"null": null, "none": [], "list": [null], "no": false, "zero": 0, "text": "", "object": {}});
    for (path, holds) in [
        ("$.null", false),
        ("$.none", false),
        ("$.missing", false),
        ("$.no", true),
        ("$.zero", true),
        ("$.text", true),
        ("$.object", true),
        ("$['list'][0]", false),
        // Jayway's answer to a path that may lead to many is a list, here one with a null in it.
        ("$.list[*]", true),
        ("$.none[*]", false),
    ] {
        assert_eq!(Path::compile(path).unwrap().matches(&event), holds, "{path}");
    }
}

#[test]
fn one_value_is_one_text_number_or_boolean() {
    let event = json!({"a": "x", "n": 7, "b": true, "list": ["x", "y"], "null": null});
    let one = |path: &str| Path::compile(path).unwrap().one(&event);
    assert_eq!(one("$.a").unwrap(), "x");
    assert_eq!(one("$.n").unwrap(), "7");
    assert_eq!(one("$.b").unwrap(), "true");
    assert_eq!(one("$.list[?@ == 'y']").unwrap(), "y");
    for (number, is_exact) in [
        ("18446744073709551615", true),
        ("-9223372036854775808", true),
        ("1767225600.5", true),
        ("18446744073709551616", false),
        ("100000000000000000001", false),
        ("1e300", false),
    ] {
        let event: Value = serde_json::from_str(number).unwrap();
        let read = Path::compile("$").unwrap().one(&event);
        assert_eq!(read.as_deref().ok(), is_exact.then_some(number), "{read:?}");
    }
    assert!(one("$.missing").unwrap_err().contains("nothing"));
    assert!(one("$.null").unwrap_err().contains("null"));
    assert!(one("$.list").unwrap_err().contains("a list"));
    assert!(one("$.list[*]").unwrap_err().contains("2 values"));
}

#[test]
fn limits_hold_at_and_one_past() {
    let long = |bytes: usize| format!("$.{}", "a".repeat(bytes - 2));
    assert!(Path::compile(&long(MAX_PATH_BYTES)).is_ok());
    assert!(
        Path::compile(&long(MAX_PATH_BYTES + 1))
            .unwrap_err()
            .message
            .contains("4096")
    );
    let deep = |levels: usize| format!("$.c[?{}@.a{}]", "(".repeat(levels - 1), ")".repeat(levels - 1));
    assert!(Path::compile(&deep(MAX_PATH_NESTING)).is_ok());
    assert!(
        Path::compile(&deep(MAX_PATH_NESTING + 1))
            .unwrap_err()
            .message
            .contains("levels deep")
    );
    assert!(Path::compile("$.c[?@.d[?@.e]]").is_ok());
    assert!(
        Path::compile("$.c[?@.d[?@.e[?@.f]]]")
            .unwrap_err()
            .message
            .contains("filters")
    );
    assert!(Path::compile("$..a").is_ok());
    assert!(Path::compile("$..a..b").unwrap_err().message.contains("`..`"));
    let selectors = |count: usize| format!("$[{}]", vec!["*"; count].join(","));
    assert!(Path::compile(&selectors(MAX_SELECTORS)).is_ok());
    let refused = Path::compile(&selectors(MAX_SELECTORS + 1)).unwrap_err();
    assert!(refused.message.contains("selectors in one"), "{refused:?}");
    let calls = |count: usize| format!("$.a[?{}]", vec!["match(@, 'x')"; count].join(" || "));
    assert!(Path::compile(&calls(MAX_PATTERN_CALLS)).is_ok());
    let refused = Path::compile(&calls(MAX_PATTERN_CALLS + 1)).unwrap_err();
    assert!(refused.message.contains("over 4 times"), "{refused:?}");
}

/// Each further list of selectors would multiply what the ones before lead to.
#[test]
fn no_path_leads_to_the_same_values_again_and_again() {
    for text in ["$[*,*][*,*]", "$['a','a']['a','a']", "$[0,0][0,0]", "$.x[*,*].y[0,1]"] {
        let refused = Path::compile(text).unwrap_err();
        assert!(refused.message.contains("several selectors"), "{text}: {refused:?}");
    }
    assert!(Path::compile("$.changes[?match(@.a, 'x')]['old','new']").is_ok());
}

/// Saying it in RFC 9535 would take gigabytes, and nobody would be told the result.
#[test]
fn what_a_rewrite_would_blow_up_is_refused_without_it() {
    let list = format!("[{}]", vec!["1"; 650].join(","));
    let text = format!("$.x[?@.y[?@.z all {list}] all {list}] all {list}");
    assert!(text.len() <= MAX_PATH_BYTES);
    let refused = Path::compile(&text).unwrap_err();
    assert!(refused.message.contains("no direct way to say it"), "{refused:?}");
    assert!(refused.message.len() < 1000);
}

proptest! {
    #[test]
    fn any_text_compiles_or_is_refused_and_every_suggestion_compiles(
        text in "(\\$|@|\\$\\.a|@\\.b|\\[\\?|\\(|\\)|\\]|\\[|'x'|1| in | =~ /x/i| contains | anyof \\['x'\\]|\\.length\\(\\)|==|!=|&&|,|\\.|\\.\\.|!|\\*|\\[\\*\\]|\\[0\\]|\\[\\?@\\.a|\\.changes|514|'514'|'007'|é){0,14}"
    ) {
        match Path::compile(&text) {
            Ok(path) => drop(path.matches(&json!({"a": [{"b": 1}], "b": "x"}))),
            Err(error) => {
                prop_assert!(!error.message.is_empty());
                if let Some(instead) = error.instead {
                    prop_assert!(Path::compile(&instead).is_ok(), "{} -> {}", text, instead);
                }
            }
        }
    }

    #[test]
    fn any_characters_at_all_are_survived(text in "\\PC{0,60}") {
        let _ = Path::compile(&text);
    }
}

#[test]
fn what_looks_at_each_value_once_for_each_other_is_known_as_laborious() {
    for text in [
        "$.email",
        "$.changes[*].name",
        "$..name",
        "$[?$.event.type == 'ACCOUNT_DELETED_V2']",
        "$.changes[?@.attribute == 'a*b..c' && length(@['x:y']) > 1].name",
        "$..changes[?@.a == 'x'][1:2][*]",
    ] {
        assert!(!Path::compile(text).unwrap().is_laborious(), "{text}");
    }
    for text in [
        "$.a[?count($.a[?@ == 1]) > 0]",
        "$.a[?count($.a.*) > 0]",
        "$.a[?count($..b) > 0]",
        "$.a[?count($.a[0:]) > 0]",
        "$.a[?@.b[?@.c == 'x']]",
        "$.a[?match(@, 'x*')]",
        "$.a[?search(@.b, 'x*')]",
    ] {
        assert!(Path::compile(text).unwrap().is_laborious(), "{text}");
    }
}
