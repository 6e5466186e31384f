use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use clap::Parser;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use super::*;
use crate::console::testing::Stand;
use crate::console::{HealthProblem, Phase};
use crate::journal::{Finish, NewState, Scope};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    status: Status,
}

async fn ask(server: &Url, token: &SecretString, words: &[&str]) -> anyhow::Result<(String, Exit)> {
    let status = Line::try_parse_from([&["status"], words].concat())?.status;
    status.report(&Client::new(server.clone(), token, None)?).await
}

async fn seen_by(stand: &Stand, token: &str) -> (String, Exit) {
    ask(&stand.url, stand.secret(token), &[]).await.unwrap()
}

/// What the command makes of one answer to everything.
async fn answered(status: u16, body: &'static str) -> anyhow::Result<(String, Exit)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = format!("http://{}", listener.local_addr()?).parse()?;
    let status = StatusCode::from_u16(status)?;
    let app = Router::new().route("/readyz", get(move || async move { (status, body) }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    ask(&server, &SecretString::from("exeunt_x"), &[]).await
}

fn problem(tenant: Option<&str>, connector: Option<&str>, message: &str) -> HealthProblem {
    HealthProblem {
        tenant: tenant.map(str::to_owned),
        connector: connector.map(str::to_owned),
        message: message.to_owned(),
    }
}

fn set_problems(stand: &Stand, problems: &[HealthProblem]) {
    stand.health.report.lock().unwrap().problems = problems.to_vec();
}

/// A leaver's job in this tenant whose connector is parked.
async fn park(stand: &Stand, tenant: &str, reason: &str) {
    stand.leaver(tenant, "a@acme.example", NewState::Queued).await;
    let reason = reason.to_owned();
    let job = stand.claim().await;
    let parked = stand.journal.finish(&job.fence, Finish::Park { reason }, None).await;
    parked.unwrap();
}

#[tokio::test]
async fn a_host_that_is_ready_says_so_and_nothing_more() {
    let stand = Stand::new().await;
    let whole = "ready          yes\nphase          serving\njournal        reachable\ntenants        2\n\
                 problems       0\nparked         0\nbreakers open  0\npauses         0\n";
    assert_eq!(seen_by(&stand, "ops").await, (whole.to_owned(), Exit::Success));
}

#[tokio::test]
async fn a_host_that_starts_or_stops_is_not_ready() {
    let stand = Stand::new().await;
    for (phase, word) in [(Phase::Starting, "starting"), (Phase::Stopping, "stopping")] {
        *stand.health.phase.lock().unwrap() = phase;
        let (text, exit) = seen_by(&stand, "ops").await;
        assert_eq!(exit, Exit::Problem, "{text}");
        let first = format!("ready          no\nphase          {word}\njournal        reachable\n");
        assert!(text.starts_with(&first), "{text}");
    }
}

#[tokio::test]
async fn problems_are_shown_with_their_places_a_line_for_each_mistake() {
    let stand = Stand::new().await;
    let problems = [
        problem(None, None, "exeunt.toml:3: wrong"),
        problem(Some("acme"), None, "acme.toml:1: no\nacme.toml:2: nor this"),
        problem(Some("acme"), Some("zoom"), "a plugin says \u{1b}[2J\rfine"),
    ];
    set_problems(&stand, &problems);
    let (text, exit) = seen_by(&stand, "ops").await;
    assert_eq!(
        exit,
        Exit::Success,
        "one tenant's mistake does not make the host unready"
    );
    assert!(text.contains("problems       3\n"), "{text}");
    let table = "\nPROBLEM AT  WHAT IS WRONG\nthe host    exeunt.toml:3: wrong\nacme        acme.toml:1: no\n\
                 acme        acme.toml:2: nor this\nacme/zoom   a plugin says \u{fffd}[2J\u{fffd}fine\n";
    assert!(text.ends_with(table), "{text}");
}

#[tokio::test]
async fn what_stands_still_is_shown_with_its_reason_and_since_when() {
    let stand = Stand::new().await;
    park(&stand, "acme", "consent is missing").await;
    stand.leaver("other", "b@acme.example", NewState::Queued).await;
    stand.trip().await;
    let paused = stand.journal.pause(&Scope::All, "ops", "wrong feed", None).await;
    paused.unwrap();
    let (text, exit) = seen_by(&stand, "ops").await;
    assert_eq!(exit, Exit::Success, "{text}");
    for part in [
        "parked         1\nbreakers open  1\npauses         1; `exeunt lanes` shows what is paused\n",
        "\nPARKED         SINCE                 REASON\nacme/docusign  2023-11-14 22:13:20Z  consent is missing\n",
        "\nBREAKER OPEN    SINCE                 REASON\nother/docusign  2023-11-14 22:13:20Z  0 closures within 1 h",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_tenants_token_sees_its_own_and_that_there_is_more() {
    let stand = Stand::new().await;
    let problems = [
        problem(None, None, "of the host"),
        problem(Some("acme"), None, "acme.toml:1"),
        problem(Some("other"), None, "other.toml:1"),
    ];
    set_problems(&stand, &problems);
    park(&stand, "other", "other's consent").await;
    let (text, _) = seen_by(&stand, "acme-all").await;
    assert!(text.contains("problems       3, of which the token sees 1\n"), "{text}");
    assert!(text.contains("parked         1, of which the token sees 0\n"), "{text}");
    assert!(text.contains("\nacme        acme.toml:1\n"), "{text}");
    assert!(!text.contains("other") && !text.contains("the host"), "{text}");
}

#[tokio::test]
async fn a_token_that_nobody_knows_is_told_why_it_sees_no_names() {
    let stand = Stand::new().await;
    set_problems(&stand, &[problem(Some("acme"), None, "acme.toml:1")]);
    let (text, exit) = ask(&stand.url, &SecretString::from("exeunt_x"), &[]).await.unwrap();
    assert_eq!(exit, Exit::Success, "{text}");
    assert!(text.contains("problems       1\n"), "{text}");
    assert!(text.contains("the server does not know the token"), "{text}");
    assert!(!text.contains("acme"), "{text}");
}

#[tokio::test]
async fn what_a_journal_that_is_away_would_say_is_unknown_and_not_nothing() {
    let stand = Stand::new().await;
    stand.journal.close().await;
    let (text, exit) = seen_by(&stand, "ops").await;
    assert_eq!(exit, Exit::Problem, "{text}");
    assert!(
        text.contains("journal        unreachable\ntenants        2\n"),
        "{text}"
    );
    let end = "parked         unknown\nbreakers open  unknown\npauses         unknown\n";
    assert!(text.ends_with(end), "{text}");
}

#[tokio::test]
async fn the_json_is_the_servers_also_when_it_is_not_ready() {
    let stand = Stand::new().await;
    set_problems(&stand, &[problem(Some("acme"), None, "\u{202e}acme.toml:1")]);
    *stand.health.phase.lock().unwrap() = Phase::Stopping;
    let (text, exit) = ask(&stand.url, stand.secret("ops"), &["--json"]).await.unwrap();
    assert_eq!(exit, Exit::Problem);
    assert!(!text.contains('\u{202e}'), "{text}");
    let (status, body) = stand.get("/readyz", "ops").await;
    assert_eq!(
        (status, serde_json::from_str::<Value>(&text).unwrap()),
        (503, body.clone())
    );
    assert_eq!(body["details"]["problems"][0]["tenant"], json!("acme"));
}

#[tokio::test]
async fn without_an_answer_of_a_host_it_may_go_well_later() {
    let closed = "http://127.0.0.1:1".parse().unwrap();
    let error = ask(&closed, &SecretString::from("exeunt_x"), &[]).await.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Problem, "{error:#}");
    for (status, body) in [(503, "<html>no host</html>"), (502, ""), (503, r#"{"detail": "busy"}"#)] {
        let error = answered(status, body).await.unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Problem, "{error:#}");
    }
    for (status, body) in [(200, "ok"), (200, "{}"), (404, "nothing here")] {
        let error = answered(status, body).await.unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage, "{error:#}");
    }
}

#[tokio::test]
async fn what_a_server_says_of_itself_drives_no_terminal() {
    let body = r#"{"ready": true, "phase": "s\u001b[2J", "journal": "\r", "tenants": 0, "problems": 0, "parked": 0,
                   "breakers_open": 0, "pauses": 0}"#;
    let (text, _) = answered(200, body).await.unwrap();
    assert!(
        text.contains("phase          s\u{fffd}[2J\njournal        \u{fffd}\n"),
        "{text}"
    );
}
