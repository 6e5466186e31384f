use super::*;
use crate::cli::client::ServerArgs;
use crate::console::testing::Stand;
use crate::journal::{NewState, Scope};

use clap::Parser;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    _server: ServerArgs,
}

async fn shown(stand: &Stand) -> String {
    let client = Client::new(stand.url.clone(), stand.secret("ops"), None).unwrap();
    let lanes = Lanes {
        server: Line::parse_from(["x"])._server,
        tenant: None,
        json: false,
    };
    lanes.text(&client).await.unwrap()
}

#[tokio::test]
async fn lanes_and_pauses_are_shown_as_tables() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    stand.trip().await;
    stand
        .journal
        .pause(&Scope::All, "ops", "wrong feed", None)
        .await
        .unwrap();
    let text = shown(&stand).await;
    assert!(
        text.contains("acme/docusign  0       0 of 8   1     breaker open: 0 closures within 1 h"),
        "{text}"
    );
    assert!(
        text.contains("`exeunt breaker release acme docusign --reason …` lets the withheld jobs go on"),
        "{text}"
    );
    assert!(
        text.contains("everything  2023-11-14 22:13:20Z  ops  wrong feed"),
        "{text}"
    );
}

#[tokio::test]
async fn a_lane_that_waits_for_its_next_try_says_when_that_is() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let at = stand.put_off().await;
    let text = shown(&stand).await;
    assert!(text.contains(&format!("next try at {}", moment(at))), "{text}");
}
