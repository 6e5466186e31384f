//! An event that is judged again makes its jobs once.

use std::time::Duration;

use exeunt::journal::{Accepted, Decision, Dedupe, EventId, EventSummary, Journal, NewEvent, Page};

use crate::on_both;
use crate::rig::{HOUR, Rig, event, lane, leaver};

async fn refused(rig: &Rig) -> EventId {
    let new = NewEvent {
        decision: Decision::Refused,
        ..event("acme", vec![], rig.now())
    };
    rig.accept(new).await.event
}

fn again(rig: &Rig, of: EventId) -> NewEvent {
    NewEvent {
        replays: Some(of),
        ..leaver(&lane("acme", "docusign"), rig.now())
    }
}

async fn replay(rig: &Rig, journal: &Journal, of: EventId) -> Accepted {
    journal.accept(again(rig, of)).await.expect("the event is accepted")
}

async fn summary(rig: &Rig, id: EventId) -> EventSummary {
    rig.journal
        .event(id)
        .await
        .expect("a query")
        .expect("the event")
        .summary
}

async fn jobs(rig: &Rig) -> usize {
    let all = exeunt::journal::JobFilter::default();
    rig.journal
        .jobs(&all, Page::default())
        .await
        .expect("a query")
        .items
        .len()
}

on_both! {
    async fn the_second_replay_is_a_repetition_of_the_first(rig: Rig) {
        let old = refused(&rig).await;
        let first = replay(&rig, &rig.journal, old).await;
        assert_eq!((first.jobs.len(), first.duplicate.is_some()), (1, false));
        let marked = summary(&rig, old).await;
        assert_eq!((marked.decision, marked.replayed_as), (Decision::Replayed, Some(first.event)));
        assert_eq!(marked.reason, "userStatus became inactive", "why it was refused stays");
        rig.clock.advance(30 * 24 * HOUR);
        let second = replay(&rig, &rig.journal, old).await;
        assert_eq!((second.event, second.jobs), (first.event, vec![]));
        let original = second.duplicate.expect("a duplicate");
        assert_eq!((original.event, original.decision), (first.event, Decision::Leaver));
        let listed = async |decision| rig.journal.events("acme", Some(decision), Page::default()).await.expect("a query").items.len();
        assert_eq!((listed(Decision::Refused).await, listed(Decision::Replayed).await), (0, 1));
        assert_eq!(jobs(&rig).await, 1);
    }

    async fn replays_at_once_make_one_event(rig: Rig) {
        let old = refused(&rig).await;
        let other = rig.another(rig.options()).await;
        let both = futures_util::future::join_all((0..20).map(|number| {
            replay(&rig, if number % 2 == 0 { &rig.journal } else { &other }, old)
        }));
        let both = both.await;
        let first: Vec<&Accepted> = both.iter().filter(|accepted| accepted.duplicate.is_none()).collect();
        assert_eq!(first.len(), 1, "{both:?}");
        assert!(both.iter().all(|accepted| accepted.event == first[0].event), "{both:?}");
        assert_eq!(jobs(&rig).await, 1);
        other.close().await;
    }

    async fn replays_of_many_in_any_order_go_through(rig: Rig) {
        let mut old = Vec::new();
        for _ in 0..30 {
            old.push(refused(&rig).await);
        }
        let other = rig.another(rig.options()).await;
        let up = futures_util::future::join_all(old.iter().map(|id| replay(&rig, &rig.journal, *id)));
        let down = futures_util::future::join_all(old.iter().rev().map(|id| replay(&rig, &other, *id)));
        let (up, down) = tokio::join!(up, down);
        for (one, two) in up.iter().zip(down.iter().rev()) {
            assert_eq!((one.event, one.duplicate.is_some()), (two.event, two.duplicate.is_none()));
        }
        assert_eq!(jobs(&rig).await, 30);
        other.close().await;
    }

    async fn a_replay_that_repeats_another_event_is_marked_as_that_one(rig: Rig) {
        let known = |new: NewEvent| NewEvent { dedupe: Dedupe::SourceId("7".to_owned()), ..new };
        let first = rig.accept(known(leaver(&lane("acme", "docusign"), rig.now()))).await;
        let old = refused(&rig).await;
        // Both in one batch or not: the later one finds what the first was a repetition of.
        let (one, two) = tokio::join!(
            rig.accept(known(again(&rig, old))),
            rig.accept(known(again(&rig, old)))
        );
        for accepted in [one, two] {
            assert_eq!((accepted.event, accepted.duplicate.is_some()), (first.event, true));
        }
        assert_eq!(summary(&rig, old).await.replayed_as, Some(first.event));
        assert_eq!(jobs(&rig).await, 1);
    }

    async fn an_event_that_was_deleted_meanwhile_is_replayed_all_the_same(rig: Rig) {
        let old = refused(&rig).await;
        rig.clock.advance(Duration::from_millis(1));
        assert_eq!(rig.journal.expire_events(Duration::ZERO, &mut None).await, Ok(1));
        let accepted = replay(&rig, &rig.journal, old).await;
        assert_eq!((accepted.jobs.len(), accepted.duplicate), (1, None));
    }
}
