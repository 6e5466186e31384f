//! Parking, pausing, and what lanes show.

use std::time::Duration;

use exeunt::journal::{Finish, Finished, JobState, JournalError, Outcome, Reservation, Scope};
use futures_util::FutureExt as _;

use crate::on_both;
use crate::rig::{LEASE, NO_LIMIT, Rig, end, event, held, lane, queued, release};

on_both! {
    async fn a_parked_lane_waits_until_it_is_unparked(rig: Rig) {
        let docusign = lane("acme", "docusign");
        let first = rig.queue(&docusign).await;
        rig.queue(&docusign).await;
        let job = rig.claim(1).await.remove(0);
        let park = Finish::Park { reason: "consent required: https://…".into() };
        assert_eq!(rig.finish(&job.fence, park).await, Finished::Queued);
        rig.clock.advance(Duration::from_secs(86400));
        assert_eq!(rig.claim(10).await, []);
        let why = "consent required: https://…".to_owned();
        assert_eq!(rig.state(first).await, JobState::Parked { until: None, why: why.clone() });
        let status = rig.journal.lanes(Some("acme")).await.expect("a query").remove(0);
        assert_eq!(status.parked, Some((rig.now() - Duration::from_secs(86400), why)));
        assert_eq!((status.queued, status.running), (2, 0));
        assert_eq!(rig.journal.unpark(&docusign, "reload", "").await, Ok(true));
        assert_eq!(rig.journal.unpark(&docusign, "reload", "").await, Ok(false));
        assert_eq!(rig.journal.unpark(&lane("acme", "unknown"), "reload", "").await, Ok(false));
        assert_eq!(rig.claim(10).await.iter().map(|job| job.attempt).collect::<Vec<_>>(), [1, 1]);
    }

    async fn a_pause_stops_its_scope_and_nothing_else(rig: Rig) {
        let lanes = [lane("acme", "a"), lane("acme", "b"), lane("acme2", "a")];
        let scopes = [
            (Scope::Connector(lanes[0].clone()), vec!["acme/b", "acme2/a"]),
            (Scope::Tenant("acme".into()), vec!["acme2/a"]),
            (Scope::All, vec![]),
            (Scope::Tenant("acm_".into()), vec!["acme/a", "acme/b", "acme2/a"]),
        ];
        for lane in &lanes {
            rig.queue(lane).await;
        }
        for (scope, runs) in scopes {
            rig.journal.pause(&scope, "ops", "incident 7", None).await.expect("a pause");
            let jobs = rig.claim(10).await;
            let mut claimed: Vec<_> = jobs.iter().map(|job| job.fence.lane().to_string()).collect();
            claimed.sort();
            assert_eq!(claimed, runs, "{scope}");
            for job in jobs {
                rig.finish(&job.fence, release()).await;
            }
            let pauses = rig.journal.pauses().await.expect("a query");
            assert_eq!((&pauses[0].scope, pauses[0].actor.as_str(), pauses[0].reason.as_str()), (&scope, "ops", "incident 7"));
            assert_eq!(rig.journal.resume(&scope, "ops", "", None).await, Ok(true));
            assert_eq!(rig.journal.resume(&scope, "ops", "", None).await, Ok(false));
        }
        assert_eq!(rig.claim(10).await.len(), 3);
        let wrong = rig.journal.pause(&Scope::Tenant(String::new()), "ops", "", None).await;
        assert!(matches!(wrong, Err(JournalError::Invalid(_))), "an empty tenant is not everything: {wrong:?}");
    }

    async fn a_pause_is_replaced_and_lifted_for_whom_it_may_be(rig: Rig) {
        let scope = Scope::Tenant("acme".into());
        let paused = |actor: &'static str, by| rig.journal.pause(&scope, actor, actor, by);
        let by = async || rig.journal.pauses().await.expect("a query").pop().expect("a pause").actor;
        assert_eq!(paused("ann", Some("ann")).await, Ok(true), "nobody has paused");
        assert_eq!(paused("bob", Some("ann")).await, Ok(true));
        // The host's comes between the look of another of the tenant and its pause.
        assert_eq!(paused("boss", None).await, Ok(true));
        assert_eq!(paused("ann", Some("bob")).await, Ok(false));
        assert_eq!(rig.journal.resume(&scope, "ann", "", Some("bob")).await, Ok(false));
        assert_eq!(by().await, "boss");
        assert_eq!(rig.journal.resume(&scope, "ann", "", Some("boss")).await, Ok(true));
        assert_eq!(rig.journal.resume(&scope, "boss", "", None).await, Ok(false), "it is over");
    }

    async fn a_pause_stops_what_runs_before_it_closes(rig: Rig) {
        rig.queue(&lane("acme", "docusign")).await;
        let job = rig.claim_one().await;
        // Another host hears of it through the database.
        let other = rig.another(rig.options()).await;
        for scope in [Scope::All, Scope::Tenant("acme".into()), Scope::Connector(lane("acme", "docusign"))] {
            other.pause(&scope, "ops", "stop", None).await.expect("a pause");
            let answer = rig.journal.intend(&job.fence, "1", 0, NO_LIMIT, None).await;
            assert_eq!(answer, Ok(Reservation::Paused { reason: "stop".into() }));
            other.resume(&scope, "ops", "", None).await.expect("no pause");
        }
        assert_eq!(rig.journal.intend(&job.fence, "1", 0, NO_LIMIT, None).await, Ok(Reservation::Reserved));
    }

    async fn lanes_show_depth_and_age(rig: Rig) {
        let start = rig.now();
        for _ in 0..3 {
            rig.accept(event("acme", vec![queued("a"), held("b", "approval")], rig.now())).await;
            rig.clock.advance(Duration::from_secs(1));
        }
        let job = rig.claim(1).await.remove(0);
        let lanes = rig.journal.lanes(None).await.expect("a query");
        let [a, b] = &lanes[..] else { panic!("{lanes:?}") };
        assert_eq!((a.lane.connector(), a.queued, a.running, a.held, a.cap), ("a", 2, 1, 0, 8));
        assert_eq!((b.lane.connector(), b.queued, b.running, b.held), ("b", 0, 0, 3));
        assert_eq!((a.oldest_due, b.oldest_due), (Some(start + Duration::from_secs(1)), None));
        assert_eq!((&a.parked, &a.not_before.is_none(), &a.tripped), (&None, &true, &None));
        rig.finish(&job.fence, release()).await;
        assert_eq!(rig.journal.lanes(None).await.expect("a query")[0].oldest_due, Some(start));
        assert_eq!(rig.journal.lanes(Some("globex")).await.expect("a query"), []);
    }

    async fn a_write_wakes_who_waits(rig: Rig) {
        let mut changes = rig.journal.changes();
        rig.queue(&lane("acme", "docusign")).await;
        changes.next().await;
        let job = rig.claim_one().await;
        changes.next().await;
        rig.finish(&job.fence, release()).await;
        changes.next().await;
    }

    async fn what_changes_nothing_wakes_nobody(rig: Rig) {
        rig.queue(&lane("acme", "docusign")).await;
        let job = rig.claim_one().await;
        let mut changes = rig.journal.changes();
        assert_eq!(rig.claim(10).await, []);
        assert_eq!(rig.journal.reclaim().await, Ok(vec![]));
        assert_eq!(rig.journal.reconcile().await, Ok(vec![]));
        assert_eq!(rig.beat(std::slice::from_ref(&job.fence), LEASE).await, vec![]);
        assert_eq!(rig.journal.intend(&job.fence, "1", 0, NO_LIMIT, None).await, Ok(Reservation::Reserved));
        assert_eq!(rig.journal.expire_transcripts(Duration::ZERO).await, Ok(0));
        assert!(changes.next().now_or_never().is_none(), "a dispatcher would claim again, without end");
        rig.finish(&job.fence, release()).await;
        assert!(changes.next().now_or_never().is_some());
    }

    async fn a_target_that_is_away_is_asked_by_one_job_at_a_time(rig: Rig) {
        let (away, other) = (lane("acme", "away"), lane("acme", "other"));
        for _ in 0..8 {
            rig.queue(&away).await;
        }
        let retry = || Finish::Retry { at: rig.now(), reason: "503".into() };
        let waits = async || {
            let status = rig.journal.lanes(None).await.expect("a query").remove(0);
            status.not_before.map(|(until, why)| (until.duration_since(rig.now()).as_millis(), why))
        };
        let words = |times| format!("the target was unavailable {times} times in a row: 503");
        let jobs = rig.claim(10).await;
        for job in &jobs[..4] {
            rig.finish(&job.fence, retry()).await;
        }
        assert_eq!(waits().await, None);
        for job in &jobs[4..] {
            rig.finish(&job.fence, retry()).await;
        }
        assert_eq!(waits().await, Some((1000, words(5))), "what ran already says nothing new");
        rig.queue(&other).await;
        assert_eq!(rig.claim_one().await.connector(), "other");
        for (pause, next) in [(1000, 2000), (2000, 4000), (4000, 8000)] {
            rig.clock.advance(Duration::from_millis(pause));
            rig.finish(&rig.claim_one().await.fence, retry()).await;
            assert_eq!(waits().await.map(|(wait, _)| wait), Some(next));
        }
        rig.clock.advance(Duration::from_secs(8));
        let hold = || Finish::Hold { why: "old-event".into(), reason: "too old".into(), detail: None };
        rig.finish(&rig.claim_one().await.fence, hold()).await;
        let asked = rig.claim_one().await;
        assert_eq!(rig.journal.finish(&asked.fence, hold(), Some(b"find".to_vec())).await, Ok(Finished::Held));
        assert_eq!(rig.claim(10).await.len(), 6, "it is back, and so is its cap");
    }

    async fn caps_of_many_lanes_are_set_at_once(rig: Rig) {
        let caps = |cap| (0..600).map(|n| (lane("acme", &format!("c{n:03}")), cap)).collect::<Vec<_>>();
        rig.journal.set_caps(&caps(None)).await.expect("caps");
        assert_eq!(rig.journal.lanes(None).await.expect("a query"), [], "the default needs no lane");
        rig.journal.set_caps(&caps(Some(3))).await.expect("caps");
        let lanes = rig.journal.lanes(None).await.expect("a query");
        assert!(lanes.len() == 600 && lanes.iter().all(|lane| lane.cap == 3));
        let mut changes = rig.journal.changes();
        rig.journal.set_caps(&caps(Some(3))).await.expect("caps");
        assert!(changes.next().now_or_never().is_none(), "nothing is written of what is so already");
        rig.journal.set_caps(&caps(None)).await.expect("caps");
        assert!(rig.journal.lanes(None).await.expect("a query").iter().all(|lane| lane.cap == 8));
    }

    async fn wrong_counters_are_found_and_corrected(rig: Rig) {
        rig.queue(&lane("acme", "a")).await;
        rig.queue(&lane("acme", "b")).await;
        assert_eq!(rig.journal.reconcile().await, Ok(vec![]));
        let mut connection = rig.connection().await;
        let damage = "UPDATE lane SET queued = 5, running = 2, due_at = 9000000000000 WHERE id = 'acme/a'";
        sqlx::query(damage).execute(&mut connection).await.expect("an update");
        let drifts = rig.journal.reconcile().await.expect("a check");
        let found: Vec<_> = drifts.iter().map(|drift| (drift.counter, drift.said, drift.is)).collect();
        assert_eq!(found, [("queued", 5, 1), ("running", 2, 0)]);
        assert_eq!(rig.journal.reconcile().await, Ok(vec![]));
        assert_eq!(rig.claim(10).await.len(), 2);
    }

    async fn a_job_that_parks_its_lane_lets_the_others_go_first(rig: Rig) {
        let docusign = lane("acme", "docusign");
        let (first, second) = (rig.queue(&docusign).await, rig.queue(&docusign).await);
        rig.clock.advance(Duration::from_millis(1));
        for expected in [first, second, first] {
            let job = rig.claim(1).await.remove(0);
            assert_eq!((job.id(), job.attempt), (expected, 1));
            rig.finish(&job.fence, Finish::Park { reason: "may not close administrators".into() }).await;
            assert_eq!(rig.journal.unpark(&docusign, "ops", "").await, Ok(true));
            rig.clock.advance(Duration::from_millis(1));
        }
    }

    async fn a_target_that_asks_for_a_moment_again_and_again_is_left_in_peace_for_longer(rig: Rig) {
        let docusign = lane("acme", "docusign");
        rig.queue(&docusign).await;
        let mut rests = Vec::new();
        for _ in 0..13 {
            let job = rig.claim(1).await.remove(0);
            assert_eq!(job.attempt, 1, "it costs no attempt");
            let until = rig.now() + Duration::from_millis(10);
            rig.finish(&job.fence, Finish::GiveBack { until, reason: "limit".into() }).await;
            let lane = rig.journal.lanes(None).await.expect("a query").remove(0);
            let until = lane.not_before.expect("it rests").0;
            let rest = Duration::try_from(until - rig.now()).expect("a while");
            rests.push(rest.as_millis());
            rig.clock.advance(rest);
        }
        assert_eq!(rests, [10, 10, 10, 10, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]);
        rig.finish(&rig.claim_one().await.fence, end(Outcome::Closed)).await;
        rig.queue(&docusign).await;
        rig.queue(&docusign).await;
        assert_eq!(rig.claim(10).await.len(), 2, "all at once again");
    }

    async fn who_knows_better_wakes_a_lane_that_rests(rig: Rig) {
        let docusign = lane("acme", "docusign");
        rig.queue(&docusign).await;
        let until = rig.now() + Duration::from_secs(86400);
        rig.finish(&rig.claim_one().await.fence, Finish::GiveBack { until, reason: "tomorrow".into() }).await;
        assert_eq!(rig.journal.unpark(&docusign, "reload", "").await, Ok(false), "no reload tires a target out");
        assert_eq!(rig.claim(10).await, []);
        assert_eq!(rig.journal.wake(&docusign, "ops", "").await, Ok(true));
        assert_eq!(rig.journal.wake(&docusign, "ops", "").await, Ok(false));
        assert_eq!(rig.claim(10).await.len(), 1);
    }
}
