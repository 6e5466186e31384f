use clap::Parser;

use super::*;
use crate::console::testing::Stand;
use crate::journal::Pause as InForce;

#[derive(Debug, Parser)]
enum Line {
    Pause(Pause),
    Resume(Resume),
}

async fn print(stand: &Stand, token: &str, words: &[&str]) -> anyhow::Result<String> {
    let client = Client::new(stand.url.clone(), stand.secret(token), None)?;
    match Line::try_parse_from([&["exeunt"], words].concat())? {
        Line::Pause(pause) => pause.text(&client).await,
        Line::Resume(resume) => resume.text(&client).await,
    }
}

#[tokio::test]
async fn each_scope_is_paused_and_resumed() {
    let stand = Stand::new().await;
    for (scope, words) in [
        (&[][..], "everything that this token reaches"),
        (&["acme"], "acme"),
        (&["acme", "docusign"], "acme/docusign"),
    ] {
        let pause = [&["pause"], scope, &["--reason", "wrong feed"]].concat();
        assert_eq!(
            print(&stand, "ops", &pause).await.unwrap(),
            format!("paused: {words}\n")
        );
        let in_force: Vec<InForce> = stand.journal.pauses().await.unwrap();
        assert_eq!((in_force.len(), in_force[0].reason.as_str()), (1, "wrong feed"));
        let resume = [&["resume"], scope].concat();
        assert_eq!(
            print(&stand, "ops", &resume).await.unwrap(),
            format!("{words}: resumed\n")
        );
        assert!(print(&stand, "ops", &resume).await.unwrap().contains("was not paused"));
    }
}

#[tokio::test]
async fn a_mistyped_scope_is_an_error_and_not_a_pause() {
    let stand = Stand::new().await;
    let error = print(&stand, "ops", &["pause", "acmee", "--reason", "x"])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("404") && error.contains("no such tenant"), "{error}");
    assert!(
        print(&stand, "ops", &["pause", "acme"]).await.is_err(),
        "a reason is needed"
    );
    assert!(stand.journal.pauses().await.unwrap().is_empty());
}
