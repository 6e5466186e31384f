//! Events come in once, and stay.

use std::sync::Arc;
use std::time::Duration;

use exeunt::journal::{Decision, Dedupe, JobState, JournalError, NewEvent, Options, Outcome, Page};
use sqlx::Executor as _;

use crate::on_both;
use crate::rig::{Rig, end, event, held, lane, leaver, queued, until};

fn with_id(rig: &Rig, id: &str) -> NewEvent {
    NewEvent {
        dedupe: Dedupe::SourceId(id.to_owned()),
        ..leaver(&lane("acme", "docusign"), rig.now())
    }
}

fn with_content(rig: &Rig, content: u8) -> NewEvent {
    NewEvent {
        dedupe: Dedupe::Content([content; 32]),
        ..leaver(&lane("acme", "docusign"), rig.now())
    }
}

on_both! {
    async fn one_id_for_two_people_is_two_events(rig: Rig) {
        let message = |about: &str| NewEvent {
            dedupe: Dedupe::Message { id: "7".to_owned(), about: about.to_owned() },
            ..leaver(&lane("acme", "docusign"), rig.now())
        };
        let (ann, bob) = (rig.accept(message("ann")).await, rig.accept(message("bob")).await);
        assert_eq!((ann.duplicate, bob.duplicate), (None, None));
        rig.clock.advance(Duration::from_secs(365 * 24 * 3600));
        let again = rig.accept(message("ann")).await;
        assert_eq!((again.event, again.duplicate.is_some()), (ann.event, true), "for ever");
        let named = NewEvent { dedupe: Dedupe::Named("7".to_owned()), ..message("ann") };
        let (one, other) = (rig.accept(named.clone()).await, rig.accept(named).await);
        assert_ne!(one.event, other.event);
        let record = rig.journal.event(one.event).await.expect("a query").expect("the event");
        assert_eq!(record.summary.source_id.as_deref(), Some("7"));
    }

    async fn an_event_is_kept_as_received(rig: Rig) {
        let body = vec![0, 255, b'\n', 0];
        let occurred = Some(rig.now() - Duration::from_secs(9));
        let new = NewEvent { body: body.clone(), occurred_at: occurred, ..with_id(&rig, "id\0 \u{1f44b} '") };
        let accepted = rig.accept(new).await;
        let record = rig.journal.event(accepted.event).await.expect("a query").expect("the event");
        assert_eq!(record.body, body);
        assert_eq!(record.jobs, accepted.jobs);
        assert_eq!(record.summary.occurred_at, occurred);
        assert_eq!(record.summary.received_at, rig.now());
        assert_eq!(record.summary.decision, Decision::Leaver);
        assert_eq!(record.summary.source_id.as_deref(), Some("id\u{fffd} \u{1f44b} '"));
        assert_eq!(record.summary.person.as_deref(), Some("{\"email\":\"ada@acme.example\"}"));
    }

    async fn jobs_start_as_they_are_given(rig: Rig) {
        let jobs = vec![queued("a"), held("b", "old_event")];
        let accepted = rig.accept(event("acme", jobs, rig.now())).await;
        let [a, b] = accepted.jobs[..] else { panic!("{accepted:?}") };
        assert_eq!(rig.state(a).await, JobState::Queued);
        assert_eq!(rig.state(b).await, JobState::Held { why: "old_event".into() });
        assert_eq!(rig.claim(10).await.len(), 1, "only the queued one runs");
    }

    async fn an_event_without_jobs_is_kept_too(rig: Rig) {
        let new = NewEvent { decision: Decision::NotALeaver, person: None, person_key: None, ..event("acme", vec![], rig.now()) };
        let accepted = rig.accept(new).await;
        let listed = rig.journal.events("acme", Some(Decision::NotALeaver), Page::default()).await.expect("a query").items;
        assert_eq!(listed.iter().map(|event| event.id).collect::<Vec<_>>(), [accepted.event]);
        assert_eq!(rig.journal.events("acme", Some(Decision::Leaver), Page::default()).await.expect("a query").items, []);
        assert_eq!(rig.journal.events("other", None, Page::default()).await.expect("a query").items, []);
    }

    async fn a_source_id_is_a_duplicate_for_ever(rig: Rig) {
        let first = rig.accept(with_id(&rig, "a")).await;
        rig.finish(&rig.claim_one().await.fence, end(Outcome::Closed)).await;
        rig.clock.advance(Duration::from_secs(400 * 24 * 3600));
        let again = rig.accept(with_id(&rig, "a")).await;
        assert_eq!(again.event, first.event);
        assert_eq!(again.jobs, []);
        let original = again.duplicate.expect("a duplicate");
        assert_eq!((original.event, original.decision), (first.event, Decision::Leaver));
        assert_eq!(rig.claim(10).await, []);
    }

    async fn the_same_id_elsewhere_is_another_event(rig: Rig) {
        let first = rig.accept(with_id(&rig, "a")).await;
        for other in [
            NewEvent { tenant: "globex".into(), ..with_id(&rig, "a") },
            NewEvent { source: "it".into(), ..with_id(&rig, "a") },
            with_id(&rig, "A"),
        ] {
            let accepted = rig.accept(other).await;
            assert_eq!(accepted.duplicate, None);
            assert_ne!(accepted.event, first.event);
        }
    }

    async fn the_same_content_is_a_duplicate_for_ten_minutes(rig: Rig) {
        let first = rig.accept(with_content(&rig, 1)).await;
        rig.finish(&rig.claim_one().await.fence, end(Outcome::Closed)).await;
        rig.clock.advance(Duration::from_secs(600));
        assert_eq!(rig.accept(with_content(&rig, 1)).await.event, first.event, "at ten minutes");
        rig.clock.advance(Duration::from_millis(1));
        let second = rig.accept(with_content(&rig, 1)).await;
        assert_eq!(second.duplicate, None, "after ten minutes");
        assert_eq!(second.jobs.len(), 1);
        assert_eq!(rig.accept(with_content(&rig, 1)).await.event, second.event, "the new one holds the key now");
    }

    async fn the_same_content_is_a_duplicate_for_a_day_while_nothing_has_come_of_it(rig: Rig) {
        let first = rig.accept(with_content(&rig, 1)).await;
        rig.clock.advance(Duration::from_secs(86400));
        assert_eq!(rig.accept(with_content(&rig, 1)).await.event, first.event, "queued");
        let job = rig.claim_one().await;
        assert_eq!(rig.accept(with_content(&rig, 1)).await.event, first.event, "running");
        rig.clock.advance(Duration::from_millis(1));
        assert_eq!(rig.accept(with_content(&rig, 1)).await.duplicate, None, "longer ago than a day");
        rig.finish(&job.fence, exeunt::journal::Finish::Hold { why: "approval".into(), reason: "ask".into(), detail: None }).await;
        let held = rig.accept(with_content(&rig, 2)).await;
        let job = rig.claim(2).await.into_iter().find(|job| job.event == held.event).expect("the second");
        rig.finish(&job.fence, exeunt::journal::Finish::Hold { why: "approval".into(), reason: "ask".into(), detail: None }).await;
        assert_eq!(rig.accept(with_content(&rig, 2)).await.event, held.event, "within ten minutes");
        rig.clock.advance(Duration::from_secs(601));
        assert_eq!(rig.accept(with_content(&rig, 2)).await.duplicate, None, "held, and may be cancelled");
    }

    async fn the_same_content_is_new_once_one_of_its_jobs_has_ended(rig: Rig) {
        let content = || NewEvent {
            dedupe: Dedupe::Content([1; 32]),
            ..event("acme", vec![queued("docusign"), queued("second")], rig.now())
        };
        rig.accept(content()).await;
        let jobs = rig.claim(2).await;
        rig.finish(&jobs[0].fence, end(Outcome::Closed)).await;
        rig.finish(&jobs[1].fence, exeunt::journal::Finish::Park { reason: "consent".into() }).await;
        rig.clock.advance(Duration::from_secs(601));
        assert_eq!(rig.accept(content()).await.duplicate, None, "she left, came back and left again");
    }

    async fn a_clock_that_was_ahead_swallows_nobody(rig: Rig) {
        let ahead = NewEvent { received_at: rig.now() + Duration::from_secs(86400), ..with_content(&rig, 1) };
        rig.accept(ahead).await;
        rig.finish(&rig.claim_one().await.fence, end(Outcome::Closed)).await;
        assert_eq!(rig.accept(with_content(&rig, 1)).await.duplicate, None);
    }

    async fn one_batch_can_hold_the_same_event_many_times(rig: Rig) {
        rig.accept(with_content(&rig, 2)).await;
        rig.finish(&rig.claim_one().await.fence, end(Outcome::Closed)).await;
        rig.clock.advance(Duration::from_secs(3600));
        let events = (0..60).map(|n| match n % 3 {
            0 => with_id(&rig, "same"),
            1 => with_content(&rig, 2),
            _ => with_content(&rig, 3),
        });
        let tasks: Vec<_> = events
            .map(|event| {
                let journal = rig.journal.clone();
                tokio::spawn(async move { journal.accept(event).await.expect("accepted") })
            })
            .collect();
        let mut new = 0;
        let mut ids = std::collections::BTreeSet::new();
        for task in tasks {
            let accepted = task.await.expect("no panic");
            new += usize::from(accepted.duplicate.is_none());
            ids.insert(accepted.event);
        }
        assert_eq!((new, ids.len()), (3, 3));
        assert_eq!(rig.claim(100).await.len(), 3);
    }

    async fn names_that_cannot_be_stored_are_refused(rig: Rig) {
        let long = "x".repeat(129);
        for tenant in ["", "a/b", "a\0b", "a\nb", long.as_str()] {
            let result = rig.journal.accept(NewEvent { tenant: tenant.into(), ..event("acme", vec![], rig.now()) }).await;
            assert!(matches!(result, Err(JournalError::Invalid(_))), "{tenant:?}: {result:?}");
        }
        rig.accept(event(&long[..128], vec![], rig.now())).await;
        let jobs = |count: usize| (0..count).map(|n| queued(&format!("c{n}"))).collect::<Vec<_>>();
        assert_eq!(rig.accept(event("acme", jobs(64), rig.now())).await.jobs.len(), 64);
        let result = rig.journal.accept(event("acme", jobs(65), rig.now())).await;
        assert!(matches!(result, Err(JournalError::Invalid(_))), "{result:?}");
    }

    async fn a_full_queue_says_busy_and_loses_nothing(rig: Rig) {
        let journal = rig.another(Options { queue: 3, ..rig.options() }).await;
        let mut blocker = rig.connection().await;
        block(&mut blocker, &rig.url).await;
        // More than one batch and the queue can take together.
        let (sender, mut answers) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..300 {
            let (journal, event, sender) = (journal.clone(), with_id(&rig, &number.to_string()), sender.clone());
            tokio::spawn(async move { sender.send(journal.accept(event).await) });
        }
        drop(sender);
        assert_eq!(answers.recv().await, Some(Err(JournalError::Busy)), "nothing else can be answered");
        blocker.execute("ROLLBACK").await.expect("the lock is released");
        let mut accepted = 0;
        while let Some(answer) = answers.recv().await {
            match answer {
                Ok(_) => accepted += 1,
                Err(error) => assert_eq!(error, JournalError::Busy),
            }
        }
        assert!(accepted >= 4, "{accepted}");
        let page = Page { limit: 500, ..Page::default() };
        assert_eq!(rig.journal.events("acme", None, page).await.expect("a query").items.len(), accepted);
    }

    async fn a_caller_that_hangs_up_keeps_its_place_until_its_event_is_written(rig: Rig) {
        let mut blocker = rig.connection().await;
        block(&mut blocker, &rig.url).await;
        let place = Arc::new(());
        let mut accept = Box::pin(rig.journal.accept_with(with_id(&rig, "1"), place.clone()));
        assert!(futures_util::poll!(&mut accept).is_pending());
        drop(accept);
        assert_eq!(Arc::strong_count(&place), 2);
        blocker.execute("ROLLBACK").await.expect("the lock is released");
        until("the place is free", async || Arc::strong_count(&place) == 1).await;
        assert_eq!(rig.journal.events("acme", None, Page::default()).await.expect("a query").items.len(), 1);
        let twice = (with_id(&rig, "1"), with_id(&rig, "1"));
        let (one, two) = tokio::join!(
            rig.journal.accept_with(twice.0, place.clone()),
            rig.journal.accept_with(twice.1, place.clone()),
        );
        assert!(one.expect("accepted").duplicate.is_some() && two.expect("accepted").duplicate.is_some());
        assert_eq!(Arc::strong_count(&place), 1, "free before the answer");
    }

    async fn large_events_fill_the_queue_by_their_bytes(rig: Rig) {
        let journal = rig.another(Options { queue_bytes: 100_000, ..rig.options() }).await;
        let large = || NewEvent { body: vec![b'x'; 90_000], ..event("acme", vec![], rig.now()) };
        // More than the queue holds is still accepted when the queue is empty.
        let huge = NewEvent { body: vec![b'x'; 1 << 20], ..event("acme", vec![], rig.now()) };
        journal.accept(huge).await.expect("accepted alone");
        let mut blocker = rig.connection().await;
        block(&mut blocker, &rig.url).await;
        let mut one = Box::pin(journal.accept(large()));
        assert!(futures_util::poll!(&mut one).is_pending());
        assert_eq!(journal.accept(large()).await, Err(JournalError::Busy));
        blocker.execute("ROLLBACK").await.expect("the lock is released");
        one.await.expect("accepted");
    }
}

/// Makes every accept wait.
async fn block(connection: &mut sqlx::AnyConnection, url: &str) {
    if url.starts_with("sqlite:") {
        connection.execute("BEGIN IMMEDIATE").await.expect("the write lock");
    } else {
        connection.execute("BEGIN").await.expect("a transaction");
        connection
            .execute("LOCK TABLE event IN ACCESS EXCLUSIVE MODE")
            .await
            .expect("the table's lock");
    }
}
