use clap::Parser;

use super::*;
use crate::console::testing::Stand;
use crate::journal::{NewState, Scope};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    actions: Actions,
}

async fn print(stand: &Stand, token: &str, words: &[&str]) -> anyhow::Result<String> {
    let client = Client::new(stand.url.clone(), stand.secret(token), None)?;
    Line::try_parse_from([&["actions"], words].concat())?
        .actions
        .text(&client)
        .await
}

#[tokio::test]
async fn a_pause_that_is_over_still_says_who_and_why() {
    let stand = Stand::new().await;
    let scope = Scope::Tenant("acme".to_owned());
    stand.journal.pause(&scope, "ops", "wrong feed", None).await.unwrap();
    stand
        .journal
        .resume(&scope, "ops", "feed is right", None)
        .await
        .unwrap();
    let job = stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    stand.journal.cancel(job, "boss", "she stays").await.unwrap();
    let text = print(&stand, "ops", &[]).await.unwrap();
    let when = "2023-11-14 22:13:20Z";
    for line in [
        format!("{when}  ops   pause   acme           -  "),
        format!("{when}  ops   resume  acme           -  "),
        format!("{when}  boss  cancel  acme/docusign  {job}  she stays"),
    ] {
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    assert!(
        text.contains("  wrong feed") && text.contains("  feed is right"),
        "{text}"
    );
    let first = print(&stand, "acme-all", &["--limit", "1"]).await.unwrap();
    assert!(first.contains("cancel") && !first.contains("pause"), "{first}");
    let cursor = first.trim_end().rsplit(' ').next().unwrap();
    let rest = print(&stand, "acme-all", &["--cursor", cursor, "--json"])
        .await
        .unwrap();
    let page: ActionPage = serde_json::from_str(&rest).unwrap();
    assert_eq!((page.actions.len(), page.next), (2, None));
    assert_eq!(page.actions[1].action.detail, "wrong feed");
    let by = print(&stand, "ops", &["--by", "boss"]).await.unwrap();
    assert!(by.contains("cancel") && !by.contains("pause"), "{by}");
    let error = print(&stand, "ops", &["--tenant", "acmee"])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("404") && error.contains("acmee"), "{error}");
}
