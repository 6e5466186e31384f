//! What eSignature answers when it does not answer: limits, refusals, outages, and bodies that are no answer.

use docusign_sim::{CodeCase, Fault, FaultKind, LimitKind, Options, Origin, Simulator, Status};
use end_to_end::{World, event};
use serde_json::Value;

const ANN: &str = "ann.english@acme.example";

/// A world with Ann in it, and her id.
async fn world() -> (World, String) {
    let world = World::new().await;
    let ann = world.user(ANN);
    (world, ann)
}

fn error(status: u16, code: &str) -> FaultKind {
    FaultKind::Status {
        status,
        error_code: code.to_owned(),
        message: "as DocuSign words it".to_owned(),
    }
}

/// The search meets this once.
fn spoil_find(world: &World, kind: FaultKind) {
    world
        .simulator
        .fault(Fault::new(kind).on(Origin::Esign).method("GET").path("*/users"));
}

/// Seconds from the simulator's now until the job goes on.
fn waits(world: &World, job: &Value) -> i64 {
    let until = job["until"].as_str().expect("a time");
    let until: jiff::Timestamp = until.parse().expect("a timestamp");
    until.as_second() - world.simulator.state().clock.now()
}

#[tokio::test]
async fn an_hourly_limit_is_waited_for_until_its_reset() {
    for status in [400, 429] {
        for case in [CodeCase::Upper, CodeCase::Lower, CodeCase::Mixed] {
            let (world, ann) = world().await;
            world.simulator.switch(|switches| {
                switches.rate_limit_status = status;
                switches.error_code_case = case;
            });
            spoil_find(
                &world,
                FaultKind::RateLimit {
                    which: LimitKind::Hourly,
                },
            );
            let said = ["The hourly limit is 3000.", &format!("HTTP {status}")];
            let job = world.run(&event(ANN)).await.ended_because("parked", 4, &said);
            let until: jiff::Timestamp = job["until"]
                .as_str()
                .and_then(|text| text.parse().ok())
                .expect("a time");
            assert_eq!(until.as_second() % 3600, 0, "the top of the hour");
            assert!((-5..=3600).contains(&waits(&world, &job)), "{job:#}");
            assert_eq!(world.seen("GET", "/users").len(), 1, "it is not tried again");
            assert_eq!(world.status(&ann), Status::Active);
        }
    }
}

#[tokio::test]
async fn the_reset_that_docusign_names_counts() {
    let (world, _) = world().await;
    let reset = world.simulator.state().clock.now() + 1234;
    let kind = FaultKind::Answer {
        status: 429,
        headers: vec![("X-RateLimit-Reset".to_owned(), reset.to_string())],
        body: r#"{"errorCode":"HOURLY_APIINVOCATION_LIMIT_EXCEEDED","message":"slow down"}"#.to_owned(),
    };
    spoil_find(&world, kind);
    let job = world.run(&event(ANN)).await.ended("parked", 4);
    let until: jiff::Timestamp = job["until"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a time");
    assert_eq!(until.as_second(), reset);
}

#[tokio::test]
async fn a_burst_is_over_sooner_than_the_hour() {
    for status in [400, 429] {
        let (world, _) = world().await;
        world.simulator.switch(|switches| switches.rate_limit_status = status);
        spoil_find(
            &world,
            FaultKind::RateLimit {
                which: LimitKind::Burst,
            },
        );
        let job = world.run(&event(ANN)).await.ended_because("parked", 4, &["burst"]);
        assert!((20..=60).contains(&waits(&world, &job)), "{job:#}");
    }
}

#[tokio::test]
async fn a_bare_429_is_a_burst() {
    for body in ["", "<html>Too Many Requests</html>", "{}"] {
        let (world, ann) = world().await;
        let kind = FaultKind::Answer {
            status: 429,
            headers: Vec::new(),
            body: body.to_owned(),
        };
        spoil_find(&world, kind);
        let job = world.run(&event(ANN)).await.ended_because("parked", 4, &["HTTP 429"]);
        assert!((20..=60).contains(&waits(&world, &job)), "{job:#}");
        assert_eq!(world.status(&ann), Status::Active);
    }
}

#[tokio::test]
async fn a_limit_at_the_close_leaves_the_account_open_for_later() {
    let (world, ann) = world().await;
    world.simulator.fault(
        Fault::new(FaultKind::RateLimit {
            which: LimitKind::Burst,
        })
        .method("DELETE"),
    );
    world.run(&event(ANN)).await.ended("parked", 4);
    assert_eq!(world.status(&ann), Status::Active);
    assert_eq!(world.seen("DELETE", "/users").len(), 1);
    world.run(&event(ANN)).await.ended("closed", 0);
}

#[tokio::test]
async fn a_token_that_dies_early_is_minted_once_more() {
    for (method, path) in [("GET", "*/users"), ("DELETE", "*/users"), ("GET", "*/users/*")] {
        let (world, ann) = world().await;
        world.simulator.fault(
            Fault::new(error(401, "AUTHORIZATION_INVALID_TOKEN"))
                .method(method)
                .path(path),
        );
        world.run(&event(ANN)).await.ended("closed", 0);
        assert_eq!(world.simulator.counters().tokens_issued, 2, "{method} {path}");
        assert_eq!(world.simulator.user(&ann).map(|user| user.deletes), Some(1));
    }
}

#[tokio::test]
async fn fresh_tokens_that_are_not_accepted_are_the_operators_to_mend() {
    let (world, ann) = world().await;
    world.simulator.fault(
        Fault::new(error(401, "AUTHORIZATION_INVALID_TOKEN"))
            .on(Origin::Esign)
            .forever(),
    );
    let said = [
        "does not accept a token that is fresh",
        "AUTHORIZATION_INVALID_TOKEN",
        "HTTP 401",
    ];
    world.run(&event(ANN)).await.ended_because("parked", 4, &said);
    assert_eq!(world.simulator.counters().tokens_issued, 2);
    assert_eq!(world.status(&ann), Status::Active);
}

#[tokio::test]
async fn the_codes_of_a_wrong_host_say_what_to_bind() {
    for code in [
        "USER_AUTHENTICATION_FAILED",
        "PARTNER_AUTHENTICATION_FAILED",
        "user_authentication_failed",
    ] {
        let (world, _) = world().await;
        spoil_find(&world, error(401, code));
        let said = ["https://demo.docusign.net", "endpoint `esign`", "base_uri", code];
        world.run(&event(ANN)).await.ended_because("parked", 4, &said);
        assert_eq!(
            world.simulator.counters().tokens_issued,
            1,
            "another token would not help"
        );
    }
}

#[tokio::test]
async fn clear_refusals_end_the_job_and_are_not_asked_again() {
    let refusals = [
        (error(403, "ACCOUNT_LACKS_PERMISSIONS"), "parked", "lacks a permission"),
        (FaultKind::Empty { status: 403 }, "parked", "lacks a permission"),
        (error(400, "USER_NOT_ACCOUNT_ADMIN"), "parked", "lacks a permission"),
        (
            error(400, "INVALID_REQUEST_PARAMETER"),
            "failed",
            "INVALID_REQUEST_PARAMETER",
        ),
        (error(404, "RESOURCE_NOT_FOUND"), "failed", "RESOURCE_NOT_FOUND"),
        (FaultKind::Html { status: 404 }, "failed", "HTTP 404"),
        (error(415, "UNSUPPORTED_MEDIA_TYPE"), "failed", "UNSUPPORTED_MEDIA_TYPE"),
        (FaultKind::Html { status: 415 }, "failed", "HTTP 415"),
    ];
    for (kind, end, said) in refusals {
        let (world, ann) = world().await;
        spoil_find(&world, kind);
        world.run(&event(ANN)).await.ended_because(end, 4, &[said]);
        assert_eq!(world.seen("GET", "/users").len(), 1, "{said}");
        assert_eq!(world.status(&ann), Status::Active);
    }
}

#[tokio::test]
async fn codes_for_unknown_users_are_no_account_while_the_caller_is_a_member() {
    let codes = [
        "USER_DOES_NOT_EXIST_IN_SYSTEM",
        "USER_DOES_NOT_BELONG_TO_SPECIFIED_ACCOUNT",
        "User_Not_Found",
    ];
    for code in codes {
        let (world, _) = world().await;
        spoil_find(&world, error(400, code));
        world.run(&event(ANN)).await.ended("no_account", 0);
    }
}

#[tokio::test]
async fn outages_are_tried_again() {
    let outages = [
        error(408, "REQUEST_TIMEOUT"),
        FaultKind::Empty { status: 444 },
        error(500, "UNSPECIFIED_ERROR"),
        FaultKind::Html { status: 502 },
        error(503, "SERVICE_UNAVAILABLE"),
        FaultKind::Drop,
        FaultKind::ShortBody,
    ];
    let each = outages.into_iter().map(|outage| async {
        let (world, ann) = world().await;
        let name = format!("{outage:?}");
        spoil_find(&world, outage);
        world.run(&event(ANN)).await.ended("closed", 0);
        assert_eq!(world.seen("GET", "/users").len(), 2, "{name}");
        assert_eq!(world.status(&ann), Status::Closed);
    });
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn an_outage_that_lasts_ends_the_job_after_three_attempts() {
    let (world, ann) = world().await;
    world.simulator.fault(
        Fault::new(error(503, "SERVICE_UNAVAILABLE"))
            .on(Origin::Esign)
            .forever(),
    );
    let said = ["after 3 attempts", "out of order", "SERVICE_UNAVAILABLE", "trace token"];
    world.run(&event(ANN)).await.ended_because("failed", 4, &said);
    assert_eq!(world.seen("GET", "/users").len(), 3);
    assert_eq!(
        world.simulator.counters().tokens_issued,
        1,
        "the token is good for all of them"
    );
    assert_eq!(world.status(&ann), Status::Active);
}

#[tokio::test]
async fn bodies_that_are_no_answer_are_not_taken_for_no_account() {
    let answer = |body: &str| FaultKind::Answer {
        status: 200,
        headers: Vec::new(),
        body: body.to_owned(),
    };
    let bodies = [
        (FaultKind::Html { status: 200 }, "is not JSON"),
        (FaultKind::Empty { status: 200 }, "empty body"),
        (FaultKind::CutJson, "is not JSON"),
        (answer("null"), "no list of users"),
        (answer("[]"), "no list of users"),
        (answer("{}"), "no list of users"),
        (FaultKind::Huge { bytes: None }, "too large"),
        (
            FaultKind::Huge {
                bytes: Some(8 * 1024 * 1024 + 1),
            },
            "too large",
        ),
        (
            FaultKind::GzipBomb {
                bytes: 64 * 1024 * 1024,
            },
            "too large",
        ),
    ];
    for (kind, said) in bodies {
        let (world, ann) = world().await;
        let name = format!("{kind:?}");
        spoil_find(&world, kind);
        let job = world.run(&event(ANN)).await.ended_because("failed", 4, &[said]);
        assert_eq!(world.seen("GET", "/users").len(), 1, "{name}: {job:#}");
        assert_eq!(world.status(&ann), Status::Active);
    }
}

#[tokio::test]
async fn an_answer_in_small_pieces_is_an_answer() {
    let (world, _) = world().await;
    spoil_find(&world, FaultKind::Drip { bytes: 16, every_ms: 1 });
    world.run(&event(ANN)).await.ended("closed", 0);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 307, 308] {
        let (world, _) = world().await;
        let other = Simulator::start(Options::default()).await.expect("another simulator");
        let location = format!("https://{}/restapi", other.esign_addr());
        spoil_find(
            &world,
            FaultKind::Redirect {
                status,
                location: location.clone(),
            },
        );
        world
            .run(&event(ANN))
            .await
            .ended_because("failed", 4, &["redirect", &location]);
        assert!(other.requests().is_empty(), "the token must not go there");
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_close_that_happened_is_found_out_by_reading() {
    let lost = [
        FaultKind::Drop,
        FaultKind::ShortBody,
        FaultKind::CutJson,
        FaultKind::Empty { status: 200 },
        FaultKind::Html { status: 500 },
        error(503, "SERVICE_UNAVAILABLE"),
        FaultKind::Empty { status: 444 },
        FaultKind::Huge { bytes: None },
        FaultKind::GzipBomb {
            bytes: 64 * 1024 * 1024,
        },
        FaultKind::Redirect {
            status: 302,
            location: "https://elsewhere.example/".to_owned(),
        },
    ];
    for kind in lost {
        let (world, ann) = world().await;
        let name = format!("{kind:?}");
        world.simulator.fault(Fault::new(kind).method("DELETE").after_effect());
        world.run(&event(ANN)).await.ended("closed", 0);
        let user = world.simulator.user(&ann).expect("Ann");
        assert_eq!((user.deletes, user.second_deletes), (1, 0), "{name}");
        assert_eq!(world.simulator.counters().closes, 1);
    }
}

#[tokio::test]
async fn a_host_that_nobody_listens_at_was_not_reached() {
    let (world, _) = world().await;
    let free = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("its address").to_string()
    };
    let host = world
        .host_file()
        .replace(&world.simulator.esign_addr().to_string(), &free);
    world.write("exeunt.toml", &host);
    world
        .run(&event(ANN))
        .await
        .ended_because("failed", 4, &["after 3 attempts", "was not reached", "refused"]);
    assert!(
        world
            .simulator
            .requests()
            .iter()
            .all(|record| record.origin == Origin::Account)
    );
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_not_trusted() {
    let (world, _) = world().await;
    let other = Simulator::start(Options::default()).await.expect("another simulator");
    world.write("ca.pem", other.ca_pem());
    world
        .run(&event(ANN))
        .await
        .ended_because("failed", 4, &["sign-in was not reached", "certificate"]);
    world.was_not_asked();
}
