//! Many hosts on one PostgreSQL, and a PostgreSQL that goes away.

use std::sync::atomic::{AtomicBool, Ordering};

use docusign_sim::{Fault, FaultKind, Origin, Status};
use kit::PrivatePostgres;

use crate::books::Books;
use crate::client::Client;
use crate::house::House;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_hosts_jobs_are_taken_over_and_no_job_is_done_by_two() {
    let house = House::postgres().await;
    house.configure("limits = { lease = \"3s\" }");
    let (books, simulator) = (Books::default(), &house.world.simulator);
    simulator.fault(Fault::new(FaultKind::Latency { ms: 80 }).on(Origin::Esign).forever());
    // The first one is there alone until its lane is full: of two, the one that asks sooner may take every place.
    let first = house.start().await;
    let to_first = Client::new(&house, &first);
    books.add(simulator, "acme", 150).await;
    books.send_all(&to_first).await;
    let second = house.start().await;
    let to_second = Client::new(&house, &second);
    books.add(simulator, "acme", 50).await;
    let killing = async {
        crate::until("the first one has work", async || {
            let running = to_second.jobs("state=running").await;
            running.iter().any(|job| job["owner"] == "host-0")
        })
        .await;
        first.kill().await;
    };
    // Each event to both: the second answer names the first one's event.
    tokio::join!(killing, books.send(&to_first), books.send(&to_second));
    books.send_all(&to_second).await;
    to_second.idle().await;
    books.balance(&to_second, simulator).await;
    let lapsed = to_second.jobs("").await.iter().filter(|job| job["lapses"] != 0).count();
    assert!(
        (1..=8).contains(&lapsed),
        "as many as one lane runs at a time: {lapsed}"
    );
    second.stop().await;
}

/// As one that loses its power or its network does: its connections stay open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_hangs_in_a_transaction_costs_the_others_no_job() {
    let house = House::postgres().await;
    house.configure("limits = { lease = \"12s\" }");
    // Each host runs 64 of a tenant's jobs, so that both have some.
    let connector = "[connectors.docusign]\n";
    let tenant = house.tenant_text();
    let tenant = tenant.replace(connector, &format!("{connector}concurrency = 128\n"));
    house.replace("tenants/acme.toml", &tenant);
    let (books, simulator) = (Books::default(), &house.world.simulator);
    simulator.fault(Fault::new(FaultKind::Latency { ms: 6000 }).on(Origin::Esign).forever());
    let first = house.start().await;
    let client = Client::new(&house, &first);
    books.add(simulator, "acme", 128).await;
    books.send_all(&client).await;
    crate::until("the first one is full", async || {
        client.lane("acme").await["running"] == 64
    })
    .await;
    // It holds the lane's lock, at its first intents, for longer than the first one's leases last.
    let hangs = ("FAILPOINTS", "locked=1*sleep(14000)->off".to_owned());
    let second = house.start_with(&[hangs]).await;
    client.idle().await;
    let mut lost = Vec::new();
    for job in client.jobs("").await.iter().filter(|job| job["lapses"] != 0) {
        let shown = client
            .see(&format!("/v1/jobs/{}", job["id"].as_str().expect("an id")))
            .await;
        let history = shown["history"].as_array().expect("a list");
        let lapsed = history.iter().filter(|tried| tried["result"] == "lease_expired");
        lost.extend(lapsed.map(|tried| tried["owner"].as_str().expect("a name").to_owned()));
    }
    end_to_end::says(&(first.said() + &second.said()), &["somebody has locked the lane"]);
    assert!(!lost.contains(&"host-0".to_owned()), "it waited for the one that hangs");
    books.balance(&client, simulator).await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_keeps_its_cap_over_all_hosts() {
    let house = House::postgres().await;
    let (books, simulator) = (Books::default(), &house.world.simulator);
    simulator.fault(Fault::new(FaultKind::Latency { ms: 20 }).on(Origin::Esign).forever());
    let hosts = [house.start().await, house.start().await, house.start().await];
    let client = Client::new(&house, &hosts[0]);
    books.add(simulator, "acme", 60).await;
    books.send_all(&client).await;
    let most = std::cell::Cell::new(0);
    crate::until("all is done", async || {
        let lane = client.lane("acme").await;
        most.set(most.get().max(lane["running"].as_u64().expect("a number")));
        lane["queued"] == 0 && lane["running"] == 0
    })
    .await;
    assert!((1..=8).contains(&most.get()), "{most:?} ran at a time");
    books.balance(&client, simulator).await;
    for host in hosts {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_database_costs_no_acknowledged_event_and_the_service_comes_back_by_itself() {
    let database = PrivatePostgres::start();
    let house = House::with(&database.database(), House::options()).await;
    house.configure("limits = { lease = \"3s\" }");
    let (books, simulator) = (Books::default(), &house.world.simulator);
    simulator.fault(Fault::new(FaultKind::Latency { ms: 20 }).on(Origin::Esign).forever());
    let host = house.start().await;
    let client = Client::new(&house, &host);
    for _ in 0..3 {
        books.add(simulator, "acme", 40).await;
        let over = AtomicBool::new(false);
        let restarting = async {
            let before = simulator.counters().closes;
            crate::until("it works", async || simulator.counters().closes > before + 5).await;
            tokio::task::block_in_place(|| database.crash());
            crate::until("it says so", async || {
                matches!(client.get("/readyz").await, Ok((503, _)))
            })
            .await;
            let refused = client.event("acme", &end_to_end::event("late@acme.example")).await;
            assert_eq!(
                refused.expect("an answer").0,
                503,
                "nothing is acknowledged without a database"
            );
            tokio::task::block_in_place(|| database.start_again());
            over.store(true, Ordering::SeqCst);
        };
        let sending = async {
            while !over.load(Ordering::SeqCst) {
                books.send(&client).await;
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::join!(restarting, sending);
        crate::until("it is ready again", async || {
            matches!(client.get("/readyz").await, Ok((200, _)))
        })
        .await;
    }
    books.send_all(&client).await;
    client.idle().await;
    books.balance(&client, simulator).await;
    host.stop().await;
}

/// As the unit promises to systemd, which would kill it later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_asked_to_stop_while_its_database_is_away_ends_by_itself_and_loses_nothing() {
    let database = PrivatePostgres::start();
    let house = House::with(&database.database(), House::options()).await;
    house.configure("limits = { lease = \"3s\" }");
    let (simulator, user) = (&house.world.simulator, house.world.user("ann@acme.example"));
    let hangs = Fault::new(FaultKind::Latency { ms: 3_600_000 }).on(Origin::Esign);
    simulator.fault(hangs.times(1));
    let host = house.start().await;
    let client = Client::new(&house, &host);
    let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
    crate::until("it searches", async || simulator.counters().tokens_issued == 1).await;
    tokio::task::block_in_place(|| database.crash());
    let asked = tokio::time::Instant::now();
    host.stop().await;
    assert!(
        asked.elapsed() < std::time::Duration::from_secs(45),
        "{:?}",
        asked.elapsed()
    );
    tokio::task::block_in_place(|| database.start_again());
    let next = house.start().await;
    Client::new(&house, &next).job_is(&event, "closed").await;
    assert_eq!(house.world.status(&user), Status::Closed);
    next.stop().await;
}

/// After a failover a host may still be connected to the server that was the primary: it answers reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_database_only_reads_is_not_ready_and_comes_back_by_itself() {
    let database = PrivatePostgres::start();
    let house = House::with(&database.database(), House::options()).await;
    let _ = house.world.user("ann@acme.example");
    let host = house.start().await;
    let client = Client::new(&house, &host);
    let is_ready = async || client.get("/readyz").await.expect("an answer").0 == 200;
    assert!(is_ready().await);
    tokio::task::block_in_place(|| database.only_reads(true));
    crate::until("the balancer is told", async || {
        let (status, said) = client.get("/readyz").await.expect("an answer");
        status == 503 && said["journal"] == "cannot be written"
    })
    .await;
    let event = end_to_end::event("ann@acme.example");
    assert_eq!(client.event("acme", &event).await.expect("an answer").0, 503);
    tokio::task::block_in_place(|| database.only_reads(false));
    crate::until("it is ready again", is_ready).await;
    let event = client.accepted("acme", &event).await;
    client.job_is(&event, "closed").await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_at_the_intent_is_not_the_targets_failure() {
    let database = PrivatePostgres::start();
    let house = House::with(&database.database(), House::options()).await;
    let (simulator, user) = (&house.world.simulator, house.world.user("ann@acme.example"));
    let slow = Fault::new(FaultKind::Latency { ms: 2000 })
        .on(Origin::Esign)
        .method("GET");
    simulator.fault(slow.times(1));
    let host = house.start().await;
    let client = Client::new(&house, &host);
    let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
    crate::until("it searches", async || simulator.counters().tokens_issued == 1).await;
    tokio::task::block_in_place(|| database.crash());
    crate::until("the job cannot be put down", async || {
        host.said().contains("cannot put a job down yet")
    })
    .await;
    assert_eq!(
        house.world.seen("DELETE", "/users").len(),
        0,
        "nothing is closed without an intent"
    );
    tokio::task::block_in_place(|| database.start_again());
    let job = client.job_is(&event, "closed").await;
    let id = job["id"].as_str().expect("an id");
    let record = client.see(&format!("/v1/jobs/{id}")).await;
    let results: Vec<&str> = record["history"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|attempt| attempt["result"].as_str())
        .collect();
    assert_eq!(results, ["closed"], "{record:#}");
    assert_eq!(
        (house.world.status(&user), &job["attempts"]),
        (Status::Closed, &serde_json::json!(1))
    );
    host.stop().await;
}
