//! Hourly and burst limits, their headers and their errors.

use std::time::Duration;

use docusign_sim::{CodeCase, Fault, FaultKind, LimitKind, Limits};

use crate::client::{NOW, Rig};

const HOURLY: &str = "HOURLY_APIINVOCATION_LIMIT_EXCEEDED";
const BURST: &str = "BURST_APIINVOCATION_LIMIT_EXCEEDED";

/// The top of the clock hour after [`NOW`].
const NEXT_HOUR: i64 = (NOW / 3600 + 1) * 3600;

#[tokio::test]
async fn every_answer_says_what_is_left_and_when_the_hour_ends() {
    let rig = Rig::start().await;
    let token = rig.token().await;
    for (path, used) in [("/users", 1), ("/users?email=nobody@acme.example", 2)] {
        let answer = rig.get(&token, path).await;
        assert_eq!(answer.number("x-ratelimit-limit"), 3000);
        assert_eq!(answer.number("x-ratelimit-remaining"), 3000 - used);
        assert_eq!(answer.number("x-ratelimit-reset"), NEXT_HOUR);
        assert_eq!(answer.number("x-burstlimit-limit"), 200);
        assert_eq!(answer.number("x-burstlimit-remaining"), 200 - used);
        assert_eq!(
            (answer.header("retry-after"), answer.header("x-burstlimit-reset")),
            (None, None)
        );
    }
}

#[tokio::test]
async fn the_hourly_limit_ends_at_the_top_of_the_hour() {
    let rig = Rig::start().await;
    rig.sim.set_limits(Limits {
        hourly: Some(2),
        burst: None,
    });
    let token = rig.token().await;
    for _ in 0..2 {
        assert_eq!(rig.get(&token, "/users").await.status, 200);
    }
    let refused = rig.get(&token, "/users").await;
    assert_eq!(refused.error(), (429, HOURLY.to_owned()));
    assert_eq!(
        refused.json()["message"],
        "The maximum number of hourly API invocations has been exceeded. The hourly limit is 2."
    );
    assert_eq!(refused.number("x-ratelimit-remaining"), 0);
    rig.sim
        .advance(Duration::from_secs((NEXT_HOUR - NOW - 1).unsigned_abs()));
    assert_eq!(rig.get(&token, "/users").await.status, 429);
    rig.sim.advance(Duration::from_secs(1));
    assert_eq!(rig.get(&token, "/users").await.status, 200);
}

#[tokio::test]
async fn the_burst_limit_ends_after_30_seconds_and_refuses_without_effect() {
    let rig = Rig::start().await;
    let id = rig.add("ann@acme.example");
    rig.sim.set_limits(Limits {
        hourly: None,
        burst: Some(1),
    });
    let token = rig.token().await;
    assert_eq!(rig.get(&token, "/users").await.status, 200);
    let refused = rig.close(&token, &[&id], "").await;
    assert_eq!(refused.error(), (429, BURST.to_owned()));
    assert_eq!(refused.header("x-ratelimit-limit"), None);
    assert_eq!(rig.sim.counters().closes, 0);
    rig.sim.advance(Duration::from_secs(30));
    assert_eq!(rig.close(&token, &[&id], "").await.status, 200);
    assert_eq!(rig.sim.counters().closes, 1);
}

#[tokio::test]
async fn rate_errors_come_as_400_or_429_and_in_any_case() {
    let rig = Rig::start().await;
    rig.sim.set_limits(Limits {
        hourly: Some(0),
        burst: None,
    });
    let token = rig.token().await;
    for (status, case, code) in [
        (429, CodeCase::Upper, "HOURLY_APIINVOCATION_LIMIT_EXCEEDED"),
        (400, CodeCase::Lower, "hourly_apiinvocation_limit_exceeded"),
        (400, CodeCase::Mixed, "Hourly_Apiinvocation_Limit_Exceeded"),
    ] {
        rig.sim
            .switch(|switches| (switches.rate_limit_status, switches.error_code_case) = (status, case));
        assert_eq!(rig.get(&token, "/users").await.error(), (status, code.to_owned()));
    }
}

#[tokio::test]
async fn a_limit_can_be_broken_on_demand() {
    let rig = Rig::start().await;
    let token = rig.token().await;
    for (which, code) in [(LimitKind::Hourly, HOURLY), (LimitKind::Burst, BURST)] {
        rig.sim.fault(Fault::new(FaultKind::RateLimit { which }).method("GET"));
        let refused = rig.get(&token, "/users").await;
        assert_eq!(refused.error(), (429, code.to_owned()));
        assert_eq!(refused.number("x-ratelimit-reset"), NEXT_HOUR);
        assert_eq!(rig.get(&token, "/users").await.status, 200);
    }
}

#[tokio::test]
async fn without_limits_there_are_no_headers() {
    let rig = Rig::start().await;
    rig.sim.set_limits(Limits::none());
    let answer = rig.get(&rig.token().await, "/users").await;
    assert_eq!(
        (answer.header("x-ratelimit-limit"), answer.header("x-burstlimit-limit")),
        (None, None)
    );
}
