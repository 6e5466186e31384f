//! Closing: one unsafe request, for the account that `close` was called with, and one closure after the other.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use exeunt::capability::{Effect, Verb};
use exeunt::clock::{Clock, SystemClock};
use exeunt::dispatch::{Gate, Stop, attempt, run_job};
use exeunt::evidence::Outcome;
use exeunt::journal::{ClosureLimit, Decision, Dedupe, Journal, NewEvent, NewJob, NewState, Options};

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

#[tokio::test]
async fn each_closure_of_a_job_passes_the_gate_by_itself() {
    let house = House::new().await;
    let connector = house
        .attack(Attack::WrongAccount)
        .kind("disguised")
        .lines("close_all = true")
        .connector()
        .await;
    let url = format!("sqlite:{}", house.path("exeunt.db").display());
    let journal = Journal::open(&url, Options::default()).await.unwrap();
    journal.accept(of_the_leaver()).await.unwrap();
    let job = journal
        .claim("test", Duration::from_secs(60), 1)
        .await
        .unwrap()
        .remove(0);
    let limit = ClosureLimit {
        closures: 1,
        per: Duration::from_secs(3600),
    };
    let closing = AtomicBool::new(false);
    let mut gate = Gate::journaled(&journal, &job, limit, &closing);
    let tried = attempt(&connector, &leaver(), false, &mut gate).await;
    assert!(matches!(tried.end, Err(Stop::Held { why: "breaker", .. })), "{tried:?}");
    assert_eq!(tried.accounts[0].after.as_deref(), Some("closed"));
    assert!(!house.api.is_open("leaver") && house.api.is_open("bystander"));
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
