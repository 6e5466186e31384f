//! What cannot go on waits, visibly, and goes on when it can.

use docusign_sim::{Delegation, Fault, FaultKind, Origin, Status};
use serde_json::{Value, json};

use crate::client::Client;
use crate::house::House;
use crate::on_both;

/// What `/readyz` says of the one connector, once it is parked.
async fn parked(client: &Client) -> Value {
    crate::until("it is parked", async || client.see("/readyz").await["parked"] == 1).await;
    let ready = client.see("/readyz").await;
    let parked = &ready["details"]["parked"][0];
    assert_eq!(
        (&parked["tenant"], &parked["connector"]),
        (&json!("acme"), &json!("docusign"))
    );
    parked.clone()
}

on_both! {
    async fn a_pause_while_a_refused_token_is_minted_anew_stops_the_second_closure(house: House) {
        let simulator = &house.world.simulator;
        let ann = house.world.user("ann@acme.example");
        let refused = FaultKind::Status { status: 401, error_code: "AUTHORIZATION_INVALID_TOKEN".into(), message: String::new() };
        simulator.fault(Fault::new(refused).method("DELETE"));
        simulator.fault(Fault { skip: 1, ..Fault::new(FaultKind::Latency { ms: 4_000 }).path("/oauth/token") });
        let host = house.start().await;
        let client = Client::new(&house, &host);
        let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
        let closures = || house.world.seen("DELETE", "/users").len();
        crate::until("the token is refused", async || closures() == 1).await;
        let paused = house.ask(&host, &["pause", "acme", "--reason", "stop"]).await;
        assert_eq!(paused.code, 0, "{paused:?}");
        crate::until("the job waits", async || client.job(&event).await["state"] == "queued").await;
        assert_eq!(simulator.counters().tokens_issued, 2, "it was stopped after the mint");
        assert_eq!((closures(), house.world.status(&ann)), (1, Status::Active));
        assert_eq!(house.ask(&host, &["resume", "acme"]).await.code, 0);
        client.job_is(&event, "closed").await;
        assert_eq!((closures(), house.world.status(&ann)), (2, Status::Closed));
        host.stop().await;
    }

    async fn a_rate_limit_rests_the_lane_until_the_targets_own_time_and_costs_no_attempt(house: House) {
        let simulator = &house.world.simulator;
        for name in ["ann", "bob", "cid"] {
            let _ = house.world.user(&format!("{name}@acme.example"));
        }
        let host = house.start().await;
        let client = Client::new(&house, &host);
        let now = simulator.state().clock.now();
        let reset = now + 25;
        let answer = FaultKind::Answer {
            status: 429,
            headers: vec![
                ("content-type".to_owned(), "application/json".to_owned()),
                ("x-ratelimit-remaining".to_owned(), "0".to_owned()),
                ("x-ratelimit-reset".to_owned(), reset.to_string()),
            ],
            body: json!({ "errorCode": "HOURLY_APIINVOCATION_LIMIT_EXCEEDED", "message": "the hour is over" }).to_string(),
        };
        simulator.fault(Fault::new(answer).on(Origin::Esign).method("GET"));
        let ann = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
        crate::until("the lane rests", async || !client.lane("acme").await["resting"].is_null()).await;
        // More than one attempt each would be seen below.
        let others = [
            client.accepted("acme", &end_to_end::event("bob@acme.example")).await,
            client.accepted("acme", &end_to_end::event("cid@acme.example")).await,
        ];
        for event in others.iter().chain([&ann]) {
            let job = client.job_is(event, "closed").await;
            assert_eq!(job["attempts"], 1, "{job:#}");
        }
        let asked = simulator.requests();
        let limited = asked.iter().position(|record| record.status == Some(429)).expect("the limit");
        for record in &asked[limited + 1..] {
            assert!(record.at_ms >= reset * 1000, "asked before its time: {record:?}");
        }
        host.stop().await;
    }

    async fn the_breaker_withholds_what_is_too_much_and_lets_it_go_on_command(house: House) {
        house.world.edit("closures = 100000", "closures = 3");
        for number in 0..8 {
            let _ = house.world.user(&format!("p{number}@acme.example"));
        }
        let host = house.start().await;
        let client = Client::new(&house, &host);
        for number in 0..8 {
            client.accepted("acme", &end_to_end::event(&format!("p{number}@acme.example"))).await;
        }
        client.idle().await;
        let ended = |jobs: &[Value]| jobs.iter().filter(|job| job["outcome"] == "closed").count();
        let jobs = client.jobs("").await;
        assert_eq!(ended(&jobs), 3, "{jobs:#?}");
        assert_eq!(client.jobs("state=held&why=breaker").await.len(), 5);
        assert_eq!(house.world.seen("DELETE", "/users").len(), 3);
        // What it says may be a second old.
        crate::until("it is in sight", async || client.see("/readyz").await["breakers_open"] == 1).await;
        let ready = client.see("/readyz").await;
        assert_eq!(ready["details"]["breakers_open"][0]["tenant"], "acme");
        let arguments = ["breaker", "release", "acme", "docusign", "--reason", "a reorganisation"];
        let released = house.ask(&host, &arguments).await;
        end_to_end::says(&released.stdout, &["5 jobs"]);
        client.idle().await;
        assert_eq!(ended(&client.jobs("").await), 6, "a new window, and the limit holds again");
        assert_eq!(house.world.seen("DELETE", "/users").len(), 6);
        host.stop().await;
    }

    async fn a_connector_without_consent_parks_in_sight_and_goes_on_when_consent_is_given_and_it_is_resumed(house: House) {
        let user = house.world.user("ann@acme.example");
        house.world.simulator.set_consent("");
        let host = house.start().await;
        let client = Client::new(&house, &host);
        let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
        let parked = parked(&client).await;
        let said = ["consent", house.world.simulator.user_id(), "/oauth/auth?"];
        end_to_end::says(parked["why"].as_str().expect("words"), &said);
        end_to_end::says(&house.ask(&host, &["lanes"]).await.stdout, &["acme/docusign", "parked: consent", said[2]]);
        assert_eq!(client.job(&event).await["state"], "parked");
        house.world.simulator.set_consent("signature impersonation");
        // That it tries again only now is what these words say.
        let resumed = house.ask(&host, &["resume", "acme", "docusign"]).await;
        end_to_end::says(&resumed.stdout, &["was not paused, and tries again"]);
        client.job_is(&event, "closed").await;
        crate::until("nothing is parked", async || client.see("/readyz").await["parked"] == 0).await;
        assert_eq!(house.world.status(&user), Status::Closed);
        host.stop().await;
    }

    async fn a_closure_that_could_not_be_read_is_proven_and_not_repeated_when_the_connector_may_read(house: House) {
        let user = house.world.user("ann@acme.example");
        let own = house.world.simulator.user_id().to_owned();
        house.world.simulator.update_user(&own, |user| {
            user.is_admin = false;
            user.delegation = Delegation::UsersAndGroups;
        });
        let host = house.start().await;
        let client = Client::new(&house, &host);
        let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
        let parked = parked(&client).await;
        let said = ["accepted the closure, not verified", "make it an account administrator"];
        end_to_end::says(parked["why"].as_str().expect("words"), &said);
        assert_eq!(client.job(&event).await["state"], "parked");
        house.world.simulator.update_user(&own, |user| user.is_admin = true);
        house.ask(&host, &["resume", "acme", "docusign"]).await;
        let job = client.job_is(&event, "closed").await;
        let said = ["closed by an earlier attempt", "independent read"];
        end_to_end::says(job["reason"].as_str().expect("a reason"), &said);
        assert_eq!(house.world.status(&user), Status::Closed);
        assert_eq!(house.world.seen("DELETE", "/users").len(), 1, "it was closed the first time");
        host.stop().await;
    }

    async fn a_misconfigured_connector_parks_in_sight_and_goes_on_when_its_file_is_mended(house: House) {
        let user = house.world.user("ann@acme.example");
        let key = house.world.simulator.integration_key().to_owned();
        let wrong = "00000000-0000-4000-8000-000000000000";
        let good = std::fs::read_to_string(house.world.tenant()).expect("a tenant file");
        house.world.edit(&key, wrong);
        let host = house.start().await;
        let client = Client::new(&house, &host);
        let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
        let parked = parked(&client).await;
        assert!(parked["why"].as_str().is_some_and(|why| !why.is_empty()), "{parked:#}");
        let job = client.job(&event).await;
        assert_eq!((&job["state"], &job["attempts"]), (&json!("parked"), &json!(0)), "{job:#}");
        house.replace("tenants/acme.toml", &good);
        client.job_is(&event, "closed").await;
        crate::until("nothing is parked", async || client.see("/readyz").await["parked"] == 0).await;
        assert_eq!(house.world.status(&user), Status::Closed);
        host.stop().await;
    }
}
