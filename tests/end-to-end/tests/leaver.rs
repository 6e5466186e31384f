//! The way through the house: one event, one DocuSign account, every outcome that is not an error.

use docusign_sim::{Account, Status, User};
use end_to_end::{World, event, event_with, event_with_target_id};
use serde_json::{Value, json};

const ANN: &str = "ann.english@acme.example";

#[tokio::test]
async fn an_account_is_closed_and_proved_closed() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let other = world.user("letty.wilson@acme.example");
    let ran = world.run(&event(ANN)).await;
    let job = ran.ended("closed", 0);
    assert_eq!(job["state"], "ended");
    assert_eq!(job["connector"], "docusign");
    assert_eq!(
        job["accounts"],
        json!([{"id": ann, "email": ANN, "before": "Active", "after": "Closed"}])
    );
    assert_eq!(world.status(&ann), Status::Closed);
    assert_eq!(world.status(&other), Status::Active);
    assert_eq!(world.simulator.counters().closes, 1);
}

#[tokio::test]
async fn the_report_has_the_shape_that_is_documented() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let report = world.run(&event(ANN)).await.json();
    assert_eq!(keys(&report), ["event", "jobs"]);
    assert_eq!(report["event"]["decision"], "leaver");
    assert_eq!(
        report["event"]["reason"],
        r#"userStatus became "inactive" (was "active")"#
    );
    let person = &report["event"]["person"];
    assert_eq!(
        (&person["email"], &person["name"]),
        (&json!(ANN), &json!("Ann English"))
    );
    let job = &report["jobs"][0];
    let names = [
        "accounts",
        "calls",
        "connector",
        "elapsed_ms",
        "outcome",
        "plugin",
        "reason",
        "state",
        "until",
    ];
    assert_eq!(keys(job), names);
    assert_eq!(keys(&job["plugin"]), ["digest", "name", "version"]);
    let digest = job["plugin"]["digest"].as_str().expect("a digest");
    assert!(digest.len() == 71 && digest.starts_with("sha256:"), "{digest}");
    assert!(job["elapsed_ms"].is_u64());
    let users = format!("/restapi/v2.1/accounts/{}/users", world.simulator.account_id());
    let user = format!("{users}/{ann}");
    let expected = [
        ["mint", "POST", "account", "/oauth/token"],
        ["mint", "GET", "account", "/oauth/userinfo"],
        ["find", "GET", "esign", &users],
        ["close", "DELETE", "esign", &users],
        ["read", "GET", "esign", &user],
    ];
    let calls = job["calls"].as_array().expect("calls");
    assert_eq!(calls.len(), expected.len(), "{job:#}");
    let seen = world.simulator.requests();
    for ((call, [verb, method, endpoint, path]), request) in calls.iter().zip(expected).zip(&seen) {
        assert_eq!(
            keys(call),
            [
                "at",
                "endpoint",
                "method",
                "ms",
                "path",
                "status",
                "trace_token",
                "verb"
            ]
        );
        let said = [&call["verb"], &call["method"], &call["endpoint"], &call["path"]];
        assert_eq!(said, [&json!(verb), &json!(method), &json!(endpoint), &json!(path)]);
        assert_eq!(call["status"], 200);
        assert!(call["ms"].is_u64());
        assert_eq!(call["trace_token"], request.trace_token);
    }
    assert_eq!(seen.len(), expected.len());
}

#[tokio::test]
async fn the_timeline_says_what_was_done_and_what_came_of_it() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let arguments = ["run", "--tenant", "tenants/acme.toml", "--source", "hr", "--event", "-"];
    let ran = world.exeunt(&arguments, &event(ANN)).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let users = format!("/restapi/v2.1/accounts/{}/users", world.simulator.account_id());
    let expected = format!(
        "event    leaver: userStatus became \"inactive\" (was \"active\")\n\
         person   name Ann English, email {ANN}, id *\n\
         job      docusign with docusign 0.1.0 *\n\
         \x20 mint   POST   account /oauth/token  200  * ms  trace *\n\
         \x20 mint   GET    account /oauth/userinfo  200  * ms  trace *\n\
         \x20 find   GET    esign {users}  200  * ms  trace *\n\
         \x20 close  DELETE esign {users}  200  * ms  trace *\n\
         \x20 read   GET    esign {users}/{ann}  200  * ms  trace *\n\
         \x20 account {ann} (ann.english@acme.example): Active -> Closed\n\
         outcome  closed: closed, and an independent read says so *\n"
    );
    assert_eq!(without_what_varies(&ran.stdout), expected);
}

#[tokio::test]
async fn an_account_that_is_closed_is_left_alone() {
    let world = World::new().await;
    let ann = world.simulator.add_user(User::new(ANN).with_status(Status::Closed));
    let job = world.run(&event(ANN)).await.ended("already_closed", 0);
    assert_eq!(job["accounts"][0]["id"], ann);
    assert_eq!(
        (&job["accounts"][0]["before"], &job["accounts"][0]["after"]),
        (&json!("Closed"), &json!("Closed"))
    );
    assert_eq!(world.seen("GET", &ann).len(), 1, "the search's word is no proof");
    world.was_only_read();
}

#[tokio::test]
async fn the_same_event_again_closes_nothing_again() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let event = event(ANN);
    world.run(&event).await.ended("closed", 0);
    world.run(&event).await.ended("already_closed", 0);
    assert_eq!(world.simulator.user(&ann).map(|user| user.deletes), Some(1));
}

#[tokio::test]
async fn a_person_without_account_is_no_error() {
    let world = World::new().await;
    let job = world.run(&event(ANN)).await.ended("no_account", 0);
    assert_eq!(job["accounts"], json!([]));
    world.was_only_read();
}

#[tokio::test]
async fn a_dry_run_only_says_what_would_be_closed() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let planned = |ran: &end_to_end::Ran| {
        let job = ran.ended_because("planned", 0, &["would close", &ann]);
        assert_eq!(
            job["accounts"],
            json!([{"id": ann, "email": ANN, "before": "Active", "after": null}])
        );
    };
    planned(&world.run_with(&event(ANN), &["--dry-run"]).await);
    world.edit("mode = \"enforce\"", "mode = \"dry-run\"");
    planned(&world.run(&event(ANN)).await);
    world.edit("mode = \"dry-run\"\n", "");
    planned(&world.run(&event(ANN)).await);
    assert_eq!(world.status(&ann), Status::Active);
    world.was_only_read();
}

#[tokio::test]
async fn protected_people_are_refused() {
    let world = World::new().await;
    let ceo = world.user("CEO@acme.example");
    world
        .run(&event("ceo@acme.example"))
        .await
        .ended_because("refused", 3, &["protected", "ceo@*"]);
    assert_eq!(world.status(&ceo), Status::Active);
    world.was_only_read();
}

#[tokio::test]
async fn protection_holds_for_the_account_that_an_alias_leads_to() {
    let world = World::new().await;
    let ceo = world.user("ceo@acme.example");
    let event = event_with_target_id(&world, "", &ceo);
    world
        .run(&event)
        .await
        .ended_because("refused", 3, &["ceo@acme.example", "protected", "ceo@*"]);
    assert_eq!(world.status(&ceo), Status::Active);
    world.was_only_read();
}

#[tokio::test]
async fn an_account_can_be_protected_by_its_id() {
    let world = World::new().await;
    let ann = world.user(ANN);
    world.edit("ceo@*", &ann.to_uppercase());
    world.run(&event(ANN)).await.ended_because("refused", 3, &["protected"]);
    world.was_only_read();
}

#[tokio::test]
async fn administrators_wait_for_a_person() {
    let world = World::new().await;
    let admin = world.simulator.add_user(User::new(ANN).admin());
    world
        .run(&event(ANN))
        .await
        .ended_because("held", 3, &[&admin, "administrator"]);
    assert_eq!(world.status(&admin), Status::Active);
    world.was_only_read();
}

#[tokio::test]
async fn the_account_that_the_connector_works_with_is_refused() {
    let world = World::new().await;
    let own = world.simulator.user_id().to_owned();
    let email = world.simulator.user(&own).expect("the API user").email;
    world
        .run(&event(&email))
        .await
        .ended_because("refused", 3, &[&own, "lock the connector out"]);
    assert_eq!(world.status(&own), Status::Active);
    world.was_only_read();
}

#[tokio::test]
async fn several_open_accounts_wait_for_a_person() {
    let world = World::new().await;
    let both = [world.user(ANN), world.user("Ann.English@acme.example")];
    let said = [
        "2 open accounts",
        "close_all = true",
        "[connectors.docusign]",
        &both[0],
        &both[1],
    ];
    world.run(&event(ANN)).await.ended_because("held", 3, &said);
    world.was_only_read();
}

#[tokio::test]
async fn close_all_closes_all_that_are_open() {
    let world = World::new().await;
    world.edit("mode = \"enforce\"", "mode = \"enforce\"\nclose_all = true");
    let both = [
        world.user(ANN),
        world
            .simulator
            .add_user(User::new(ANN).with_status(Status::ActivationSent)),
    ];
    let job = world.run(&event(ANN)).await.ended("closed", 0);
    for (account, id) in both.iter().enumerate() {
        assert_eq!(world.status(id), Status::Closed);
        assert_eq!(job["accounts"][account]["after"], "Closed");
    }
    assert_eq!(world.seen("DELETE", "/users").len(), 2, "one request for each");
}

#[tokio::test]
async fn closed_accounts_beside_an_open_one_do_not_hide_it() {
    let world = World::new().await;
    let closed = || world.simulator.add_user(User::new(ANN).with_status(Status::Closed));
    let (first, second) = (closed(), closed());
    let open = world.user(ANN);
    let third = closed();
    let job = world.run(&event(ANN)).await.ended("closed", 0);
    assert_eq!(job["accounts"].as_array().map(Vec::len), Some(4));
    assert_eq!(world.status(&open), Status::Closed);
    for id in [first, second, third] {
        assert_eq!(world.simulator.user(&id).map(|user| user.deletes), Some(0));
    }
}

#[tokio::test]
async fn addresses_are_compared_without_case() {
    let world = World::new().await;
    let ann = world.user("Ann.English@Acme.EXAMPLE");
    world.run(&event("ANN.english@acme.example")).await.ended("closed", 0);
    assert_eq!(world.status(&ann), Status::Closed);
}

#[tokio::test]
async fn every_status_but_closed_is_closed() {
    let world = World::new().await;
    for (number, status) in Status::ALL
        .into_iter()
        .filter(|status| *status != Status::Closed)
        .enumerate()
    {
        let email = format!("person{number}@acme.example");
        let id = world.simulator.add_user(User::new(&email).with_status(status));
        let job = world.run(&event(&email)).await.ended("closed", 0);
        assert_eq!(job["accounts"][0]["before"], status.as_str());
        assert_eq!(world.status(&id), Status::Closed, "{status:?}");
    }
}

#[tokio::test]
async fn a_membership_that_an_identity_provider_owns_is_reported() {
    let world = World::new().await;
    let ann = world.simulator.add_user(User::new(ANN).scim());
    let job = world.run(&event(ANN)).await.ended("closed", 0);
    assert_eq!(job["accounts"][0]["externally_managed"], true);
    let arguments = ["run", "--tenant", "tenants/acme.toml", "--source", "hr", "--event", "-"];
    let timeline = world.exeunt(&arguments, &event(ANN)).await.stdout;
    end_to_end::says(
        &timeline,
        &[&format!(
            "account {ann} ({ANN}): Closed -> Closed, managed by an identity provider\n"
        )],
    );
}

#[tokio::test]
async fn only_the_account_in_the_settings_is_touched() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let elsewhere = {
        let mut other = Account::new("Acme Holding");
        other.add(
            User::new("docusign.api@acme.example")
                .with_id(world.simulator.user_id())
                .admin(),
        );
        other.add(User::new(ANN).with_id(&ann));
        world.simulator.state().add_account(other)
    };
    world.run(&event(ANN)).await.ended("closed", 0);
    assert_eq!(world.status(&ann), Status::Closed);
    let state = world.simulator.state();
    let there = state
        .account(&elsewhere)
        .and_then(|account| account.user(&ann))
        .expect("the other membership");
    assert_eq!((there.status, there.deletes), (Status::Active, 0));
}

#[tokio::test]
async fn an_uncorrelated_account_names_nobody() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let uncorrelated = event_with(ANN, |event| event["account"]["correlated"] = json!(false));
    world
        .run(&uncorrelated)
        .await
        .refused_the_event(&["not correlated", "SailPoint"]);
    assert_eq!(world.status(&ann), Status::Active);
    world.was_not_asked();
}

#[tokio::test]
async fn a_placeholder_that_was_not_filled_in_is_refused() {
    let world = World::new().await;
    let event = event("{{$.getIdentity.attributes.email}}");
    world.run(&event).await.refused_the_event(&["`{{$`", "workflow"]);
    world.was_not_asked();
}

#[tokio::test]
async fn an_event_about_something_else_is_not_a_leaver() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let event = event_with(ANN, |event| {
        event["singleValueAttributeChanges"][0]["newValue"] = json!("on leave")
    });
    let ran = world.run(&event).await;
    let report = ran.json();
    assert_eq!((&report["event"]["decision"], ran.code), (&json!("not_a_leaver"), 0));
    assert_eq!(
        (&report["event"]["person"], &report["jobs"]),
        (&Value::Null, &json!([]))
    );
    end_to_end::says(
        report["event"]["reason"].as_str().expect("a reason"),
        &["on leave", "inactive"],
    );
    assert_eq!(world.status(&ann), Status::Active);
    world.was_not_asked();
}

#[tokio::test]
async fn what_the_server_would_hold_is_held_here_too() {
    let world = World::new().await;
    let ann = world.user(ANN);
    world.edit(
        "kind = \"sailpoint\"",
        "kind = \"sailpoint\"\ntime = \"$.time\"\nmax_age = \"2d\"",
    );
    let sample = event_with(ANN, |event| {
        event["identity"]["id"] = json!("2c91808568c529c60168cca6f90c1313");
    });
    let old = event_with(ANN, |event| event["time"] = json!("2019-12-24T10:00:00Z"));
    let of_no_age = event_with(ANN, |event| event["time"] = json!("yesterday"));
    let cases = [
        (sample, "SailPoint's published samples"),
        (old, "longer ago than max_age"),
        (of_no_age, "its age is not known"),
    ];
    for (event, said) in cases {
        let ran = world.run(&event).await;
        let report = ran.json();
        assert_eq!(
            (&report["event"]["decision"], ran.code),
            (&json!("held"), 3),
            "{report:#}"
        );
        assert_eq!(
            (&report["event"]["person"]["email"], &report["jobs"]),
            (&json!(ANN), &json!([]))
        );
        end_to_end::says(
            report["event"]["reason"].as_str().expect("a reason"),
            &["userStatus became", said],
        );
    }
    assert_eq!(world.status(&ann), Status::Active);
    world.was_not_asked();
}

#[tokio::test]
async fn a_tenant_without_connectors_is_a_configuration_error() {
    let world = World::new().await;
    let file = world.tenant_file();
    let (source, _) = file.split_once("[connectors.docusign]").expect("a connector");
    world.write("tenants/acme.toml", source);
    let said = ["tenants/acme.toml", "has no [connectors.NAME]"];
    world.run(&event(ANN)).await.was_misused(&said);
}

#[tokio::test]
async fn a_transcript_that_cannot_be_written_is_known_before_anything_is_closed() {
    let world = World::new().await;
    let ann = world.user(ANN);
    world
        .run_with(&event(ANN), &["--transcript", "no/such/folder/transcript"])
        .await
        .was_misused(&["cannot write the transcript no/such/folder/transcript"]);
    assert_eq!(world.status(&ann), Status::Active);
    world.was_not_asked();
    world
        .run_with(&event(ANN), &["--transcript", "/dev/full"])
        .await
        .ended("closed", 1);
}

#[tokio::test]
async fn a_source_that_does_not_exist_is_a_usage_error_with_the_nearest_name() {
    let world = World::new().await;
    let arguments = [
        "run",
        "--tenant",
        "tenants/acme.toml",
        "--source",
        "hrr",
        "--event",
        "-",
    ];
    world
        .exeunt(&arguments, &event(ANN))
        .await
        .was_misused(&["[sources.hrr]", "did you mean `hr`?"]);
    world.was_not_asked();
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

/// A timeline with `*` for times, trace tokens, the event's own id and the plugin's digest.
fn without_what_varies(timeline: &str) -> String {
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        for at in 1..words.len() {
            if words[at] == "ms" || words[at] == "ms)" {
                words[at - 1] = if words[at] == "ms" { "*" } else { "" };
            }
            if words[at - 1] == "trace" || words[at - 1] == "id" || words[at].starts_with("(sha256:") {
                words[at] = "*";
            }
        }
        words.join(" ").replace(" ms)", "*") + "\n"
    };
    timeline.lines().map(line).collect()
}
