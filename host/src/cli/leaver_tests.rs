use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode as Status};
use axum::routing::post;
use clap::Parser;
use secrecy::SecretString;
use tokio::net::TcpListener;

use super::*;
use crate::console::testing::Stand;
use crate::intake::http::{Directory, Intake, IntakeLimits, OpenSource, router};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    leaver: Leaver,
}

/// What the command makes of one answer; the answer's `echo` is what the server got.
async fn report(words: &[&str], status: u16, answer: Value) -> anyhow::Result<(String, Exit)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = format!("http://{}", listener.local_addr()?).parse()?;
    let answering = move |Path(tenant): Path<String>, headers: HeaderMap, body: String| async move {
        let mut answer = answer;
        let header = |name: &str| {
            headers
                .get(name)
                .map(|value| value.to_str().unwrap_or_default().to_owned())
        };
        let sent: Value = serde_json::from_str(&body).unwrap_or_default();
        let echo = json!([
            tenant,
            sent,
            header("prefer"),
            header("idempotency-key"),
            header("authorization")
        ]);
        answer["echo"] = echo;
        (Status::from_u16(status).unwrap_or_default(), answer.to_string())
    };
    let app = Router::new().route("/v1/tenants/{tenant}/leavers", post(answering));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let leaver = Line::try_parse_from([&["leaver", "--tenant", "acme"], words].concat())?.leaver;
    leaver
        .report(&Client::new(server, &SecretString::from("exeunt_x"), None)?)
        .await
}

fn with_jobs(jobs: &[(&str, Option<&str>)]) -> Value {
    let job = |(state, outcome): &(&str, Option<&str>)| json!({"id": "j", "connector": "docusign", "state": state, "outcome": outcome, "reason": "r"});
    json!({"event": "e", "jobs": jobs.iter().map(job).collect::<Vec<_>>()})
}

#[tokio::test]
async fn the_person_the_connectors_the_wait_and_the_key_are_sent() {
    let words = [
        "--email",
        "a@acme.example",
        "--target-id",
        "7",
        "--connector",
        "docusign",
        "--wait",
        "5",
        "--idempotency-key",
        "k",
        "--json",
    ];
    let (text, exit) = report(&words, 200, with_jobs(&[("ended", Some("closed"))]))
        .await
        .unwrap();
    assert_eq!(exit, Exit::Success);
    let body = json!({"email": "a@acme.example", "target_id": "7", "connectors": ["docusign"]});
    let echo = serde_json::from_str::<Value>(&text).unwrap()["echo"].clone();
    assert_eq!(echo, json!(["acme", body, "wait=5", "k", "Bearer exeunt_x"]));
    let words = ["--target-id", "7", "--id", "1", "--json"];
    let (text, _) = report(&words, 202, with_jobs(&[])).await.unwrap();
    let echo = serde_json::from_str::<Value>(&text).unwrap()["echo"].clone();
    assert_eq!(
        echo,
        json!(["acme", {"target_id": "7", "id": "1"}, null, null, "Bearer exeunt_x"])
    );
}

#[tokio::test]
async fn after_a_wait_the_worst_job_decides_the_exit_code() {
    let ended = |outcome| ("ended", Some(outcome));
    for (status, jobs, expected) in [
        (200, vec![ended("closed"), ended("no_account")], Exit::Success),
        (200, vec![ended("already_closed"), ended("planned")], Exit::Success),
        (409, vec![ended("closed"), ("held", None)], Exit::Withheld),
        (409, vec![ended("refused")], Exit::Withheld),
        (502, vec![ended("failed"), ("held", None)], Exit::Failed),
        (202, vec![("parked", None)], Exit::Failed),
        (202, vec![ended("closed"), ("queued", None)], Exit::Problem),
        (202, vec![("running", None)], Exit::Problem),
        (202, vec![], Exit::Problem),
    ] {
        let (text, exit) = report(&["--email", "a", "--wait"], status, with_jobs(&jobs))
            .await
            .unwrap();
        assert_eq!(exit, expected, "{jobs:?}: {text}");
        assert_eq!(text.contains("docusign"), !jobs.is_empty(), "{text}");
    }
    // It goes on by itself.
    let mut rests = with_jobs(&[("parked", None)]);
    rests["jobs"][0]["until"] = json!("2026-01-02T03:04:05Z");
    let (text, exit) = report(&["--email", "a", "--wait"], 202, rests).await.unwrap();
    assert_eq!(exit, Exit::Problem);
    assert!(text.contains("parked until 2026-01-02 03:04:05Z"), "{text}");
    let (_, exit) = report(&["--email", "a"], 202, with_jobs(&[("held", None)]))
        .await
        .unwrap();
    assert_eq!(exit, Exit::Success, "accepted was all that was asked");
}

#[tokio::test]
async fn an_answer_without_an_event_is_an_error_in_the_server_s_words() {
    let problem = json!({"title": "Unauthorized", "status": 401, "detail": "no such tenant, or no such token"});
    let error = report(&["--email", "a"], 401, problem).await.unwrap_err().to_string();
    assert!(
        error.contains("401") && error.contains("no such tenant, or no such token"),
        "{error}"
    );
}

#[test]
fn somebody_has_to_be_named_and_a_wait_has_its_limit() {
    let parse = |words: &[&str]| Line::try_parse_from([&["leaver", "--tenant", "acme"], words].concat());
    assert!(parse(&[]).is_err());
    assert!(parse(&["--name", "A"]).is_err(), "a name finds nobody");
    assert!(parse(&["--id", "7"]).is_err(), "nor does an id of another system");
    assert!(parse(&["--target-id", "7"]).is_ok());
    assert!(parse(&["--email", "a", "--wait", "80"]).is_ok());
    assert!(parse(&["--email", "a", "--wait", "81"]).is_err());
}

/// One tenant with one connector.
#[derive(Debug)]
struct OneTenant;

impl Directory for OneTenant {
    fn source(&self, _: &str, _: &str) -> Option<Arc<OpenSource>> {
        None
    }

    fn connectors(&self, tenant: &str) -> Option<Arc<[String]>> {
        (tenant == "acme").then(|| ["docusign".to_owned()].into())
    }
}

#[tokio::test]
async fn the_intake_takes_what_the_command_sends() {
    let stand = Stand::new().await;
    let (_stop, stop) = tokio::sync::watch::channel(false);
    let intake = Intake {
        journal: stand.journal.clone(),
        directory: Arc::new(OneTenant),
        tokens: Arc::clone(&stand.tokens),
        clock: stand.clock.clone(),
        limits: IntakeLimits::default(),
        stop,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server: url::Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router(intake)).await });
    let report = |words: &[&str], token: &str| {
        let client = Client::new(server.clone(), stand.secret(token), None);
        let leaver = Line::try_parse_from([&["leaver"], words].concat()).unwrap().leaver;
        async move { leaver.report(&client.unwrap()).await }
    };
    let known = [
        "--tenant",
        "acme",
        "--email",
        "a@acme.example",
        "--connector",
        "docusign",
        "--idempotency-key",
        "k",
    ];
    let (text, exit) = report(&known, "acme-all").await.unwrap();
    assert_eq!(exit, Exit::Success);
    let again = report(&known, "acme-all").await.unwrap().0;
    assert!(
        again.contains("reported before") && again.contains(text.lines().next().unwrap()),
        "{again}"
    );
    let job = stand.close().await;
    let waiting = [
        "--tenant",
        "acme",
        "--email",
        "a@acme.example",
        "--connector",
        "docusign",
        "--wait",
        "1",
        "--idempotency-key",
        "k",
    ];
    let (text, exit) = report(&waiting, "acme-all").await.unwrap();
    assert_eq!(exit, Exit::Success, "{text}");
    assert!(text.contains("  closed  closed and verified"), "{text}");
    assert!(text.contains(&job.to_string()), "its id leads to `jobs show`: {text}");
    for (token, expected) in [("other-all", "403"), ("auditor", "403")] {
        let error = report(&known, token).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
