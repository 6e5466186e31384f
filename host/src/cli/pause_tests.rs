use clap::Parser;

use super::*;
use crate::console::testing::Stand;
use crate::journal::{NewState, Pause as InForce};

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
async fn a_wider_pause_that_stays_in_force_is_named_and_why_one_ended_is_kept() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    for scope in [&["acme", "docusign"][..], &["acme"], &[]] {
        print(
            &stand,
            "ops",
            &[&["pause"], scope, &["--reason", "wrong feed"]].concat(),
        )
        .await
        .unwrap();
    }
    let resume = ["resume", "acme", "docusign", "--reason", "feed mended"];
    let text = print(&stand, "ops", &resume).await.unwrap();
    assert_eq!(
        text,
        "acme/docusign: resumed\nit stays paused by the pause of everything\n"
    );
    let text = print(&stand, "ops", &["resume"]).await.unwrap();
    assert_eq!(text, "everything that this token reaches: resumed\n");
    let text = print(&stand, "ops", &["resume", "acme", "docusign"]).await.unwrap();
    assert!(text.ends_with("it stays paused by the pause of acme\n"), "{text}");
    let mut lines = Vec::new();
    stand.journal.export(&mut lines).await.unwrap();
    let lines = String::from_utf8(lines).unwrap();
    assert!(lines.contains("feed mended"), "{lines}");
}

#[tokio::test]
async fn a_mistyped_scope_is_an_error_and_not_a_pause() {
    let stand = Stand::new().await;
    let error = print(&stand, "ops", &["pause", "acmee", "--reason", "x"])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("404") && error.contains("there is no tenant `acmee`"),
        "{error}"
    );
    assert!(
        print(&stand, "ops", &["pause", "acme"]).await.is_err(),
        "a reason is needed"
    );
    assert!(stand.journal.pauses().await.unwrap().is_empty());
}
