use clap::Parser;

use super::*;
use crate::console::testing::Stand;
use crate::journal::NewState;

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    events: Events,
}

async fn print(stand: &Stand, token: &str, words: &[&str]) -> anyhow::Result<String> {
    let client = Client::new(stand.url.clone(), stand.secret(token), None)?;
    match Line::try_parse_from([&["events"], words].concat())?.events {
        Events::List(list) => list.text(&client).await,
        Events::Show(event) => event.text(&client).await,
        Events::Replay(replay) => Ok(replay.text(&client).await?.0),
    }
}

#[tokio::test]
async fn a_tenants_events_are_listed_by_decision_and_page() {
    let stand = Stand::new().await;
    for person in ["a@acme.example", "b@acme.example"] {
        stand.leaver("acme", person, NewState::Queued).await;
    }
    stand.leaver("other", "c@other.example", NewState::Queued).await;
    let text = print(&stand, "ops", &["list", "--tenant", "acme", "--limit", "1"])
        .await
        .unwrap();
    assert!(
        text.contains("b@acme.example") && !text.contains("a@acme.example"),
        "{text}"
    );
    let cursor = text.trim_end().rsplit(' ').next().unwrap();
    let text = print(&stand, "acme-all", &["list", "--cursor", cursor]).await.unwrap();
    assert!(
        text.contains("a@acme.example") && !text.contains("other.example"),
        "{text}"
    );
    let refused = ["list", "--tenant", "acme", "--decision", "refused"];
    assert!(!print(&stand, "ops", &refused).await.unwrap().contains("@acme"));
    for wrong in [&["list"][..], &["list", "--tenant", "acme", "--decision", "refusd"]] {
        let error = print(&stand, "ops", wrong).await.unwrap_err().to_string();
        assert!(error.contains("400"), "{error}");
    }
    let hidden = print(&stand, "other-all", &["list", "--tenant", "acme"]).await.unwrap();
    assert!(!hidden.contains("@acme"), "{hidden}");
}
