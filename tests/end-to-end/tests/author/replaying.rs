//! `exeunt replay`: recorded verb calls, through the same plugin and through another.

use end_to_end::{World, event, says};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Server, run};
use crate::{GUESTS, exeunt, plugin};

/// A closure on a real SCIM server, recorded; the server is gone.
async fn recorded() -> (TempDir, Vec<Value>) {
    let server = Server::start().await;
    let folder = server.tenant(&GUESTS[..1]);
    server.add(GUESTS[0], "ann@acme.example", "ann@acme.example").await;
    let ran = run(&folder, "ann@acme.example", &["--transcript", "calls.jsonl"]).await;
    ran.ended("closed", 0);
    let calls = lines(&folder);
    (folder, calls)
}

fn lines(folder: &TempDir) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.path().join("calls.jsonl")).expect("a transcript");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn write(folder: &TempDir, calls: &[Value]) {
    let lines: String = calls.iter().map(|call| format!("{call}\n")).collect();
    std::fs::write(folder.path().join("calls.jsonl"), lines).expect("a transcript");
}

async fn replay(folder: &TempDir, guest: &str) -> end_to_end::Ran {
    exeunt(folder.path(), &["replay", "calls.jsonl", "--plugin", &plugin(guest)]).await
}

#[tokio::test]
async fn what_was_recorded_is_the_same_again_without_a_server_and_in_another_language() {
    let (folder, calls) = recorded().await;
    let verbs: Vec<&str> = calls.iter().filter_map(|call| call["verb"].as_str()).collect();
    assert_eq!(verbs, ["mint", "find", "close", "read"]);
    let plugins = end_to_end::plugins().to_string_lossy().into_owned();
    let ran = exeunt(folder.path(), &["replay", "calls.jsonl", "--plugins", &plugins]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    says(
        &ran.stdout,
        &[
            "never mints",
            "same    find  ann@acme.example",
            "same    close",
            "3 calls replayed, 0 differ",
        ],
    );
    let ran = replay(&folder, "scim-js.wasm").await;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

#[tokio::test]
async fn each_call_goes_through_the_plugin_that_ran_it() {
    let (folder, mut calls) = recorded().await;
    let plugins = end_to_end::plugins().to_string_lossy().into_owned();
    let of = |ran: &end_to_end::Ran| -> Vec<String> {
        let named = ran.stdout.lines().filter_map(|line| line.strip_prefix("plugin  "));
        named.map(str::to_owned).collect()
    };
    let other = of(&replay(&folder, "scim-js.wasm").await).remove(0);
    assert_ne!(calls[3]["plugin"], other.as_str());
    calls[3]["plugin"] = other.as_str().into();
    calls[2].as_object_mut().expect("a call").remove("plugin");
    write(&folder, &calls);
    let ran = exeunt(folder.path(), &["replay", "calls.jsonl", "--plugins", &plugins]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let (used, said) = (
        of(&ran),
        [
            "skipped close",
            "was not kept",
            "same    read",
            "2 calls replayed, 0 differ",
        ],
    );
    assert!(used.len() == 2 && used.contains(&other), "{used:?}");
    says(&ran.stdout, &said);
    // Without it, its call cannot be replayed, and that is said.
    calls[3]["plugin"] = "sha256:0".into();
    write(&folder, &calls);
    let ran = exeunt(folder.path(), &["replay", "calls.jsonl", "--plugins", &plugins]).await;
    ran.was_misused(&["is plugin sha256:0", "--plugin"]);
}

#[tokio::test]
async fn a_plugin_that_asks_or_answers_otherwise_is_shown_with_the_difference() {
    let (folder, mut calls) = recorded().await;
    // As if the recorded version had asked with another count, sent another header, and read another status.
    calls[1]["exchanges"][0]["query"][1][1] = "10".into();
    calls[1]["exchanges"][1]["request_headers"][0][1] = "application/json".into();
    calls[3]["answered"]["accounts"][0]["standing"] = "active".into();
    write(&folder, &calls);
    let ran = replay(&folder, GUESTS[0]).await;
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    says(
        &ran.stdout,
        &[
            "DIFFERS find",
            "call 2 (find), exchange 1: query",
            "count = \"10\"",
            "call 2 (find), exchange 2: header accept",
            "same    close",
            "call 4 (read): result",
            "\"standing\":\"active\"",
            "3 calls replayed, 2 differ",
        ],
    );
}

#[tokio::test]
async fn the_clock_says_what_it_said_then() {
    let (folder, mut calls) = recorded().await;
    let read = &mut calls[3];
    let exchange = &mut read["exchanges"][0];
    exchange["status"] = 429.into();
    exchange["response_headers"] = json!([["retry-after", "30"]]);
    exchange["response_body"] = json!({"detail": "slow down"}).to_string().into();
    read["clock"] = json!([[0, 1_700_000_000], [1, 1_800_000_000]]);
    read["answered"] = json!({"failure": {
        "kind": "rate-limited", "text": "slow down (HTTP 429)", "until": 1_800_000_030, "limit": "burst",
    }});
    write(&folder, &calls);
    let ran = replay(&folder, GUESTS[0]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

#[tokio::test]
async fn an_older_transcript_and_an_unknown_plugin_are_said_to_be_so() {
    let (folder, mut calls) = recorded().await;
    let ran = exeunt(folder.path(), &["replay", "calls.jsonl", "--plugins", "tenants"]).await;
    ran.was_misused(&["no file in tenants is plugin sha256:", "--plugin"]);
    for call in &mut calls {
        let call = call.as_object_mut().expect("a call");
        for newer in [
            "plugin",
            "asked",
            "answered",
            "settings",
            "endpoints",
            "clock",
            "token_expires",
        ] {
            call.remove(newer);
        }
    }
    write(&folder, &calls);
    let ran = replay(&folder, GUESTS[0]).await;
    assert_eq!(ran.code, 2);
    says(&ran.stderr, &["only newer transcripts can be replayed"]);
    std::fs::write(folder.path().join("calls.jsonl"), "{}\n").expect("a file");
    replay(&folder, GUESTS[0])
        .await
        .was_misused(&["line 1 is no verb call"]);
    exeunt(folder.path(), &["replay", "none.jsonl"])
        .await
        .was_misused(&["neither a job's id nor a file"]);
}

#[tokio::test]
async fn the_docusign_connector_is_replayed_and_the_transcript_holds_no_secret() {
    let world = World::new().await;
    let id = world.user("ann@acme.example");
    let ran = world
        .run_with(&event("ann@acme.example"), &["--transcript", "calls.jsonl"])
        .await;
    ran.ended("closed", 0);
    let text = std::fs::read_to_string(world.root().join("calls.jsonl")).expect("a transcript");
    let first: Value = serde_json::from_str(text.lines().nth(1).expect("a call")).expect("JSON");
    assert_eq!(first["asked"]["find"]["email"], "ann@acme.example");
    assert_eq!(first["answered"]["accounts"][0]["id"], id.as_str());
    assert_eq!(first["settings"]["user_id"], world.simulator.user_id());
    assert!(first["token_expires"].is_string(), "{first}");
    assert!(!text.contains("Bearer") && !text.contains("assertion"), "{text}");
    let before = world.simulator.requests().len();
    let arguments = ["replay", "calls.jsonl", "--plugin", &plugin("docusign.wasm")];
    let ran = exeunt(world.root(), &arguments).await;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    says(&ran.stdout, &["3 calls replayed, 0 differ"]);
    assert_eq!(world.simulator.requests().len(), before, "a replay asked the target");
}
