use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::console::testing::Stand;
use crate::console::{JobDetail, JobPage, MAX_BODY_BYTES, MAX_REASON_BYTES};
use crate::journal::{Finish, NewState};
use crate::tenant::Tokens;

fn held(why: &str) -> NewState {
    NewState::Held {
        why: why.to_owned(),
        reason: "an operator decides".to_owned(),
    }
}

async fn page(stand: &Stand, query: &str, token: &str) -> JobPage {
    let (status, body) = stand.get(&format!("/v1/jobs{query}"), token).await;
    assert_eq!(status, 200, "{query}: {body}");
    serde_json::from_value(body).unwrap()
}

fn emails(page: &JobPage) -> Vec<&str> {
    page.jobs
        .iter()
        .map(|job| job.person.as_ref().unwrap()["email"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn jobs_are_listed_page_by_page_newest_first() {
    let stand = Stand::new().await;
    for number in 0..5 {
        stand.clock.advance(Duration::from_millis(1));
        stand
            .leaver("acme", &format!("{number}@acme.example"), NewState::Queued)
            .await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = page(&stand, &format!("?limit=2{cursor}"), "ops").await;
        assert!(page.jobs.len() <= 2);
        seen.extend(emails(&page).iter().map(|email| (*email).to_owned()));
        match page.next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(
        seen,
        [
            "4@acme.example",
            "3@acme.example",
            "2@acme.example",
            "1@acme.example",
            "0@acme.example"
        ]
    );
}

#[tokio::test]
async fn a_list_is_narrowed_by_tenant_connector_state_outcome_why_person_and_event() {
    let stand = Stand::new().await;
    stand.leaver("acme", "closed@acme.example", NewState::Queued).await;
    stand.close().await;
    stand.leaver("acme", "old@acme.example", held("old-event")).await;
    stand.leaver("other", "o@other.example", NewState::Queued).await;
    let zoom = stand
        .leaver_of("acme", "zoom", "z@acme.example", NewState::Queued)
        .await;
    for (query, expected) in [
        ("?tenant=other", vec!["o@other.example"]),
        ("?tenant=acme&connector=zoom", vec!["z@acme.example"]),
        ("?state=held", vec!["old@acme.example"]),
        ("?state=ended", vec!["closed@acme.example"]),
        ("?outcome=closed", vec!["closed@acme.example"]),
        ("?why=old-event", vec!["old@acme.example"]),
        ("?tenant=acme&person=OLD%40acme.example", vec!["old@acme.example"]),
        ("?dead=true", vec![]),
        ("?tenant=acme&person=nobody%40acme.example", vec![]),
        (&format!("?event={}", zoom.event), vec!["z@acme.example"]),
    ] {
        assert_eq!(emails(&page(&stand, query, "ops").await), expected, "{query}");
    }
}

#[tokio::test]
async fn parked_jobs_are_told_from_queued_ones() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let job = stand.claim().await;
    let park = Finish::Park {
        reason: "consent is missing".to_owned(),
    };
    stand.journal.finish(&job.fence, park, None).await.unwrap();
    stand.leaver("other", "o@other.example", NewState::Queued).await;
    let parked = page(&stand, "?state=parked", "ops").await;
    assert_eq!(emails(&parked), ["a@acme.example"]);
    assert_eq!(parked.jobs[0].state, "parked");
    assert_eq!(parked.jobs[0].why.as_deref(), Some("consent is missing"));
    assert_eq!(emails(&page(&stand, "?state=queued", "ops").await), ["o@other.example"]);
    let open = page(
        &stand,
        "?not_closed=true&since=2023-11-14&until=2023-11-15T00:00:00Z",
        "ops",
    )
    .await;
    assert_eq!(open.jobs.len(), 2);
    for none in ["?since=2023-11-15", "?until=2023-11-14"] {
        assert_eq!(page(&stand, none, "ops").await.jobs, [], "{none}");
    }
}

#[tokio::test]
async fn a_query_that_makes_no_sense_says_what_does() {
    let stand = Stand::new().await;
    for (query, expected) in [
        ("?stat=held", "did you mean `state`?"),
        ("?state=hold", "did you mean `held`?"),
        ("?outcome=close", "did you mean `closed`?"),
        ("?limit=0", "from 1 to 500"),
        ("?limit=501", "from 1 to 500"),
        ("?cursor=x", "`next` of an earlier page"),
        ("?event=x", "not the id of an event"),
        ("?dead=1", "true or false"),
        ("?not_closed=yes", "true or false"),
        ("?since=yesterday", "neither a day nor a time"),
        ("?until=2026-02-30", "neither a day nor a time"),
        ("?until=2026-07-01T23:59:59", "neither a day nor a time"),
        ("?connector=docusign", "`connector` needs `tenant`"),
        ("?person=a", "`person` needs `tenant`"),
        ("?tenant=acme&tenant=other", "given twice"),
        ("?tenant=acme&connector=a%2Fb", "slash"),
        ("?why=breakr", "did you mean `breaker`?"),
        (&format!("?tenant=acme&person={}", "x".repeat(513)), "over 512 bytes"),
    ] {
        let (status, problem) = stand.get(&format!("/v1/jobs{query}"), "ops").await;
        assert_eq!(status, 400, "{query}");
        assert!(
            problem["detail"].as_str().unwrap().contains(expected),
            "{query}: {problem}"
        );
    }
    page(&stand, "?limit=500", "ops").await;
    page(&stand, &format!("?tenant=acme&person={}", "x".repeat(512)), "ops").await;
}

#[tokio::test]
async fn a_job_is_shown_with_its_history_and_its_transcript_to_auditors_only() {
    let stand = Stand::new().await;
    stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let id = stand.close().await;
    let (status, shown) = stand.get(&format!("/v1/jobs/{id}"), "auditor").await;
    assert_eq!(status, 200);
    let shown: JobDetail = serde_json::from_value(shown).unwrap();
    assert_eq!(shown.job.outcome.as_deref(), Some("closed"));
    assert_eq!(shown.detail, Some(json!({"accounts": []})));
    assert_eq!(shown.history[0].owner, "host-1");
    assert_eq!(shown.intents[0].account, "account-1");
    assert_eq!(shown.transcripts.unwrap()[0].calls, json!([{"verb": "find"}]));
    let (_, shown) = stand.get(&format!("/v1/jobs/{id}"), "ops").await;
    assert!(shown.get("transcripts").is_none(), "{shown}");
}

#[tokio::test]
async fn an_event_is_shown_with_its_body_to_auditors_only() {
    let stand = Stand::new().await;
    let event = stand
        .leaver_of("acme", "docusign", "a@acme.example", NewState::Queued)
        .await;
    let path = format!("/v1/events/{}", event.event);
    let (_, shown) = stand.get(&path, "auditor").await;
    assert_eq!(shown["body"], "{\"who\": \"a@acme.example\"}", "as received");
    assert_eq!(shown["jobs"], json!([event.jobs[0].to_string()]));
    let (status, shown) = stand.get(&path, "ops").await;
    assert_eq!((status, shown["decision"].as_str()), (200, Some("leaver")));
    assert!(shown.get("body").is_none());
    assert_eq!(stand.get(&path, "other-all").await.0, 404);
    assert!(shown.get("body_expired").is_none());
    stand.clock.advance(Duration::from_millis(1));
    let kept = std::time::Duration::ZERO;
    assert_eq!(stand.journal.expire_events(kept, &mut None).await, Ok(1));
    let (_, shown) = stand.get(&path, "auditor").await;
    assert_eq!((shown.get("body"), &shown["body_expired"]), (None, &json!(true)));
}

#[tokio::test]
async fn an_id_of_the_other_kind_says_which_it_is_to_whoever_sees_it() {
    let stand = Stand::new().await;
    let accepted = stand
        .leaver_of("acme", "docusign", "a@acme.example", NewState::Queued)
        .await;
    let (event, job) = (accepted.event, accepted.jobs[0]);
    for (path, says) in [
        (
            format!("/v1/jobs/{event}"),
            format!("`exeunt jobs list --event {event}`"),
        ),
        (format!("/v1/events/{job}"), format!("its event is {event}")),
    ] {
        let (status, body) = stand.get(&path, "acme-all").await;
        let detail = body["detail"].as_str().unwrap_or_default();
        assert!(status == 404 && detail.contains(&says), "{body}");
        let (status, body) = stand.get(&path, "other-all").await;
        assert!(status == 404 && !body.to_string().contains(&says), "{body}");
    }
}

#[tokio::test]
async fn without_a_known_token_every_path_gives_the_same_answer() {
    let stand = Stand::new().await;
    let id = stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let unknown = format!("exeunt_{}", "B".repeat(43));
    let mut answers = std::collections::BTreeSet::new();
    for token in ["", "x", unknown.as_str()] {
        for path in [
            "/v1/jobs".to_owned(),
            format!("/v1/jobs/{id}"),
            "/v1/lanes".to_owned(),
            "/v1/events/x".to_owned(),
        ] {
            let answer = stand.text(Method::GET, &path, token, "").await;
            assert_eq!(
                (answer.0, answer.1.as_str()),
                (401, "application/problem+json"),
                "{path}"
            );
            answers.insert(answer.2);
        }
        for path in ["/v1/pause", "/v1/resume", "/v1/breaker/release", "/v1/jobs/release"] {
            answers.insert(stand.text(Method::POST, path, token, "{}").await.2);
        }
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn what_belongs_to_another_tenant_looks_as_if_it_did_not_exist() {
    let stand = Stand::new().await;
    let id = stand.leaver("acme", "a@acme.example", held("old-event")).await;
    let none = "00000000-0000-7000-8000-000000000000";
    let (status, body) = stand.get("/v1/jobs?state=closed", "other-all").await;
    let detail = body["detail"].as_str().unwrap_or_default();
    assert!(status == 400 && detail.contains("--outcome closed"), "{body}");
    for path in ["/v1/jobs/%FF", "/v1/events/%FF"] {
        let (status, body) = stand.get(path, "other-all").await;
        assert_eq!((status, &body["status"]), (404, &json!(404)), "{path}");
    }
    let acts = ["retry", "cancel", "release"];
    for act in acts {
        let reason = json!({"reason": "because"}).to_string();
        let theirs = stand
            .text(Method::POST, &format!("/v1/jobs/{id}/{act}"), "other-all", &reason)
            .await;
        let missing = stand
            .text(Method::POST, &format!("/v1/jobs/{none}/{act}"), "other-all", &reason)
            .await;
        assert_eq!(theirs, missing);
        assert_eq!(theirs.0, 404);
    }
    let theirs = stand
        .text(Method::GET, &format!("/v1/jobs/{id}"), "other-all", "")
        .await;
    assert_eq!(
        theirs,
        stand
            .text(Method::GET, &format!("/v1/jobs/{none}"), "other-all", "")
            .await
    );
    assert_eq!(
        theirs,
        stand.text(Method::GET, "/v1/jobs/nonsense", "other-all", "").await
    );
    for query in ["", "?tenant=acme", "?tenant=acme&connector=docusign", "?tenant=nobody"] {
        assert_eq!(
            page(&stand, query, "other-all").await,
            JobPage {
                jobs: vec![],
                next: None
            },
            "{query}"
        );
    }
    let body = json!({"tenant": "acme", "reason": "x"});
    assert_eq!(stand.post("/v1/jobs/release", "other-all", &body).await.0, 404);
    assert_eq!(
        emails(&page(&stand, "?state=held", "acme-all").await),
        ["a@acme.example"]
    );
}

#[tokio::test]
async fn an_act_needs_its_role_whether_the_job_exists_or_not() {
    let stand = Stand::new().await;
    let id = stand.leaver("acme", "a@acme.example", held("old-event")).await;
    for (act, token, role) in [
        ("retry", "boss", "operate"),
        ("cancel", "auditor", "operate"),
        ("release", "ops", "approve"),
        ("release", "auditor", "approve"),
    ] {
        for id in [id.to_string(), "nonsense".to_owned()] {
            let (status, problem) = stand
                .post(&format!("/v1/jobs/{id}/{act}"), token, &json!({"reason": "x"}))
                .await;
            assert_eq!(status, 403, "{act} {token}");
            assert!(
                problem["detail"].as_str().unwrap().contains(&format!("`{role}`")),
                "{problem}"
            );
        }
    }
    let shown = stand.journal.job(id).await.unwrap().unwrap();
    assert!(shown.actions.is_empty());
}

#[tokio::test]
async fn what_people_do_is_kept_with_the_name_of_their_token() {
    let stand = Stand::new().await;
    let id = stand.leaver("acme", "a@acme.example", held("old-event")).await;
    let act = |act: &str, token: &'static str, reason: &str| {
        let (path, body) = (format!("/v1/jobs/{id}/{act}"), json!({"reason": reason}));
        let stand = &stand;
        async move { stand.post(&path, token, &body).await }
    };
    assert_eq!(act("release", "boss", "HR confirmed").await.1["state"], "queued");
    assert_eq!(act("cancel", "ops", "rehired").await.1["outcome"], "cancelled");
    let (status, shown) = act("retry", "acme-all", "left again").await;
    assert_eq!((status, shown["state"].as_str()), (200, Some("queued")));
    let acts: Vec<(&str, &str)> = shown["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(actor_and_verb)
        .collect();
    assert_eq!(acts, [("boss", "release"), ("ops", "cancel"), ("acme-all", "retry")]);
    assert!(shown["actions"][0]["detail"].as_str().unwrap().contains("HR confirmed"));
    let (status, problem) = act("release", "boss", "x").await;
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("queued"), "{problem}");
}

fn actor_and_verb(action: &Value) -> (&str, &str) {
    (action["actor"].as_str().unwrap(), action["verb"].as_str().unwrap())
}

#[tokio::test]
async fn held_jobs_are_released_by_filter_and_never_all_by_accident() {
    let stand = Stand::new().await;
    for (tenant, why) in [("acme", "old-event"), ("acme", "sample-event"), ("other", "old-event")] {
        stand.leaver(tenant, "a@a.example", held(why)).await;
    }
    let release = |token: &'static str, body: Value| {
        let stand = &stand;
        async move { stand.post("/v1/jobs/release", token, &body).await }
    };
    assert_eq!(release("boss", json!({"reason": "x"})).await.0, 400);
    assert_eq!(release("ops", json!({"why": "old-event", "reason": "x"})).await.0, 403);
    let (status, problem) = release("boss", json!({"why": "old", "reason": "x"})).await;
    assert_eq!(status, 400, "{problem}");
    assert_eq!(
        release("boss", json!({"connector": "docusign", "reason": "x"})).await.0,
        400
    );
    let (status, problem) = release("acme-all", json!({"reason": "x"})).await;
    assert_eq!(status, 400, "that its token has one tenant is no choice: {problem}");
    let (status, _) = release("boss", json!({"tenant": "acem", "reason": "x"})).await;
    assert_eq!(status, 404, "there is no such tenant");
    let (_, released) = release("acme-all", json!({"why": "old-event", "reason": "x"})).await;
    assert_eq!(released, json!({"released": 1}), "only its own");
    let (_, released) = release(
        "boss",
        json!({"tenant": "other", "connector": "docusign", "reason": "x"}),
    )
    .await;
    assert_eq!(released, json!({"released": 1}));
    assert_eq!(
        page(&stand, "?state=held", "ops").await.jobs[0].why.as_deref(),
        Some("sample-event")
    );
}

#[tokio::test]
async fn an_act_without_a_usable_reason_is_refused() {
    let stand = Stand::new().await;
    let id = stand.leaver("acme", "a@acme.example", NewState::Queued).await;
    let path = format!("/v1/jobs/{id}/cancel");
    let long = "x".repeat(MAX_REASON_BYTES + 1);
    for body in [
        json!({}),
        json!({"reason": " "}),
        json!({"reason": long}),
        json!({"reason": "x", "force": true}),
        json!([]),
    ] {
        let (status, problem) = stand.post(&path, "ops", &body).await;
        assert_eq!(status, 400, "{body}: {problem}");
    }
    assert_eq!(stand.text(Method::POST, &path, "ops", "{").await.0, 400);
    let padded = |length: usize| format!("{{\"reason\":\"\"}}{}", " ".repeat(length - 13));
    assert_eq!(
        stand.text(Method::POST, &path, "ops", &padded(MAX_BODY_BYTES)).await.0,
        400
    );
    let (status, kind, _) = stand
        .text(Method::POST, &path, "ops", &padded(MAX_BODY_BYTES + 1))
        .await;
    assert_eq!((status, kind.as_str()), (413, "application/problem+json"));
    let kept = json!({"reason": "x".repeat(MAX_REASON_BYTES)});
    assert_eq!(stand.post(&path, "ops", &kept).await.0, 200);
}

#[tokio::test]
async fn a_revoked_token_is_refused_from_the_moment_of_the_swap() {
    let stand = Stand::new().await;
    assert_eq!(stand.get("/v1/jobs", "ops").await.0, 200);
    let file = stand.folder.path().join("tokens.toml");
    Tokens::revoke(&file, "ops", "2026-01-02".parse().unwrap()).unwrap();
    stand.tokens.store(Arc::new(Tokens::load(&file).unwrap()));
    assert_eq!(stand.get("/v1/jobs", "ops").await.0, 401);
    assert_eq!(stand.get("/v1/jobs", "boss").await.0, 200);
}

#[tokio::test]
async fn a_journal_that_is_away_is_503_with_a_time_to_come_back() {
    let stand = Stand::new().await;
    stand.journal.close().await;
    let (status, problem) = stand.get("/v1/jobs", "ops").await;
    assert_eq!(status, 503, "{problem}");
    let (status, ready) = stand.get("/readyz", "").await;
    assert_eq!((status, ready["journal"].as_str()), (503, Some("unreachable")));
    let (status, _, text) = stand.text(Method::GET, "/metrics", "", "").await;
    assert_eq!(status, 200);
    assert!(text.contains("exeunt_journal_up 0\n"), "{text}");
}
