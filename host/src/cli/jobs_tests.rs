use clap::Parser;

use super::*;
use crate::cli::client::Client;
use crate::console::testing::Stand;
use crate::journal::NewState;

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    jobs: Jobs,
}

/// What a command line prints, with a token of the stand.
async fn print(stand: &Stand, token: &str, words: &[&str]) -> anyhow::Result<String> {
    let client = Client::new(stand.url.clone(), stand.secret(token), None)?;
    match Line::try_parse_from([&["jobs"], words].concat())?.jobs {
        Jobs::List(list) => list.text(&client).await,
        Jobs::Show(job) => job.text(&client).await,
        Jobs::Retry(retry) => retry.text(&client).await,
        Jobs::Cancel(cancel) => cancel.text(&client).await,
        Jobs::Release(release) => release.text(&client).await,
    }
}

fn held() -> NewState {
    NewState::Held {
        why: "old-event".to_owned(),
        reason: "an operator decides".to_owned(),
    }
}

#[tokio::test]
async fn a_list_shows_who_and_where_and_how_to_go_on() {
    let stand = Stand::new().await;
    let first = stand.leaver("acme", "a@acme.example", held()).await;
    stand.leaver("acme", "b\u{1b}[2J@acme.example", NewState::Queued).await;
    let text = print(&stand, "ops", &["list", "--state", "held", "--limit", "1"])
        .await
        .unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("JOB ") && lines[0].ends_with("REASON"));
    let columns: Vec<&str> = lines[1].split_whitespace().collect();
    let expected = [
        &first.to_string(),
        "2023-11-14",
        "22:13:20Z",
        "acme/docusign",
        "a@acme.example",
        "held",
        "(old-event)",
    ];
    assert_eq!(columns[..7], expected);
    assert_eq!(text.lines().last().unwrap(), format!("more with --cursor {first}"));
    let text = print(&stand, "ops", &["list"]).await.unwrap();
    assert!(
        !text.contains('\u{1b}') && text.contains("b\u{fffd}[2J@acme.example"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&print(&stand, "ops", &["list", "--json"]).await.unwrap()).unwrap();
    assert_eq!(json["jobs"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_job_is_shown_with_its_history() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let id = stand.close().await.to_string();
    let text = print(&stand, "ops", &["show", &id]).await.unwrap();
    for line in [
        "person     a@acme.example",
        "state      closed",
        "to close account account-1",
        "closed on host-1 after 0 ms: closed and verified",
        "ended      2023-11-14T22:13:20Z closed",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let text = print(&stand, "auditor", &["show", &id, "--json"]).await.unwrap();
    assert!(serde_json::from_str::<Value>(&text).unwrap()["transcripts"].is_array());
}

#[tokio::test]
async fn a_job_says_which_pause_keeps_it_and_which_host_works_on_it() {
    let stand = Stand::new().await;
    let job = stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let id = job.to_string();
    let pause = async |tenant: &str| {
        let scope = crate::journal::Scope::Tenant(tenant.to_owned());
        stand.journal.pause(&scope, "ops", "wrong feed", None).await.unwrap();
    };
    pause("other").await;
    let shown = print(&stand, "ops", &["show", &id]).await.unwrap();
    assert!(!shown.contains("paused"), "{shown}");
    let running = stand.claim().await;
    let shown = print(&stand, "ops", &["show", &id]).await.unwrap();
    assert!(
        shown.contains("state      running on host-1, its lease until 2023"),
        "{shown}"
    );
    let release = crate::journal::Finish::Release { reason: String::new() };
    stand.journal.finish(&running.fence, release, None).await.unwrap();
    pause("acme").await;
    let shown = print(&stand, "ops", &["show", &id]).await.unwrap();
    assert!(
        shown.contains("paused     2023-11-14T22:13:20Z acme by ops: wrong feed"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_job_that_waits_with_its_connector_says_what_for() {
    let stand = Stand::new().await;
    let id = stand
        .leaver("acme", "a@acme.example", NewState::Queued)
        .await
        .to_string();
    let other = stand
        .leaver("acme", "b@acme.example", NewState::Queued)
        .await
        .to_string();
    let job = stand.claim().await;
    let reason = "consent is missing".to_owned();
    let park = crate::journal::Finish::Park { reason };
    stand.journal.finish(&job.fence, park, None).await.unwrap();
    for id in [id, other] {
        let shown = print(&stand, "ops", &["show", &id]).await.unwrap();
        assert!(shown.contains("reason     consent is missing"), "{shown}");
        assert!(shown.contains("to go on   exeunt resume acme docusign"), "{shown}");
    }
}

#[tokio::test]
async fn acts_say_where_the_job_is_now_and_refusals_say_why() {
    let stand = Stand::new().await;
    let id = stand.leaver("acme", "a@acme.example", held()).await.to_string();
    let shown = print(&stand, "ops", &["show", &id]).await.unwrap();
    let command = format!("to go on   exeunt jobs release {id} --reason …\n");
    assert!(shown.contains(&command), "{shown}");
    let error = print(&stand, "ops", &["release", &id, "--reason", "x"])
        .await
        .unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Usage);
    let error = format!("{error:#}");
    assert!(
        error.contains("was left as it is") && error.contains("403") && error.contains("`approve`"),
        "{error}"
    );
    let text = print(&stand, "boss", &["release", &id, "--reason", "x"]).await.unwrap();
    assert_eq!(text, format!("{id}  queued\n"));
    assert_eq!(
        print(&stand, "ops", &["cancel", &id, "--reason", "x"]).await.unwrap(),
        format!("{id}  cancelled\n")
    );
    let error = format!(
        "{:#}",
        print(&stand, "ops", &["cancel", &id, "--reason", "x"])
            .await
            .unwrap_err()
    );
    assert!(error.contains("409") && error.contains("cancelled"), "{error}");
    assert_eq!(
        print(&stand, "ops", &["retry", &id, "--reason", "x"]).await.unwrap(),
        format!("{id}  queued\n")
    );
    let error = format!("{:#}", print(&stand, "ops", &["show", "../lanes"]).await.unwrap_err());
    assert!(error.contains("404"), "{error}");
}

#[tokio::test]
async fn one_that_is_refused_keeps_no_other_from_its_turn() {
    let stand = Stand::new().await;
    let mut ids = Vec::new();
    for person in ["a@acme.example", "b@acme.example"] {
        ids.push(stand.leaver("acme", person, held()).await.to_string());
    }
    let words = ["cancel", &ids[0], "nonsense", "..", &ids[1], "--reason", "x"];
    let error = print(&stand, "ops", &words).await.unwrap_err();
    assert_eq!(Exit::of(&error), Exit::Problem, "some of it was done");
    let error = format!("{error:#}");
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines[0], "2 of 4 were not done, as far as is known", "{error}");
    assert!(
        lines[1].starts_with("job nonsense was left as it is: ") && lines[2].starts_with("job .. was left as it is"),
        "{error}"
    );
    for id in ids {
        let shown = print(&stand, "ops", &["show", &id]).await.unwrap();
        assert!(shown.contains("state      cancelled"), "{shown}");
    }
}

#[tokio::test]
async fn held_jobs_are_released_by_filter() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", held()).await;
    stand.leaver("acme", "b@acme.example", held()).await;
    let error = print(&stand, "boss", &["release", "--reason", "x"])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("--tenant"), "{error}");
    let text = print(
        &stand,
        "boss",
        &["release", "--why", "old-event", "--reason", "HR confirmed"],
    )
    .await
    .unwrap();
    assert_eq!(text, "2 jobs released\n");
    assert!(
        print(&stand, "boss", &["release", "id", "--why", "x", "--reason", "x"])
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let stand = Stand::new().await;
    let client = Client::new("http://127.0.0.1:9".parse().unwrap(), stand.secret("ops"), None).unwrap();
    let error = format!("{:#}", client.get(&["v1", "jobs"], &[]).await.unwrap_err());
    assert!(
        error.contains("no answer from http://127.0.0.1:9/; is `exeunt serve` running there?"),
        "{error}"
    );
}

#[tokio::test]
async fn all_that_were_given_up_of_a_tenant_are_retried_at_once() {
    let stand = Stand::new().await;
    let mut dead = Vec::new();
    for tenant in ["acme", "acme", "other"] {
        stand
            .leaver(tenant, &format!("{}@{tenant}.example", dead.len()), NewState::Queued)
            .await;
        dead.push(stand.give_up().await);
    }
    let unknown = ["retry", "--dead", "--tenant", "nobody", "--reason", "mended"];
    let error = print(&stand, "ops", &unknown).await.unwrap_err().to_string();
    assert!(error.ends_with("there is no tenant `nobody`"), "{error}");
    let text = print(
        &stand,
        "ops",
        &["retry", "--dead", "--tenant", "acme", "--reason", "mended"],
    )
    .await
    .unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    for (id, is_dead) in dead.iter().zip([false, false, true]) {
        let state = stand.journal.job(*id).await.unwrap().unwrap().summary.state;
        assert_eq!(
            matches!(state, crate::journal::JobState::Ended { dead: true, .. }),
            is_dead,
            "{state:?}"
        );
    }
    assert!(
        print(&stand, "ops", &["retry", "--dead", "--reason", "x"])
            .await
            .is_err(),
        "of which tenant?"
    );
    assert!(print(&stand, "ops", &["retry", "--reason", "x"]).await.is_err());
}

#[tokio::test]
async fn all_that_wait_of_a_tenant_or_of_a_connector_are_cancelled_at_once() {
    let stand = Stand::new().await;
    let docusign = stand.leaver("acme", "a@acme.example", held()).await;
    let zoom = stand
        .leaver_of("acme", "zoom", "b@acme.example", NewState::Queued)
        .await
        .jobs[0];
    let other = stand.leaver("other", "c@other.example", NewState::Queued).await;
    let waits = async |id| {
        let state = stand.journal.job(id).await.unwrap().unwrap().summary.state;
        !matches!(state, crate::journal::JobState::Ended { .. })
    };
    let cancel = async |more: &[&str]| {
        let words = ["cancel", "--waiting", "--tenant", "acme", "--reason", "moved away"];
        print(&stand, "ops", &[&words, more].concat()).await.unwrap()
    };
    assert_eq!(cancel(&["--connector", "zoom"]).await, format!("{zoom}  cancelled\n"));
    assert_eq!((waits(docusign).await, waits(zoom).await), (true, false));
    assert_eq!(cancel(&[]).await, format!("{docusign}  cancelled\n"));
    assert_eq!(cancel(&[]).await, "no jobs wait\n");
    assert!(waits(other).await);
    for unclear in [
        &["cancel", "--reason", "x"][..],
        &["cancel", "--waiting", "--reason", "x"],
    ] {
        assert!(print(&stand, "ops", unclear).await.is_err(), "{unclear:?}");
    }
}

#[test]
fn json_on_a_terminal_drives_nothing_and_is_the_same_json() {
    let value = json!({"name": "a\u{9b}2J\u{202e}b\u{1b}[m\u{7f}\nä€\u{1f600}"});
    let text = pretty(&value).unwrap();
    assert!(text.chars().all(|c| c == '\n' || !is_odd(c)), "{text:?}");
    assert!(
        text.contains("\\u009b2J\\u202eb") && text.contains("ä€\u{1f600}"),
        "{text}"
    );
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_not_said_to_have_changed_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let hangs_up = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = [0; 16];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first)
            .await
            .unwrap();
    });
    let stand = Stand::new().await;
    let client = Client::new(server, stand.secret("ops"), None).unwrap();
    let ids = ["0190a6f2-0000-7000-8000-000000000000".to_owned()];
    let error = act(&client, "cancel", &ids, "x").await.unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("may have been changed or not; see `exeunt jobs show"),
        "{error}"
    );
    assert!(!error.contains("https://"), "{error}");
    hangs_up.await.unwrap();
    let more = [ids[0].clone(), "another".to_owned()];
    let error = format!("{:#}", act(&client, "cancel", &more, "x").await.unwrap_err());
    assert!(error.contains("was left as it is"), "nobody is there any more: {error}");
    assert!(error.ends_with("job another was not tried"), "{error}");
}
