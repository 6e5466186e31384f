//! The commands of operators, against a host that runs.

use serde_json::{Value, json};

use docusign_sim::Status;

use crate::client::Client;
use crate::house::House;

fn lines(text: &str, wanted: &[&str]) {
    end_to_end::says(text, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_tenant_waits_and_a_cancelled_job_can_be_run_again() {
    let house = House::sqlite().await;
    let user = house.world.user("ann@acme.example");
    let host = house.start().await;
    let client = Client::new(&house, &host);
    let paused = house.ask(&host, &["pause", "acme", "--reason", "audit"]).await;
    assert_eq!(
        (paused.code, paused.stdout.as_str()),
        (0, "paused: acme\n"),
        "{paused:?}"
    );
    let unknown = house.ask(&host, &["pause", "acne", "--reason", "x"]).await;
    assert_eq!(
        unknown.code, 2,
        "a kill switch for nobody must not look as if it worked: {unknown:?}"
    );

    let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
    let job = client.job(&event).await;
    let id = job["id"].as_str().expect("an id");
    let listed = house
        .ask(&host, &["jobs", "list", "--tenant", "acme", "--json"])
        .await
        .json();
    assert_eq!(listed["jobs"][0]["id"], id);
    lines(&house.ask(&host, &["lanes"]).await.stdout, &["acme", "audit"]);
    lines(&house.ask(&host, &["status"]).await.stdout, &["ready          yes"]);
    let cancelled = house
        .ask(&host, &["jobs", "cancel", id, "--reason", "stays after all"])
        .await;
    assert_eq!(cancelled.code, 0, "{cancelled:?}");
    client.job_is(&event, "cancelled").await;
    house.world.was_not_asked();

    let resumed = house.ask(&host, &["resume", "acme"]).await;
    lines(&resumed.stdout, &["acme: resumed"]);
    let retried = house
        .ask(&host, &["jobs", "retry", id, "--reason", "left after all"])
        .await;
    assert_eq!(retried.code, 0, "{retried:?}");
    crate::until("it is closed", async || client.job(&event).await["outcome"] == "closed").await;
    assert_eq!(house.world.status(&user), Status::Closed);
    let shown = house.ask(&host, &["jobs", "show", id]).await;
    lines(
        &shown.stdout,
        &[
            "ann@acme.example",
            "closed",
            "stays after all",
            "left after all",
            "tests",
            "with       docusign 0.1.0 (sha256:",
            "  close  DELETE esign /restapi/v2.1/accounts/",
            ": Active -> Closed",
        ],
    );
    let done = house.ask(&host, &["actions", "--tenant", "acme"]).await;
    lines(&done.stdout, &["pause", "resume", "stays after all", "left after all"]);
    let shown = house.ask(&host, &["jobs", "show", id, "--json"]).await.json();
    assert_eq!(shown["intents"][0]["account"], user.as_str());
    assert!(
        shown["transcripts"].as_array().is_some_and(|calls| !calls.is_empty()),
        "{shown:#}"
    );
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaver_by_hand_ends_with_the_exit_code_of_its_outcome() {
    let house = House::sqlite().await;
    let _ = house.world.user("ann@acme.example");
    let host = house.start().await;
    let leaver = async |email: &str| {
        let arguments = ["leaver", "--tenant", "acme", "--email", email, "--wait", "60", "--json"];
        let ran = house.ask(&host, &arguments).await;
        let outcome: Value = ran.json()["jobs"][0]["outcome"].clone();
        (ran.code, outcome)
    };
    assert_eq!(leaver("ann@acme.example").await, (0, json!("closed")));
    assert_eq!(leaver("ann@acme.example").await, (0, json!("already_closed")));
    assert_eq!(leaver("nobody@acme.example").await, (0, json!("no_account")));
    assert_eq!(leaver("ceo@acme.example").await, (3, json!("refused")));
    let wrong = house
        .ask(&host, &["leaver", "--tenant", "nobody", "--email", "a@b.example"])
        .await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_refused_again_is_said_by_the_exit_code() {
    let house = House::sqlite().await;
    let host = house.start().await;
    let (_, said) = Client::new(&house, &host)
        .event("acme", b"{\"nobody\":1}")
        .await
        .expect("an answer");
    let id = said["event"].as_str().expect("an id");
    let replayed = house.ask(&host, &["events", "replay", id]).await;
    assert_eq!(replayed.code, 1, "{replayed:?}");
    lines(&replayed.stdout, &[id, "refused"]);
    for (source, code, said) in [
        ("hr", 1, id),
        ("other", 0, "no events of the source `other` are refused"),
    ] {
        let arguments = ["events", "replay", "--refused", "--tenant", "acme", "--source", source];
        let all = house.ask(&host, &arguments).await;
        assert_eq!(all.code, code, "{all:?}");
        lines(&all.stdout, &[said]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_cannot_start_says_which_file_or_folder_it_is_about() {
    let house = House::with("sqlite:nowhere/journal.db", House::options()).await;
    house
        .exeunt(&["serve"])
        .await
        .was_misused(&["there is no folder", "nowhere"]);

    let house = House::sqlite().await;
    house.world.write("server.pem", house.world.simulator.ca_pem());
    house.world.write_secret("server-key.pem", "sesame");
    house.configure("tls = { certificate = \"file:server.pem\", key = \"file:server-key.pem\" }");
    let said = ["server.pem", "server-key.pem: the key is not a private key in PEM"];
    house.exeunt(&["serve"]).await.was_misused(&said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_leaves_no_core_file_with_secrets_in_it() {
    let house = House::sqlite().await;
    let host = house.start().await;
    let one = ("1".to_owned(), "1".to_owned());
    assert_eq!(
        host.limit("Max core file size"),
        one,
        "one byte: neither to a file nor to a program"
    );
    host.stop().await;

    // A service whose limit is nought already, and who may not raise it.
    let mut house = house;
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let drop = if is_root {
        "setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource"
    } else {
        ""
    };
    house.under = vec![
        "sh".to_owned(),
        "-c".to_owned(),
        format!("ulimit -Hc 0; exec {drop} \"$0\" \"$@\""),
    ];
    let host = house.start().await;
    assert_eq!(host.limit("Max core file size"), ("0".to_owned(), "0".to_owned()));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_replayed_by_its_id_with_a_token_for_audit_and_nobody_is_asked() {
    let mut house = House::sqlite().await;
    let _ = house.world.user("ann@acme.example");
    let made = house.exeunt(&["token", "new", "operator", "--role", "operate"]).await;
    let operator = made.stdout.lines().find(|line| line.starts_with("exeunt_"));
    let operator = operator.expect("a token").trim().to_owned();
    let host = house.start().await;
    let client = Client::new(&house, &host);
    let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
    let job = client.job_is(&event, "closed").await;
    let id = job["id"].as_str().expect("an id");
    let asked = house.world.simulator.requests().len();
    let plugins = end_to_end::plugins().to_string_lossy().into_owned();
    let arguments = ["replay", id, "--plugins", &plugins];
    let replayed = house.ask(&host, &arguments).await;
    assert_eq!(replayed.code, 0, "{replayed:?}");
    lines(
        &replayed.stdout,
        &[
            "same    find  ann@acme.example",
            "same    close",
            "3 calls replayed, 0 differ",
        ],
    );
    assert_eq!(
        house.world.simulator.requests().len(),
        asked,
        "a replay asked the target"
    );

    house.token = operator;
    house.ask(&host, &arguments).await.was_misused(&["role `audit`"]);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_speaks_otherwise_than_asked_is_named_with_what_to_write() {
    let house = House::sqlite().await;
    let host = house.start().await;
    let tls = format!("https://{}", house.world.simulator.esign_addr());
    let plain = format!("https://{}", host.address());
    let wrong = tls.replace("https", "http");
    house.world.write("empty.pem", "nothing\n");
    for (server, ca, says) in [
        (&tls, None, "is not accepted; write the name that it is made out for"),
        (
            &tls,
            Some("ca.pem"),
            "is not accepted; write the name that it is made out for",
        ),
        (&plain, None, "does not speak TLS; write http://"),
        (&wrong, None, "does not answer in HTTP; write https://"),
        (&tls, Some("empty.pem"), "empty.pem holds no certificate"),
    ] {
        let mut line = vec!["lanes", "--server", server.as_str()];
        line.extend(ca.iter().flat_map(|file| ["--ca", *file]));
        let ran = house.ask(&host, &line).await;
        assert_eq!(ran.code, 2, "{line:?}: {ran:?}");
        lines(&ran.stderr, &[says]);
        assert!(!ran.stderr.contains(house.token.as_str()), "{ran:?}");
    }
}
