//! Closing: one unsafe request, for the account that `close` was called with, and one closure after the other.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use exeunt::capability::{Effect, Verb};
use exeunt::clock::{Clock, SystemClock};
use exeunt::dispatch::{Attempt, Gate, Stop, attempt, run_job};
use exeunt::evidence::Outcome;
use exeunt::intake;
use exeunt::journal::{
    ClaimedJob, ClosureLimit, Decision, Dedupe, Journal, NewEvent, NewJob, NewState, Options, approval,
};

use crate::attacks::Attack;
use crate::house::{House, leaver};

#[tokio::test]
pub(crate) async fn a_second_unsafe_request_is_denied() {
    let house = House::new().await;
    let report = house.attack(Attack::CloseTwice).during(Verb::Close).run().await;
    assert!(report.denied().contains("may send 1 unsafe request"), "{report:?}");
    assert_eq!(report.arrived, 1);
    assert_eq!(report.record.effect, Effect::Answered);
}

#[tokio::test]
async fn what_was_closed_before_a_request_was_denied_is_found_out_by_reading() {
    let house = House::new().await;
    let connector = house.attack(Attack::CloseTwice).during(Verb::Close).connector().await;
    let job = run_job(&connector, &leaver(), false).await;
    assert_eq!(job.outcome, Some(Outcome::Closed), "{}", job.reason);
    assert_eq!(job.accounts[0].after.as_deref(), Some("closed"));
    assert_eq!(house.api.closures(), 1);
}

#[tokio::test]
async fn a_further_account_is_read_and_guarded_before_it_is_closed() {
    let house = House::new().await;
    let connector = house
        .attack(Attack::WrongAccount)
        .kind("disguised")
        .lines("close_all = true\n[policy]\nprotected = [\"bystander@acme.example\"]")
        .connector()
        .await;
    let job = run_job(&connector, &leaver(), false).await;
    assert_eq!(job.outcome, Some(Outcome::Refused), "{}", job.reason);
    assert!(
        job.reason.contains("bystander@acme.example is protected"),
        "{}",
        job.reason
    );
    assert!(!house.api.is_open("leaver") && house.api.is_open("bystander"));
}

/// A job of the leaver in a journal of its own, claimed.
async fn claimed(house: &House) -> (Journal, ClaimedJob) {
    let url = format!("sqlite:{}", house.path("exeunt.db").display());
    let journal = Journal::open(&url, Options::default()).await.unwrap();
    journal.accept(of_the_leaver()).await.unwrap();
    let mut jobs = journal.claim("test", Duration::from_secs(60), 1).await.unwrap();
    (journal, jobs.remove(0))
}

async fn tried(house: &House, lines: &str, (journal, job): (&Journal, &ClaimedJob), closures: u32) -> Attempt {
    let connector = house
        .attack(Attack::Trap)
        .during(Verb::Page)
        .lines(lines)
        .connector()
        .await;
    let limit = ClosureLimit {
        closures,
        per: Duration::from_secs(3600),
    };
    let closing = AtomicBool::new(false);
    let mut gate = Gate::journaled(journal, job, limit, &closing);
    attempt(&connector, &leaver(), false, &mut gate).await
}

#[tokio::test]
async fn each_closure_of_a_job_passes_the_gate_by_itself() {
    let house = House::new().await;
    house.api.share_address();
    let (journal, job) = claimed(&house).await;
    let tried = tried(&house, "close_all = true", (&journal, &job), 1).await;
    assert!(matches!(tried.end, Err(Stop::Held { why: "breaker", .. })), "{tried:?}");
    let closed: Vec<_> = tried
        .accounts
        .iter()
        .filter_map(|account| account.after.as_deref())
        .collect();
    assert!(closed.contains(&"closed"), "{tried:?}");
    assert_eq!(house.api.closures(), 1);
}

#[tokio::test]
async fn an_account_that_is_somebody_elses_by_now_stays_open() {
    let house = House::new().await;
    let disguised = house.attack(Attack::WrongAccount).kind("disguised");
    let connector = disguised.lines("close_all = true").connector().await;
    let job = run_job(&connector, &leaver(), false).await;
    assert_eq!(job.outcome, Some(Outcome::Failed), "{}", job.reason);
    assert!(job.reason.contains("bystander belongs to bystander@"), "{}", job.reason);
    assert!(!house.api.is_open("leaver") && house.api.is_open("bystander"));
}

#[tokio::test]
async fn a_release_is_for_the_accounts_that_were_shown() {
    let house = House::new().await;
    house.api.share_address();
    let (journal, mut job) = claimed(&house).await;
    for (released, is_held) in [
        (vec![], true),
        (vec!["several-accounts".to_owned()], true),
        (vec!["several-accounts".to_owned(), approval("leaver")], true),
        (vec![approval("leaver"), approval("bystander")], true),
        (
            vec!["several-accounts".to_owned(), approval("leaver"), approval("Bystander")],
            false,
        ),
    ] {
        job.released = released;
        let tried = tried(&house, "", (&journal, &job), 9).await;
        match tried.end {
            Err(Stop::Held { why, reason }) if is_held => {
                assert_eq!(why, "several-accounts");
                assert!(
                    reason.contains("2 open accounts") && reason.contains("bystander, leaver"),
                    "{reason}"
                );
                assert_eq!(house.api.closures(), 0);
            }
            Ok((Outcome::Closed, _)) if !is_held => assert_eq!(house.api.closures(), 2),
            other => panic!("{other:?} with {:?}", job.released),
        }
    }
}

/// The search finds the leaver, and an earlier attempt has set out to close the bystander as well.
#[tokio::test]
async fn what_was_begun_is_read_although_the_search_finds_something_else() {
    let house = House::new().await;
    let (journal, mut job) = claimed(&house).await;
    job.intents = vec!["bystander".to_owned()];
    let open = tried(&house, "", (&journal, &job), 9).await;
    let Err(Stop::Unavailable(reason)) = &open.end else {
        panic!("{open:?}")
    };
    assert!(reason.contains("bystander was found before and is active"), "{reason}");
    assert!(!house.api.is_open("leaver"), "what is found is closed all the same");

    house.api.close("bystander");
    let closed = tried(&house, "", (&journal, &job), 9).await;
    let Ok((Outcome::Closed, reason)) = &closed.end else {
        panic!("{closed:?}")
    };
    assert!(reason.contains("by an earlier attempt"), "{reason}");
    let proved = closed
        .accounts
        .iter()
        .map(|account| (account.id.as_str(), account.after.as_deref()));
    assert_eq!(
        proved.collect::<Vec<_>>(),
        [("leaver", Some("closed")), ("bystander", Some("closed"))]
    );

    // In another spelling it is the one that was found.
    job.intents = vec!["LEAVER".to_owned()];
    let again = tried(&house, "", (&journal, &job), 9).await;
    assert!(matches!(again.end, Ok((Outcome::Closed, _))), "{again:?}");
    assert_eq!(again.accounts.len(), 1);

    // One that the target does not know proves nothing, so the job is not over.
    job.intents = vec!["LEAVER".to_owned(), "Nobody".to_owned()];
    let unknown = tried(&house, "", (&journal, &job), 9).await;
    let Err(Stop::Unavailable(reason)) = &unknown.end else {
        panic!("{unknown:?}")
    };
    assert!(reason.contains("account Nobody was found before"), "{reason}");
}

/// A read that answers with another account, which is closed, proves nothing.
#[tokio::test]
async fn what_was_begun_is_not_proved_by_another_account() {
    let house = House::new().await;
    let (journal, mut job) = claimed(&house).await;
    job.intents = vec!["begun".to_owned()];
    let connector = house.attack(Attack::ReadAnother).kind("unfound").connector().await;
    let limit = ClosureLimit {
        closures: 9,
        per: Duration::from_secs(3600),
    };
    let closing = AtomicBool::new(false);
    let mut gate = Gate::journaled(&journal, &job, limit, &closing);
    let tried = attempt(&connector, &leaver(), false, &mut gate).await;
    let Err(Stop::Unavailable(reason)) = &tried.end else {
        panic!("{tried:?}")
    };
    assert!(
        reason.contains("account begun was found before, and a read of it answers with another"),
        "{reason}"
    );
}

/// An earlier attempt has closed the bystander; the leaver, whom the search finds, may not be closed.
#[tokio::test]
async fn what_was_closed_earlier_is_named_where_the_job_ends_otherwise() {
    let house = House::new().await;
    let (journal, mut job) = claimed(&house).await;
    job.intents = vec!["bystander".to_owned()];
    house.api.close("bystander");
    house.api.refuse_closures();
    let failed = tried(&house, "", (&journal, &job), 9).await;
    let Err(Stop::Failed(reason)) = &failed.end else {
        panic!("{failed:?}")
    };
    assert!(reason.contains("this job has closed bystander"), "{reason}");
    assert!(house.api.is_open("leaver"));
}

/// Without a journal, as `exeunt run` has it.
#[tokio::test]
async fn what_was_begun_in_this_process_is_remembered_where_the_search_finds_nobody() {
    let house = House::new().await;
    let connector = house.honest().await;
    let mut gate = Gate::in_memory();
    let first = attempt(&connector, &leaver(), false, &mut gate).await;
    assert!(matches!(first.end, Ok((Outcome::Closed, _))), "{first:?}");
    let nobody = intake::Person {
        email: Some("nobody@acme.example".to_owned()),
        ..intake::Person::default()
    };
    let second = attempt(&connector, &nobody, false, &mut gate).await;
    assert!(matches!(second.end, Ok((Outcome::Closed, _))), "{second:?}");
    assert_eq!(second.accounts[0].id, "leaver");
}

fn of_the_leaver() -> NewEvent {
    NewEvent {
        tenant: "hostile".to_owned(),
        source: "hr".to_owned(),
        dedupe: Dedupe::None,
        body: Vec::new(),
        received_at: SystemClock.now(),
        occurred_at: None,
        decision: Decision::Leaver,
        reason: String::new(),
        person: None,
        person_key: None,
        replays: None,
        actor: None,
        jobs: vec![NewJob {
            connector: "target".to_owned(),
            state: NewState::Queued,
        }],
    }
}

#[tokio::test]
pub(crate) async fn an_unsafe_request_names_the_account() {
    let why = ["the body is not the one that", "has no query parameter `id`"];
    nothing_leaves(Attack::CloseNameless, &why).await;
}

#[tokio::test]
pub(crate) async fn an_unsafe_request_names_no_other_account() {
    let why = [
        "is not in the descriptor's reach",
        "dot segment",
        "the body is not the one that",
        "has no query parameter `id`",
        "has no body",
        "the content-type of a declared body",
    ];
    nothing_leaves(Attack::CloseAnother, &why).await;
}

#[tokio::test]
pub(crate) async fn a_body_leaves_in_the_hosts_own_spelling() {
    let house = House::new().await;
    let report = house.attack(Attack::CloseDoubled).during(Verb::Close).run().await;
    assert!(report.told().contains("200"), "{report:?}");
    assert_eq!(report.bodies, [r#"{"id":"leaver"}"#]);
    let exchange = &report.record.exchanges[0];
    assert_eq!(
        exchange.request_body.as_deref(),
        Some(r#"{"id":"leaver"}"#),
        "what was sent is what is kept"
    );
}

async fn nothing_leaves(attack: Attack, why: &[&str]) {
    let house = House::new().await;
    let report = house.attack(attack).during(Verb::Close).run().await;
    report.denied();
    for reason in report.reasons() {
        assert!(why.iter().any(|why| reason.contains(why)), "{reason}");
    }
    assert!(report.record.exchanges.is_empty(), "{report:?}");
    assert_eq!(report.record.effect, Effect::None);
    assert!(report.arrived == 0);
}
