//! What people may do to jobs, and that it is kept who did.

use std::time::Duration;

use exeunt::journal::{Finish, HeldFilter, JobId, JobState, JournalError, Outcome, Reservation, approval};
use sqlx::Executor as _;
use uuid::Uuid;

use crate::on_both;
use crate::rig::{Rig, block_on, end, event, held, lane, until_somebody_waits};

fn refused(result: Result<(), JournalError>) -> String {
    match result {
        Err(JournalError::WrongState { state, .. }) => state,
        other => panic!("{other:?}"),
    }
}

on_both! {
    async fn a_waiting_job_can_be_cancelled(rig: Rig) {
        let queued = rig.queue(&lane("acme", "docusign")).await;
        let held = rig.accept(event("acme", vec![held("docusign", "approval")], rig.now())).await.jobs[0];
        for job in [queued, held] {
            rig.journal.cancel(job, "ann", "wrong person").await.expect("cancelled");
            let now = rig.now();
            assert_eq!(rig.state(job).await, JobState::Ended { outcome: Outcome::Cancelled, dead: false, at: now });
            assert_eq!(refused(rig.journal.cancel(job, "ann", "").await), "cancelled");
            let actions = rig.journal.job(job).await.expect("a query").expect("the job").actions;
            let [action] = &actions[..] else { panic!("{actions:?}") };
            let words = (action.actor.as_str(), action.verb.as_str(), action.detail.as_str(), action.at);
            assert_eq!(words, ("ann", "cancel", "wrong person", now));
        }
        assert_eq!(rig.claim(10).await, []);
    }

    async fn what_was_held_when_it_was_cancelled_is_held_again_until_it_is_released(rig: Rig) {
        let job = rig.accept(event("acme", vec![held("docusign", "sample-event")], rig.now())).await.jobs[0];
        for _ in 0..2 {
            rig.journal.cancel(job, "ann", "no").await.expect("cancelled");
            rig.journal.retry(job, "ann", "yes").await.expect("retried");
            assert_eq!(rig.state(job).await, JobState::Held { why: "sample-event".into() });
        }
        assert_eq!(rig.claim(10).await, []);
        rig.journal.release(job, "bob", "it is real").await.expect("released");
        rig.journal.cancel(job, "ann", "no").await.expect("cancelled");
        rig.journal.retry(job, "ann", "yes").await.expect("retried");
        assert_eq!(rig.claim_one().await.id(), job);
    }

    async fn a_running_job_cannot_be_cancelled(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let job = rig.claim_one().await;
        assert_eq!(refused(rig.journal.cancel(id, "ann", "").await), "running");
        assert_eq!(refused(rig.journal.release(id, "ann", "").await), "running");
        assert_eq!(refused(rig.journal.retry(id, "ann", "").await), "running");
        rig.finish(&job.fence, end(Outcome::Closed)).await;
    }

    async fn only_what_closed_nothing_can_be_retried(rig: Rig) {
        for outcome in Outcome::ALL {
            let id = rig.queue(&lane("acme", "docusign")).await;
            let job = rig.claim_one().await;
            rig.finish(&job.fence, end(*outcome)).await;
            if matches!(outcome, Outcome::Closed | Outcome::AlreadyClosed) {
                assert_eq!(refused(rig.journal.retry(id, "ann", "").await), outcome.as_str());
                continue;
            }
            rig.journal.retry(id, "ann", "now enforced").await.expect("retried");
            let again = rig.claim_one().await;
            assert_eq!((again.id(), again.attempt), (id, 1));
            rig.finish(&again.fence, end(Outcome::Closed)).await;
        }
        let tallies = rig.journal.tallies().await.expect("a query");
        let counts: Vec<_> = tallies.iter().map(|tally| (tally.outcome, tally.count)).collect();
        assert_eq!(counts, [(Outcome::Closed, 6), (Outcome::AlreadyClosed, 1)], "each job counts where it is now");
    }

    async fn a_released_job_is_not_held_for_the_same_reason(rig: Rig) {
        let id = rig.accept(event("acme", vec![held("docusign", "old_event")], rig.now())).await.jobs[0];
        rig.journal.release(id, "ann", "checked").await.expect("released");
        let job = rig.claim_one().await;
        assert_eq!(job.released, ["old_event"]);
        rig.finish(&job.fence, Finish::Hold { why: "approval".into(), reason: "ask".into(), detail: None }).await;
        rig.journal.release(id, "bob", "").await.expect("released");
        let job = rig.claim_one().await;
        assert_eq!((&job.released[..], job.attempt), (&["old_event".to_owned(), "approval".to_owned()][..], 1));
        let actions = rig.journal.job(id).await.expect("a query").expect("the job").actions;
        let said: Vec<_> = actions.iter().map(|action| (action.actor.as_str(), action.detail.as_str())).collect();
        assert_eq!(said, [("ann", "old_event: checked"), ("bob", "approval")]);
    }

    async fn a_release_names_the_accounts_that_the_job_showed(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let job = rig.claim_one().await;
        let shows = |accounts: &str| Finish::Hold {
            why: "several-accounts".into(),
            reason: "two".into(),
            detail: Some(format!("{{\"accounts\":{accounts}}}")),
        };
        rig.finish(&job.fence, shows("[{\"id\":\"A,%b\"},{\"name\":\"no id\"},{\"id\":\"C\"}]")).await;
        rig.journal.release(id, "ann", "").await.expect("released");
        let job = rig.claim_one().await;
        let first = ["several-accounts".to_owned(), approval("a,%B"), approval("c")];
        assert_eq!(job.released, first);
        // Shown and released once more, with another.
        rig.finish(&job.fence, shows("[{\"id\":\"C\"},{\"id\":\"D\"}]")).await;
        rig.journal.release(id, "ann", "").await.expect("released");
        let job = rig.claim_one().await;
        assert_eq!((&job.released[..3], &job.released[3..]), (&first[..], &[approval("d")][..]));
    }

    async fn what_a_job_showed_goes_when_it_is_taken_up(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let shown = async || rig.journal.job(id).await.expect("a query").expect("the job").detail;
        let (held, ended) = ("{\"accounts\":[]}".to_owned(), "{\"calls\":[]}".to_owned());
        let hold = Finish::Hold { why: "approval".into(), reason: "ask".into(), detail: Some(held.clone()) };
        let fail = Finish::End { outcome: Outcome::Failed, reason: "no".into(), detail: Some(ended.clone()) };
        rig.finish(&rig.claim_one().await.fence, hold.clone()).await;
        assert_eq!(shown().await, Some(held.clone()));
        rig.journal.release(id, "ann", "").await.expect("released");
        assert_eq!(shown().await, None);
        rig.finish(&rig.claim_one().await.fence, fail).await;
        assert_eq!(shown().await, Some(ended));
        rig.journal.retry(id, "ann", "").await.expect("retried");
        assert_eq!(shown().await, None);
        rig.finish(&rig.claim_one().await.fence, hold).await;
        rig.journal.cancel(id, "ann", "").await.expect("cancelled");
        assert_eq!(shown().await, None);
    }

    /// In the job's own row, as it was until schema 7; such a host may run beside this one.
    async fn what_a_host_of_an_earlier_release_shows_is_shown_and_goes(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let shown = async || rig.journal.job(id).await.expect("a query").expect("the job").detail;
        let hold = |accounts: &str| Finish::Hold { why: "two".into(), reason: "two".into(), detail: Some(accounts.into()) };
        rig.finish(&rig.claim_one().await.fence, hold("{\"accounts\":[{\"id\":\"A\"}]}")).await;
        let earlier = "{\"accounts\":[{\"id\":\"B\"}]}";
        let mut connection = rig.connection().await;
        let put_down = sqlx::query("UPDATE job SET detail = $1").bind(earlier).execute(&mut connection).await;
        put_down.expect("an update");
        assert_eq!(shown().await.as_deref(), Some(earlier), "the later of the two");
        let others = HeldFilter { why: Some("two".into()), ..HeldFilter::default() };
        assert_eq!(rig.journal.release_held(&others, "ann", "").await, Ok(1));
        assert_eq!(shown().await, None);
        let job = rig.claim_one().await;
        assert_eq!(job.released, ["two".to_owned(), approval("b")]);
        rig.finish(&job.fence, hold("{}")).await;
        assert_eq!(shown().await.as_deref(), Some("{}"));
    }

    /// Such a host takes nothing away, and what was shown then must approve nothing later.
    async fn what_a_host_of_an_earlier_release_took_up_shows_nothing_old(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let shown = async || rig.journal.job(id).await.expect("a query").expect("the job").detail;
        let hold = |accounts: Option<&str>| {
            Finish::Hold { why: "two".into(), reason: "two".into(), detail: accounts.map(str::to_owned) }
        };
        let mut connection = rig.connection().await;
        let mut take_up = async || {
            for taken in [
                "UPDATE job SET state = 0, why = NULL, detail = NULL",
                "UPDATE lane SET held = 0, queued = 1, ready = 1, due_at = 0",
            ] {
                sqlx::query(taken).execute(&mut connection).await.expect("an update");
            }
        };
        rig.finish(&rig.claim_one().await.fence, hold(Some("{\"accounts\":[{\"id\":\"A\"}]}"))).await;
        take_up().await;
        assert_eq!(shown().await, None, "it waits");
        rig.finish(&rig.claim_one().await.fence, hold(Some("{\"accounts\":[{\"id\":\"B\"}]}"))).await;
        assert_eq!(shown().await.as_deref(), Some("{\"accounts\":[{\"id\":\"B\"}]}"));
        take_up().await;
        rig.finish(&rig.claim_one().await.fence, hold(None)).await;
        assert_eq!(shown().await, None, "it shows nothing");
        rig.journal.release(id, "ann", "").await.expect("released");
        let job = rig.claim_one().await;
        assert_eq!(job.released, ["two"]);
        // Held once more, and taken up and held without evidence by the other host.
        rig.finish(&job.fence, hold(Some("{\"accounts\":[{\"id\":\"C\"}]}"))).await;
        take_up().await;
        rig.claim_one().await;
        let mut connection = rig.connection().await;
        for held in ["UPDATE job SET state = 2, why = 'two', owner = NULL", "UPDATE lane SET held = 1, running = 0"] {
            sqlx::query(held).execute(&mut connection).await.expect("an update");
        }
        assert_eq!(shown().await, None, "what it showed was of the claim before");
    }

    async fn each_of_many_released_jobs_approves_what_it_showed(rig: Rig) {
        let docusign = lane("acme", "docusign");
        let mut ids = Vec::new();
        for shows in [Some("A"), None, Some("B")] {
            ids.push(rig.queue(&docusign).await);
            let detail = shows.map(|account| format!("{{\"accounts\":[{{\"id\":\"{account}\"}}]}}"));
            let hold = Finish::Hold { why: "two".into(), reason: "two".into(), detail };
            rig.finish(&rig.claim_one().await.fence, hold).await;
        }
        assert_eq!(rig.journal.release_held(&HeldFilter::default(), "ann", "").await, Ok(3));
        let two = || "two".to_owned();
        let mut released: Vec<_> = rig.claim(3).await.into_iter().map(|job| (job.id(), job.released)).collect();
        released.sort_by_key(|(id, _)| ids.iter().position(|known| known == id));
        let wanted = [vec![two(), approval("a")], vec![two()], vec![two(), approval("b")]];
        assert_eq!(released.iter().map(|(_, released)| released.clone()).collect::<Vec<_>>(), wanted);
    }

    async fn held_jobs_are_released_by_what_they_have_in_common(rig: Rig) {
        for (tenant, why, count) in [("acme", "approval", 230), ("acme", "old_event", 2), ("globex", "approval", 3)] {
            for _ in 0..count {
                rig.accept(event(tenant, vec![held("docusign", why)], rig.now())).await;
            }
        }
        let release = async |filter: HeldFilter| rig.journal.release_held(&filter, "ann", "").await.expect("released");
        let (acme, globex) = (Some("acme".to_owned()), lane("globex", "docusign"));
        let why = Some("approval".to_owned());
        let nobody = HeldFilter { why: Some("else".into()), ..HeldFilter::default() };
        assert_eq!(release(nobody).await, 0);
        assert_eq!(release(HeldFilter { tenant: acme, why, lane: None }).await, 230);
        assert_eq!(release(HeldFilter { lane: Some(globex), ..HeldFilter::default() }).await, 3);
        let held: u64 = rig.journal.lanes(None).await.expect("a query").iter().map(|lane| lane.held).sum();
        assert_eq!(held, 2);
        assert_eq!(release(HeldFilter::default()).await, 2);
        assert_eq!(rig.journal.reconcile().await, Ok(vec![]));
    }

    async fn unknown_jobs_are_said_to_be_unknown(rig: Rig) {
        let id = JobId::from(Uuid::from_u128(7));
        for result in [
            rig.journal.cancel(id, "ann", "").await,
            rig.journal.retry(id, "ann", "").await,
            rig.journal.release(id, "ann", "").await,
        ] {
            assert_eq!(result, Err(JournalError::NoSuchJob(id)));
        }
        assert_eq!(rig.journal.job(id).await, Ok(None));
        assert_eq!(rig.journal.event(Uuid::from_u128(7).into()).await, Ok(None));
    }

    async fn a_retried_job_waits_for_its_turn(rig: Rig) {
        let docusign = lane("acme", "docusign");
        let first = rig.queue(&docusign).await;
        let job = rig.claim_one().await;
        rig.finish(&job.fence, end(Outcome::Failed)).await;
        let second = rig.queue(&docusign).await;
        rig.clock.advance(Duration::from_secs(1));
        rig.journal.retry(first, "ann", "").await.expect("retried");
        let order: Vec<_> = rig.claim(2).await.iter().map(exeunt::journal::ClaimedJob::id).collect();
        assert_eq!(order, [second, first]);
    }

    async fn who_cancels_what_may_be_closed_is_told_so(rig: Rig) {
        let id = rig.queue(&lane("acme", "docusign")).await;
        let job = rig.claim_one().await;
        assert_eq!(rig.reserve(&job.fence, "4711").await, Reservation::Reserved);
        let until = rig.now();
        rig.finish(&job.fence, Finish::GiveBack { until, reason: "limit".into() }).await;
        rig.journal.cancel(id, "ann", "stays after all").await.expect("cancelled");
        let reason = rig.job(id).await.reason.expect("a reason");
        assert!(reason.starts_with("stays after all; it had set out to close 4711, which may be closed"), "{reason}");
    }
}

#[test]
fn a_job_that_another_operator_takes_meanwhile_does_not_end_the_release() {
    block_on(async {
        let rig = Rig::postgres().await;
        for _ in 0..230 {
            rig.accept(event("acme", vec![held("docusign", "approval")], rig.now()))
                .await;
        }
        // The other operator has the lane when the first step has been read.
        let mut other = rig.connection().await;
        other.execute("BEGIN").await.expect("a transaction");
        other.execute("SELECT id FROM lane FOR UPDATE").await.expect("the lane");
        let journal = rig.journal.clone();
        let releasing = tokio::spawn(async move {
            journal
                .release_held(&HeldFilter::default(), "ann", "")
                .await
                .expect("released")
        });
        until_somebody_waits(&rig.url).await;
        let taken = "UPDATE job SET state = 3, outcome = 5 WHERE id = (SELECT min(id::text)::bytea FROM job)";
        other.execute(taken).await.expect("an update");
        other.execute("COMMIT").await.expect("a commit");
        assert_eq!(releasing.await.expect("no panic"), 229);
    });
}
