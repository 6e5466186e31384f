use clap::Parser;

use super::*;
use crate::console::testing::Stand;
use crate::journal::NewState;

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    journal: Journal,
}

async fn run(words: &[&str]) -> anyhow::Result<Exit> {
    Line::try_parse_from([&["journal"], words].concat())?
        .journal
        .run()
        .await
}

#[tokio::test]
async fn an_export_fills_another_journal_and_overwrites_nothing() {
    let stand = Stand::new().await;
    let id = stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    stand.journal.close().await;
    let path = |name: &str| stand.folder.path().join(name).to_str().unwrap().to_owned();
    let (from, to, file) = (
        format!("sqlite:{}", path("j.db")),
        format!("sqlite:{}", path("new.db")),
        path("copy"),
    );
    assert_eq!(
        run(&["export", &file, "--journal", &from]).await.unwrap(),
        Exit::Success
    );
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    let error = run(&["export", &file, "--journal", &from])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("exists already"), "{error}");
    run(&["import", &file, "--journal", &to]).await.unwrap();
    let copy = Store::open(&to, Options::default()).await.unwrap();
    assert!(copy.job(id).await.unwrap().is_some());
    copy.close().await;
    let error = format!("{:#}", run(&["import", &file, "--journal", &to]).await.unwrap_err());
    assert!(error.contains("holds data already"), "{error}");
}

#[tokio::test]
async fn a_journal_that_a_server_has_is_not_filled_by_whatever_name_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (of_server, link, copy) = (format!("sqlite:{}", path("j.db")), path("link.db"), path("copy"));
    Store::open(&of_server, Options::default()).await.unwrap().close().await;
    run(&["export", &copy, "--journal", &of_server]).await.unwrap();
    std::os::unix::fs::symlink(path("j.db"), &link).unwrap();
    let lock = std::fs::File::create(path("j.db.lock")).unwrap();
    lock.lock().unwrap();
    for name in [of_server.clone(), format!("sqlite:{link}")] {
        let error = run(&["import", &copy, "--journal", &name])
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("another `exeunt serve` has"), "{error}");
    }
    lock.unlock().unwrap();
    run(&["import", &copy, "--journal", &of_server]).await.unwrap();
}

#[tokio::test]
async fn an_import_that_fails_leaves_no_journal_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("copy"), "nonsense\n").unwrap();
    let to = format!("sqlite:{}", path("new.db"));
    let error = run(&["import", &path("copy"), "--journal", &to]).await.unwrap_err();
    assert!(format!("{error:#}").contains("no export of a journal"), "{error:#}");
    let mut left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["copy", "new.db.lock"]);
}

#[tokio::test]
async fn a_journal_that_is_not_there_is_not_exported_as_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("exeunt.toml");
    std::fs::write(&config, "").unwrap();
    let copy = folder.path().join("copy");
    let words = ["export", copy.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let error = run(&words).await.unwrap_err().to_string();
    assert!(error.contains("there is no journal sqlite:"), "{error}");
    assert!(!folder.path().join("exeunt.db").exists() && !copy.exists());
    let error = run(&["export", "-", "--journal", "postgres://u:p@h/d"])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("--journal holds a password"), "{error}");
}
