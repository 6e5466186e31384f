use reqwest::Method;
use serde_json::json;

use crate::console::testing::Stand;
use crate::console::{HealthProblem, Phase};
use crate::journal::{Finish, NewState};

#[tokio::test]
async fn only_a_host_that_serves_is_ready() {
    let stand = Stand::new().await;
    assert_eq!(stand.text(Method::GET, "/livez", "", "").await.0, 200);
    for (phase, expected) in [(Phase::Starting, 503), (Phase::Serving, 200), (Phase::Stopping, 503)] {
        *stand.health.phase.lock().unwrap() = phase;
        let (status, body) = stand.get("/readyz", "").await;
        assert_eq!(status, expected, "{body}");
        assert_eq!(body["ready"], expected == 200);
    }
}

#[tokio::test]
async fn strangers_get_counts_and_holders_of_tokens_what_concerns_them() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let job = stand.claim().await;
    let park = Finish::Park {
        reason: "consent is missing".to_owned(),
    };
    stand.journal.finish(&job.fence, park, None).await.unwrap();
    let problem = |tenant: Option<&str>| HealthProblem {
        tenant: tenant.map(str::to_owned),
        connector: None,
        message: "tenants/x.toml:1: wrong".to_owned(),
    };
    stand.health.report.lock().unwrap().problems = vec![problem(None), problem(Some("acme")), problem(Some("other"))];
    let (status, open) = stand.get("/readyz", "").await;
    assert_eq!(
        (status, &open["problems"], &open["parked"]),
        (200, &json!(3), &json!(1))
    );
    assert!(!open.to_string().contains("acme"), "{open}");
    let seen = |token: &'static str| {
        let stand = &stand;
        async move {
            let details = stand.get("/readyz", token).await.1["details"].clone();
            let count = |key: &str| details[key].as_array().map(Vec::len);
            (count("problems"), count("parked"))
        }
    };
    assert_eq!(seen("ops").await, (Some(3), Some(1)));
    assert_eq!(seen("acme-all").await, (Some(1), Some(1)));
    assert_eq!(seen("other-all").await, (Some(1), Some(0)));
    let parked = &stand.get("/readyz", "acme-all").await.1["details"]["parked"][0];
    assert_eq!(
        (&parked["connector"], &parked["why"]),
        (&json!("docusign"), &json!("consent is missing"))
    );
}

#[tokio::test]
async fn jobs_that_nobody_here_will_run_are_a_problem() {
    let stand = Stand::new().await;
    stand.leaver("gone", "a@gone.example", NewState::Queued).await;
    let ready = stand.get("/readyz", "ops").await.1;
    assert_eq!(ready["problems"], 1);
    let problem = &ready["details"]["problems"][0];
    assert_eq!(
        (&problem["tenant"], &problem["connector"]),
        (&json!("gone"), &json!("docusign"))
    );
    assert_eq!(problem["message"], "1 of its jobs wait: there is no tenant `gone`");
    assert_eq!(
        stand.get("/readyz", "acme-all").await.1["details"]["problems"],
        json!([])
    );
}

#[tokio::test]
async fn metrics_show_what_the_journal_holds() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    stand.close().await;
    stand.leaver("acme", "b@acme.example", NewState::Queued).await;
    stand.trip().await;
    let (status, kind, text) = stand.text(Method::GET, "/metrics", "", "").await;
    assert_eq!(
        (status, kind.as_str()),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    for line in [
        "exeunt_journal_up 1",
        r#"exeunt_jobs{tenant="acme",connector="docusign",outcome="closed"} 1"#,
        r#"exeunt_lane_jobs{tenant="acme",connector="docusign",state="held"} 1"#,
        r#"exeunt_lane_breaker_open{tenant="acme",connector="docusign"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn metrics_ask_for_a_token_of_the_host_unless_they_are_open() {
    let stand = Stand::with_metrics_token(true).await;
    for (token, expected) in [("", 401), ("acme-all", 403), ("auditor", 200)] {
        assert_eq!(
            stand.text(Method::GET, "/metrics", token, "").await.0,
            expected,
            "{token}"
        );
    }
}
