//! No more closures than allowed in a window, on all hosts together.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use exeunt::clock::{Clock, ManualClock};
use exeunt::journal::{
    BREAKER_HOLD, ClosureLimit, Finish, Finished, JobFilter, JobState, Journal, Options, Outcome, Page, Reservation,
    State, Transcripts,
};
use jiff::Timestamp;

use crate::on_both;
use crate::rig::{LEASE, NO_LIMIT, Rig, end, lane, options, release};

const LIMIT: ClosureLimit = ClosureLimit {
    closures: 3,
    per: Duration::from_secs(3600),
};

/// A clock that no two readings agree on, as the machine's is when a millisecond ends between them.
#[derive(Debug)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.fetch_add(1, Ordering::SeqCst)).expect("a date")
    }
}

/// Closes or holds everything that there is, as dispatch would, and returns how many of each.
async fn work(journal: &Journal, limit: ClosureLimit) -> (usize, usize) {
    let (mut closed, mut held) = (0, 0);
    loop {
        let jobs = journal.claim("host-1", LEASE, 1).await.expect("a claim");
        let Some(job) = jobs.first() else { return (closed, held) };
        let account = format!("account of {}", job.id());
        match journal
            .intend(&job.fence, &account, 0, limit, None)
            .await
            .expect("an intent")
        {
            Reservation::Reserved => {
                closed += 1;
                journal
                    .finish(&job.fence, end(Outcome::Closed), None)
                    .await
                    .expect("a finish");
            }
            Reservation::Tripped { reason } => {
                held += 1;
                let hold = Finish::Hold {
                    why: BREAKER_HOLD.into(),
                    reason: "ask".into(),
                    detail: Some(format!("{reason:?}")),
                };
                assert_eq!(journal.finish(&job.fence, hold, None).await, Ok(Finished::Held));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Another host, whose clock is ten minutes behind.
async fn behind(rig: &Rig) -> Journal {
    let now = Timestamp::from_millisecond(rig.now().as_millisecond() - 600_000).expect("a date");
    rig.another(options(&Arc::new(ManualClock::new(now)))).await
}

on_both! {
    async fn the_limit_is_kept_and_the_rest_is_held(rig: Rig) {
        let docusign = lane("acme", "docusign");
        for _ in 0..5 {
            rig.queue(&docusign).await;
        }
        rig.queue(&lane("acme", "other")).await;
        assert_eq!(work(&rig.journal, LIMIT).await, (4, 2), "three in the one lane, one in the other");
        let status = rig.journal.lanes(None).await.expect("a query").remove(0);
        let why = "3 closures within 1 h, 1 more would exceed the limit of 3".to_owned();
        assert_eq!(status.tripped, Some((rig.now(), why)));
        let withheld = JobFilter { state: Some(State::Held), why: Some(BREAKER_HOLD.into()), ..Default::default() };
        assert_eq!(rig.journal.jobs(&withheld, Page::default()).await.expect("a query").items.len(), 2);
    }

    async fn an_account_is_remembered_as_the_target_writes_it(rig: Rig) {
        let docusign = lane("acme", "docusign");
        let first = rig.queue(&docusign).await;
        let job = rig.claim_one().await;
        let intend = async |fence, account: &str, others| {
            rig.journal.intend(fence, account, others, NO_LIMIT, None).await.expect("an intent")
        };
        assert_eq!(intend(&job.fence, "AbC", 0).await, Reservation::Reserved);
        assert_eq!(intend(&job.fence, "abc", 0).await, Reservation::Reserved, "it is the same");
        rig.finish(&job.fence, release()).await;
        let again = rig.claim_one().await;
        assert_eq!((again.id(), again.intents.as_slice()), (first, &["AbC".to_owned()][..]));
        let shown = rig.journal.job(first).await.expect("a query").expect("a job");
        assert_eq!(shown.intents.iter().map(|intent| intent.account.as_str()).collect::<Vec<_>>(), ["AbC"]);
        rig.finish(&again.fence, end(Outcome::Closed)).await;
        rig.queue(&docusign).await;
        let other = rig.claim_one().await;
        assert!(matches!(intend(&other.fence, "aBc", 0).await, Reservation::Stale { .. }));
    }

    async fn an_open_breaker_stays_open_until_it_is_released(rig: Rig) {
        let docusign = lane("acme", "docusign");
        for _ in 0..9 {
            rig.queue(&docusign).await;
        }
        assert_eq!(work(&rig.journal, LIMIT).await, (3, 6));
        rig.clock.advance(Duration::from_secs(7200));
        rig.queue(&docusign).await;
        assert_eq!(work(&rig.journal, LIMIT).await, (0, 1), "the window has passed, nobody has looked");
        assert_eq!(rig.journal.release_breaker(&docusign, "ops", "real").await, Ok(7));
        rig.clock.advance(Duration::from_millis(1));
        assert_eq!(work(&rig.journal, LIMIT).await, (3, 4), "it opens again");
        rig.clock.advance(Duration::from_secs(1));
        assert_eq!(rig.journal.release_breaker(&docusign, "ops", "real").await, Ok(4));
        assert_eq!(work(&rig.journal, LIMIT).await, (3, 1), "its window starts anew");
        let job = rig.journal.jobs(&JobFilter::default(), Page::default()).await.expect("a query").items.remove(0);
        let actions = rig.journal.job(job.id).await.expect("a query").expect("the job").actions;
        assert!(actions.iter().all(|action| action.actor == "ops" && action.detail == "breaker: real"), "{actions:?}");
    }

    async fn a_breaker_that_is_not_open_goes_on_counting_when_it_is_released(rig: Rig) {
        let docusign = lane("acme", "docusign");
        for _ in 0..2 {
            rig.queue(&docusign).await;
        }
        assert_eq!(work(&rig.journal, LIMIT).await, (2, 0));
        rig.clock.advance(Duration::from_millis(1));
        assert_eq!(rig.journal.release_breaker(&docusign, "ops", "to be sure").await, Ok(0));
        for _ in 0..2 {
            rig.queue(&docusign).await;
        }
        assert_eq!(work(&rig.journal, LIMIT).await, (1, 1));
    }

    async fn a_clock_that_ticks_all_the_time_lets_none_too_many_pass(rig: Rig) {
        let docusign = lane("acme", "docusign");
        for _ in 0..5 {
            rig.queue(&docusign).await;
        }
        let ticking = Options { clock: Arc::new(Ticking(rig.now().as_millisecond().into())), ..rig.options() };
        assert_eq!(work(&rig.another(ticking).await, LIMIT).await, (3, 2));
    }

    async fn the_window_slides(rig: Rig) {
        let docusign = lane("acme", "docusign");
        for _ in 0..7 {
            rig.queue(&docusign).await;
            assert_eq!(work(&rig.journal, LIMIT).await, (1, 0));
            rig.clock.advance(Duration::from_secs(1200));
        }
        rig.queue(&docusign).await;
        assert_eq!(work(&rig.journal, LIMIT).await, (1, 0), "the one of an hour ago has left the window");
        rig.clock.advance(Duration::from_millis(1_199_999));
        rig.queue(&docusign).await;
        assert_eq!(work(&rig.journal, LIMIT).await, (0, 1), "a millisecond too early");
    }

    async fn an_account_counts_once_for_a_job(rig: Rig) {
        let docusign = lane("acme", "docusign");
        rig.queue(&docusign).await;
        for _ in 0..5 {
            let job = rig.claim_one().await;
            for account in ["1", "2", "2"] {
                let answer = rig.journal.intend(&job.fence, account, 0, LIMIT, None).await;
                assert_eq!(answer, Ok(Reservation::Reserved));
            }
            rig.finish(&job.fence, Finish::Retry { at: rig.now(), reason: "lost answer".into() }).await;
        }
        // Five lost answers in a row make the lane pause.
        rig.clock.advance(Duration::from_secs(1));
        let job = rig.claim_one().await;
        assert_eq!(rig.journal.intend(&job.fence, "3", 0, LIMIT, None).await, Ok(Reservation::Reserved));
        let one_more = rig.journal.intend(&job.fence, "4", 0, LIMIT, None).await;
        assert!(matches!(one_more, Ok(Reservation::Tripped { .. })), "{one_more:?}");
        assert_eq!(rig.journal.job(job.id()).await.expect("a query").expect("the job").intents.len(), 3);
        let known = rig.journal.intend(&job.fence, "1", 0, LIMIT, None).await;
        assert_eq!(known, Ok(Reservation::Reserved), "it was counted before the breaker opened");
    }

    async fn an_account_is_closed_by_one_job_at_a_time(rig: Rig) {
        // Without case, as the rest of the procedure tells accounts apart.
        let (docusign, account) = (lane("acme", "docusign"), "1a");
        let first = rig.queue(&docusign).await;
        let second = rig.queue(&docusign).await;
        let limit = ClosureLimit { closures: 2, ..LIMIT };
        // Both find the account open, on two hosts.
        let other = rig.another(rig.options()).await;
        let jobs = rig.claim(2).await;
        assert_eq!(rig.journal.intend(&jobs[0].fence, account, 0, limit, None).await, Ok(Reservation::Reserved));
        let reason = format!("job {first} is closing account 1a at the moment");
        let busy = Ok(Reservation::Busy { reason: reason.clone() });
        assert_eq!(other.intend(&jobs[1].fence, "0", 0, limit, None).await, Ok(Reservation::Reserved));
        assert_eq!(other.intend(&jobs[1].fence, "1A", 0, limit, None).await, busy);
        let until = rig.now() + Duration::from_secs(2);
        let wait = Finish::Defer { until, reason: reason.clone() };
        assert_eq!(rig.journal.finish(&jobs[1].fence, wait, Some(b"closed 0".to_vec())).await, Ok(Finished::Queued));
        assert_eq!(rig.state(second).await, JobState::Parked { until: Some(until), why: reason });
        assert_eq!(rig.claim(1).await, []);
        rig.finish(&jobs[0].fence, end(Outcome::Closed)).await;
        rig.clock.advance(Duration::from_secs(2));
        let again = rig.claim_one().await;
        assert_eq!((again.id(), again.attempt, again.intents.as_slice()), (second, 1, &["0".to_owned()][..]));
        let record = rig.journal.job(second).await.expect("a query").expect("the job");
        assert_eq!(record.attempts.len(), 0, "looking again is no history");
        let transcripts = rig.journal.transcripts(second).await.expect("a query");
        let kept: Vec<_> = transcripts.latest.iter().map(|transcript| transcript.data.as_slice()).collect();
        assert_eq!(kept, [b"closed 0"], "what was closed before is");
    }

    async fn an_intent_that_is_said_again_says_when_and_counts_from_the_first(rig: Rig) {
        let limit = ClosureLimit { closures: 1, ..LIMIT };
        let job = rig.queue(&lane("acme", "docusign")).await;
        let said = async |number: u32| {
            let record = rig.journal.job(job).await.expect("a query").expect("the job");
            assert_eq!((record.intents.len(), record.intents[0].claim, record.intents[0].at), (1, number, rig.now()));
        };
        let first = rig.claim_one().await;
        assert_eq!(rig.journal.intend(&first.fence, "1", 0, limit, None).await, Ok(Reservation::Reserved));
        said(1).await;
        rig.finish(&first.fence, Finish::Retry { at: rig.now(), reason: "away".to_owned() }).await;
        rig.clock.advance(Duration::from_secs(3000));
        let second = rig.claim_one().await;
        assert_eq!(rig.journal.intend(&second.fence, "1", 0, limit, None).await, Ok(Reservation::Reserved));
        said(2).await;
        rig.finish(&second.fence, end(Outcome::Closed)).await;
        // An hour after the first, and not after the second, another one is in the limit.
        rig.clock.advance(Duration::from_secs(600));
        rig.queue(&lane("acme", "docusign")).await;
        let other = rig.claim_one().await;
        assert_eq!(rig.journal.intend(&other.fence, "2", 0, limit, None).await, Ok(Reservation::Reserved));
    }

    async fn an_account_that_another_job_was_at_is_read_again_before_it_is_closed(rig: Rig) {
        let (docusign, account) = (lane("acme", "docusign"), "1");
        for _ in 0..2 {
            rig.queue(&docusign).await;
        }
        // Both find the account open. The first closes it and ends before the second asks.
        let jobs = rig.claim(2).await;
        let (first, second) = (&jobs[0].fence, &jobs[1].fence);
        assert_eq!(rig.journal.intend(first, account, 0, NO_LIMIT, None).await, Ok(Reservation::Reserved));
        rig.finish(first, Finish::Retry { at: rig.now(), reason: "lost answer".into() }).await;
        let asked = |others| rig.journal.intend(second, account, others, NO_LIMIT, Some(vec![1]));
        let stale = asked(0).await;
        let Ok(Reservation::Stale { others }) = stale else { panic!("{stale:?}") };
        let record = rig.journal.job(jobs[1].id()).await.expect("a query").expect("the job");
        assert_eq!(record.intents.len(), 0, "nothing is recorded for it");
        assert_eq!(rig.journal.transcripts(jobs[1].id()).await, Ok(Transcripts::default()));
        // It reads; and once more the first comes in between, with an intent that it has already.
        let again = rig.claim_one().await;
        assert_eq!(again.id(), jobs[0].id());
        assert_eq!(rig.journal.intend(&again.fence, account, 0, NO_LIMIT, None).await, Ok(Reservation::Reserved));
        assert!(matches!(asked(others).await, Ok(Reservation::Busy { .. })));
        rig.finish(&again.fence, end(Outcome::Failed)).await;
        let stale = asked(others).await;
        let Ok(Reservation::Stale { others: later }) = stale else { panic!("{stale:?}") };
        assert!(later > others, "{later}");
        assert_eq!(asked(later).await, Ok(Reservation::Reserved), "nobody came after this read");
        // In another lane the same name is another account.
        let elsewhere = rig.queue(&lane("acme", "other")).await;
        let job = rig.claim_one().await;
        assert_eq!(job.id(), elsewhere);
        assert_eq!(rig.journal.intend(&job.fence, account, 0, NO_LIMIT, None).await, Ok(Reservation::Reserved));
    }

    async fn an_account_that_was_counted_in_an_earlier_window_counts_again(rig: Rig) {
        let docusign = lane("acme", "docusign");
        for _ in 0..4 {
            rig.queue(&docusign).await;
        }
        // Four jobs of four windows, all of whose closures came to nothing.
        for job in rig.claim(4).await {
            let account = job.id().to_string();
            let answer = rig.journal.intend(&job.fence, &account, 0, LIMIT, None).await;
            assert_eq!(answer, Ok(Reservation::Reserved));
            rig.clock.advance(LIMIT.per);
            rig.finish(&job.fence, Finish::Defer { until: rig.now(), reason: "lost answer".into() }).await;
        }
        let mut reserved = 0;
        for job in rig.claim(4).await {
            let account = job.id().to_string();
            // The second time it is counted already.
            for _ in 0..2 {
                let answer = rig.journal.intend(&job.fence, &account, 0, LIMIT, None).await;
                reserved += usize::from(answer == Ok(Reservation::Reserved));
            }
        }
        assert_eq!(reserved, 6, "three may be closed within an hour");
    }

    async fn jobs_that_tried_the_same_account_before_do_not_wait_for_each_other(rig: Rig) {
        let (docusign, account) = (lane("acme", "docusign"), "1");
        for _ in 0..2 {
            rig.queue(&docusign).await;
        }
        // Behind the other, which has not been tried yet.
        let again = || Finish::Retry { at: rig.now() + Duration::from_millis(1), reason: "lost answer".into() };
        for _ in 0..2 {
            let job = rig.claim(1).await.remove(0);
            assert_eq!(rig.reserve(&job.fence, account).await, Reservation::Reserved);
            rig.finish(&job.fence, again()).await;
            rig.clock.advance(Duration::from_millis(1));
        }
        let jobs = rig.claim(2).await;
        assert!(jobs.len() == 2 && jobs.iter().all(|job| job.intents == [account]), "{jobs:?}");
        assert_eq!(rig.reserve(&jobs[1].fence, account).await, Reservation::Reserved);
        let first = rig.reserve(&jobs[0].fence, account).await;
        assert!(matches!(first, Reservation::Busy { .. }), "{first:?}");
        rig.finish(&jobs[1].fence, again()).await;
        assert_eq!(rig.reserve(&jobs[0].fence, account).await, Reservation::Reserved);
        assert_eq!(rig.reserve(&jobs[0].fence, account).await, Reservation::Reserved, "its own");
    }

    async fn hosts_cannot_count_past_each_other(rig: Rig) {
        let docusign = lane("acme", "docusign");
        rig.journal.set_cap(&docusign, Some(100)).await.expect("a cap");
        for _ in 0..60 {
            rig.queue(&docusign).await;
        }
        let limit = ClosureLimit { closures: 25, ..LIMIT };
        let other = rig.another(rig.options()).await;
        let jobs = rig.claim(100).await;
        let tasks: Vec<_> = jobs
            .into_iter()
            .enumerate()
            .map(|(n, job)| {
                let journal = if n % 2 == 0 { rig.journal.clone() } else { other.clone() };
                tokio::spawn(async move { journal.intend(&job.fence, &job.id().to_string(), 0, limit, None).await })
            })
            .collect();
        let mut reserved = 0;
        for task in tasks {
            reserved += usize::from(task.await.expect("no panic") == Ok(Reservation::Reserved));
        }
        assert_eq!(reserved, 25);
    }

    async fn a_host_whose_clock_is_behind_counts_after_a_breaker_was_released_too(rig: Rig) {
        let docusign = lane("acme", "docusign");
        for _ in 0..9 {
            rig.queue(&docusign).await;
        }
        let behind = behind(&rig).await;
        assert_eq!(work(&rig.journal, LIMIT).await, (3, 6));
        rig.clock.advance(Duration::from_secs(1));
        assert_eq!(rig.journal.release_breaker(&docusign, "ops", "real").await, Ok(6));
        // Its jobs are due by the other's clock only.
        let jobs = rig.claim(10).await;
        let mut reserved = 0;
        for job in &jobs {
            let account = format!("account of {}", job.id());
            let said = behind.intend(&job.fence, &account, 0, LIMIT, None).await.expect("an intent");
            reserved += usize::from(said == Reservation::Reserved);
        }
        assert_eq!((jobs.len(), reserved), (6, 3));
        behind.close().await;
    }

    async fn a_breaker_that_a_host_with_a_clock_behind_released_counts_anew_too(rig: Rig) {
        let docusign = lane("acme", "docusign");
        for _ in 0..9 {
            rig.queue(&docusign).await;
        }
        let behind = behind(&rig).await;
        assert_eq!(work(&rig.journal, LIMIT).await, (3, 6));
        assert_eq!(behind.release_breaker(&docusign, "ops", "real").await, Ok(6));
        rig.clock.advance(Duration::from_secs(1));
        assert_eq!(work(&rig.journal, LIMIT).await, (3, 3), "what was closed before counts no more");
        behind.close().await;
    }

    async fn a_job_that_is_held_after_its_breaker_was_released_goes_on(rig: Rig) {
        let docusign = lane("acme", "docusign");
        for _ in 0..4 {
            rig.queue(&docusign).await;
        }
        let jobs = rig.claim(4).await;
        let mut said = Vec::new();
        for job in &jobs {
            let account = format!("account of {}", job.id());
            said.push(rig.journal.intend(&job.fence, &account, 0, LIMIT, None).await.expect("an intent"));
        }
        assert!(matches!(said[3], Reservation::Tripped { .. }), "{said:?}");
        assert_eq!(rig.journal.release_breaker(&docusign, "ops", "real").await, Ok(0), "none is held yet");
        let (why, reason) = (BREAKER_HOLD.to_owned(), "ask".to_owned());
        let hold = Finish::Hold { why, reason, detail: None };
        assert_eq!(rig.journal.finish(&jobs[3].fence, hold, None).await, Ok(Finished::Queued));
        let again = rig.claim_one().await;
        assert_eq!((again.id(), again.attempt), (jobs[3].id(), 1));
    }
}
