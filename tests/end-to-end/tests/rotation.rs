//! Two signing keys at once: the next one is tried where the target says that it does not accept the first, and only
//! then. Under load this is tried in the suite of the service.

use docusign_sim::{Fault, FaultKind, Status};
use end_to_end::{World, event, pem, says};

const ANN: &str = "ann.english@acme.example";

/// A world whose connector names a new key that the target does not know yet, and the old one.
async fn world() -> World {
    let world = World::new().await;
    world.write_secret("tenants/acme/new.pem", &pem::fresh());
    let keys = "keys = { signing = [\"file:new.pem\", \"file:docusign.pem\"] }";
    world.edit("keys = { signing = \"file:docusign.pem\" }", keys);
    world
}

#[tokio::test]
async fn the_old_key_makes_the_token_while_the_target_does_not_know_the_new_one() {
    let world = world().await;
    let ann = world.user(ANN);
    let ran = world.run(&event(ANN)).await;
    ran.ended("closed", 0);
    assert_eq!(world.status(&ann), Status::Closed);
    assert_eq!(world.seen("POST", "/oauth/token").len(), 2);
    says(
        &ran.stderr,
        &["does not accept the first secret of this key", "signing"],
    );
}

#[tokio::test]
async fn the_old_key_is_not_touched_once_the_target_knows_the_new_one() {
    let world = world().await;
    let _ = world.user(ANN);
    let new = std::fs::read_to_string(world.root().join("tenants/acme/new.pem")).expect("a key");
    let key = world.simulator.integration_key();
    let added = world.simulator.state().add_public_key(key, &pem::public_key(&new));
    added.expect("a public key");
    assert!(
        world.simulator.state().remove_public_key(1),
        "the first key is the old one"
    );
    world.run(&event(ANN)).await.ended("closed", 0);
    assert_eq!(world.seen("POST", "/oauth/token").len(), 1);
}

#[tokio::test]
async fn a_failure_that_is_not_the_keys_tries_no_other_key() {
    let world = world().await;
    let _ = world.user(ANN);
    for (status, body) in [
        (400, r#"{"error":"consent_required"}"#),
        (503, "{}"),
        (400, "invalid_grant"),
        (429, r#"{"error":"invalid_grant"}"#),
    ] {
        world.simulator.clear_requests();
        let kind = FaultKind::Answer {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_owned(),
        };
        world.simulator.fault(Fault::new(kind).path("/oauth/token"));
        let ran = world.run(&event(ANN)).await;
        let asked = world.seen("POST", "/oauth/token");
        // What is away, or answers nonsense, is asked again by the next attempt, and then with both keys.
        let first: Vec<u16> = asked.iter().filter_map(|record| record.status).take(1).collect();
        assert_eq!(first, [status], "{ran:#?}");
        if status != 503 && body.starts_with('{') {
            assert_eq!(asked.len(), 1, "{body}: {asked:#?}");
        }
    }
}

#[tokio::test]
async fn two_keys_that_are_both_refused_park_the_connector_and_are_both_in_the_report() {
    let world = world().await;
    let _ = world.user(ANN);
    assert!(world.simulator.state().remove_public_key(1), "the old key goes");
    let ran = world.run(&event(ANN)).await;
    let job = ran.ended_because("parked", 4, &["invalid_grant"]);
    assert_eq!(world.seen("POST", "/oauth/token").len(), 2);
    assert_eq!(job["calls"].as_array().map(Vec::len), Some(2), "{job:#}");
}
