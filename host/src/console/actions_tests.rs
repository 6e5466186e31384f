use serde_json::json;

use crate::console::ActionPage;
use crate::console::testing::Stand;
use crate::journal::NewState;

async fn actions(stand: &Stand, query: &str, token: &str) -> Vec<(String, Option<String>, String)> {
    let (status, body) = stand.get(&format!("/v1/actions{query}"), token).await;
    assert_eq!(status, 200, "{body}");
    let page: ActionPage = serde_json::from_value(body).unwrap();
    let shown = |action: crate::console::ActionView| (action.action.verb, action.tenant, action.action.detail);
    page.actions.into_iter().map(shown).collect()
}

#[tokio::test]
async fn each_token_sees_what_concerns_it() {
    let stand = Stand::new().await;
    for (path, body) in [
        ("/v1/pause", json!({"reason": "all"})),
        ("/v1/resume", json!({"reason": "all is well"})),
        ("/v1/pause", json!({"tenant": "acme", "reason": "acme"})),
        (
            "/v1/pause",
            json!({"tenant": "other", "connector": "docusign", "reason": "others"}),
        ),
    ] {
        let (status, answer) = stand.post(path, "ops", &body).await;
        assert!(status < 300, "{answer}");
        // Ids of one millisecond have no order.
        stand.clock.advance(std::time::Duration::from_millis(1));
    }
    let job = stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let (status, _) = stand
        .post(
            &format!("/v1/jobs/{job}/cancel"),
            "acme-all",
            &json!({"reason": "she stays"}),
        )
        .await;
    assert_eq!(status, 200);
    let line = |verb: &str, tenant: Option<&str>, detail: &str| {
        (verb.to_owned(), tenant.map(str::to_owned), detail.to_owned())
    };
    let (acme, other) = (Some("acme"), Some("other"));
    let everybodys = [line("resume", None, "all is well"), line("pause", None, "all")];
    let of_acme = [line("cancel", acme, "she stays"), line("pause", acme, "acme")];
    let of_other = [line("pause", other, "others")];
    let all = [&of_acme[..1], &of_other, &of_acme[1..], &everybodys].concat();
    assert_eq!(actions(&stand, "", "auditor").await, all);
    for (query, token) in [("", "acme-all"), ("?tenant=acme", "acme-all"), ("?tenant=acme", "ops")] {
        assert_eq!(
            actions(&stand, query, token).await,
            [&of_acme[..], &everybodys].concat()
        );
    }
    assert_eq!(
        actions(&stand, "", "other-all").await,
        [&of_other[..], &everybodys].concat()
    );
    assert_eq!(actions(&stand, "?tenant=acme", "other-all").await, []);
    assert_eq!(actions(&stand, "?actor=acme-all", "ops").await, of_acme[..1]);
    assert_eq!(actions(&stand, "?actor=nobody", "ops").await, []);
    assert_eq!(stand.get("/v1/actions", "").await.0, 401);
    for wrong in ["?tenants=acme", "?limit=0", "?limit=501", "?cursor=x"] {
        assert_eq!(stand.get(&format!("/v1/actions{wrong}"), "ops").await.0, 400, "{wrong}");
    }
}
