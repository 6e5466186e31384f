//! A host that dies at any moment loses nothing that it has answered, and closes nothing twice.
//!
//! A round is one process's life: it gets events, the target drops some answers after their effect, and it dies, by
//! SIGKILL after so many requests at the target, or by itself at a named step. After four rounds, one less than a job
//! survives, a last process ends what is left, and the books must balance.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use docusign_sim::{Fault, FaultKind, Status};
use exeunt::journal::{Random, SeededRandom, SystemRandom};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::books::Books;
use crate::client::Client;
use crate::house::House;
use crate::on_both;

/// Where a process may be told to die, in the order of a job's life.
const STEPS: [&str; 10] = [
    "accepted",
    "claimed",
    "found",
    "locked",
    "intended",
    "closing",
    "close-answered",
    "verifying",
    "finishing",
    "finished",
];

/// Lives between two balances. A job dies with the fifth host that dies with it.
const LIVES: usize = 4;

/// People that come in each round: eight of ten have an account, so each step of a job is passed more than twelve times.
const PEOPLE: usize = 20;

/// The step that is passed once for a batch. A batch is of eight jobs at most, which run at a time: what 20 people intend
/// and finish makes five batches or more.
const OF_A_BATCH: &str = "locked";

/// A number below the limit. The sequence is the seed's own, so that a failure can be repeated.
fn below(random: &SeededRandom, limit: u64) -> u64 {
    word(random) % limit
}

fn word(random: &dyn Random) -> u64 {
    let bytes = random.bytes();
    u64::from_le_bytes(std::array::from_fn(|index| bytes[index]))
}

/// Some closures whose answers are lost, after their effect.
fn lose_answers(house: &House, random: &SeededRandom) {
    let simulator = &house.world.simulator;
    simulator.clear_faults();
    let lost = Fault::new(FaultKind::Drop).method("DELETE").after_effect();
    simulator.fault(lost.skip(below(random, 8)).times(1 + below(random, 3)));
}

/// Closures that had their effect and whose answers were lost. Without any, nothing here shows what becomes of them.
fn were_answers_lost(house: &House) {
    let deleted = house.world.seen("DELETE", "");
    let lost = deleted
        .iter()
        .filter(|request| request.status.is_none() && !request.faults.is_empty());
    assert!(lost.count() > 0, "no answer was lost");
}

/// A last process ends what is left.
async fn settle(house: &House, books: &Books) {
    house.world.simulator.clear_faults();
    let host = house.start().await;
    let client = Client::new(house, &host);
    books.send_all(&client).await;
    client.idle().await;
    books.balance(&client, &house.world.simulator).await;
    host.stop().await;
}

/// Lives that end by SIGKILL after some requests at the target; the first ones before there was any.
async fn at_random(house: &House, seed: u64, rounds: usize) {
    let (random, books) = (SeededRandom::new(seed), Books::default());
    let simulator = &house.world.simulator;
    for round in 1..=rounds {
        lose_answers(house, &random);
        let host = house.start().await;
        let client = Client::new(house, &host);
        books.add(simulator, "acme", PEOPLE).await;
        let (seen, more) = (simulator.counters().requests, below(&random, 45));
        let dying = async {
            // Whatever is left to do is more than this many requests.
            crate::until("the target is asked", async || {
                simulator.counters().requests >= seen + more
            })
            .await;
            host.kill().await;
        };
        let ((), _) = tokio::join!(dying, books.send(&client));
        if round.is_multiple_of(LIVES) {
            settle(house, &books).await;
        }
    }
    println!(
        "{rounds} hosts killed at random moments, {} events",
        books.acknowledged().await
    );
}

/// Lives that end at each step, at its first to twelfth pass, or to fourth where it is passed for many jobs at once.
async fn at_steps(house: &House, seed: u64, turns: usize) {
    let (random, books) = (SeededRandom::new(seed), Books::default());
    let mut round = 0;
    for step in STEPS.into_iter().cycle().take(STEPS.len() * turns) {
        lose_answers(house, &random);
        let passes = if step == OF_A_BATCH { 4 } else { 12 };
        let point = format!("{step}={}*off->return", below(&random, passes));
        let mut host = house.start_dying(&point).await;
        let client = Client::new(house, &host);
        books.add(&house.world.simulator, "acme", PEOPLE).await;
        books.send(&client).await;
        let mut waits = 0;
        while !host.is_gone() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            waits += 1;
            assert!(waits < 12_000, "{point} was never reached\n{}", host.said());
        }
        round += 1;
        if round % LIVES == 0 {
            settle(house, &books).await;
        }
    }
    settle(house, &books).await;
    println!(
        "{round} hosts died at named steps, {} events",
        books.acknowledged().await
    );
}

/// The names of all steps in the host's sources.
fn steps_in(folder: &Path) -> BTreeSet<String> {
    let mut steps = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            steps.append(&mut steps_in(&path));
        } else {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let after = text.split("step::passed(").skip(1);
            steps.extend(after.map(|rest| rest.split('"').nth(1).expect("a name in quotes").to_owned()));
        }
    }
    steps
}

#[test]
fn every_step_that_the_host_names_is_one_at_which_a_host_dies_here() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host/src");
    assert_eq!(steps_in(&sources), STEPS.map(str::to_owned).into());
}

on_both! {
    async fn a_host_that_is_killed_at_random_moments_loses_nothing_and_closes_nothing_twice(house: House) {
        house.configure("limits = { lease = \"3s\" }");
        at_random(&house, 1, 44).await;
        were_answers_lost(&house);
    }

    async fn a_host_that_dies_at_each_step_loses_nothing_and_closes_nothing_twice(house: House) {
        house.configure("limits = { lease = \"3s\" }");
        at_steps(&house, 2, 4).await;
        were_answers_lost(&house);
    }

    async fn a_host_that_dies_while_the_target_has_closed_and_not_answered_reads_before_it_acts(house: House) {
        house.configure("limits = { lease = \"3s\" }");
        let (books, simulator) = (Books::default(), &house.world.simulator);
        for _ in 0..LIVES {
            let slow = Fault::new(FaultKind::Latency { ms: 3_600_000 }).method("DELETE").after_effect();
            simulator.fault(slow.forever());
            let host = house.start().await;
            let client = Client::new(&house, &host);
            books.add(simulator, "acme", 10).await;
            let closed = simulator.counters().closes;
            books.send(&client).await;
            crate::until("the target has closed some", async || simulator.counters().closes > closed).await;
            host.kill().await;
            simulator.clear_faults();
        }
        settle(&house, &books).await;
    }

    async fn a_host_that_is_asked_to_stop_over_an_open_closure_ends_and_leaves_it_to_the_next(house: House) {
        house.configure("limits = { lease = \"3s\" }");
        let (simulator, ann) = (&house.world.simulator, house.world.user("ann@acme.example"));
        let slow = Fault::new(FaultKind::Latency { ms: 3_600_000 }).method("DELETE").after_effect();
        simulator.fault(slow.forever());
        let host = house.start().await;
        let event = Client::new(&house, &host).accepted("acme", &end_to_end::event("ann@acme.example")).await;
        crate::until("the target has closed her", async || simulator.counters().closes == 1).await;
        let asked = Instant::now();
        host.stop().await;
        assert!(asked.elapsed() < Duration::from_secs(45), "a service manager waits no longer");
        simulator.clear_faults();
        let host = house.start().await;
        let job = Client::new(&house, &host).job_is(&event, "closed").await;
        assert_eq!(
            (&job["lapses"], simulator.counters().second_deletes),
            (&json!(1), 0),
            "not released, since it may have been on its way: {job:#}"
        );
        assert_eq!(house.world.status(&ann), Status::Closed);
        host.stop().await;
    }

    async fn a_host_that_is_asked_to_stop_over_a_search_gives_the_job_back(house: House) {
        let simulator = &house.world.simulator;
        let _ = house.world.user("ann@acme.example");
        let slow = Fault::new(FaultKind::Latency { ms: 3_600_000 }).method("GET").path("*/users");
        simulator.fault(slow.forever());
        let host = house.start().await;
        let event = Client::new(&house, &host).accepted("acme", &end_to_end::event("ann@acme.example")).await;
        crate::until("the target is asked for her", async || simulator.counters().tokens_issued == 1).await;
        host.stop().await;
        simulator.clear_faults();
        let host = house.start().await;
        let client = Client::new(&house, &host);
        let job = client.job_is(&event, "closed").await;
        let id = job["id"].as_str().expect("an id");
        let history = client.see(&format!("/v1/jobs/{id}")).await["history"].clone();
        let results: Vec<_> = history.as_array().expect("a list").iter().map(|attempt| &attempt["result"]).collect();
        assert_eq!((&job["lapses"], results), (&json!(0), vec![&json!("released"), &json!("closed")]), "{history:#}");
        host.stop().await;
    }

    async fn what_a_dead_host_closed_is_not_closed_again_where_the_search_does_not_know_it_yet(house: House) {
        let user = json!({ "userId": "", "email": "ann@acme.example", "userStatus": "Active", "isAdmin": "False" });
        searched_for_in_vain(&house, Some(user)).await;
    }

    async fn what_a_dead_host_closed_is_closed_where_the_search_leaves_it_out(house: House) {
        searched_for_in_vain(&house, None).await;
    }
}

/// A host dies after it has closed somebody, of whom the next search then says this.
async fn searched_for_in_vain(house: &House, found: Option<Value>) {
    house.configure("limits = { lease = \"3s\" }");
    let (simulator, user) = (&house.world.simulator, house.world.user("ann@acme.example"));
    let host = house.start_dying("close-answered=return").await;
    let event = Client::new(house, &host)
        .accepted("acme", &end_to_end::event("ann@acme.example"))
        .await;
    host.ended().await;
    let users: Vec<Value> = found
        .into_iter()
        .map(|mut found| {
            found["userId"] = json!(user);
            found
        })
        .collect();
    let count = users.len().to_string();
    let said = json!({ "users": users, "resultSetSize": count, "startPosition": "0", "endPosition": "0", "totalSetSize": count });
    let answer = FaultKind::Answer {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: said.to_string(),
    };
    simulator.fault(Fault::new(answer).method("GET").path("*/users").times(1));
    let host = house.start().await;
    let client = Client::new(house, &host);
    let job = client.job_is(&event, "closed").await;
    assert_eq!(
        (&job["lapses"], simulator.counters().second_deletes),
        (&json!(1), 0),
        "{job:#}"
    );
    host.stop().await;
}

/// The same with more rounds, for a night: EXEUNT_TEST_ROUNDS=400.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_rounds_as_the_environment_asks_for() {
    let rounds = std::env::var("EXEUNT_TEST_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(LIVES);
    let seed = word(&SystemRandom);
    println!("seed {seed}");
    for house in [House::sqlite().await, House::postgres().await] {
        house.configure("limits = { lease = \"3s\" }");
        at_random(&house, seed, rounds).await;
    }
}
