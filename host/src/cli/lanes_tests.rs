use super::*;
use crate::cli::client::ServerArgs;
use crate::console::testing::Stand;
use crate::journal::{Finish, NewState, Scope};

use clap::Parser;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    _server: ServerArgs,
}

#[tokio::test]
async fn lanes_and_pauses_are_shown_as_tables() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    stand.trip().await;
    stand.journal.pause(&Scope::All, "ops", "wrong feed").await.unwrap();
    let client = Client::new(stand.url.clone(), stand.secret("ops"), None).unwrap();
    let lanes = Lanes {
        server: Line::parse_from(["x"])._server,
        tenant: None,
        json: false,
    };
    let text = lanes.text(&client).await.unwrap();
    assert!(
        text.contains("acme/docusign  0       0 of 8   1     breaker open: 0 closures within 1 h"),
        "{text}"
    );
    assert!(
        text.contains("everything  2023-11-14T22:13:20Z  ops  wrong feed"),
        "{text}"
    );
}

#[tokio::test]
async fn a_lane_that_waits_for_its_next_try_says_when_that_is() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let job = stand.claim().await;
    let at = stand.journal.after(std::time::Duration::from_secs(60));
    let reason = "the target is away".to_owned();
    stand
        .journal
        .finish(&job.fence, Finish::Retry { at, reason }, None)
        .await
        .unwrap();
    let client = Client::new(stand.url.clone(), stand.secret("ops"), None).unwrap();
    let lanes = Lanes {
        server: Line::parse_from(["x"])._server,
        tenant: None,
        json: false,
    };
    let text = lanes.text(&client).await.unwrap();
    assert!(text.contains(&format!("next try at {at}")), "{text}");
}
