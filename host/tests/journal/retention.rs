//! What is old is deleted, and what proves something is not.

use std::time::Duration;

use exeunt::journal::{Decision, Dedupe, EventId, JobState, NewEvent, Outcome, Page};

use crate::on_both;
use crate::rig::{HOUR, Rig, end, event, lane, leaver};

fn refused(rig: &Rig, body: Vec<u8>) -> NewEvent {
    NewEvent {
        decision: Decision::Refused,
        body,
        ..event("acme", vec![], rig.now())
    }
}

async fn body(rig: &Rig, id: EventId) -> Option<Vec<u8>> {
    rig.journal.event(id).await.expect("a query").map(|record| record.body)
}

on_both! {
    async fn transcripts_expire_and_jobs_do_not(rig: Rig) {
        let lane = lane("acme", "docusign");
        for _ in 0..450 {
            rig.queue(&lane).await;
        }
        rig.journal.set_cap(&lane, Some(1000)).await.expect("a cap");
        let mut finished = 0;
        while finished < 450 {
            for job in rig.claim(256).await {
                if finished == 430 {
                    rig.clock.advance(HOUR);
                }
                rig.journal.finish(&job.fence, end(Outcome::Closed), Some(vec![1])).await.expect("a finish");
                finished += 1;
            }
        }
        assert_eq!(rig.journal.expire_transcripts(Duration::ZERO).await, Ok(430));
        assert_eq!(rig.journal.expire_transcripts(Duration::ZERO).await, Ok(0));
        let closed: u64 = rig.journal.tallies().await.expect("a query").iter().map(|tally| tally.count).sum();
        assert_eq!(closed, 450);
    }

    async fn events_without_jobs_are_deleted_and_others_lose_their_bodies(rig: Rig) {
        let known = |id: &str| NewEvent {
            dedupe: Dedupe::SourceId(id.to_owned()),
            ..leaver(&lane("acme", "docusign"), rig.now())
        };
        let closed = rig.accept(known("1")).await;
        rig.finish(&rig.claim_one().await.fence, end(Outcome::Closed)).await;
        let waits = rig.accept(known("2")).await;
        let nothing = rig.accept(refused(&rig, b"no json".to_vec())).await.event;
        let empty = rig.accept(refused(&rig, vec![])).await.event;
        rig.clock.advance(HOUR);
        let young = rig.accept(known("3")).await;
        let late = rig.accept(refused(&rig, b"late".to_vec())).await.event;

        let mut walked = None;
        assert_eq!(rig.journal.expire_events(Duration::ZERO, &mut walked).await, Ok(4));
        assert_eq!(rig.journal.expire_events(Duration::ZERO, &mut walked).await, Ok(0));
        assert_eq!(rig.journal.expire_events(Duration::ZERO, &mut None).await, Ok(0), "also from the oldest on");
        for gone in [nothing, empty] {
            assert_eq!(body(&rig, gone).await, None);
        }
        for (kept, said) in [(closed.event, &b""[..]), (waits.event, b""), (young.event, b"{\"left\":true}"), (late, b"late")] {
            assert_eq!(body(&rig, kept).await.as_deref(), Some(said));
        }
        let record = rig.journal.event(closed.event).await.expect("a query").expect("the event");
        assert_eq!((record.jobs, record.summary.decision), (closed.jobs, Decision::Leaver));
        assert_eq!(record.summary.person.as_deref(), Some("{\"email\":\"ada@acme.example\"}"));
        assert_eq!(rig.accept(known("1")).await.event, closed.event, "a repetition for ever");
        let job = rig.claim(1).await.remove(0);
        assert_eq!(job.id(), waits.jobs[0], "who waits goes on");
        assert_eq!(job.person.as_deref(), Some("{\"email\":\"ada@acme.example\"}"));

        rig.clock.advance(HOUR);
        assert_eq!(rig.journal.expire_events(Duration::ZERO, &mut walked).await, Ok(2), "from where it ended");
        assert_eq!(rig.journal.reconcile().await.expect("a check"), []);
        let listed = rig.journal.events("acme", None, Page::default()).await.expect("a query");
        assert_eq!(listed.items.len(), 3);
    }

    async fn many_and_large_events_expire_in_steps(rig: Rig) {
        const MIB: usize = 1 << 20;
        // Five of a MiB do not fit into one step, and 1,200 are more than one look.
        for size in [MIB; 5].into_iter().chain([5 * MIB, 1, 4 * MIB, 1]) {
            rig.accept(refused(&rig, vec![b'x'; size])).await;
        }
        let many = futures_util::future::join_all((0..1_191).map(|number| {
            rig.accept(if number % 3 == 0 { leaver(&lane("acme", "docusign"), rig.now()) } else { refused(&rig, vec![b'x']) })
        }));
        assert_eq!(many.await.len(), 1_191);
        rig.clock.advance(Duration::from_millis(1));
        assert_eq!(rig.journal.expire_events(Duration::ZERO, &mut None).await, Ok(1_200));
        let page = Page { before: None, limit: 1_000 };
        let kept = rig.journal.events("acme", None, page).await.expect("a query").items;
        assert_eq!(kept.len(), 397);
    }

    async fn an_event_past_its_retention_moves_to_another_database(rig: Rig) {
        let event = rig.queue(&lane("acme", "docusign")).await;
        rig.clock.advance(HOUR);
        assert_eq!(rig.journal.expire_events(Duration::ZERO, &mut None).await, Ok(1));
        let mut export = Vec::new();
        rig.journal.export(&mut export).await.expect("an export");
        let other = rig.another_database().await;
        other.journal.import(&mut export.as_slice()).await.expect("an import");
        assert_eq!(other.state(event).await, JobState::Queued);
        assert_eq!(other.claim_one().await.id(), event);
    }

    async fn hosts_that_sweep_at_once_share_the_work(rig: Rig) {
        let many = futures_util::future::join_all((0..600).map(|number| {
            rig.accept(if number % 2 == 0 { leaver(&lane("acme", "docusign"), rig.now()) } else { refused(&rig, vec![b'x']) })
        }));
        assert_eq!(many.await.len(), 600);
        rig.clock.advance(Duration::from_millis(1));
        let other = rig.another(rig.options()).await;
        let (mut one, mut two) = (None, None);
        let (ours, theirs) = tokio::join!(
            rig.journal.expire_events(Duration::ZERO, &mut one),
            other.expire_events(Duration::ZERO, &mut two)
        );
        let counted = ours.expect("a sweep") + theirs.expect("a sweep");
        // What one passed since the other had it, it looks at again, from where it has seen to all.
        let again = rig.journal.expire_events(Duration::ZERO, &mut one).await.expect("a sweep");
        assert_eq!(counted + again, 600, "each once");
        let page = Page { before: None, limit: 500 };
        let kept = rig.journal.events("acme", None, page).await.expect("a query").items;
        assert_eq!(kept.len(), 300);
        for event in &kept {
            assert_eq!(body(&rig, event.id).await.as_deref(), Some(&b""[..]));
        }
        other.close().await;
    }
}
