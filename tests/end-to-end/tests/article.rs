//! The article's literal requests: sent as written, once the operator has granted what they need.

use docusign_sim::{Options, Origin, Status};
use end_to_end::{World, event};

const ANN: &str = "ann.english@acme.example";

/// What the descriptor asks for by itself, and the article's DELETE.
const REACH: &str = r#"reach = [
    "mint POST account /oauth/token",
    "mint GET account /oauth/userinfo",
    "find GET esign /restapi/v2.1/accounts/{settings:/account_id}/users",
    "find GET esign /restapi/v2.1/accounts/{settings:/account_id}/users/{any}",
    "read GET esign /restapi/v2.1/accounts/{settings:/account_id}/users/{account}",
    "read GET esign /restapi/v2.1/accounts/{settings:/account_id}/users/{settings:/user_id}",
    "close DELETE account /restapi/v2.1/accounts/{settings:/account_id}/users/{account}",
    "page GET esign /restapi/v2.1/accounts/{settings:/account_id}/users",
]"#;

async fn world(article: bool, granted: &[&str]) -> (World, String) {
    let world = World::with(Options {
        article,
        ..Options::default()
    })
    .await;
    let ann = world.user(ANN);
    world.edit("settings = { ", "settings = { wire = \"article\", ");
    world.edit(
        "mode = \"enforce\"",
        &format!("mode = \"enforce\"\n{}", granted.join("\n")),
    );
    (world, ann)
}

#[tokio::test]
async fn the_articles_requests_are_sent_as_written() {
    let (world, ann) = world(true, &["max_assertion = \"3650d\"", REACH]).await;
    let checked = world.exeunt(&["check", "--tenant", "tenants/acme.toml"], b"").await;
    assert_eq!(checked.code, 0, "{checked:?}");
    world.run(&event(ANN)).await.ended("closed", 0);
    assert_eq!(world.status(&ann), Status::Closed);
    let token = &world.seen("POST", "/oauth/token")[0];
    assert_eq!(token.content_type.as_deref(), Some("application/json"));
    let close = &world.seen("DELETE", "")[0];
    let path = format!("/restapi/v2.1/accounts/{}/users/{ann}", world.simulator.account_id());
    assert_eq!(
        (close.origin, close.host.as_str()),
        (Origin::Account, "account-d.docusign.com")
    );
    assert_eq!(
        (close.path.as_str(), close.body_bytes, close.status),
        (path.as_str(), 0, Some(200))
    );
    assert_eq!(world.seen("DELETE", "").len(), 1);
}

#[tokio::test]
async fn without_the_grant_of_a_long_assertion_the_line_to_write_is_named() {
    let (world, _) = world(true, &[REACH]).await;
    let said = [
        "is longer than the 3600 s allowed",
        "max_assertion = \"",
        "[connectors.docusign]",
        "tenants/acme.toml",
    ];
    world.run(&event(ANN)).await.ended_because("parked", 4, &said);
    world.was_not_asked();
}

#[tokio::test]
async fn the_line_that_is_named_is_enough() {
    let (world, _) = world(true, &[REACH]).await;
    let job = world.run(&event(ANN)).await.ended("parked", 4);
    let reason = job["reason"].as_str().expect("a reason");
    let line = reason
        .split("write ")
        .nth(1)
        .and_then(|rest| rest.split(" under").next())
        .expect("a line");
    world.edit("mode = \"enforce\"", &format!("mode = \"enforce\"\n{line}"));
    world.run(&event(ANN)).await.ended("closed", 0);
}

#[tokio::test]
async fn without_the_grant_of_the_reach_the_line_to_write_is_named() {
    let (world, ann) = world(true, &["max_assertion = \"3650d\""]).await;
    let said = [
        "is not granted",
        "\"close DELETE account /restapi/v2.1/accounts/{settings:/account_id}/users/{account}\"",
        "[connectors.docusign]",
        "tenants/acme.toml",
    ];
    world.run(&event(ANN)).await.ended_because("failed", 4, &said);
    assert_eq!(world.status(&ann), Status::Active);
    assert!(world.seen("DELETE", "").is_empty());
}

#[tokio::test]
async fn docusign_as_it_is_refuses_the_article_and_the_line_to_write_is_named() {
    let (world, ann) = world(false, &["max_assertion = \"3650d\"", REACH]).await;
    let said = [
        "form-encoded token requests only",
        "wire = \"current\"",
        "invalid_request",
    ];
    world.run(&event(ANN)).await.ended_because("parked", 4, &said);
    assert_eq!(world.status(&ann), Status::Active);
    assert_eq!(world.seen("POST", "/oauth/token").len(), 1);
}

#[tokio::test]
async fn what_the_article_cannot_remove_is_not_promised() {
    let (world, ann) = world(true, &["max_assertion = \"3650d\"", REACH]).await;
    world.edit("settings = { ", "settings = { also_remove = [\"Groups\"], ");
    let said = ["also_remove needs the documented request", "wire = \"current\""];
    world.run(&event(ANN)).await.ended_because("parked", 4, &said);
    assert_eq!(world.status(&ann), Status::Active);
    world.was_not_asked();
}

#[tokio::test]
async fn a_reach_that_the_plugin_does_not_have_is_refused_with_the_nearest_line() {
    let close = "close DELETE account /restapi/v2.1/accounts/{settings:/account_id}/users/";
    let reach = REACH.replace(&format!("{close}{{account}}"), &format!("{close}{{acount}}"));
    let (world, _) = world(true, &["max_assertion = \"3650d\"", &reach]).await;
    let said = ["connectors.docusign.reach", "did you mean `close DELETE account"];
    world.run(&event(ANN)).await.was_misused(&said);
    world.was_not_asked();
}
