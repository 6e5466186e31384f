use serde_json::{Value, json};

use crate::console::Lanes;
use crate::console::testing::Stand;
use crate::journal::{Finish, NewState, Pause, Scope};

async fn lanes(stand: &Stand, query: &str, token: &str) -> Lanes {
    let (status, body) = stand.get(&format!("/v1/lanes{query}"), token).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_value(body).unwrap()
}

async fn pauses(stand: &Stand) -> Vec<(String, String, String)> {
    let shown = |pause: Pause| (pause.scope.to_string(), pause.actor, pause.reason);
    stand.journal.pauses().await.unwrap().into_iter().map(shown).collect()
}

#[tokio::test]
async fn lanes_say_what_waits_and_what_stands_still() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let job = stand.claim().await;
    let park = Finish::Park {
        reason: "consent is missing".to_owned(),
    };
    stand.journal.finish(&job.fence, park, None).await.unwrap();
    stand
        .leaver(
            "other",
            "o@other.example",
            NewState::Held {
                why: "old-event".to_owned(),
                reason: "an operator decides".to_owned(),
            },
        )
        .await;
    let all = lanes(&stand, "", "ops").await;
    assert_eq!(all.lanes.len(), 2);
    assert_eq!(all.lanes[0].parked.as_ref().unwrap().why, "consent is missing");
    assert_eq!((all.lanes[0].queued, all.lanes[1].held), (1, 1));
    assert_eq!(lanes(&stand, "", "other-all").await.lanes, all.lanes[1..]);
    assert_eq!(lanes(&stand, "?tenant=other", "ops").await.lanes, all.lanes[1..]);
    assert!(lanes(&stand, "?tenant=acme", "other-all").await.lanes.is_empty());
    assert_eq!(stand.get("/v1/lanes?tenants=acme", "ops").await.0, 400);
}

#[tokio::test]
async fn a_pause_stops_its_scope_and_is_kept_with_actor_and_reason() {
    let stand = Stand::new().await;
    for (body, token) in [
        (json!({"reason": "all"}), "ops"),
        (json!({"tenant": "acme", "reason": "tenant"}), "ops"),
        (json!({"reason": "own"}), "other-all"),
        (json!({"connector": "docusign", "reason": "own lane"}), "acme-all"),
    ] {
        let (status, answer) = stand.post("/v1/pause", token, &body).await;
        assert_eq!((status, answer), (204, Value::Null), "{body}");
    }
    let expected = [
        ("everything", "ops", "all"),
        ("acme", "ops", "tenant"),
        ("acme/docusign", "acme-all", "own lane"),
        ("other", "other-all", "own"),
    ];
    let expected = expected.map(|(scope, actor, reason)| (scope.to_owned(), actor.to_owned(), reason.to_owned()));
    assert_eq!(pauses(&stand).await, expected);
    let seen: Vec<_> = lanes(&stand, "", "other-all")
        .await
        .pauses
        .into_iter()
        .map(|pause| pause.tenant)
        .collect();
    assert_eq!(seen, [None, Some("other".to_owned())], "what concerns it, no more");
    for body in [
        json!({}),
        json!({"tenant": "acme"}),
        json!({"tenant": "acme", "connector": "docusign"}),
    ] {
        let (status, resumed) = stand.post("/v1/resume", "ops", &body).await;
        assert_eq!((status, &resumed["resumed"]), (200, &json!(true)), "{body}");
    }
    assert_eq!(pauses(&stand).await.len(), 1);
}

#[tokio::test]
async fn what_the_host_has_paused_the_tenant_neither_resumes_nor_pauses_anew() {
    let stand = Stand::new().await;
    let tenant = json!({"tenant": "acme", "reason": "under investigation"});
    assert_eq!(stand.post("/v1/pause", "ops", &tenant).await.0, 204);
    let own = json!({"reason": "ours"});
    for (path, body) in [("/v1/resume", &json!({})), ("/v1/pause", &own)] {
        let (status, problem) = stand.post(path, "acme-all", body).await;
        assert_eq!(status, 403, "{path}: {problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains("paused by `ops`"),
            "{problem}"
        );
    }
    let paused = |actor: &str, reason: &str| vec![("acme".to_owned(), actor.to_owned(), reason.to_owned())];
    assert_eq!(pauses(&stand).await, paused("ops", "under investigation"));
    assert_eq!(stand.post("/v1/resume", "ops", &json!({"tenant": "acme"})).await.0, 200);
    // Its own it may, and so may the host.
    assert_eq!(stand.post("/v1/pause", "acme-all", &own).await.0, 204);
    assert_eq!(pauses(&stand).await, paused("acme-all", "ours"));
    assert_eq!(stand.post("/v1/resume", "acme-all", &json!({})).await.0, 200);
    assert!(pauses(&stand).await.is_empty());
}

#[tokio::test]
async fn a_pause_in_the_wrong_place_is_refused() {
    let stand = Stand::new().await;
    for (body, token, expected) in [
        (json!({"tenant": "acmee", "reason": "x"}), "ops", 404),
        (
            json!({"tenant": "acme", "connector": "docusing", "reason": "x"}),
            "ops",
            404,
        ),
        (json!({"connector": "docusign", "reason": "x"}), "ops", 400),
        (json!({"tenant": "acme", "reason": "x"}), "other-all", 404),
        (json!({"tenant": "acme", "reason": "x"}), "boss", 403),
        (json!({"tenant": "acme", "reason": "x"}), "auditor", 403),
        (json!({"tenant": "a/b", "reason": "x"}), "ops", 404),
        (json!({"tenat": "acme", "reason": "x"}), "ops", 400),
        (json!({"tenant": "acme"}), "ops", 400),
    ] {
        let (status, problem) = stand.post("/v1/pause", token, &body).await;
        assert_eq!(status, expected, "{body} {token}: {problem}");
    }
    assert!(pauses(&stand).await.is_empty());
    assert_eq!(
        stand.post("/v1/resume", "ops", &json!({"tenant": "acmee"})).await.0,
        404
    );
    let (status, resumed) = stand.post("/v1/resume", "ops", &json!({"tenant": "acme"})).await;
    assert_eq!((status, resumed), (200, json!({"resumed": false, "unparked": false})));
}

#[tokio::test]
async fn a_tenant_that_was_removed_can_still_be_paused_while_its_jobs_are_there() {
    let stand = Stand::new().await;
    stand.leaver("gone", "a@gone.example", NewState::Queued).await;
    for body in [
        json!({"tenant": "gone", "reason": "x"}),
        json!({"tenant": "gone", "connector": "docusign", "reason": "x"}),
    ] {
        assert_eq!(stand.post("/v1/pause", "ops", &body).await.0, 204, "{body}");
    }
    assert!(matches!(&stand.journal.pauses().await.unwrap()[0].scope, Scope::Tenant(tenant) if tenant == "gone"));
}

#[tokio::test]
async fn resuming_a_connector_lets_it_try_again_where_it_was_parked() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let job = stand.claim().await;
    let park = Finish::Park {
        reason: "consent is missing".to_owned(),
    };
    stand.journal.finish(&job.fence, park, None).await.unwrap();
    let body = json!({"tenant": "acme", "connector": "docusign", "reason": "consent is given"});
    let (_, resumed) = stand.post("/v1/resume", "ops", &body).await;
    assert_eq!(resumed, json!({"resumed": false, "unparked": true}));
    assert_eq!(stand.claim().await.id(), job.id());
    let actions = stand
        .journal
        .actions(None, None, crate::journal::Page::default())
        .await
        .unwrap()
        .items;
    assert_eq!(
        (actions[0].action.verb.as_str(), actions[0].action.detail.as_str()),
        ("unpark", "consent is given; what had stopped it: consent is missing")
    );
}

#[tokio::test]
async fn resuming_a_tenant_lets_all_of_its_connectors_try_again() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let job = stand.claim().await;
    let reason = "consent is missing".to_owned();
    let park = Finish::Park { reason };
    stand.journal.finish(&job.fence, park, None).await.unwrap();
    let (_, other) = stand.post("/v1/resume", "ops", &json!({"tenant": "other"})).await;
    assert_eq!(other["unparked"], json!(false));
    let (_, resumed) = stand.post("/v1/resume", "ops", &json!({"tenant": "acme"})).await;
    assert_eq!(resumed, json!({"resumed": false, "unparked": true}));
    assert_eq!(stand.claim().await.id(), job.id());
}

#[tokio::test]
async fn a_job_that_an_open_breaker_would_hold_again_is_not_released() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let id = stand.trip().await;
    let one = format!("/v1/jobs/{id}/release");
    for (path, body) in [
        (one.as_str(), json!({"reason": "x"})),
        (
            "/v1/jobs/release",
            json!({"tenant": "acme", "why": "breaker", "reason": "x"}),
        ),
    ] {
        let (status, problem) = stand.post(path, "boss", &body).await;
        assert_eq!(status, 409, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("exeunt breaker release acme docusign"), "{detail}");
    }
    let state = stand.journal.job(id).await.unwrap().unwrap().summary.state;
    assert!(matches!(state, crate::journal::JobState::Held { .. }), "{state:?}");
}

#[tokio::test]
async fn the_breaker_is_closed_by_those_who_may_approve() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let id = stand.trip().await;
    let path = "/v1/breaker/release";
    let body = json!({"tenant": "acme", "connector": "docusign", "reason": "a department was closed"});
    assert!(lanes(&stand, "", "ops").await.lanes[0].breaker.is_some());
    assert_eq!(stand.post(path, "ops", &body).await.0, 403);
    assert_eq!(stand.post(path, "other-all", &body).await.0, 404);
    let unknown = json!({"tenant": "acme", "connector": "zoom", "reason": "x"});
    assert_eq!(stand.post(path, "boss", &unknown).await.0, 404);
    assert_eq!(
        stand
            .post(path, "boss", &json!({"connector": "docusign", "reason": "x"}))
            .await
            .0,
        400
    );
    assert_eq!(stand.post(path, "boss", &body).await, (200, json!({"released": 1})));
    assert!(lanes(&stand, "", "ops").await.lanes[0].breaker.is_none());
    let action = stand.journal.job(id).await.unwrap().unwrap().actions.remove(0);
    assert_eq!((action.actor.as_str(), action.verb.as_str()), ("boss", "release"));
}

#[tokio::test]
async fn a_lane_all_of_whose_jobs_wait_says_when_the_next_try_is() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let at = stand.put_off().await;
    let seen = &lanes(&stand, "", "ops").await.lanes[0];
    assert_eq!((seen.queued, seen.oldest_due, seen.next_try), (1, None, Some(at)));
    stand.leaver("acme", "b@acme.example", NewState::Queued).await;
    let seen = &lanes(&stand, "", "ops").await.lanes[0];
    assert_eq!((seen.queued, seen.next_try), (2, None), "one of them may run now");
    assert!(seen.oldest_due.is_some());
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_not_an_empty_list_for_the_host() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let lists = ["/v1/lanes?tenant=", "/v1/jobs?tenant=", "/v1/events?tenant="];
    for list in lists {
        assert_eq!(stand.get(&format!("{list}nobody"), "ops").await.0, 404, "{list}");
        assert_eq!(stand.get(&format!("{list}acme"), "ops").await.0, 200, "{list}");
        // A tenant's token learns nothing of others, nor that there are none.
        assert_eq!(stand.get(&format!("{list}nobody"), "other-all").await.0, 200, "{list}");
    }
    let (status, body) = stand.get("/v1/jobs?tenant=acme&connector=zom", "ops").await;
    assert_eq!(
        (status, body["detail"].as_str()),
        (404, Some("there is no connector `acme/zom`"))
    );
    let ended = stand
        .get("/v1/jobs?tenant=acme&connector=docusign&state=ended", "ops")
        .await;
    assert_eq!((ended.0, &ended.1["jobs"]), (200, &json!([])));
}
