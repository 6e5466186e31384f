//! What a host had that stopped answering comes back.

use std::sync::Arc;
use std::time::Duration;

use exeunt::clock::{Clock, ManualClock};
use exeunt::journal::{ClaimedJob, Engine, Finish, Finished, JobState, Options, Outcome, Reservation, UNSETTLED_HOLD};
use jiff::Timestamp;
use sqlx::Executor as _;

use crate::on_both;
use crate::rig::{HOUR, LEASE, NO_LIMIT, Rig, block_on, end, lane, until_somebody_waits};

/// A machine on which somebody sets the date.
#[derive(Debug)]
struct Machine {
    date: ManualClock,
    steady: ManualClock,
}

impl Clock for Machine {
    fn now(&self) -> Timestamp {
        self.date.now()
    }

    fn steady(&self) -> Timestamp {
        self.steady.now()
    }
}

on_both! {
    async fn an_expired_lease_goes_to_somebody_else(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let lost = rig.lose(1).await;
        assert_eq!(lost[0].id(), id);
        let job = rig.claim_one().await;
        assert_eq!((job.id(), job.attempt), (id, 2), "the attempt counts");
        assert!(rig.job(id).await.reason.is_some_and(|reason| reason.contains("host-2")), "{job:?}");
        assert_eq!(rig.finish(&job.fence, end(Outcome::Closed)).await, Finished::Ended);
        let attempts = rig.journal.job(id).await.expect("a query").expect("the job").attempts;
        let results: Vec<_> = attempts.iter().map(|attempt| attempt.result.as_str()).collect();
        assert_eq!(results, ["lease_expired", "closed"]);
    }

    async fn who_has_a_journal_alone_takes_back_at_its_start_what_was_not_being_closed(rig: Rig) {
        for _ in 0..3 {
            rig.queue(&lane("acme", "docusign")).await;
        }
        let jobs = rig.claim(3).await;
        assert_eq!(jobs.len(), 3);
        let reserved = rig.journal.intend(&jobs[0].fence, "account", 0, NO_LIMIT, None).await;
        assert_eq!(reserved, Ok(Reservation::Reserved));
        assert_eq!(rig.journal.reclaim().await, Ok(vec![]), "its leases run for ten minutes");
        assert_eq!(rig.journal.reclaim_all(LEASE).await.expect("a reclaim").len(), 2);
        assert_eq!(rig.journal.reclaim_all(LEASE).await, Ok(vec![]));
        assert!(matches!(rig.state(jobs[0].id()).await, JobState::Running { .. }), "its closure may be on its way");
        if rig.journal.engine() == Engine::Sqlite {
            // Whatever the process before measured it by: it had the date of another day.
            assert_eq!(rig.journal.reclaim_all(Duration::from_secs(30)).await, Ok(vec![]));
            rig.clock.advance(Duration::from_secs(31));
            assert_eq!(rig.journal.reclaim().await.expect("a reclaim").len(), 1);
        }
        rig.clock.advance(HOUR);
        let free = match rig.journal.engine() {
            Engine::Sqlite => 3,
            Engine::Postgres => 2,
        };
        assert_eq!(rig.claim(3).await.len(), free);
    }

    async fn a_job_comes_back_after_a_pause_only(rig: Rig) {
        rig.queue(&lane("acme", "docusign")).await;
        let job = rig.journal.claim("host-2", Duration::from_millis(1), 1).await.expect("a claim").remove(0);
        let until = loop {
            rig.clock.advance(Duration::from_millis(1));
            if !rig.journal.reclaim().await.expect("a reclaim").is_empty() {
                break rig.state(job.id()).await;
            }
        };
        let JobState::Parked { until: Some(until), .. } = until else { panic!("{until:?}") };
        assert!(until > rig.now() && until <= rig.now() + Duration::from_secs(2), "{until}");
    }

    async fn a_heartbeat_keeps_the_lease(rig: Rig) {
        rig.queue(&lane("acme", "docusign")).await;
        rig.queue(&lane("acme", "docusign")).await;
        let jobs = rig.journal.claim("host-1", Duration::from_secs(1), 2).await.expect("a claim");
        // One is kept for long, the other is lost to show that leases were over.
        assert_eq!(rig.beat(&[jobs[0].fence.clone()], LEASE).await, vec![]);
        assert_eq!(rig.beat(&[jobs[1].fence.clone()], Duration::ZERO).await, vec![]);
        let reclaimed = loop {
            rig.clock.advance(Duration::from_secs(2));
            let reclaimed = rig.journal.reclaim().await.expect("a reclaim");
            if !reclaimed.is_empty() {
                break reclaimed;
            }
        };
        assert_eq!(reclaimed.iter().map(|back| back.job).collect::<Vec<_>>(), [jobs[1].id()]);
        assert_eq!(rig.finish(&jobs[0].fence, end(Outcome::Closed)).await, Finished::Ended);
    }

    async fn a_date_that_is_set_forward_takes_nobodys_job(rig: Rig) {
        let mut rig = rig;
        let clock = Arc::new(Machine { date: ManualClock::new(rig.now()), steady: ManualClock::new(rig.now()) });
        rig.reopen(Options { clock: clock.clone(), ..rig.options() }).await;
        rig.queue(&lane("acme", "docusign")).await;
        let job = rig.claim_one().await;
        clock.date.advance(HOUR * 24);
        assert_eq!(rig.journal.reclaim().await, Ok(vec![]));
        assert_eq!(rig.beat(std::slice::from_ref(&job.fence), LEASE).await, vec![]);
        clock.steady.advance(LEASE - Duration::from_millis(1));
        assert_eq!(rig.journal.reclaim().await, Ok(vec![]));
        clock.steady.advance(Duration::from_secs(1));
        // PostgreSQL's time is its own.
        let over = if rig.journal.engine() == Engine::Sqlite { 1 } else { 0 };
        assert_eq!(rig.journal.reclaim().await.expect("a reclaim").len(), over);
    }

    async fn what_takes_its_host_down_each_time_ends_as_a_dead_letter(rig: Rig) {
        let mut rig = rig;
        rig.reopen(Options { max_lapses: 3, ..rig.options() }).await;
        let poison = rig.queue(&lane("acme", "poison")).await;
        rig.lose(1).await;
        rig.lose(1).await;
        assert_eq!(rig.state(poison).await, JobState::Queued);
        rig.lose(1).await;
        let job = rig.job(poison).await;
        assert!(matches!(job.state, JobState::Ended { outcome: Outcome::Failed, dead: true, .. }), "{job:?}");
        assert_eq!((job.attempts, job.lapses), (3, 3));
        assert_eq!(job.reason.as_deref(), Some("its lease expired 3 times in 3 attempts"));
        rig.journal.retry(poison, "ops", "fixed").await.expect("a dead letter can be replayed");
        let again = rig.claim_one().await;
        assert_eq!((again.id(), again.attempt), (poison, 1));
        assert_eq!(rig.finish(&again.fence, end(Outcome::Closed)).await, Finished::Ended);
    }

    async fn what_its_host_put_down_after_all_takes_no_host_down(rig: Rig) {
        let mut rig = rig;
        rig.reopen(Options { max_lapses: 2, ..rig.options() }).await;
        let id = rig.queue(&lane("acme", "docusign")).await;
        let (at, reason) = (rig.now(), "unavailable".to_owned());
        for finish in [Finish::Retry { at, reason: reason.clone() }, Finish::GiveBack { until: at, reason: reason.clone() }] {
            rig.lose(1).await;
            let job = rig.claim_one().await;
            assert_eq!(rig.finish(&job.fence, finish).await, Finished::Queued);
            assert_eq!(rig.job(id).await.lapses, 0);
            rig.clock.advance(HOUR);
        }
        // Put aside without a try.
        rig.lose(1).await;
        let job = rig.claim_one().await;
        rig.finish(&job.fence, Finish::Defer { until: at, reason }).await;
        assert_eq!(rig.job(id).await.lapses, 1);
        rig.lose(1).await;
        assert!(matches!(rig.state(id).await, JobState::Ended { dead: true, .. }));
    }

    async fn what_may_have_closed_something_before_its_host_died_is_held(rig: Rig) {
        let mut rig = rig;
        rig.reopen(Options { max_lapses: 1, ..rig.options() }).await;
        let id = rig.queue(&lane("acme", "docusign")).await;
        let job = rig.claim_one().await;
        assert_eq!(rig.journal.intend(&job.fence, "7", 0, NO_LIMIT, None).await, Ok(Reservation::Reserved));
        // Over at once, on SQLite as on PostgreSQL.
        assert_eq!(rig.beat(std::slice::from_ref(&job.fence), Duration::ZERO).await, vec![]);
        let reclaimed = loop {
            rig.clock.advance(Duration::from_millis(1));
            let reclaimed = rig.journal.reclaim().await.expect("a reclaim");
            if !reclaimed.is_empty() {
                break reclaimed;
            }
        };
        assert_eq!(reclaimed[0].became, Finished::Held);
        assert_eq!(rig.state(id).await, JobState::Held { why: UNSETTLED_HOLD.into() });
        rig.journal.release(id, "ops", "").await.expect("a release");
        rig.clock.advance(HOUR);
        assert_eq!((rig.claim_one().await.attempt, rig.job(id).await.lapses), (1, 0));
    }

    async fn a_dead_hosts_jobs_all_come_back(rig: Rig) {
        for n in 0..300 {
            rig.queue(&lane(&format!("t{}", n % 60), "c")).await;
        }
        let mut lost = 0;
        while lost < 300 {
            let jobs = rig.journal.claim("host-2", Duration::ZERO, 256).await.expect("a claim");
            assert!(!jobs.is_empty());
            lost += jobs.len();
        }
        let mut back = std::collections::BTreeSet::new();
        while back.len() < 300 {
            rig.clock.advance(Duration::from_millis(1));
            back.extend(rig.journal.reclaim().await.expect("a reclaim").into_iter().map(|back| back.job));
        }
        rig.clock.advance(HOUR);
        let mut again = std::collections::BTreeSet::new();
        while again.len() < 300 {
            let jobs = rig.claim(256).await;
            assert!(!jobs.is_empty());
            again.extend(jobs.iter().map(ClaimedJob::id));
        }
        assert_eq!(back, again);
        assert_eq!(rig.journal.reconcile().await.expect("a check"), []);
    }
}

/// Another host has the lane when the lease has been read and found over, and extends it.
#[test]
fn a_lease_that_is_extended_while_its_lane_is_waited_for_is_not_lost() {
    block_on(async {
        let rig = Rig::postgres().await;
        let job = rig.queue(&lane("acme", "docusign")).await;
        let claimed = rig.journal.claim("host-2", Duration::from_millis(1), 1).await;
        assert_eq!(claimed.expect("a claim").len(), 1);
        let mut other = rig.connection().await;
        other.execute("BEGIN").await.expect("a transaction");
        other.execute("SELECT id FROM lane FOR UPDATE").await.expect("the lane");
        let journal = rig.journal.clone();
        let reclaiming = tokio::spawn(async move { journal.reclaim().await });
        until_somebody_waits(&rig.url).await;
        let extended = "UPDATE job SET lease_until = lease_until + 600000";
        other.execute(extended).await.expect("an update");
        other.execute("COMMIT").await.expect("a commit");
        assert_eq!(reclaiming.await.expect("no panic"), Ok(vec![]));
        assert!(matches!(rig.state(job).await, JobState::Running { .. }));
    });
}
