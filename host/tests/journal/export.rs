//! Everything moves from one database to the other, or nothing does.

use std::time::Duration;

use exeunt::journal::{
    Decision, Dedupe, Exported, Finish, JobFilter, Journal, JournalError, NewEvent, Outcome, Page, SCHEMA_VERSION,
    Scope,
};

use crate::on_both;
use crate::rig::{NO_LIMIT, Rig, end, event, held, lane, leaver};

/// One of everything: each state, each table.
async fn fill(rig: &Rig) {
    let docusign = lane("acme", "docusign");
    let odd = NewEvent {
        dedupe: Dedupe::SourceId("\"\\ \u{1f44b}\u{2028}".into()),
        body: (0..=255).collect(),
        occurred_at: Some(rig.now()),
        ..leaver(&docusign, rig.now())
    };
    rig.accept(odd).await;
    for _ in 0..150 {
        rig.queue(&docusign).await;
    }
    rig.accept(NewEvent {
        decision: Decision::NotALeaver,
        person: None,
        ..event("acme", vec![], rig.now())
    })
    .await;
    let approve = rig
        .accept(event("acme", vec![held("docusign", "approval")], rig.now()))
        .await
        .jobs[0];
    let jobs = rig.claim(8).await;
    rig.journal
        .intend(&jobs[0].fence, "1", 0, NO_LIMIT, Some(vec![0, 255]))
        .await
        .expect("an intent");
    rig.finish(&jobs[0].fence, end(Outcome::Closed)).await;
    rig.finish(
        &jobs[1].fence,
        Finish::Retry {
            at: rig.now() + Duration::from_secs(60),
            reason: "503".into(),
        },
    )
    .await;
    rig.finish(
        &jobs[2].fence,
        Finish::Hold {
            why: "approval".into(),
            reason: "ask".into(),
            detail: Some("{}".into()),
        },
    )
    .await;
    rig.journal
        .finish(&jobs[3].fence, end(Outcome::Failed), Some(b"calls".to_vec()))
        .await
        .expect("a finish");
    rig.journal
        .pause(&Scope::Tenant("globex".into()), "ops", "incident", None)
        .await
        .expect("a pause");
    rig.journal.release(approve, "ops", "fine").await.expect("a release");
    rig.journal
        .set_cap(&lane("acme", "other"), Some(2))
        .await
        .expect("a cap");
}

async fn export(journal: &Journal) -> (Vec<u8>, Exported) {
    let mut stream = Vec::new();
    let exported = journal.export(&mut stream).await.expect("an export");
    (stream, exported)
}

async fn import(journal: &Journal, stream: &[u8]) -> Result<Exported, JournalError> {
    journal.import(&mut &*stream).await
}

fn refusal(result: Result<Exported, JournalError>) -> (u64, String) {
    match result {
        Err(JournalError::Import { line, reason }) => (line, reason),
        other => panic!("{other:?}"),
    }
}

/// The same content, whatever the order in which a database keeps its rows.
fn sorted(stream: &[u8]) -> Vec<&str> {
    let text = std::str::from_utf8(stream).expect("UTF-8");
    let mut rows: Vec<&str> = text.lines().filter(|line| line.starts_with('[')).collect();
    rows.sort_unstable();
    rows
}

on_both! {
    async fn everything_arrives_in_the_other_database(rig: Rig) {
        fill(&rig).await;
        let (stream, exported) = export(&rig.journal).await;
        for target in [Rig::sqlite().await, Rig::postgres().await] {
            let imported = import(&target.journal, &stream).await.expect("an import");
            assert_eq!(imported, exported);
            let (again, _) = export(&target.journal).await;
            assert_eq!(sorted(&again), sorted(&stream));
            let jobs = |journal: Journal| async move { journal.jobs(&JobFilter::default(), Page::default()).await };
            assert_eq!(jobs(target.journal.clone()).await, jobs(rig.journal.clone()).await);
            assert_eq!(target.journal.reconcile().await, Ok(vec![]));
            // It goes on there: known ids stay known, waiting jobs run.
            let known = NewEvent { dedupe: Dedupe::SourceId("\"\\ \u{1f44b}\u{2028}".into()), ..leaver(&lane("acme", "docusign"), target.now()) };
            assert!(target.accept(known).await.duplicate.is_some());
            assert_eq!(target.claim(10).await.len(), 4, "four of the cap still run");
        }
    }

    async fn every_table_is_exported(rig: Rig) {
        fill(&rig).await;
        let (stream, _) = export(&rig.journal).await;
        for table in ["event", "lane", "job", "attempt", "intent", "transcript", "tally", "pause", "action", "evidence"] {
            let row = format!("[\"{table}\",");
            assert!(sorted(&stream).iter().any(|line| line.starts_with(&row)), "{table}");
        }
    }

    async fn a_damaged_export_changes_nothing(rig: Rig) {
        fill(&rig).await;
        let (stream, _) = export(&rig.journal).await;
        let text = String::from_utf8(stream).expect("UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        let whole = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let last = lines.len();
        let cases = [
            (String::new(), 1, "is empty"),
            ("{}\n".to_owned(), 1, "no export"),
            (text.replacen("\"exeunt-journal\":1", "\"exeunt-journal\":2", 1), 1, "format is 2"),
            (text.replacen(&format!("\"schema\":{SCHEMA_VERSION}"), "\"schema\":999", 1), 1, "schema version is 999"),
            (text.replacen("\"cap\",", "", 1), 1, "its tables"),
            (whole(&lines[..last - 1]), last as u64 - 1, "cut off"),
            (text[..text.len() / 2].to_owned(), 0, ""),
            (whole(&[&lines[..5], &lines[6..]].concat()), last as u64 - 1, "checksum"),
            (text.replacen("userStatus", "userstatus", 1), last as u64, "checksum"),
            (format!("{text}[]\n"), last as u64 + 1, "after the end"),
            (text.replacen("[\"event\",", "[\"nothing\",", 1), 2, "known table"),
            (text.replacen("[\"event\",\"", "[\"event\",\"!", 1), 2, "event.id is not Bytes"),
            (text.replacen("[\"event\",", "[\"event\",1,", 1), 2, "cells"),
            (text.replacen("[\"event\"", "(\"event\"", 1), 2, ""),
        ];
        let target = rig.another_database().await;
        for (damaged, line, words) in cases {
            let (at, reason) = refusal(import(&target.journal, damaged.as_bytes()).await);
            assert!(reason.contains(words), "{words}: {reason}");
            assert!(line == 0 || at == line, "{words}: line {at} and not {line}");
        }
        import(&target.journal, text.as_bytes()).await.expect("it is still empty, and takes the whole");
    }

    async fn a_target_with_data_is_refused(rig: Rig) {
        let (empty, _) = export(&rig.journal).await;
        import(&rig.journal, &empty).await.expect("nothing into nothing");
        rig.queue(&lane("acme", "docusign")).await;
        let (_, reason) = refusal(import(&rig.journal, &empty).await);
        assert!(reason.contains("holds data already"), "{reason}");
    }

    async fn a_reader_that_goes_away_harms_nobody(rig: Rig) {
        fill(&rig).await;
        let (mut writer, reader) = tokio::io::duplex(64);
        drop(reader);
        let failed = rig.journal.export(&mut writer).await;
        assert!(matches!(failed, Err(JournalError::Stream(_))), "{failed:?}");
        for _ in 0..8 {
            assert!(export(&rig.journal).await.1.rows > 0, "no connection is left in a transaction");
        }
        rig.queue(&lane("acme", "docusign")).await;
    }
}
