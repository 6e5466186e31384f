//! Closing one user: what is sent, and which answers count.

use plugin_docusign::description::Verb;
use plugin_docusign::{Failure, HttpError, close};
use serde_json::{Value, json};

use crate::script::*;

fn delete(query: &str) -> String {
    format!(r#"DELETE esign /restapi/v2.1/accounts/{ACCOUNT_ID}/users{query} {{"users":[{{"userId":"{LEAVER}"}}]}}"#)
}

fn literal() -> String {
    format!("DELETE account /restapi/v2.1/accounts/{ACCOUNT_ID}/users/{LEAVER}")
}

fn closing(answer: impl Into<Scripted>) -> Result<(), Failure> {
    let host = Script::during(Verb::Close).then(&delete(""), answer);
    let result = close(&host, LEAVER, &TOKEN);
    host.ends();
    result
}

fn article(answer: impl Into<Scripted>) -> Result<(), Failure> {
    let host = Script::during(Verb::Close)
        .setting("wire", json!("article"))
        .then(&literal(), answer);
    let result = close(&host, LEAVER, &TOKEN);
    host.ends();
    result
}

fn item(id: &str, status: &str) -> Value {
    json!({ "userId": id, "userStatus": status, "uri": format!("/users/{id}") })
}

fn failed(id: &str, code: &str, message: &str) -> Value {
    json!({ "userId": id, "userStatus": "closed", "errorDetails": error(code, message) })
}

fn users(items: &[Value]) -> Value {
    json!({ "users": items })
}

#[test]
fn a_user_is_closed_by_a_list_with_a_body() {
    let host = Script::during(Verb::Close).then(&delete(""), (200, users(&[item(LEAVER, "closed")])));
    close(&host, LEAVER, &TOKEN).unwrap();
    host.ends();
    assert_eq!(
        host.log(),
        [format!(
            "info DocuSign accepted the closure user_id={LEAVER} trace_token={TRACE}"
        )]
    );
}

#[test]
fn what_goes_with_the_membership_is_one_list() {
    let host = Script::during(Verb::Close)
        .setting("also_remove", json!(["Groups", "PermissionSet", "SigningGroupsEmail"]))
        .then(
            &delete("?delete=Groups,PermissionSet,SigningGroupsEmail"),
            (200, users(&[item(LEAVER, "closed")])),
        );
    close(&host, LEAVER, &TOKEN).unwrap();
    host.ends();
}

#[test]
fn closed_is_read_without_case_and_so_is_the_id() {
    closing((200, users(&[item(&LEAVER.to_uppercase(), "Closed")]))).unwrap();
}

#[test]
fn an_error_of_no_error_is_none() {
    let mut item = item(LEAVER, "closed");
    for details in [error("SUCCESS", ""), error("", ""), Value::Null] {
        item["errorDetails"] = details;
        closing((200, users(&[item.clone()]))).unwrap();
    }
}

#[test]
fn a_200_whose_user_failed_is_a_refusal_in_docusigns_words() {
    let rows = [
        (
            "USER_LACKS_MEMBERSHIP",
            "The UserID does not have a valid membership in this Account.",
        ),
        ("USER_LACKS_PERMISSIONS", "This user lacks sufficient permissions."),
        ("CANNOT_CLOSE_LAST_ADMIN", "one must stay"),
    ];
    for (code, message) in rows {
        let parts = [&format!("[{code}]"), message, "HTTP 200", TRACE];
        assert_told(
            closing((200, users(&[failed(LEAVER, code, message)]))),
            "refused",
            &parts,
        );
    }
}

#[test]
fn every_item_is_looked_at() {
    let second = users(&[item(LEAVER, "closed"), failed(OTHER, "SOME_CODE", "no")]);
    assert_told(closing((200, second)), "refused", &["[SOME_CODE]", TRACE]);
    let second = users(&[item(LEAVER, "closed"), item(OTHER, "closed")]);
    assert_told(closing((200, second)), "unexpected", &["another user", TRACE]);
}

#[test]
fn a_200_that_does_not_say_closed_is_none() {
    let bodies = [
        users(&[item(LEAVER, "Active")]),
        users(&[json!({ "userId": LEAVER })]),
        users(&[json!({ "userStatus": "closed" })]),
        users(&[item(OTHER, "closed")]),
        users(&[json!("closed")]),
        users(&[]),
        json!({}),
        json!([]),
        json!({ "users": "closed" }),
    ];
    for body in bodies {
        assert_told(closing((200, body)), "unexpected", &["HTTP 200", TRACE]);
    }
}

#[test]
fn an_error_at_the_top_of_a_200_is_a_refusal() {
    assert_told(
        closing((200, error("ODD", "words"))),
        "refused",
        &["[ODD]", "words", TRACE],
    );
}

#[test]
fn an_answer_that_is_lost_or_cannot_be_read_leaves_it_open() {
    for body in ["", "<html>OK</html>", "{\"users\":[{\"userId\":\"6b67"] {
        assert_told(closing((200, body)), "unavailable", &["is not known", TRACE]);
    }
    assert_told(closing(HttpError::NoAnswer("reset".into())), "unavailable", &["reset"]);
    assert_told(
        closing(HttpError::NotSent("refused".into())),
        "unavailable",
        &["refused"],
    );
    assert_told(closing((500, "")), "unavailable", &["HTTP 500", TRACE]);
    assert_told(
        closing(HttpError::TooLarge("over 8 MiB".into())),
        "unexpected",
        &["over 8 MiB"],
    );
}

#[test]
fn a_closure_that_is_refused_as_a_whole_is_told_by_its_code() {
    assert_told(
        closing((400, error("USER_NOT_FOUND", "no"))),
        "refused",
        &["[USER_NOT_FOUND]", TRACE],
    );
    assert_told(
        closing((403, error("USER_LACKS_PERMISSIONS", "no"))),
        "misconfigured",
        &["Users and Groups", TRACE],
    );
    assert_told(
        closing((401, error("AUTHORIZATION_INVALID_TOKEN", "no"))),
        "unauthorized",
        &[TRACE],
    );
    assert_told(
        closing((429, error("BURST_APIINVOCATION_LIMIT_EXCEEDED", "no"))),
        "rate-limited",
        &[TRACE],
    );
    assert_told(closing((404, "")), "unexpected", &["HTTP 404", TRACE]);
}

#[test]
fn a_reach_that_is_not_granted_is_passed_on() {
    assert_eq!(
        told(article(HttpError::Denied("write reach".into()))),
        ("denied", "write reach".to_owned())
    );
}

#[test]
fn the_article_deletes_the_user_itself_on_the_host_that_signs_in() {
    for status in [200, 202, 204] {
        article((status, "")).unwrap();
    }
    article((200, users(&[item(LEAVER, "closed")]))).unwrap();
    article((200, item(LEAVER, "closed"))).unwrap();
}

#[test]
fn the_articles_answer_is_not_believed_either() {
    let refused = users(&[failed(LEAVER, "SOME_CODE", "no")]);
    assert_told(article((200, refused)), "refused", &["[SOME_CODE]", TRACE]);
    let refused = json!({ "errorDetails": error("SOME_CODE", "no") });
    assert_told(article((200, refused)), "refused", &["[SOME_CODE]", TRACE]);
    assert_told(article((200, "<html>")), "unavailable", &[TRACE]);
    assert_told(
        article((400, error("SOME_CODE", "no"))),
        "refused",
        &["[SOME_CODE]", TRACE],
    );
}

#[test]
fn the_articles_request_where_it_is_not_served_names_the_wire() {
    for status in [404, 405] {
        assert_told(
            article((status, "<html>")),
            "misconfigured",
            &["wire = \"current\"", TRACE],
        );
    }
}

#[test]
fn the_article_cannot_remove_anything_else() {
    let host = Script::during(Verb::Close)
        .setting("wire", json!("article"))
        .setting("also_remove", json!(["Groups"]));
    assert_told(
        close(&host, LEAVER, &TOKEN),
        "misconfigured",
        &["also_remove", "wire = \"current\""],
    );
}

#[test]
fn the_connectors_own_user_is_never_closed() {
    for id in [CALLER.to_owned(), CALLER.to_uppercase()] {
        assert_told(
            close(&Script::during(Verb::Close), &id, &TOKEN),
            "refused",
            &["[OWN_USER]"],
        );
    }
}

#[test]
fn an_id_that_is_no_guid_is_never_sent() {
    for id in ["", "x", "\"},{\"userId\":\"y", "6b67a1ee-2222-4333-8444-38576362416g"] {
        assert_told(
            close(&Script::during(Verb::Close), id, &TOKEN),
            "refused",
            &["[INVALID_USER_ID]"],
        );
    }
}
