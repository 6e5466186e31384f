//! A disk that fails under a running host: no false 200, and the process ends with an error.

use kit::{Fault, failing_disk};

use crate::client::Client;
use crate::house::House;

async fn fails(fault: Fault, most: usize) {
    let house = House::sqlite().await;
    // The tables are made on a disk that works.
    house.start().await.stop().await;
    let Some(variables) = failing_disk(house.world.root(), fault) else {
        return;
    };
    let host = house.start_with(&variables).await;
    let client = Client::new(&house, &host);
    let mut acknowledged = Vec::new();
    let refused = loop {
        let event = end_to_end::event(&format!("p{}@acme.example", acknowledged.len()));
        match client.event("acme", &event).await {
            Ok((200, answer)) => acknowledged.push(answer["event"].as_str().expect("an id").to_owned()),
            other => break other,
        }
        assert!(acknowledged.len() < 100_000, "the disk does not fail");
    };
    assert!(matches!(refused, Err(()) | Ok((503, _))), "{refused:?}");
    let said = host.said();
    let log = house.path("host-1.log");
    let status = host.ended().await;
    let said = std::fs::read_to_string(log).unwrap_or(said);
    assert!(!status.success(), "{said}");
    end_to_end::says(&said, &["the journal's file failed"]);
    assert!(
        acknowledged.len() <= most,
        "{fault:?}: {} of at most {most}",
        acknowledged.len()
    );

    let host = house.start().await;
    let client = Client::new(&house, &host);
    for event in &acknowledged {
        let (status, seen) = client.get(&format!("/v1/events/{event}")).await.expect("an answer");
        assert_eq!(status, 200, "{event} was acknowledged and is lost: {seen}");
    }
    client.idle().await;
    let open: Vec<_> = client
        .jobs("")
        .await
        .into_iter()
        .filter(|job| job["outcome"] != "no_account")
        .collect();
    assert!(open.is_empty(), "{open:#?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_sync_ends_the_host_and_nothing_was_acknowledged_that_is_not_there() {
    for after in [12, 25, 60] {
        // One sync for each event at least, since there is one sender.
        fails(Fault::SyncsAfter(after), after as usize).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_ends_the_host_and_nothing_was_acknowledged_that_is_not_there() {
    for after in [60, 150, 400] {
        fails(Fault::WritesAfter(after), usize::MAX).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_does_not_start_on_a_journal_that_it_cannot_read() {
    let house = House::sqlite().await;
    house.world.write("journal.db", &"no database ".repeat(1000));
    let ran = house.exeunt(&["serve"]).await;
    ran.was_misused(&["journal.db"]);
}
