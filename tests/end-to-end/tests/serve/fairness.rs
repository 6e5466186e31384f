//! One tenant's backlog and one tenant's hanging target are theirs alone. Order is asserted, never time.

use docusign_sim::{Fault, FaultKind, Simulator};
use serde_json::{Value, json};

use crate::books::Books;
use crate::client::Client;
use crate::house::House;
use crate::on_both;

const OTHERS: [&str; 4] = ["one", "two", "three", "four"];
const BACKLOG: usize = 900;
const EACH: usize = 12;

/// How many of these jobs had ended at that time.
fn ended_by(jobs: &[Value], time: &str) -> usize {
    jobs.iter()
        .filter(|job| job["ended_at"].as_str().is_some_and(|at| at <= time))
        .count()
}

/// The others, and `stuck`, whose target takes an hour for each answer and is returned.
async fn add_tenants(house: &House) -> Simulator {
    let hanging = Simulator::start(House::options()).await.expect("a simulator");
    hanging.fault(Fault::new(FaultKind::Latency { ms: 3_600_000 }).forever());
    let mut tenants: Vec<(&str, &Simulator)> = OTHERS.iter().map(|name| (*name, &house.world.simulator)).collect();
    tenants.push(("stuck", &hanging));
    house.grant("", &tenants);
    for (name, simulator) in &tenants {
        house.add_tenant_for(name, simulator);
    }
    hanging
}

/// Waits until one of the others has no job left.
async fn done(client: &Client, name: &str) {
    crate::until("the others are done", async || {
        let lane = client.lane(name).await;
        lane["queued"] == 0 && lane["running"] == 0
    })
    .await;
}

/// Gives a tenant more connectors like its own, this many in all.
fn give_connectors(house: &House, tenant: &str, count: usize) {
    let path = format!("tenants/{tenant}.toml");
    let text = std::fs::read_to_string(house.path(&path)).expect("a tenant file");
    let (before, rest) = text.split_once("[connectors.docusign]\n").expect("a connector");
    let (connector, after) = rest.split_once("\n\n").expect("what follows");
    let all: String = (0..count)
        .map(|number| format!("[connectors.target{number}]\n{connector}\n\n"))
        .collect();
    house.replace(&path, &format!("{before}{all}{after}"));
}

on_both! {
    async fn a_backlog_and_a_hanging_target_do_not_hold_up_the_others(house: House) {
        let simulator = &house.world.simulator;
        let hanging = add_tenants(&house).await;
        let host = house.start().await;
        let client = Client::new(&house, &host);
        // Everything is there before anything runs.
        assert_eq!(client.post("/v1/pause", &json!({ "reason": "a test" })).await.expect("an answer").0, 204);
        let (books, stuck) = (Books::default(), Books::default());
        books.add(simulator, "acme", BACKLOG).await;
        // A twentieth; the backlog is nine tenths of all.
        stuck.add(&hanging, "stuck", 50).await;
        for name in OTHERS {
            books.add(simulator, name, EACH).await;
        }
        books.send_all(&client).await;
        stuck.send_all(&client).await;
        assert_eq!(client.post("/v1/resume", &json!({})).await.expect("an answer").0, 200);
        let mut last = String::new();
        for name in OTHERS {
            done(&client, name).await;
            for job in client.jobs(&format!("tenant={name}")).await {
                let at = job["ended_at"].as_str().expect("a time");
                last = last.max(at.to_owned());
            }
        }
        let done = ended_by(&client.jobs("tenant=acme").await, &last);
        println!("when the last of {} small tenants' {EACH} jobs ended, {done} of {BACKLOG} of the large one had", OTHERS.len());
        // Its turn comes as often as theirs; twice that leaves room for turns that the others could not fill.
        assert!(done <= EACH * 2 + 16, "{done}");
        let hangs = client.lane("stuck").await;
        assert_eq!(hangs["running"].as_u64().expect("a number") + hangs["queued"].as_u64().expect("a number"), 50);
        host.kill().await;
    }

    // A lane runs 8 jobs, so these could hold 128 of the 256 places of the host.
    async fn a_tenant_all_of_whose_sixteen_targets_hang_leaves_three_quarters_of_the_host(house: House) {
        let simulator = &house.world.simulator;
        let hanging = add_tenants(&house).await;
        give_connectors(&house, "stuck", 16);
        let host = house.start().await;
        let client = Client::new(&house, &host);
        let (books, stuck) = (Books::default(), Books::default());
        stuck.add(&hanging, "stuck", 10).await;
        stuck.send_all(&client).await;
        let running = async || -> u64 {
            let seen = client.see("/v1/lanes?tenant=stuck").await;
            let lanes = seen["lanes"].as_array().expect("a list");
            lanes.iter().map(|lane| lane["running"].as_u64().expect("a number")).sum()
        };
        crate::until("the hanging tenant has what it may have", async || running().await == 64).await;
        for name in OTHERS {
            books.add(simulator, name, EACH).await;
        }
        books.send_all(&client).await;
        for name in OTHERS {
            done(&client, name).await;
        }
        assert!(running().await <= 64, "{}", running().await);
        let jobs = client.jobs("tenant=stuck").await;
        assert_eq!((jobs.len(), ended_by(&jobs, "9")), (160, 0), "its jobs wait for its targets");
        host.kill().await;
    }

    async fn one_tenant_may_use_all_its_places_at_once(house: House) {
        let simulator = &house.world.simulator;
        simulator.fault(Fault::new(FaultKind::Latency { ms: 300 }).forever());
        let tenant = house.tenant_text().replace("[connectors.docusign]\n", "[connectors.docusign]\nconcurrency = 64\n");
        house.replace("tenants/acme.toml", &tenant);
        let host = house.start().await;
        let client = Client::new(&house, &host);
        assert_eq!(client.post("/v1/pause", &json!({ "reason": "a test" })).await.expect("an answer").0, 204);
        let books = Books::default();
        books.add(simulator, "acme", 64).await;
        books.send_all(&client).await;
        assert_eq!(client.post("/v1/resume", &json!({})).await.expect("an answer").0, 200);
        crate::until("all run", async || client.lane("acme").await["running"] == 64).await;
        done(&client, "acme").await;
        let jobs = client.jobs("tenant=acme").await;
        let at_once = |job: &&Value| job["state"] == "ended" && job["attempts"] == 1;
        assert_eq!(jobs.iter().filter(at_once).count(), 64, "none ran into a limit and was tried again");
        books.balance(&client, simulator).await;
        host.kill().await;
    }
}
