//! Every way in which DocuSign refuses a token, through the real component: what the operator is told to write, that
//! nothing is tried again, and that eSignature is never asked.

use std::time::Duration;

use docusign_sim::{Account, Fault, FaultKind, Options, Origin, Simulator, Status, User};
use end_to_end::{World, event, says};
use serde_json::{Value, json};

const ANN: &str = "ann.english@acme.example";
const SOMEBODY: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

/// A world with a leaver in it, whose account must stay open.
async fn world() -> World {
    let world = World::new().await;
    let _ = world.user(ANN);
    world
}

/// The job waits for its operator, the reason says all of this, and one token was asked for.
#[track_caller]
fn parked(world: &World, ran: &end_to_end::Ran, said: &[&str]) -> Value {
    let job = ran.ended_because("parked", 4, said);
    assert_eq!(job["until"], Value::Null, "only an operator can mend it");
    assert_eq!(job["accounts"], json!([]));
    assert_eq!(world.seen("POST", "/oauth/token").len(), 1, "it is not tried again");
    not_asked(world);
    job
}

#[track_caller]
fn not_asked(world: &World) {
    let seen = world.simulator.requests();
    assert!(seen.iter().all(|record| record.origin == Origin::Account), "{seen:#?}");
    assert!(world.simulator.users().iter().all(|user| user.status == Status::Active));
}

/// The token endpoint answers this with status 400.
fn answers(world: &World, body: &Value) {
    let kind = FaultKind::Answer {
        status: 400,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string(),
    };
    world.simulator.fault(Fault::new(kind).path("/oauth/token").forever());
}

/// Userinfo answers this once.
fn userinfo_answers(world: &World, status: u16, body: &Value) {
    let kind = FaultKind::Answer {
        status,
        headers: Vec::new(),
        body: body.to_string(),
    };
    world.simulator.fault(Fault::new(kind).path("/oauth/userinfo"));
}

#[tokio::test]
async fn without_consent_the_consent_url_is_printed() {
    let world = world().await;
    world.simulator.set_consent("");
    let ran = world.run(&event(ANN)).await;
    let url = format!(
        "https://account-d.docusign.com/oauth/auth?response_type=code&scope=signature%20impersonation&client_id={}\
         &redirect_uri=https%3A%2F%2Fwww.docusign.com",
        world.simulator.integration_key()
    );
    let job = parked(
        &world,
        &ran,
        &["consent_required", world.simulator.user_id(), "settings.redirect_uri"],
    );
    let reason = job["reason"].as_str().expect("a reason");
    assert!(reason.ends_with(&url), "{reason}");
}

#[tokio::test]
async fn a_consent_that_lacks_a_scope_is_no_consent() {
    for scopes in ["signature", "impersonation", "signature extended"] {
        let world = world().await;
        world.simulator.set_consent(scopes);
        parked(
            &world,
            &world.run(&event(ANN)).await,
            &["consent_required", "/oauth/auth?"],
        );
    }
}

#[tokio::test]
async fn the_consent_of_somebody_else_with_the_same_address_is_no_consent() {
    let world = world().await;
    let own = world.simulator.user(world.simulator.user_id()).expect("the API user");
    let double = world.simulator.add_user(User::new(&own.email).admin());
    world.edit(world.simulator.user_id(), &double);
    let said = ["consent_required", &double, "same e-mail address does not count"];
    parked(&world, &world.run(&event(ANN)).await, &said);
}

#[tokio::test]
async fn the_consent_url_leads_back_to_the_redirect_uri_in_the_settings() {
    let world = world().await;
    world.simulator.set_consent("");
    world.edit(
        "settings = { ",
        "settings = { redirect_uri = \"https://acme.example/done?x=1\", ",
    );
    let ran = world.run(&event(ANN)).await;
    parked(
        &world,
        &ran,
        &["&redirect_uri=https%3A%2F%2Facme.example%2Fdone%3Fx%3D1"],
    );
}

#[tokio::test]
async fn a_user_of_another_environment_is_named() {
    let world = world().await;
    world.edit(world.simulator.user_id(), SOMEBODY);
    let said = [
        SOMEBODY,
        "settings.user_id",
        "user_not_found",
        "https://account-d.docusign.com",
    ];
    parked(&world, &world.run(&event(ANN)).await, &said);
}

#[tokio::test]
async fn a_user_who_is_not_active_cannot_sign_in() {
    let world = world().await;
    let id = world.simulator.user_id().to_owned();
    world
        .simulator
        .update_user(&id, |user| user.status = Status::ActivationSent);
    let ran = world.run(&event(ANN)).await;
    ran.ended_because("parked", 4, &[&id, "active user", "user_not_found"]);
    assert_eq!(world.seen("POST", "/oauth/token").len(), 1);
}

#[tokio::test]
async fn an_invalid_subject_is_the_users_id() {
    let world = world().await;
    answers(
        &world,
        &json!({"error": "invalid_grant", "error_description": "invalid_subject"}),
    );
    parked(
        &world,
        &world.run(&event(ANN)).await,
        &["settings.user_id", "GUID", "invalid_subject"],
    );
}

#[tokio::test]
async fn an_integration_key_of_another_environment_is_named() {
    let world = world().await;
    world.edit(world.simulator.integration_key(), SOMEBODY);
    let said = [
        SOMEBODY,
        "issuer_not_found",
        "https://account.docusign.com",
        "endpoint `account`",
    ];
    parked(&world, &world.run(&event(ANN)).await, &said);
}

#[tokio::test]
async fn a_private_key_of_another_pair_is_named() {
    let world = world().await;
    let other = Simulator::start(Options::default()).await.expect("another simulator");
    world.write_secret("tenants/acme/docusign.pem", other.private_key_pem());
    let said = [
        "keys.signing",
        world.simulator.integration_key(),
        "no_valid_keys_or_signatures",
        "Apps and Keys",
    ];
    parked(&world, &world.run(&event(ANN)).await, &said);
}

#[tokio::test]
async fn any_keypair_of_the_integration_key_will_do() {
    let world = world().await;
    let other = Simulator::start(Options::default()).await.expect("another simulator");
    let key = other.integration_key().to_owned();
    world.edit(world.simulator.integration_key(), &key);
    // Rotation: the old pair is still registered beside the new one, and no `kid` says which one signed.
    for pem in [other.private_key_pem(), world.simulator.private_key_pem()] {
        let public = end_to_end::pem::public_key(pem);
        world
            .simulator
            .state()
            .add_public_key(&key, &public)
            .expect("a public key");
    }
    world
        .simulator
        .state()
        .set_consent(&key, world.simulator.user_id(), "signature impersonation");
    world.run(&event(ANN)).await.ended("closed", 0);
}

#[tokio::test]
async fn an_assertion_that_comes_too_late_points_at_the_clock() {
    let world = world().await;
    world.simulator.advance(Duration::from_secs(2 * 3600));
    parked(
        &world,
        &world.run(&event(ANN)).await,
        &["expired_grant", "set the clock of this machine"],
    );
}

#[tokio::test]
async fn a_refusal_without_description_says_what_to_check() {
    let world = world().await;
    answers(&world, &json!({"error": "invalid_grant"}));
    let said = [
        "does not say why",
        world.simulator.integration_key(),
        world.simulator.user_id(),
        "`signing`",
    ];
    parked(&world, &world.run(&event(ANN)).await, &said);
}

#[tokio::test]
async fn a_malformed_request_points_at_the_endpoint() {
    let world = world().await;
    answers(&world, &json!({"error": "invalid_request"}));
    parked(
        &world,
        &world.run(&event(ANN)).await,
        &["malformed", "endpoint `account`", "invalid_request"],
    );
}

#[tokio::test]
async fn an_error_that_is_not_known_is_repeated() {
    let world = world().await;
    answers(
        &world,
        &json!({"error": "unauthorized_client", "error_description": "not\r\nthis\u{1b}[31m app"}),
    );
    let job = parked(
        &world,
        &world.run(&event(ANN)).await,
        &["unauthorized_client: not", "app", "HTTP 400"],
    );
    let reason = job["reason"].as_str().expect("a reason");
    assert!(!reason.contains(|c: char| c.is_control()), "{reason:?}");
}

#[tokio::test]
async fn an_account_host_that_does_not_sign_in_is_named() {
    let world = world().await;
    world
        .simulator
        .fault(Fault::new(FaultKind::Html { status: 404 }).path("/oauth/token"));
    parked(
        &world,
        &world.run(&event(ANN)).await,
        &["does not sign in", "https://account-d.docusign.com for demo"],
    );
}

#[tokio::test]
async fn the_401_of_userinfo_is_no_outage() {
    let world = world().await;
    userinfo_answers(
        &world,
        401,
        &json!({"error": "internal_server_error", "reference_id": SOMEBODY}),
    );
    let ran = world.run(&event(ANN)).await;
    parked(
        &world,
        &ran,
        &["does not accept a token", "internal_server_error", "HTTP 401"],
    );
    assert_eq!(world.seen("GET", "/oauth/userinfo").len(), 1, "it is not tried again");
}

#[tokio::test]
async fn an_account_on_another_host_gives_the_line_to_write() {
    let world = world().await;
    let id = world.simulator.account_id().to_owned();
    if let Some(account) = world.simulator.state().account_mut(&id) {
        account.base_uri = "https://na2.docusign.net".to_owned();
    }
    let line = "endpoints = { account = \"https://account-d.docusign.com\", esign = \"https://na2.docusign.net\" }";
    parked(
        &world,
        &world.run(&event(ANN)).await,
        &["https://demo.docusign.net", line],
    );
}

#[tokio::test]
async fn an_account_that_the_user_is_not_in_is_told_with_those_it_is_in() {
    let world = world().await;
    let own = world.simulator.account_id().to_owned();
    world.edit(&own, SOMEBODY);
    let second = {
        let mut other = Account::new("Acme Holding");
        other.add(
            User::new("docusign.api@acme.example")
                .with_id(world.simulator.user_id())
                .admin(),
        );
        world.simulator.state().add_account(other)
    };
    let said = [
        SOMEBODY,
        "settings.account_id",
        own.as_str(),
        second.as_str(),
        "Acme Holding",
    ];
    parked(&world, &world.run(&event(ANN)).await, &said);
}

#[tokio::test]
async fn a_user_without_any_account_is_told_so() {
    let world = world().await;
    userinfo_answers(&world, 200, &json!({"sub": world.simulator.user_id(), "accounts": []}));
    parked(
        &world,
        &world.run(&event(ANN)).await,
        &["belongs to no account", "settings.user_id"],
    );
}

#[tokio::test]
async fn is_default_may_be_a_boolean_or_its_name() {
    for is_default in [json!(true), json!("true"), json!("True"), Value::Null] {
        let world = world().await;
        let account = json!({
            "account_id": world.simulator.account_id().to_uppercase(), "is_default": is_default,
            "account_name": "Acme", "base_uri": "HTTPS://Demo.DocuSign.net:443/"
        });
        userinfo_answers(
            &world,
            200,
            &json!({"sub": world.simulator.user_id(), "accounts": [account]}),
        );
        world.run(&event(ANN)).await.ended("closed", 0);
    }
}

#[tokio::test]
async fn a_used_up_allowance_of_userinfo_is_waited_for() {
    let world = world().await;
    world.simulator.switch(|switches| switches.userinfo_hourly = Some(0));
    let job = world.run(&event(ANN)).await.ended_because("parked", 4, &["HTTP 429"]);
    let until: jiff::Timestamp = job["until"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a time");
    assert_eq!(until.as_second() % 3600, 0, "the top of the hour: {job:#}");
    not_asked(&world);
}

#[tokio::test]
async fn an_answer_without_a_token_makes_no_sense_and_is_tried_again() {
    let world = world().await;
    let kind = FaultKind::Answer {
        status: 200,
        headers: Vec::new(),
        body: r#"{"token_type":"Bearer"}"#.to_owned(),
    };
    world.simulator.fault(Fault::new(kind).path("/oauth/token").forever());
    world
        .run(&event(ANN))
        .await
        .ended_because("failed", 4, &["makes no sense", "no token"]);
    assert_eq!(world.seen("POST", "/oauth/token").len(), 3);
    not_asked(&world);
}

/// The last three are what something in front of the sign-in says, of no person in particular.
#[tokio::test]
async fn an_outage_of_the_sign_in_is_tried_again() {
    let outages = [
        FaultKind::Status {
            status: 503,
            error_code: "x".to_owned(),
            message: String::new(),
        },
        FaultKind::Html { status: 502 },
        FaultKind::Drop,
        FaultKind::Answer {
            status: 400,
            headers: Vec::new(),
            body: r#"{"error":"temporarily_unavailable"}"#.to_owned(),
        },
        FaultKind::Html { status: 403 },
        FaultKind::Html { status: 200 },
        FaultKind::Answer {
            status: 302,
            headers: vec![("location".to_owned(), "https://busy.example/".to_owned())],
            body: String::new(),
        },
    ];
    let each = outages.into_iter().map(|outage| async {
        let world = world().await;
        world.simulator.fault(Fault::new(outage).path("/oauth/token"));
        world.run(&event(ANN)).await.ended("closed", 0);
        assert_eq!(world.seen("POST", "/oauth/token").len(), 2);
    });
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn every_reason_carries_the_trace_token() {
    let world = world().await;
    world.simulator.set_consent("");
    let job = parked(&world, &world.run(&event(ANN)).await, &[]);
    let seen = &world.seen("POST", "/oauth/token")[0];
    says(job["reason"].as_str().expect("a reason"), &[&seen.trace_token]);
    assert_eq!(job["calls"][0]["trace_token"], seen.trace_token);
}
