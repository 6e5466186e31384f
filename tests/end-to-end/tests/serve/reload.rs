//! Files change while jobs run.

use docusign_sim::Status;
use end_to_end::pem;
use serde_json::{Value, json};

use crate::books::Books;
use crate::client::Client;
use crate::house::{House, SOURCE_TOKEN};
use crate::process::Host;

async fn begin(house: &House) -> (Host, Client) {
    let host = house.start().await;
    let client = Client::new(house, &host);
    (host, client)
}

/// Nothing runs until [`resume`].
async fn pause(client: &Client) {
    let paused = client.post("/v1/pause", &json!({ "reason": "a test" })).await;
    assert_eq!(paused.expect("an answer").0, 204);
}

async fn resume(client: &Client) {
    let resumed = client.post("/v1/resume", &json!({})).await;
    assert_eq!(resumed.expect("an answer").0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_change_come_and_go_without_losing_a_job() {
    let house = House::sqlite().await;
    let simulator = &house.world.simulator;
    house.grant("", &[("beta", simulator), ("gamma", simulator)]);
    house.add_tenant("beta");
    let (host, client) = begin(&house).await;
    let books = Books::default();
    books.add(simulator, "acme", 60).await;
    books.add(simulator, "beta", 30).await;
    pause(&client).await;
    books.send_all(&client).await;
    std::fs::remove_file(house.path("tenants/beta.toml")).expect("the file goes");
    house.add_tenant("gamma");
    let event = end_to_end::event("new@gamma.example");
    crate::until("gamma is there", async || {
        matches!(client.event("gamma", &event).await, Ok((200, _)))
    })
    .await;
    // Not at the first look: a file that is written anew is away for a moment.
    crate::until("beta drains", async || client.see("/readyz").await["tenants"] == 2).await;
    let gone = client.event("beta", &event).await.expect("an answer");
    assert_eq!(gone.0, 401, "a tenant whose file is gone takes nothing: {gone:?}");
    resume(&client).await;
    // Each change makes the connectors of acme anew while its jobs run.
    books.add(simulator, "acme", 60).await;
    let text = house.tenant_text();
    for version in 0..6 {
        house.replace("tenants/acme.toml", &format!("{text}# {version}\n"));
        books.send(&client).await;
        let seen = client.see("/readyz").await;
        assert_eq!(
            (&seen["problems"], &seen["ready"]),
            (&json!(0), &json!(true)),
            "{seen:#}"
        );
    }
    client.idle().await;
    let jobs = client.jobs("tenant=gamma").await;
    assert_eq!(jobs[0]["outcome"], "no_account");
    books.balance_but(&client, simulator, 1).await;
    host.stop().await;
}

/// Its events come once: what of it does not run now is no reason to answer 401.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_comes_back_while_it_drains_takes_events_whatever_of_it_runs() {
    let house = House::sqlite().await;
    house.grant("", &[("beta", &house.world.simulator)]);
    house.add_tenant("beta");
    let (host, client) = begin(&house).await;
    pause(&client).await;
    let takes = async |person: &str| {
        let event = end_to_end::event(person);
        matches!(client.event("beta", &event).await, Ok((200, _)))
    };
    assert!(takes("first@beta.example").await);
    let text = std::fs::read_to_string(house.path("tenants/beta.toml")).expect("the file");
    std::fs::remove_file(house.path("tenants/beta.toml")).expect("the file goes");
    crate::until("beta drains", async || client.see("/readyz").await["tenants"] == 1).await;
    assert!(!takes("second@beta.example").await);
    let broken = text.replace("docusign.wasm", "away.wasm");
    assert_ne!(broken, text);
    house.replace("tenants/beta.toml", &broken);
    crate::until("beta is back", async || takes("second@beta.example").await).await;
    house.replace("tenants/beta.toml", &text);
    resume(&client).await;
    client.idle().await;
    let jobs = client.jobs("tenant=beta").await;
    let ended: Vec<_> = jobs.iter().map(|job| job["outcome"].as_str()).collect();
    assert_eq!(ended, [Some("no_account"); 2], "{jobs:#?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_tenant_file_keeps_the_old_one_running_and_is_reported() {
    let house = House::sqlite().await;
    let _ = house.world.user("ann@acme.example");
    let (host, client) = begin(&house).await;
    let good = house.tenant_text();
    house.replace("tenants/acme.toml", &good.replace("[policy]", "[polizy]"));
    crate::until("it is reported", async || client.see("/readyz").await["problems"] == 1).await;
    let seen = client.see("/readyz").await;
    let message = seen["details"]["problems"][0]["message"].as_str().expect("words");
    end_to_end::says(message, &["acme.toml", "polizy", "policy"]);
    let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
    client.job_is(&event, "closed").await;
    house.replace("tenants/acme.toml", &good);
    crate::until("it is mended", async || client.see("/readyz").await["problems"] == 0).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_is_replaced_under_load_runs_next_and_no_job_fails_by_it() {
    let house = House::sqlite().await;
    let simulator = &house.world.simulator;
    let plugin = std::fs::read(end_to_end::plugins().join("docusign.wasm")).expect("a plugin");
    std::fs::create_dir(house.path("own")).expect("a folder");
    std::fs::write(house.path("own/docusign.wasm"), &plugin).expect("a file");
    let text = std::fs::read_to_string(house.path("exeunt.toml")).expect("the host file");
    let folder = format!("{:?}", end_to_end::plugins());
    assert!(text.contains(&folder));
    house.replace("exeunt.toml", &text.replace(&folder, "\"own\""));
    let (host, client) = begin(&house).await;
    let books = Books::default();
    books.add(simulator, "acme", 20).await;
    books.send_all(&client).await;
    std::fs::write(house.path("own/aside"), kit::noted(&plugin)).expect("a file");
    std::fs::rename(house.path("own/aside"), house.path("own/docusign.wasm")).expect("a rename");
    let digests = async || {
        let mut digests = Vec::new();
        for job in client.jobs("outcome=closed").await {
            let job = client
                .see(&format!("/v1/jobs/{}", job["id"].as_str().expect("an id")))
                .await;
            let digest: &Value = &job["detail"]["plugin"]["digest"];
            if !digests.contains(digest) {
                digests.push(digest.clone());
            }
        }
        digests
    };
    crate::until("jobs ran with both", async || {
        books.add(simulator, "acme", 5).await;
        books.send(&client).await;
        digests().await.len() == 2
    })
    .await;
    client.idle().await;
    books.balance(&client, simulator).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_source_token_counts_within_seconds_and_the_old_one_no_more() {
    let house = House::sqlite().await;
    let (host, client) = begin(&house).await;
    let event = end_to_end::event("ann@acme.example");
    client.accepted("acme", &event).await;
    let aside = house
        .world
        .write_secret("tenants/acme/hr.token.new", "hr-0123456789abcdef");
    std::fs::rename(aside, house.path("tenants/acme/hr.token")).expect("a rename");
    crate::until("the new token counts", async || {
        matches!(
            client.event_with("acme", &event, "hr-0123456789abcdef").await,
            Ok((200, _))
        )
    })
    .await;
    assert_eq!(
        client
            .event_with("acme", &event, SOURCE_TOKEN)
            .await
            .expect("an answer")
            .0,
        401
    );
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_signing_key_is_used_for_the_next_token() {
    let house = House::sqlite().await;
    let simulator = &house.world.simulator;
    let users = ["ann@acme.example", "bob@acme.example"].map(|email| house.world.user(email));
    let (host, client) = begin(&house).await;
    let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
    client.job_is(&event, "closed").await;
    let text = pem::fresh();
    let key = simulator.integration_key();
    simulator
        .state()
        .add_public_key(key, &pem::public_key(&text))
        .expect("a public key");
    assert!(simulator.state().remove_public_key(1), "the first key is the old one");
    simulator.revoke_tokens();
    let aside = house.world.write_secret("tenants/acme/docusign.pem.new", &text);
    std::fs::rename(aside, house.path("tenants/acme/docusign.pem")).expect("a rename");
    // Until the file is looked at the old key parks the lane, and the look lets it go on.
    let event = client.accepted("acme", &end_to_end::event("bob@acme.example")).await;
    client.job_is(&event, "closed").await;
    assert_eq!(users.map(|user| house.world.status(&user)), [Status::Closed; 2]);
    host.stop().await;
}

/// Both keys are valid while the rotation goes on, at the host and at the target, and neither changes at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signing_key_is_rotated_under_load_without_losing_a_job() {
    let house = House::sqlite().await;
    let simulator = &house.world.simulator;
    let (host, client) = begin(&house).await;
    let books = Books::default();
    let send = async || {
        books.add(simulator, "acme", 10).await;
        books.send(&client).await;
    };
    send().await;
    // The host first: the target does not know the new key yet.
    let new = pem::fresh();
    house.world.write_secret("tenants/acme/new.pem", &new);
    let text = house.tenant_text();
    let both = text.replace("\"file:docusign.pem\"", "[\"file:new.pem\", \"file:docusign.pem\"]");
    assert_ne!(text, both);
    house.replace("tenants/acme.toml", &both);
    let tokens = || house.world.seen("POST", "/oauth/token");
    let last = |wanted: &[u16]| {
        let asked = tokens();
        let statuses: Vec<Option<u16>> = asked.iter().map(|record| record.status).collect();
        let wanted: Vec<Option<u16>> = wanted.iter().copied().map(Some).collect();
        statuses.ends_with(&wanted)
    };
    crate::until("the new key is refused and the old one accepted", async || {
        send().await;
        last(&[400, 200])
    })
    .await;
    // What is revoked between a token and the first request with it is a token that never worked: that parks the lane.
    client.idle().await;
    // Then the target: for a while it takes both.
    let key = simulator.integration_key();
    simulator
        .state()
        .add_public_key(key, &pem::public_key(&new))
        .expect("a public key");
    send().await;
    assert!(simulator.state().remove_public_key(1), "the first key is the old one");
    // Counted first: a job that is under way may ask for the new token at once.
    let before = tokens().len();
    simulator.revoke_tokens();
    crate::until("a token is made with the new key", async || {
        send().await;
        let lane = client.lane("acme").await;
        assert!(lane["parked"].is_null(), "{lane:#}");
        tokens().len() > before && last(&[200])
    })
    .await;
    // Then the host again: the old key is gone.
    house.replace("tenants/acme.toml", &text.replace("file:docusign.pem", "file:new.pem"));
    std::fs::remove_file(house.path("tenants/acme/docusign.pem")).expect("the old key goes");
    send().await;
    client.idle().await;
    books.balance(&client, simulator).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_serves_and_ends_though_a_file_hangs_that_it_reads() {
    for file in ["tenants/globex.toml", "tokens.toml"] {
        let house = House::sqlite().await;
        let user = house.world.user("ann@acme.example");
        let host = house.start_with(&[("TOKIO_WORKER_THREADS", "1".to_owned())]).await;
        let client = Client::new(&house, &host);
        // Held open to write and never written to: whoever reads it waits, as for a network file system that is away.
        let pipe = house.path("pipe");
        let made = tokio::process::Command::new("mkfifo").arg(&pipe).status().await;
        assert!(made.expect("mkfifo runs").success());
        let _writer = std::fs::File::options()
            .read(true)
            .write(true)
            .open(&pipe)
            .expect("a pipe");
        let path = house.path(file);
        std::fs::rename(&pipe, &path).expect("a rename");
        crate::until("it is read", async || host.has_open(&path)).await;
        let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
        client.job_is(&event, "closed").await;
        assert_eq!(house.world.status(&user), Status::Closed);
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_to_a_tenant_that_is_not_there_is_said() {
    let house = House::sqlite().await;
    house.grant("", &[("acne", &house.world.simulator)]);
    let host = house.start().await;
    end_to_end::says(&host.said(), &["[tenants.acne]", "there is no", "tenants/acne.toml"]);
    assert!(!host.said().contains("[tenants.acme]"), "{}", host.said());
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_is_taken_back_is_gone_although_the_tenants_file_does_not_load() {
    taken_back(
        |house| {
            let mistaken = house.tenant_text().replace("mode = \"enforce\"", "mode = \"enforced\"");
            house.replace("tenants/acme.toml", &mistaken);
        },
        |_| {},
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_is_taken_back_is_gone_although_the_folder_of_tenants_is() {
    let moved =
        |house: &House, from: &str, to: &str| std::fs::rename(house.path(from), house.path(to)).expect("it moves");
    taken_back(
        |house| moved(house, "tenants", "away"),
        |house| moved(house, "away", "tenants"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_is_taken_back_is_gone_although_the_tenants_file_is() {
    taken_back(
        |house| std::fs::remove_file(house.path("tenants/acme.toml")).expect("it goes"),
        |_| {},
    )
    .await;
}

async fn taken_back(spoil: impl FnOnce(&House), mend: impl FnOnce(&House)) {
    let house = House::sqlite().await;
    let (host, client) = begin(&house).await;
    let tenant = house.tenant_text();
    spoil(&house);
    crate::until("it is reported", async || client.see("/readyz").await["problems"] == 1).await;
    let event = end_to_end::event("nobody@acme.example");
    let id = client.accepted("acme", &event).await;
    client.job_is(&id, "no_account").await;
    let granted = std::fs::read_to_string(house.path("exeunt.toml")).expect("the host file");
    let taken_back: String = granted
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("connect_to"))
        .collect();
    house.replace("exeunt.toml", &taken_back);
    crate::until("the connector stops", async || {
        client.see("/readyz").await["problems"] == 2
    })
    .await;
    let asked = house.world.simulator.counters().requests;
    let id = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
    crate::until("its job is parked", async || client.job(&id).await["state"] == "parked").await;
    let lane = client.lane("acme").await;
    let why = lane["parked"]["why"].as_str().expect("a reason");
    end_to_end::says(
        why,
        &[
            "no longer grants",
            "[tenants.acme]",
            "tenants/acme.toml was not loaded since",
        ],
    );
    assert_eq!(house.world.simulator.counters().requests, asked, "nothing was sent");
    // Both are mended, and it goes on by itself.
    mend(&house);
    house.replace("exeunt.toml", &granted);
    house.replace("tenants/acme.toml", &tenant);
    client.job_is(&id, "no_account").await;
    host.stop().await;
}
