//! Jobs are given out fairly, within caps, once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use exeunt::journal::{ClaimedJob, Finish, Finished, JobState, JournalError, Lane, MAX_CLAIM, Outcome, Shares};
use sqlx::Executor as _;

use crate::on_both;
use crate::rig::{LEASE, Rig, end, event, lane, queued, release};

fn by_lane(jobs: &[ClaimedJob]) -> BTreeMap<Lane, usize> {
    let mut counts = BTreeMap::new();
    for job in jobs {
        *counts.entry(job.fence.lane().clone()).or_default() += 1;
    }
    counts
}

on_both! {
    async fn a_claimed_job_says_all_that_a_worker_needs(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let job = rig.claim_one().await;
        assert_eq!((job.id(), job.tenant(), job.connector(), job.source.as_str()), (id, "acme", "docusign", "hr"));
        assert_eq!((job.attempt, job.received_at), (1, rig.now()));
        assert_eq!(job.person.as_deref(), Some("{\"email\":\"ada@acme.example\"}"));
        assert_eq!((job.intents.len(), job.released.len()), (0, 0));
        let JobState::Running { owner, since, .. } = rig.state(id).await else { panic!("it runs") };
        assert_eq!((owner.as_str(), since), ("host-1", rig.now()));
        assert_eq!(rig.claim(10).await, [], "nobody gets it twice");
    }

    async fn a_lane_that_says_that_its_first_job_is_later_than_it_is_is_set_right(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let mut connection = rig.connection().await;
        connection.execute("UPDATE lane SET due_at = due_at + 500").await.expect("an update");
        rig.clock.advance(Duration::from_secs(1));
        assert_eq!(rig.claim(10).await, []);
        assert_eq!(rig.claim_one().await.id(), id);
    }

    async fn a_job_whose_event_somebody_has_deleted_ends_and_holds_up_nobody(rig: Rig) {
        let gone = rig.queue(&lane("acme", "docusign")).await;
        let mut connection = rig.connection().await;
        connection.execute("DELETE FROM event").await.expect("a deletion");
        let other = rig.queue(&lane("beta", "docusign")).await;
        assert_eq!(rig.claim_one().await.id(), other);
        let tallies = rig.journal.tallies().await.expect("a query");
        let failed = tallies.iter().find(|tally| tally.lane == lane("acme", "docusign"));
        assert!(failed.is_some_and(|tally| (tally.outcome, tally.count) == (Outcome::Failed, 1)), "{gone}: {tallies:?}");
        assert_eq!(rig.journal.reconcile().await, Ok(vec![]), "it is counted as what it is");
    }

    async fn a_standby_without_the_last_claim_makes_another_fence(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let mut stream = Vec::new();
        rig.journal.export(&mut stream).await.expect("an export");
        let standby = rig.another_database().await;
        standby.journal.import(&mut &*stream).await.expect("an import");
        let (lost, job) = (rig.claim_one().await, standby.claim_one().await);
        assert_eq!((lost.id(), job.id()), (id, id));
        let refused = standby.journal.finish(&lost.fence, end(Outcome::Failed), None).await;
        assert_eq!(refused, Err(JournalError::LeaseLost(id)));
        assert_eq!(standby.beat(std::slice::from_ref(&lost.fence), LEASE).await, vec![lost.fence]);
        assert_eq!(standby.finish(&job.fence, end(Outcome::Closed)).await, Finished::Ended);
    }

    async fn the_oldest_of_a_lane_comes_first(rig: Rig) {
        let docusign = lane("acme", "docusign");
        let mut queued = Vec::new();
        for _ in 0..20 {
            queued.push(rig.queue(&docusign).await);
            rig.clock.advance(Duration::from_millis(1));
        }
        let mut claimed = Vec::new();
        for _ in 0..4 {
            for job in rig.claim(5).await {
                claimed.push(job.id());
                rig.finish(&job.fence, end(Outcome::Closed)).await;
            }
        }
        assert_eq!(claimed, queued);
    }

    async fn a_lane_never_runs_more_than_its_cap(rig: Rig) {
        let (a, b) = (lane("acme", "a"), lane("acme", "b"));
        rig.journal.set_cap(&a, Some(3)).await.expect("a cap");
        rig.journal.set_cap(&b, Some(0)).await.expect("a cap");
        for _ in 0..10 {
            rig.queue(&a).await;
            rig.queue(&b).await;
        }
        let first = rig.claim(100).await;
        assert_eq!(by_lane(&first), BTreeMap::from([(a.clone(), 3)]));
        assert_eq!(rig.claim(100).await, []);
        rig.finish(&first[0].fence, release()).await;
        assert_eq!(rig.claim(100).await.len(), 1);
        rig.journal.set_cap(&b, None).await.expect("a cap");
        assert_eq!(by_lane(&rig.claim(100).await), BTreeMap::from([(b, 8)]), "the default cap");
    }

    async fn a_claim_is_shared_among_lanes(rig: Rig) {
        let lanes: Vec<Lane> = (0..4).map(|n| lane(&format!("t{n}"), "c")).collect();
        for _ in 0..40 {
            rig.queue(&lanes[0]).await;
        }
        for lane in &lanes[1..] {
            for _ in 0..3 {
                rig.queue(lane).await;
            }
        }
        let shares = by_lane(&rig.claim(8).await);
        assert_eq!(shares, lanes.iter().map(|lane| (lane.clone(), 2)).collect());
    }

    async fn the_least_recently_served_lane_is_next(rig: Rig) {
        let lanes: Vec<Lane> = (0..5).map(|n| lane(&format!("t{n}"), "c")).collect();
        for lane in &lanes {
            for _ in 0..6 {
                rig.queue(lane).await;
            }
        }
        let mut order = Vec::new();
        for _ in 0..20 {
            let job = rig.claim(1).await.remove(0);
            order.push(job.tenant().to_owned());
            rig.finish(&job.fence, end(Outcome::Closed)).await;
        }
        for round in order.chunks(5) {
            assert_eq!(round, ["t0", "t1", "t2", "t3", "t4"]);
        }
    }

    async fn a_lane_that_only_waits_does_not_hide_others(rig: Rig) {
        // More lanes than one claim looks at, all waiting for their next try.
        for n in 0..40 {
            rig.queue(&lane(&format!("a{n:02}"), "c")).await;
        }
        loop {
            let jobs = rig.claim(MAX_CLAIM).await;
            if jobs.is_empty() {
                break;
            }
            for job in jobs {
                let at = rig.now() + Duration::from_secs(60);
                rig.finish(&job.fence, Finish::Retry { at, reason: "down".into() }).await;
            }
        }
        let ready = rig.queue(&lane("z", "c")).await;
        assert_eq!(rig.claim(10).await.iter().map(ClaimedJob::id).collect::<Vec<_>>(), [ready]);
        rig.clock.advance(Duration::from_secs(60));
        assert_eq!(rig.claim(MAX_CLAIM).await.len() + rig.claim(MAX_CLAIM).await.len(), 40);
    }

    async fn no_tenant_holds_more_than_its_share_of_a_host(rig: Rig) {
        // Forty lanes of one tenant, more than one claim looks at, all served before the small one's.
        for n in 0..40 {
            for _ in 0..3 {
                rig.queue(&lane("large", &format!("c{n:02}"))).await;
            }
        }
        let small = rig.queue(&lane("small", "c")).await;
        let mut held: HashMap<String, usize> = HashMap::new();
        let mut claimed = Vec::new();
        loop {
            let shares = Shares { most: 10, held: held.clone(), ..Shares::default() };
            let claim = rig.journal.claim_within("host-1", Duration::from_secs(30), 100, shares);
            let jobs = claim.await.expect("a claim");
            if jobs.is_empty() {
                break;
            }
            for job in jobs {
                *held.entry(job.tenant().to_owned()).or_default() += 1;
                claimed.push(job.id());
            }
        }
        assert_eq!((held["large"], held["small"]), (10, 1));
        assert!(claimed.contains(&small));
        let shares = Shares { most: 11, held: held.clone(), without: vec![lane("large", "c00")] };
        let claim = rig.journal.claim_within("host-1", Duration::from_secs(30), 1, shares).await.expect("a claim");
        assert!(claim.iter().all(|job| job.connector() != "c00"), "this host leaves it to others");
        rig.finish(&claim[0].fence, release()).await;
        let shares = Shares { most: 11, held, ..Shares::default() };
        let claim = rig.journal.claim_within("host-1", Duration::from_secs(30), 100, shares);
        assert_eq!(claim.await.expect("a claim").len(), 1, "one more place, one more job");
    }

    async fn claims_are_bounded(rig: Rig) {
        for n in 0..40 {
            let jobs = (0..10).map(|c| queued(&format!("c{c}"))).collect();
            rig.accept(event(&format!("t{n}"), jobs, rig.now())).await;
        }
        assert_eq!(rig.claim(0).await, []);
        let mut claimed = BTreeSet::new();
        loop {
            let jobs = rig.claim(100_000).await;
            assert!(jobs.len() <= MAX_CLAIM);
            if jobs.is_empty() {
                break;
            }
            claimed.extend(jobs.iter().map(ClaimedJob::id));
        }
        assert_eq!(claimed.len(), 400);
    }

    async fn many_claimers_share_the_work_within_caps(rig: Rig) {
        const CAP: i64 = 4;
        let lanes: Vec<Lane> = (0..6).map(|n| lane(&format!("t{n}"), "c")).collect();
        let mut all = 0;
        for (n, lane) in lanes.iter().enumerate() {
            rig.journal.set_cap(lane, Some(4)).await.expect("a cap");
            // The first has most of the backlog.
            for _ in 0..(if n == 0 { 150 } else { 20 }) {
                rig.queue(lane).await;
                all += 1;
            }
        }
        let running: std::sync::Arc<BTreeMap<Lane, AtomicI64>> =
            std::sync::Arc::new(lanes.iter().map(|lane| (lane.clone(), AtomicI64::new(0))).collect());
        let other = rig.another(rig.options()).await;
        let mut workers = Vec::new();
        for (n, journal) in [rig.journal.clone(), other.clone(), rig.journal.clone(), other].into_iter().enumerate() {
            let running = std::sync::Arc::clone(&running);
            workers.push(tokio::spawn(async move {
                let mut done = Vec::new();
                while done.len() < 250 {
                    let jobs = journal.claim(&format!("host-{n}"), LEASE, 7).await.expect("a claim");
                    for job in &jobs {
                        let now = running[job.fence.lane()].fetch_add(1, Ordering::SeqCst) + 1;
                        assert!(now <= CAP, "{now} jobs of {} run", job.fence.lane());
                    }
                    for job in &jobs {
                        running[job.fence.lane()].fetch_sub(1, Ordering::SeqCst);
                        let finished = journal.finish(&job.fence, end(Outcome::Closed), None).await;
                        assert!(finished.is_ok(), "{finished:?}");
                        done.push(job.id());
                    }
                    let lanes = journal.lanes(None).await.expect("a query");
                    if jobs.is_empty() && lanes.iter().all(|lane| lane.queued == 0 && lane.running == 0) {
                        break;
                    }
                }
                done
            }));
        }
        let mut done = BTreeSet::new();
        for worker in workers {
            for job in worker.await.expect("no panic") {
                assert!(done.insert(job), "{job} was done twice");
            }
        }
        assert_eq!(done.len(), all);
        assert_eq!(rig.journal.reconcile().await.expect("a check"), []);
    }
}
