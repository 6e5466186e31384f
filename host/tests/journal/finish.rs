//! Jobs are put down once, by whoever holds them.

use std::time::Duration;

use exeunt::journal::{Finish, Finished, JobState, Options, Outcome, Reservation, State, Transcripts, UNSETTLED_HOLD};

use crate::on_both;
use crate::rig::{HOUR, LEASE, NO_LIMIT, Rig, end, is_lost, lane, release};

on_both! {
    async fn an_outcome_is_kept_with_its_evidence(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let job = rig.claim_one().await;
        rig.clock.advance(Duration::from_millis(30));
        let reason = "closed \0 seen".to_owned();
        let finish = Finish::End { outcome: Outcome::Closed, reason, detail: Some("{\"a\":1}".into()) };
        let finished = rig.journal.finish(&job.fence, finish, Some(vec![0, 1, 255])).await;
        assert_eq!(finished, Ok(Finished::Ended));
        let record = rig.journal.job(id).await.expect("a query").expect("the job");
        let at = rig.now();
        assert_eq!(record.summary.state, JobState::Ended { outcome: Outcome::Closed, dead: false, at });
        assert_eq!(record.summary.reason.as_deref(), Some("closed \u{fffd} seen"));
        assert_eq!(record.detail.as_deref(), Some("{\"a\":1}"));
        let [attempt] = &record.attempts[..] else { panic!("{record:?}") };
        assert_eq!((attempt.number, attempt.claim, attempt.result.as_str()), (1, 1, "closed"));
        assert_eq!((attempt.owner.as_str(), attempt.ended_at), ("host-1", at));
        assert_eq!(attempt.started_at, at - Duration::from_millis(30));
        let transcripts = rig.journal.transcripts(id).await.expect("a query");
        let [transcript] = &transcripts.latest[..] else { panic!("{transcripts:?}") };
        assert_eq!((transcript.claim, transcript.at, &transcript.data[..]), (1, at, &[0, 1, 255][..]));
    }

    async fn a_late_finish_changes_nothing(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let [late] = &rig.lose(1).await[..] else { panic!("one") };
        assert!(is_lost(&rig.journal.finish(&late.fence, end(Outcome::Closed), None).await, id), "it waits");
        let job = rig.claim_one().await;
        for finish in [end(Outcome::Failed), release(), Finish::Park { reason: "x".into() }] {
            assert!(is_lost(&rig.journal.finish(&late.fence, finish, Some(vec![1])).await, id), "another has it");
        }
        assert!(rig.journal.intend(&late.fence, "1", 0, NO_LIMIT, None).await.is_err());
        assert_eq!(rig.beat(&[late.fence.clone(), job.fence.clone()], LEASE).await, vec![late.fence.clone()]);
        assert_eq!(rig.finish(&job.fence, end(Outcome::NoAccount)).await, Finished::Ended);
        assert!(is_lost(&rig.journal.finish(&late.fence, end(Outcome::Closed), None).await, id), "it ended");
        let record = rig.journal.job(id).await.expect("a query").expect("the job");
        let JobState::Ended { outcome, .. } = record.summary.state else { panic!("it ended") };
        assert_eq!((outcome, record.attempts.len()), (Outcome::NoAccount, 2));
        assert_eq!(rig.journal.transcripts(id).await, Ok(Transcripts::default()));
        assert_eq!(rig.journal.lanes(None).await.expect("a query")[0].parked, None);
    }

    async fn the_first_finish_of_a_fence_stands(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let job = rig.claim_one().await;
        rig.finish(&job.fence, end(Outcome::Closed)).await;
        assert_eq!(rig.finish(&job.fence, end(Outcome::Failed)).await, Finished::Ended, "as after a lost answer");
        let JobState::Ended { outcome, .. } = rig.state(id).await else { panic!("it ended") };
        assert_eq!(outcome, Outcome::Closed);
        assert_eq!(rig.journal.job(id).await.expect("a query").expect("the job").attempts.len(), 1);
    }

    async fn a_retry_waits_and_counts(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let at = rig.now() + Duration::from_secs(30);
        let retry = Finish::Retry { at, reason: "503".into() };
        assert_eq!(rig.finish(&rig.claim_one().await.fence, retry).await, Finished::Queued);
        assert_eq!(rig.state(id).await, JobState::Parked { until: Some(at), why: "503".into() });
        rig.clock.advance(Duration::from_millis(29_999));
        assert_eq!(rig.claim(1).await, []);
        rig.clock.advance(Duration::from_millis(1));
        let again = rig.claim_one().await;
        assert_eq!((again.attempt, rig.job(again.id()).await.reason.as_deref()), (2, Some("503")));
    }

    async fn a_job_that_used_up_its_attempts_is_a_dead_letter(rig: Rig) {
        let mut rig = rig;
        rig.reopen(Options { max_attempts: 3, ..rig.options() }).await;
        let id = rig.queue(&lane("acme", "docusign")).await;
        for attempt in 1..=3 {
            let job = rig.claim_one().await;
            assert_eq!(job.attempt, attempt);
            let retry = Finish::Retry { at: rig.now(), reason: "503".into() };
            let expected = if attempt == 3 { Finished::Dead } else { Finished::Queued };
            assert_eq!(rig.finish(&job.fence, retry).await, expected);
        }
        let job = rig.job(id).await;
        assert_eq!(job.state, JobState::Ended { outcome: Outcome::Failed, dead: true, at: rig.now() });
        assert_eq!(job.reason.as_deref(), Some("gave up after 3 attempts: 503"));
    }

    async fn a_job_that_may_have_closed_something_never_ends_as_failed_unseen(rig: Rig) {
        let mut rig = rig;
        rig.reopen(Options { max_attempts: 2, ..rig.options() }).await;
        let id = rig.queue(&lane("acme", "docusign")).await;
        let retry = || Finish::Retry { at: rig.now(), reason: "503".into() };
        let job = rig.claim_one().await;
        assert_eq!(rig.journal.intend(&job.fence, "7", 0, NO_LIMIT, None).await, Ok(Reservation::Reserved));
        assert_eq!(rig.finish(&job.fence, retry()).await, Finished::Queued);
        assert_eq!(rig.finish(&rig.claim_one().await.fence, retry()).await, Finished::Held);
        assert_eq!(rig.state(id).await, JobState::Held { why: UNSETTLED_HOLD.into() });
        let reason = "gave up after 2 attempts: 503; it set out to close 7, and nobody has seen what came of it: \
                      release it to look again";
        assert_eq!(rig.job(id).await.reason.as_deref(), Some(reason));
        rig.journal.release(id, "ops", "the target is back").await.expect("a release");
        let again = rig.claim_one().await;
        assert_eq!((again.attempt, again.intents.len()), (1, 1), "it has all its attempts again");
        assert_eq!(rig.finish(&again.fence, end(Outcome::Closed)).await, Finished::Ended);
        assert_eq!(rig.journal.reconcile().await.expect("a check"), []);
    }

    async fn a_job_that_was_put_down_is_not_lost(rig: Rig) {
        rig.queue(&lane("acme", "a")).await;
        rig.queue(&lane("acme", "b")).await;
        let jobs = rig.claim(2).await;
        rig.finish(&jobs[0].fence, end(Outcome::Closed)).await;
        rig.finish(&jobs[1].fence, release()).await;
        let fences = [jobs[0].fence.clone(), jobs[1].fence.clone()];
        assert_eq!(rig.beat(&fences, LEASE).await, vec![]);
        rig.claim_one().await;
        assert_eq!(rig.beat(&fences, LEASE).await, vec![jobs[1].fence.clone()], "somebody has it again");
    }

    async fn a_rate_limit_stops_the_lane_and_costs_no_attempt(rig: Rig) {
        let (limited, other) = (lane("acme", "docusign"), lane("acme", "other"));
        let first = rig.queue(&limited).await;
        rig.queue(&limited).await;
        let job = rig.claim(1).await.remove(0);
        let until = rig.now() + Duration::from_secs(120);
        let give_back = Finish::GiveBack { until, reason: "hourly limit".into() };
        assert_eq!(rig.finish(&job.fence, give_back).await, Finished::Queued);
        rig.queue(&other).await;
        assert_eq!(rig.claim_one().await.connector(), "other");
        assert_eq!(rig.state(first).await, JobState::Parked { until: Some(until), why: "hourly limit".into() });
        let status = rig.journal.lanes(None).await.expect("a query");
        assert_eq!(status[0].not_before, Some((until, "hourly limit".into())));
        rig.clock.advance(Duration::from_secs(120));
        let jobs = rig.claim(10).await;
        assert_eq!(jobs.iter().map(|job| job.attempt).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(jobs[0].id(), first, "it kept its place");
    }

    async fn the_longer_of_two_rate_limits_holds(rig: Rig) {
        let docusign = lane("acme", "docusign");
        rig.queue(&docusign).await;
        rig.queue(&docusign).await;
        for (job, seconds) in rig.claim(2).await.iter().zip([60, 10]) {
            let until = rig.now() + Duration::from_secs(seconds);
            rig.finish(&job.fence, Finish::GiveBack { until, reason: seconds.to_string() }).await;
        }
        let status = rig.journal.lanes(None).await.expect("a query");
        assert_eq!(status[0].not_before.as_ref().map(|(_, why)| why.as_str()), Some("60"));
    }

    async fn a_stopping_host_gives_its_jobs_back(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        assert_eq!(rig.finish(&rig.claim_one().await.fence, release()).await, Finished::Queued);
        assert_eq!(rig.state(id).await, JobState::Queued);
        let again = rig.claim_one().await;
        assert_eq!((again.id(), again.attempt), (id, 1));
    }

    async fn a_job_that_the_target_always_asks_to_wait_with_does_not_stop_the_others(rig: Rig) {
        let limited = lane("acme", "docusign");
        let first = rig.queue(&limited).await;
        rig.clock.advance(Duration::from_secs(1));
        let second = rig.queue(&limited).await;
        rig.journal.set_caps(&[(limited.clone(), Some(1))]).await.expect("a cap");
        let mut tries = 0;
        loop {
            let job = rig.claim_one().await;
            if job.id() == second {
                break;
            }
            assert_eq!(job.id(), first);
            tries += 1;
            assert!(tries < 10, "it has the lane for itself");
            let give_back = Finish::GiveBack { until: rig.now() + Duration::from_secs(1), reason: "slow down".into() };
            assert_eq!(rig.finish(&job.fence, give_back).await, Finished::Queued);
            rig.clock.advance(HOUR);
        }
        assert_eq!(tries, 6, "its place is its own as long as the lane may go on");
    }

    async fn a_held_job_waits_for_ever(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let hold = Finish::Hold { why: "approval".into(), reason: "ask".into(), detail: Some("{\"admin\":true}".into()) };
        assert_eq!(rig.finish(&rig.claim_one().await.fence, hold).await, Finished::Held);
        rig.clock.advance(HOUR * 10_000);
        assert_eq!(rig.claim(1).await, []);
        assert_eq!(rig.state(id).await, JobState::Held { why: "approval".into() });
        assert_eq!(rig.journal.job(id).await.expect("a query").expect("the job").detail.as_deref(), Some("{\"admin\":true}"));
    }

    async fn intents_are_told_to_later_tries(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let job = rig.claim_one().await;
        for (account, said) in [("b", Some(b"find".to_vec())), ("a\0", None), ("b", None)] {
            let reserved = rig.journal.intend(&job.fence, account, 0, NO_LIMIT, said).await;
            assert_eq!(reserved, Ok(Reservation::Reserved));
        }
        rig.finish(&job.fence, Finish::Retry { at: rig.now(), reason: "lost answer".into() }).await;
        let again = rig.claim_one().await;
        assert_eq!(again.intents, ["a\u{fffd}", "b"]);
        for account in ["b", "c"] {
            let reserved = rig.journal.intend(&again.fence, account, 0, NO_LIMIT, None).await;
            assert_eq!(reserved, Ok(Reservation::Reserved));
        }
        let record = rig.journal.job(id).await.expect("a query").expect("the job");
        let intents: Vec<_> = record.intents.iter().map(|intent| (intent.account.as_str(), intent.claim)).collect();
        assert_eq!(intents, [("a\u{fffd}", 1), ("b", 2), ("c", 2)]);
        let transcripts = rig.journal.transcripts(id).await.expect("a query");
        assert_eq!(transcripts.latest.len(), 1, "what was seen before the closing survives a crash");
    }

    async fn of_many_long_transcripts_the_latest_are_read(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let sizes = [1, 8 << 20, (8 << 20) - 1, 1];
        for (number, size) in sizes.into_iter().enumerate() {
            let job = rig.claim_one().await;
            let again = Finish::Retry { at: rig.now(), reason: "lost answer".into() };
            let said = vec![u8::try_from(number).expect("a few"); size];
            rig.journal.finish(&job.fence, again, Some(said)).await.expect("a finish");
        }
        let transcripts = rig.journal.transcripts(id).await.expect("a query");
        let latest: Vec<_> = transcripts.latest.iter().map(|kept| (kept.data[0], kept.data.len())).collect();
        assert_eq!(latest, [(1, 8 << 20), (2, (8 << 20) - 1), (3, 1)], "16 MiB, and one byte more with the first");
        assert_eq!(transcripts.left_out, 1);
    }

    async fn finishes_of_many_jobs_are_written_together(rig: Rig) {
        for n in 0..100 {
            rig.queue(&lane(&format!("t{}", n % 20), "c")).await;
        }
        let jobs = rig.claim(100).await;
        assert_eq!(jobs.len(), 100);
        let tasks: Vec<_> = jobs
            .into_iter()
            .map(|job| {
                let journal = rig.journal.clone();
                tokio::spawn(async move { journal.finish(&job.fence, end(Outcome::Closed), Some(vec![7; 100])).await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.expect("no panic"), Ok(Finished::Ended));
        }
        let closed: u64 = rig.journal.tallies().await.expect("a query").iter().map(|tally| tally.count).sum();
        assert_eq!(closed, 100);
        let filter = exeunt::journal::JobFilter { state: Some(State::Running), ..Default::default() };
        assert_eq!(rig.journal.jobs(&filter, exeunt::journal::Page::default()).await.expect("a query").items, []);
        assert_eq!(rig.journal.reconcile().await.expect("a check"), []);
    }
}
