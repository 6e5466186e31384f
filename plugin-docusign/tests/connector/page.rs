//! Listing all users, page by page.

use plugin_docusign::description::Verb;
use plugin_docusign::{Standing, page};

use crate::script::*;

#[test]
fn all_users_are_listed_from_cursor_to_cursor() {
    let first = [user(LEAVER, EMAIL, "Active"), user(OTHER, "b@acme.example", "Closed")];
    let host = Script::during(Verb::Page).then(&all(0), (200, listing(&first, 0, 3)));
    let accounts = page(&host, None, &TOKEN).unwrap();
    assert_eq!(
        accounts
            .items
            .iter()
            .map(|account| account.standing)
            .collect::<Vec<_>>(),
        [Standing::Active, Standing::Closed]
    );
    let cursor = accounts.next.unwrap();

    let host = Script::during(Verb::Page).then(
        &all(2),
        (200, listing(&[user(CALLER, "c@acme.example", "Active")], 2, 3)),
    );
    let accounts = page(&host, Some(&cursor), &TOKEN).unwrap();
    assert_eq!((accounts.items.len(), accounts.next), (1, None));
}

#[test]
fn a_cursor_that_was_not_given_is_not_followed() {
    for cursor in ["", "-1", "x", "1&email=ceo@acme.example", "99999999999999999999"] {
        assert_told(
            page(&Script::during(Verb::Page), Some(cursor), &TOKEN),
            "unexpected",
            &["cursor"],
        );
    }
}

#[test]
fn an_empty_page_before_the_end_is_not_the_end() {
    let host = Script::during(Verb::Page).then(&all(5), (200, listing(&[], 5, 9)));
    assert_told(page(&host, Some("5"), &TOKEN), "unexpected", &["empty page", TRACE]);
}

#[test]
fn an_account_that_is_unknown_is_unknown_to_the_caller() {
    let host = Script::during(Verb::Page).then(&all(0), (400, error("USER_LACKS_MEMBERSHIP", "no")));
    assert_told(
        page(&host, None, &TOKEN),
        "misconfigured",
        &[CALLER, "not a member", TRACE],
    );
}

#[test]
fn a_limit_ends_the_page() {
    let host = Script::during(Verb::Page).then(&all(0), (429, error("HOURLY_APIINVOCATION_LIMIT_EXCEEDED", "no")));
    assert_told(page(&host, None, &TOKEN), "rate-limited", &[TRACE]);
}
