//! Finding a person's users by address and by id.

use plugin_docusign::description::Verb;
use plugin_docusign::{Account, Failure, Standing, find};
use serde_json::{Value, json};

use crate::script::*;

fn finding(host: &Script, target_id: Option<&str>, email: Option<&str>) -> Result<Vec<Account>, Failure> {
    let result = find(host, &person(target_id, email), &TOKEN);
    host.ends();
    result
}

fn ids(result: Result<Vec<Account>, Failure>) -> Vec<String> {
    result.unwrap().into_iter().map(|account| account.id).collect()
}

fn numbered(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn unknown(code: &str) -> (u16, Value) {
    (
        400,
        error(code, "The UserID does not have a valid membership in this Account."),
    )
}

fn caller(status: &str) -> (u16, Value) {
    (200, user(CALLER, "connector@acme.example", status))
}

#[test]
fn closed_users_of_the_address_are_found_too() {
    let users = [user(LEAVER, EMAIL, "Active"), user(OTHER, EMAIL, "Closed")];
    let host = Script::during(Verb::Find).then(&by_email(EMAIL, 0), (200, listing(&users, 0, 2)));
    let found = finding(&host, None, Some(EMAIL)).unwrap();
    assert_eq!(
        found.iter().map(|account| account.standing).collect::<Vec<_>>(),
        [Standing::Active, Standing::Closed]
    );
}

#[test]
fn several_open_users_of_one_address_are_all_told() {
    let users = [user(LEAVER, EMAIL, "Active"), user(OTHER, EMAIL, "ActivationSent")];
    let host = Script::during(Verb::Find).then(&by_email(EMAIL, 0), (200, listing(&users, 0, 2)));
    assert_eq!(ids(finding(&host, None, Some(EMAIL))), [LEAVER, OTHER]);
}

#[test]
fn addresses_are_compared_exactly_but_for_case() {
    let rows = [
        ("Tania.Morales@ACME.example", EMAIL, true),
        ("élan@acme.example", "ÉLAN@acme.example", true),
        ("tania.morales+x@acme.example", EMAIL, false),
        ("tania.morales@acme.example.org", EMAIL, false),
        ("atania.morales@acme.example", EMAIL, false),
        // The Kelvin sign lower-cases to `k`.
        ("\u{212a}im@acme.example", "kim@acme.example", false),
        ("\"tania\"@acme.example", "\"Tania\"@acme.example", true),
        ("tania@acme.example&email=ceo@acme.example", "ceo@acme.example", false),
    ];
    for (asked, held, same) in rows {
        let answer = (200, listing(&[user(LEAVER, held, "Active")], 0, 1));
        let host = Script::during(Verb::Find).then(&by_email(asked, 0), answer);
        assert_eq!(
            ids(finding(&host, None, Some(asked))).len(),
            usize::from(same),
            "{asked} {held}"
        );
        let left_out =
            format!("warn left out users with another address than the one asked for users=1 trace_token={TRACE}");
        assert_eq!(host.log().contains(&left_out), !same);
    }
}

#[test]
fn a_user_without_an_address_is_nobodys() {
    let mut nameless = user(LEAVER, EMAIL, "Active");
    nameless["email"] = Value::Null;
    let host = Script::during(Verb::Find).then(&by_email(EMAIL, 0), (200, listing(&[nameless], 0, 1)));
    assert_eq!(finding(&host, None, Some(EMAIL)), Ok(Vec::new()));
}

#[test]
fn pages_are_followed_to_the_last() {
    let page = |start: usize, count: usize| {
        let users: Vec<Value> = (start..start + count)
            .map(|at| user(&numbered(at), EMAIL, "Closed"))
            .collect();
        (200, listing(&users, start, 97))
    };
    let host = Script::during(Verb::Find)
        .then(&by_email(EMAIL, 0), page(0, 40))
        .then(&by_email(EMAIL, 40), page(40, 57));
    assert_eq!(ids(finding(&host, None, Some(EMAIL))).len(), 97);
}

#[test]
fn a_page_without_a_total_is_followed_by_its_next_uri() {
    let first = json!({ "users": [user(LEAVER, EMAIL, "Active")], "nextUri": "/users?start_position=1" });
    let last = json!({ "users": [user(OTHER, EMAIL, "Closed")], "nextUri": "" });
    let host = Script::during(Verb::Find)
        .then(&by_email(EMAIL, 0), (200, first))
        .then(&by_email(EMAIL, 1), (200, last));
    assert_eq!(ids(finding(&host, None, Some(EMAIL))), [LEAVER, OTHER]);
}

#[test]
fn a_user_that_comes_twice_is_one() {
    let users = [
        user(LEAVER, EMAIL, "Active"),
        user(&LEAVER.to_uppercase(), EMAIL, "Active"),
    ];
    let host = Script::during(Verb::Find).then(&by_email(EMAIL, 0), (200, listing(&users, 0, 2)));
    assert_eq!(ids(finding(&host, None, Some(EMAIL))), [LEAVER]);
}

#[test]
fn a_listing_that_ends_before_its_total_is_not_whole() {
    let host = Script::during(Verb::Find)
        .then(
            &by_email(EMAIL, 0),
            (200, listing(&[user(LEAVER, EMAIL, "Closed")], 0, 2)),
        )
        .then(&by_email(EMAIL, 1), (200, listing(&[], 1, 2)));
    assert_told(finding(&host, None, Some(EMAIL)), "unexpected", &["empty page", TRACE]);
}

#[test]
fn a_listing_whose_rest_is_unknown_is_not_whole() {
    let host = Script::during(Verb::Find)
        .then(
            &by_email(EMAIL, 0),
            (200, listing(&[user(LEAVER, EMAIL, "Closed")], 0, 2)),
        )
        .then(&by_email(EMAIL, 1), unknown("USER_NOT_FOUND"))
        .then_caller(caller("Active"));
    assert_told(
        finding(&host, None, Some(EMAIL)),
        "unexpected",
        &["announced more users"],
    );
}

#[test]
fn a_hundred_users_of_one_address_pass_and_one_more_does_not() {
    let users = |count: usize| -> Vec<Value> { (0..count).map(|at| user(&numbered(at), EMAIL, "Closed")).collect() };
    let host = Script::during(Verb::Find).then(&by_email(EMAIL, 0), (200, listing(&users(100), 0, 100)));
    assert_eq!(ids(finding(&host, None, Some(EMAIL))).len(), 100);
    let host = Script::during(Verb::Find).then(&by_email(EMAIL, 0), (200, listing(&users(101), 0, 101)));
    assert_told(
        finding(&host, None, Some(EMAIL)),
        "unexpected",
        &["more users than one address", TRACE],
    );
}

#[test]
fn a_filter_that_does_nothing_is_noticed_after_a_thousand_users() {
    let script = |total: usize| {
        (0..10).fold(Script::during(Verb::Find), |host, page| {
            let start = page * 100;
            let users: Vec<Value> = (start..start + 100)
                .map(|at| user(&numbered(at), "x@acme.example", "Active"))
                .collect();
            host.then(&by_email(EMAIL, start as u64), (200, listing(&users, start, total)))
        })
    };
    assert_eq!(finding(&script(1000), None, Some(EMAIL)), Ok(Vec::new()));
    assert_told(
        finding(&script(1001), None, Some(EMAIL)),
        "unexpected",
        &["more users than one address", TRACE],
    );
}

#[test]
fn an_empty_list_is_nobody() {
    let bodies = [
        listing(&[], 0, 0),
        json!({ "resultSetSize": "0", "totalSetSize": "0" }),
        json!({ "users": null, "resultSetSize": 0 }),
    ];
    for body in bodies {
        let host = Script::during(Verb::Find).then(&by_email(EMAIL, 0), (200, body));
        assert_eq!(finding(&host, None, Some(EMAIL)), Ok(Vec::new()));
    }
    let host = Script::during(Verb::Find).then(&by_email(EMAIL, 0), (200, json!({ "users": "none" })));
    assert_told(
        finding(&host, None, Some(EMAIL)),
        "unexpected",
        &["no list of users", TRACE],
    );
    let host = Script::during(Verb::Find).then(&by_email(EMAIL, 0), (200, json!({})));
    assert_told(
        finding(&host, None, Some(EMAIL)),
        "unexpected",
        &["no list of users", TRACE],
    );
}

#[test]
fn an_unmatched_address_is_nobody_once_the_caller_is_known() {
    for code in ["USER_LACKS_MEMBERSHIP", "USER_NOT_FOUND"] {
        let host = Script::during(Verb::Find)
            .then(&by_email(EMAIL, 0), unknown(code))
            .then_caller(caller("Active"));
        assert_eq!(finding(&host, None, Some(EMAIL)), Ok(Vec::new()));
        assert!(
            host.log()[0].contains(TRACE) && host.log()[0].contains(code),
            "{:?}",
            host.log()
        );
    }
}

#[test]
fn a_caller_that_lost_its_membership_is_never_taken_for_no_account() {
    let script = || Script::during(Verb::Find).then(&by_email(EMAIL, 0), unknown("USER_LACKS_MEMBERSHIP"));
    let host = script().then_caller(unknown("USER_LACKS_MEMBERSHIP"));
    let parts = [
        CALLER,
        "not a member",
        "USER_LACKS_MEMBERSHIP",
        "settings.account_id",
        TRACE,
    ];
    assert_told(finding(&host, None, Some(EMAIL)), "misconfigured", &parts);
    for status in ["Closed", "Disabled", "ActivationSent"] {
        let host = script().then_caller(caller(status));
        assert_told(
            finding(&host, None, Some(EMAIL)),
            "misconfigured",
            &[CALLER, status, TRACE],
        );
    }
}

#[test]
fn a_caller_that_cannot_be_read_leaves_the_question_open() {
    let rows = [
        ((400, error("BURST_APIINVOCATION_LIMIT_EXCEEDED", "")), "rate-limited"),
        ((401, error("AUTHORIZATION_INVALID_TOKEN", "")), "unauthorized"),
        ((503, json!({})), "unavailable"),
        ((403, error("USER_LACKS_PERMISSIONS", "")), "misconfigured"),
        ((200, user(OTHER, EMAIL, "Active")), "unexpected"),
    ];
    for (answer, case) in rows {
        let host = Script::during(Verb::Find)
            .then(&by_email(EMAIL, 0), unknown("USER_NOT_FOUND"))
            .then_caller(answer);
        assert_told(finding(&host, None, Some(EMAIL)), case, &[TRACE]);
    }
}

#[test]
fn what_is_no_address_is_never_sent() {
    for email in [
        "",
        " ",
        "tania",
        "tania@acme.example\r\nX: y",
        "a b@acme.example",
        "@\0",
    ] {
        let host = Script::during(Verb::Find);
        assert_told(finding(&host, None, Some(email)), "refused", &["[INVALID_EMAIL]"]);
    }
}

#[test]
fn a_person_without_id_and_address_is_nobody_to_look_for() {
    assert_told(
        finding(&Script::during(Verb::Find), None, None),
        "refused",
        &["[NOBODY_NAMED]"],
    );
}

#[test]
fn a_user_is_found_by_id() {
    let host = Script::during(Verb::Find).then(&one(LEAVER), (200, user(LEAVER, EMAIL, "Closed")));
    assert_eq!(ids(finding(&host, Some(LEAVER), None)), [LEAVER]);
    let host = Script::during(Verb::Find).then(&one(LEAVER), (200, user(LEAVER, EMAIL, "Active")));
    assert_eq!(
        ids(finding(&host, Some(LEAVER), Some("TANIA.morales@acme.example"))),
        [LEAVER]
    );
}

#[test]
fn an_id_and_an_address_that_do_not_belong_together_are_refused() {
    let host = Script::during(Verb::Find).then(&one(LEAVER), (200, user(LEAVER, "ceo@acme.example", "Active")));
    let parts = [
        "[EMAIL_DOES_NOT_FIT]",
        "ceo@acme.example",
        EMAIL,
        "person.target_id",
        TRACE,
    ];
    assert_told(finding(&host, Some(LEAVER), Some(EMAIL)), "refused", &parts);
    let mut nameless = user(LEAVER, EMAIL, "Active");
    nameless["email"] = json!("");
    let host = Script::during(Verb::Find).then(&one(LEAVER), (200, nameless));
    assert_told(
        finding(&host, Some(LEAVER), Some(EMAIL)),
        "refused",
        &["[EMAIL_DOES_NOT_FIT]", TRACE],
    );
}

#[test]
fn an_unknown_id_is_nobody_once_the_caller_is_known() {
    let host = Script::during(Verb::Find)
        .then(&one(LEAVER), unknown("USER_NOT_FOUND"))
        .then_caller(caller("Active"));
    assert_eq!(finding(&host, Some(LEAVER), None), Ok(Vec::new()));
    let host = Script::during(Verb::Find)
        .then(&one(LEAVER), unknown("USER_NOT_FOUND"))
        .then_caller(unknown("USER_NOT_FOUND"));
    assert_told(finding(&host, Some(LEAVER), None), "misconfigured", &[CALLER, TRACE]);
}

#[test]
fn an_unknown_id_is_wrong_where_the_address_has_an_open_user() {
    let script = |status| {
        Script::during(Verb::Find)
            .then(&one(LEAVER), unknown("USER_LACKS_MEMBERSHIP"))
            .then_caller(caller("Active"))
            .then(&by_email(EMAIL, 0), (200, listing(&[user(OTHER, EMAIL, status)], 0, 1)))
    };
    let parts = ["[TARGET_ID_DOES_NOT_FIT]", LEAVER, OTHER, "person.target_id"];
    assert_told(
        finding(&script("ActivationSent"), Some(LEAVER), Some(EMAIL)),
        "refused",
        &parts,
    );
    assert_eq!(finding(&script("Closed"), Some(LEAVER), Some(EMAIL)), Ok(Vec::new()));
}

#[test]
fn the_id_of_a_closed_user_is_wrong_where_the_address_has_an_open_one() {
    let script = |status| {
        let closed = user(LEAVER, EMAIL, "Closed");
        let both = [closed.clone(), user(OTHER, EMAIL, status)];
        Script::during(Verb::Find)
            .then(&one(LEAVER), (200, closed))
            .then(&by_email(EMAIL, 0), (200, listing(&both, 0, 2)))
    };
    let parts = [
        "[TARGET_ID_DOES_NOT_FIT]",
        "is closed",
        LEAVER,
        OTHER,
        "person.target_id",
    ];
    assert_told(finding(&script("Active"), Some(LEAVER), Some(EMAIL)), "refused", &parts);
    assert_eq!(ids(finding(&script("Closed"), Some(LEAVER), Some(EMAIL))), [LEAVER]);
}

#[test]
fn an_id_that_is_no_guid_is_never_sent() {
    for id in [
        "",
        "4711",
        EMAIL,
        "../../accounts",
        "6b67a1ee-2222-4333-8444-385763624163?x=y",
    ] {
        let host = Script::during(Verb::Find);
        assert_told(
            finding(&host, Some(id), Some(EMAIL)),
            "refused",
            &["[INVALID_USER_ID]", "person.target_id"],
        );
    }
}
