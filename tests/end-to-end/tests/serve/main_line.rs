//! What a platform team sees on an ordinary day.

use docusign_sim::{Fault, FaultKind, Origin, Status};
use reqwest::Method;
use serde_json::{Value, json};

use crate::books::Books;
use crate::client::{Answer, Client, answer};
use crate::house::House;
use crate::on_both;
use crate::process::Host;

/// A leaver on demand, with these headers.
async fn leaver(client: &Client, body: &Value, headers: &[(&str, &str)]) -> Answer {
    let mut request = client.request(Method::POST, "/v1/tenants/acme/leavers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request.body(body.to_string())).await
}

async fn begin(house: &House) -> (Host, Client) {
    let host = house.start().await;
    let client = Client::new(house, &host);
    (host, client)
}

on_both! {
    async fn an_event_is_answered_at_once_and_its_account_is_closed_and_verified(house: House) {
        let user = house.world.user("ann@acme.example");
        let (host, client) = begin(&house).await;
        let (status, said) = client.event("acme", &end_to_end::event("ann@acme.example")).await.expect("an answer");
        assert_eq!((status, &said["decision"], &said["duplicate"]), (200, &json!("leaver"), &json!(false)));
        let job = client.job_is(said["event"].as_str().expect("an id"), "closed").await;
        assert_eq!(job["attempts"], 1);
        assert_eq!(house.world.status(&user), Status::Closed);
        assert_eq!(house.world.seen("DELETE", "/users").len(), 1);
        host.stop().await;
    }

    async fn a_duplicate_gets_the_first_ones_id_and_makes_no_job(house: House) {
        let _ = house.world.user("ann@acme.example");
        let (host, client) = begin(&house).await;
        let event = end_to_end::event("ann@acme.example");
        let first = client.accepted("acme", &event).await;
        let (status, again) = client.event("acme", &event).await.expect("an answer");
        assert_eq!((status, &again["event"], &again["duplicate"]), (200, &json!(first), &json!(true)));
        client.job_is(&first, "closed").await;
        // Done by now, and still within ten minutes.
        let (_, again) = client.event("acme", &event).await.expect("an answer");
        assert_eq!((&again["event"], &again["duplicate"]), (&json!(first), &json!(true)));
        assert_eq!(client.jobs("").await.len(), 1);
        host.stop().await;
    }

    async fn two_reports_of_one_person_close_the_account_once(house: House) {
        let user = house.world.user("ann@acme.example");
        let simulator = &house.world.simulator;
        let (host, client) = begin(&house).await;
        // Whoever searches first learns late that the account is open: the other has closed it by then, and ended.
        let slow = Fault::new(FaultKind::Latency { ms: 3000 }).on(Origin::Esign).method("GET").after_effect();
        simulator.fault(slow.times(1));
        let mut events = Vec::new();
        for key in ["\"one\"", "\"two\""] {
            let said = leaver(&client, &json!({ "email": "ann@acme.example" }), &[("idempotency-key", key)]).await;
            let (status, said) = said.expect("an answer");
            assert_eq!((status, &said["duplicate"]), (202, &json!(false)), "{said:#}");
            events.push(said["event"].as_str().expect("an id").to_owned());
        }
        client.idle().await;
        let mut outcomes = Vec::new();
        for event in &events {
            let job = client.job(event).await;
            assert_eq!(job["attempts"], 1, "{job:#}");
            outcomes.push(job["outcome"].as_str().expect("an outcome").to_owned());
        }
        outcomes.sort();
        assert_eq!(outcomes, ["already_closed", "closed"]);
        assert_eq!(house.world.status(&user), Status::Closed);
        assert_eq!((house.world.seen("DELETE", "/users").len(), simulator.counters().second_deletes), (1, 0));
        host.stop().await;
    }

    async fn a_job_that_waits_for_another_keeps_what_it_has_closed_before(house: House) {
        house.world.edit("mode = \"enforce\"", "mode = \"enforce\"\nclose_all = true");
        let users = [house.world.user("ann@acme.example"), house.world.user("ann@acme.example")];
        let (host, client) = begin(&house).await;
        let slow = Fault::new(FaultKind::Latency { ms: 3000 }).on(Origin::Esign).method("DELETE");
        house.world.simulator.fault(slow.times(1));
        let ask = async |body: Value| {
            let (status, said) = leaver(&client, &body, &[]).await.expect("an answer");
            assert_eq!(status, 202, "{said:#}");
            said["event"].as_str().expect("an id").to_owned()
        };
        let of_event = async |event: &str| {
            let id = client.job(event).await["id"].as_str().expect("an id").to_owned();
            client.see(&format!("/v1/jobs/{id}")).await
        };
        let one = ask(json!({ "target_id": users[1] })).await;
        crate::until("the second account is being closed", async || {
            of_event(&one).await["intents"].as_array().is_some_and(|intents| !intents.is_empty())
        })
        .await;
        let both = ask(json!({ "email": "ann@acme.example" })).await;
        crate::until("the other job waits", async || {
            client.job(&both).await["reason"].as_str().is_some_and(|why| why.contains("is closing account"))
        })
        .await;
        let job = of_event(&both).await;
        let closes = |job: &Value| {
            let transcripts = job["transcripts"].as_array().expect("a list").iter();
            let calls = transcripts.flat_map(|transcript| transcript["calls"].as_array().expect("a list"));
            calls.filter(|call| call["verb"] == "close").count()
        };
        assert_eq!((closes(&job), &job["history"]), (1, &json!([])), "{job:#}");
        for event in [&one, &both] {
            client.job_is(event, "closed").await;
        }
        assert_eq!(closes(&of_event(&both).await), 1);
        assert_eq!((house.world.seen("DELETE", "/users").len(), house.world.simulator.counters().second_deletes), (2, 0));
        host.stop().await;
    }

    async fn a_restarted_host_goes_on_where_the_old_one_was_stopped(house: House) {
        let books = Books::default();
        let simulator = &house.world.simulator;
        books.add(simulator, "acme", 30).await;
        // Slow enough that events are sent long before their jobs end.
        simulator.fault(Fault::new(FaultKind::Latency { ms: 500 }).on(Origin::Esign).forever());
        let (host, client) = begin(&house).await;
        books.send_all(&client).await;
        host.stop().await;
        let asked = simulator.requests().len();
        let (host, client) = begin(&house).await;
        for job in client.jobs("").await {
            let attempts = job["attempts"].as_u64().expect("a number");
            assert!(attempts <= 1 && job["lapses"] == 0, "a stop costs no attempt and no lease: {job:#}");
        }
        client.idle().await;
        books.balance(&client, simulator).await;
        assert!(simulator.requests().len() > asked, "the stop came before the end");
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_somebody_who_stays_makes_no_job() {
    let house = House::sqlite().await;
    let (host, client) = begin(&house).await;
    let stays = end_to_end::event_with("ann@acme.example", |event| {
        event["singleValueAttributeChanges"][0]["newValue"] = json!("active");
    });
    let (status, said) = client.event("acme", &stays).await.expect("an answer");
    assert_eq!((status, &said["decision"]), (200, &json!("not_a_leaver")));
    assert!(client.jobs("").await.is_empty());
    house.world.was_not_asked();
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_plans_and_closes_nothing() {
    let house = House::sqlite().await;
    let user = house.world.user("ann@acme.example");
    house.world.edit("mode = \"enforce\"\n", "");
    let (host, client) = begin(&house).await;
    let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
    let job = client.job_is(&event, "planned").await;
    end_to_end::says(job["reason"].as_str().expect("words"), &[&user]);
    assert_eq!(house.world.status(&user), Status::Active);
    house.world.was_only_read();
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaver_on_demand_is_answered_with_the_outcome_to_whoever_waits_for_it() {
    let house = House::sqlite().await;
    let user = house.world.user("ann@acme.example");
    let (host, client) = begin(&house).await;
    let ann = json!({ "email": "ann@acme.example" });
    let once = [("prefer", "wait=60"), ("idempotency-key", "step-1")];
    let (status, said) = leaver(&client, &ann, &once).await.expect("an answer");
    assert_eq!(
        (status, &said["jobs"][0]["outcome"]),
        (200, &json!("closed")),
        "{said:#}"
    );
    assert_eq!(house.world.status(&user), Status::Closed);
    let (status, again) = leaver(&client, &ann, &once).await.expect("an answer");
    assert_eq!(
        (status, &again["event"], &again["duplicate"]),
        (200, &said["event"], &json!(true))
    );
    let other = json!({ "email": "bob@acme.example" });
    let (status, _) = leaver(&client, &other, &once).await.expect("an answer");
    assert_eq!(status, 422, "a key stands for one leaver");
    let wait = [("prefer", "wait=60")];
    let (status, said) = leaver(&client, &other, &wait).await.expect("an answer");
    assert_eq!((status, &said["jobs"][0]["outcome"]), (200, &json!("no_account")));
    let (status, said) = leaver(&client, &json!({ "email": "ceo@acme.example" }), &wait)
        .await
        .expect("an answer");
    assert_eq!((status, &said["jobs"][0]["outcome"]), (409, &json!("refused")));
    let (status, said) = leaver(&client, &ann, &[]).await.expect("an answer");
    assert_eq!(status, 202, "who does not wait hears at once: {said:#}");
    client
        .job_is(said["event"].as_str().expect("an id"), "already_closed")
        .await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_tenant_and_a_wrong_token_look_the_same() {
    let house = House::sqlite().await;
    let (host, client) = begin(&house).await;
    let event = end_to_end::event("ann@acme.example");
    let wrong = client.event_with("acme", &event, "wrong").await;
    assert_eq!(wrong.as_ref().expect("an answer").0, 401);
    assert_eq!(client.event("nobody", &event).await, wrong);
    // Outside; whoever has the wrong secret is found by the log.
    end_to_end::says(
        &host.said(),
        &[
            "turned away with 401: it sent a bearer token; the source asks for one of its bearer tokens",
            "turned away with 401: it sent a bearer token; there is no such source",
        ],
    );
    assert!(client.jobs("").await.is_empty());
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_one_sqlite_file_is_turned_away() {
    let house = House::sqlite().await;
    let (host, _) = begin(&house).await;
    let second = house.exeunt(&["serve"]).await;
    second.was_misused(&["another `exeunt serve`", "journal.db", "PostgreSQL"]);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_numbers_that_rules_ask_for_are_there() {
    let house = House::sqlite().await;
    let _ = house.world.user("ann@acme.example");
    let slow = Fault::new(FaultKind::Latency { ms: 300 }).on(Origin::Esign);
    house.world.simulator.fault(slow.forever());
    let (host, client) = begin(&house).await;
    let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
    client.job_is(&event, "closed").await;
    let wanted = [
        "exeunt_events_total{tenant=\"acme\",source=\"hr\",decision=\"leaver\"} 1",
        "exeunt_jobs_ended_total{tenant=\"acme\",connector=\"docusign\",outcome=\"closed\"} 1",
        "exeunt_attempts_total{tenant=\"acme\",connector=\"docusign\",result=\"done\"} 1",
        "exeunt_tokens_minted_total{tenant=\"acme\",connector=\"docusign\",result=\"minted\"} 1",
        "exeunt_accept_seconds_count 1",
        "exeunt_accept_to_verified_seconds_bucket{outcome=\"closed\",le=\"+Inf\"} 1",
        "exeunt_accept_to_verified_seconds_bucket{outcome=\"closed\",le=\"0.25\"} 0",
        "exeunt_verb_seconds_count{verb=\"close\"} 1",
        "exeunt_sandbox_seconds_count{verb=\"close\"} 1",
        "exeunt_lane_jobs{",
        "exeunt_lane_oldest_seconds",
        "exeunt_lane_parked{",
        "exeunt_journal_up 1",
    ];
    let url = format!("http://{}/metrics", host.address());
    let stranger = crate::client::http().get(url).send().await.expect("an answer");
    assert_eq!(stranger.status(), 401, "it names tenants");
    // The job's end is in the journal a moment before it is counted.
    crate::until("all series are there", async || {
        let text = client.see("/metrics").await;
        let text = text.as_str().expect("text");
        let missing: Vec<_> = wanted.iter().filter(|line| !text.contains(**line)).collect();
        if !missing.is_empty() {
            eprintln!("missing: {missing:?}\n{text}");
        }
        missing.is_empty()
    })
    .await;
    // It was searched for, closed and read, and each took the target's time, which is none of the sandbox.
    let text = client.see("/metrics").await;
    let value = |series: &str| -> f64 {
        let mut lines = text.as_str().expect("text").lines();
        let value = lines.find_map(|line| line.strip_prefix(series));
        value.expect(series).trim().parse().expect("a number")
    };
    assert!(value("exeunt_accept_to_verified_seconds_sum{outcome=\"closed\"}") >= 0.9);
    let (verb, sandbox) = (
        value("exeunt_verb_seconds_sum{verb=\"close\"}"),
        value("exeunt_sandbox_seconds_sum{verb=\"close\"}"),
    );
    assert!(verb >= 0.3 && sandbox < verb - 0.29, "{sandbox} of {verb}");
    host.stop().await;
}
