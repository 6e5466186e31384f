//! `/_sim/…`: everything that can be read and changed from outside.

use docusign_sim::{Options, Simulator, Status};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{NOW, Rig, sign};

#[tokio::test]
async fn users_are_added_replaced_changed_and_read() {
    let rig = Rig::start().await;
    let new = json!([{ "email": "ann@acme.example" }, { "email": "bob@acme.example", "status": "ActivationSent" }]);
    let ids = rig.control(Method::POST, "users", Some(new)).await.json()["user_ids"].clone();
    let bob = ids[1].as_str().expect("an id").to_owned();
    assert_eq!(rig.sim.user(&bob).unwrap().status, Status::ActivationSent);
    let changed = rig
        .control(
            Method::PATCH,
            &format!("users/{bob}"),
            Some(json!({ "status": "Disabled" })),
        )
        .await;
    assert_eq!(
        (changed.status, &changed.json()["email"]),
        (200, &json!("bob@acme.example"))
    );
    assert_eq!(rig.sim.user(&bob).unwrap().status, Status::Disabled);
    let whole = json!({ "email": "robert@acme.example", "is_admin": true });
    assert_eq!(
        rig.control(Method::PUT, &format!("users/{bob}"), Some(whole))
            .await
            .json()["user_id"],
        json!(bob)
    );
    let read = rig.control(Method::GET, &format!("users/{bob}"), None).await.json();
    assert_eq!(
        (&read["email"], &read["status"], &read["is_admin"]),
        (&json!("robert@acme.example"), &json!("Active"), &json!(true))
    );
    assert_eq!(
        rig.control(Method::GET, "users", None).await.json()["users"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    // The index by address follows.
    let token = rig.token().await;
    assert_eq!(rig.get(&token, "/users?email=bob@acme.example").await.status, 400);
    assert_eq!(
        rig.get(&token, "/users?email=robert@acme.example").await.json()["totalSetSize"],
        "1"
    );
}

#[tokio::test]
async fn faults_switches_limits_and_clock_are_set_from_outside() {
    let rig = Rig::start().await;
    let fault = json!({ "method": "GET", "path": "/restapi/*", "times": 1, "kind": { "html": { "status": 500 } } });
    let drop = json!({ "path": "/oauth/*", "times": null, "effect": true, "kind": "drop" });
    let armed = rig.control(Method::POST, "faults", Some(json!([fault, drop]))).await;
    assert_eq!((armed.status, armed.json()), (200, json!({ "ids": [1, 2] })));
    let body = rig.control(Method::GET, "faults", None).await.json();
    assert_eq!(
        (
            &body["faults"][1]["kind"],
            &body["faults"][1]["times"],
            &body["faults"][0]["hits"]
        ),
        (&json!("drop"), &json!(null), &json!(0))
    );
    assert_eq!(rig.control(Method::DELETE, "faults/2", None).await.status, 200);
    let token = rig.token().await;
    assert_eq!(rig.get(&token, "/users").await.status, 500);
    assert_eq!(rig.control(Method::DELETE, "faults", None).await.status, 200);

    let switches =
        json!({ "no_match": "user_not_found", "refuse_close": { "*": { "error_code": "X", "message": "" } } });
    assert_eq!(
        rig.control(Method::PATCH, "switches", Some(switches)).await.json()["no_match"],
        "user_not_found"
    );
    assert_eq!(rig.get(&token, "/users?email=nobody").await.error().1, "USER_NOT_FOUND");
    let limits = rig
        .control(Method::PATCH, "limits", Some(json!({ "burst": null })))
        .await
        .json();
    assert_eq!(limits, json!({ "hourly": 3000, "burst": null }));
    let clock = rig
        .control(Method::POST, "clock", Some(json!({ "advance_seconds": 3600 })))
        .await
        .json();
    assert_eq!(clock, json!({ "now": NOW + 3600, "offset_seconds": 3600 }));
    assert_eq!(rig.get(&token, "/users").await.status, 401);
    rig.control(Method::POST, "clock", Some(json!({ "offset_seconds": 0 })))
        .await;
    assert_eq!(rig.get(&token, "/users").await.status, 200);
}

#[tokio::test]
async fn consent_keys_tokens_accounts_and_groups_are_set_from_outside() {
    let rig = Rig::start().await;
    let consents = rig.control(Method::GET, "consent", None).await.json();
    assert_eq!(consents["consents"][0]["scopes"], json!(["impersonation", "signature"]));
    assert_eq!(
        rig.control(Method::DELETE, "consent", None).await.json(),
        json!({ "consents": [] })
    );
    assert_eq!(rig.mint_claims(&json!({})).await.json()["error"], "consent_required");
    rig.control(
        Method::POST,
        "consent",
        Some(json!({ "scopes": "signature impersonation" })),
    )
    .await;
    let token = rig.token().await;
    assert_eq!(
        rig.control(Method::DELETE, "tokens", None).await.json(),
        json!({ "revoked": 1 })
    );
    assert_eq!(rig.userinfo(&token).await.status, 401);

    let keys = rig.control(Method::GET, "keys", None).await.json();
    assert_eq!(
        keys["keys"],
        json!([{ "id": 1, "integration_key": rig.sim.integration_key() }])
    );
    let private = rig
        .control(
            Method::POST,
            "keys",
            Some(json!({ "public_key": rig.sim.private_key_pem() })),
        )
        .await;
    assert_eq!(private.status, 400);
    assert_eq!(rig.control(Method::DELETE, "keys/1", None).await.status, 200);
    assert_eq!(rig.mint_claims(&json!({})).await.status, 400);

    let account = rig
        .control(Method::POST, "accounts", Some(json!({ "name": "Second" })))
        .await
        .json();
    let path = format!("accounts/{}", account["account_id"].as_str().expect("an id"));
    let moved = rig
        .control(
            Method::PATCH,
            &path,
            Some(json!({ "base_uri": "https://eu.docusign.net" })),
        )
        .await
        .json();
    assert_eq!(
        (&moved["name"], &moved["base_uri"]),
        (&json!("Second"), &json!("https://eu.docusign.net"))
    );
    let user = rig.sim.user_id();
    let group = rig
        .control(
            Method::POST,
            "groups",
            Some(json!({ "name": "Sales", "users": [user] })),
        )
        .await;
    let signing = rig
        .control(
            Method::POST,
            "signing-groups",
            Some(json!({ "name": "Signs", "emails": ["a@b.example"] })),
        )
        .await;
    assert_eq!((group.status, signing.status), (200, 200));
    let state = rig.control(Method::GET, "state", None).await.json();
    assert_eq!(state["accounts"][0]["groups"][0]["users"], json!([user]));
    assert_eq!(state["accounts"][0]["signing_groups"][0]["name"], "Signs");
}

#[tokio::test]
async fn the_log_knows_every_request_and_no_secret() {
    let rig = Rig::start().await;
    let id = rig.add("ann@acme.example");
    let assertion = sign(rig.sim.private_key_pem(), &rig.claims());
    let minted = rig.mint(&assertion).await;
    let token = minted.json()["access_token"].as_str().unwrap().to_owned();
    rig.userinfo(&token).await;
    rig.close(&token, &[&id], "?delete=Groups").await;
    rig.odd_esign(&token, Method::GET, &format!("/users?access_token={token}"), None)
        .await;
    let body = rig.control(Method::GET, "requests", None).await;
    let records = body.json()["requests"].clone();
    let seen: Vec<Value> = records
        .as_array()
        .unwrap()
        .iter()
        .map(|r| json!([r["origin"], r["method"], r["status"]]))
        .collect();
    assert_eq!(
        seen,
        [
            json!(["account", "POST", 200]),
            json!(["account", "GET", 200]),
            json!(["esign", "DELETE", 200]),
            json!(["esign", "GET", 200]),
        ]
    );
    assert_eq!(records[2]["query"], "delete=Groups");
    assert_eq!(records[2]["path"], json!(format!("{}/users", rig.account_path())));
    assert_eq!(
        (&records[0]["host"], &records[2]["host"]),
        (&json!("account-d.docusign.com"), &json!("demo.docusign.net"))
    );
    assert_eq!(records[1]["authorization_sha256"], records[2]["authorization_sha256"]);
    assert_eq!(records[0]["assertion_sha256"].as_str().map(str::len), Some(64));
    assert_eq!(
        records[0]["trace_token"].as_str(),
        minted.header("x-docusign-tracetoken")
    );
    let state = rig.control(Method::GET, "state", None).await.text;
    for text in [&body.text, &state] {
        assert!(!text.contains(&token) && !text.contains(&assertion) && !text.contains("PRIVATE KEY"));
    }
    let later = rig.control(Method::GET, "requests?since=3", None).await.json();
    assert_eq!(later["requests"].as_array().unwrap().len(), 1);
    rig.control(Method::DELETE, "requests", None).await;
    let after = rig.control(Method::GET, "requests", None).await.json();
    assert_eq!(
        (
            after["requests"].as_array().unwrap().len(),
            &after["counters"]["requests"]
        ),
        (0, &json!(4))
    );
}

#[tokio::test]
async fn the_log_forgets_the_oldest_and_counts_them() {
    let rig = Rig::with(Options {
        log_capacity: 2,
        ..Options::default()
    })
    .await;
    for _ in 0..5 {
        rig.userinfo("x").await;
    }
    let kept: Vec<u64> = rig.sim.requests().iter().map(|record| record.seq).collect();
    assert_eq!(
        (kept, rig.sim.counters().requests, rig.sim.counters().forgotten),
        (vec![4, 5], 5, 3)
    );
}

#[tokio::test]
async fn a_reset_goes_back_to_the_start() {
    let rig = Rig::start().await;
    let before = rig.control(Method::GET, "state", None).await.json();
    rig.add("ann@acme.example");
    let token = rig.token().await;
    rig.sim.switch(|switches| switches.caller_lost_membership = true);
    rig.control(Method::POST, "clock", Some(json!({ "advance_seconds": 5 })))
        .await;
    rig.control(Method::POST, "faults", Some(json!({ "kind": "drop" })))
        .await;
    assert_eq!(rig.control(Method::POST, "reset", None).await.status, 200);
    assert_eq!(rig.control(Method::GET, "state", None).await.json(), before);
    assert_eq!(rig.userinfo(&token).await.status, 401);
}

#[tokio::test]
async fn bad_input_is_a_400_that_says_what_is_wrong() {
    let rig = Rig::start().await;
    let known = "/restapi/*";
    for (method, path, body, status, problem) in [
        (Method::POST, "users", json!({ "name": "Ann" }), 400, "needs \"email\""),
        (
            Method::POST,
            "users",
            json!({ "email": "a@b.example", "statuss": "Active" }),
            400,
            "statuss",
        ),
        (
            Method::POST,
            "users",
            json!({ "email": "a@b.example", "status": "Gone" }),
            400,
            "Gone",
        ),
        (Method::PATCH, "users/nobody", json!({}), 404, "no user nobody"),
        (Method::GET, "users?account=none", json!({}), 404, "no account none"),
        (
            Method::POST,
            "faults",
            json!({ "path": known, "kind": "explode" }),
            400,
            "explode",
        ),
        (
            Method::POST,
            "faults",
            json!({ "path": known, "kind": { "html": { "status": 99 } } }),
            400,
            "99",
        ),
        (
            Method::POST,
            "faults",
            json!({ "kind": { "gzip_bomb": { "bytes": u64::MAX } } }),
            400,
            "gzip_bomb",
        ),
        (
            Method::POST,
            "faults",
            json!({ "kind": { "drip": { "bytes": 0, "every_ms": 1 } } }),
            400,
            "drip",
        ),
        (
            Method::POST,
            "faults",
            json!({ "origin": "control", "kind": "drop" }),
            400,
            "never control",
        ),
        (Method::DELETE, "faults/7", json!({}), 404, "no fault 7"),
        (
            Method::PATCH,
            "switches",
            json!({ "no_mtch": "user_not_found" }),
            400,
            "no_mtch",
        ),
        (
            Method::PATCH,
            "switches",
            json!({ "rate_limit_status": 500 }),
            400,
            "400 or 429",
        ),
        (Method::PATCH, "switches", json!([]), 400, "object"),
        (Method::PATCH, "limits", json!({ "hourly": -1 }), 400, "-1"),
        (Method::POST, "clock", json!({}), 400, "advance_seconds"),
        (
            Method::POST,
            "clock",
            json!({ "advance_seconds": -1 }),
            400,
            "advance_seconds",
        ),
        (Method::POST, "consent", json!({ "scope": "signature" }), 400, "scope"),
        (
            Method::POST,
            "keys",
            json!({ "public_key": "nonsense" }),
            400,
            "not a PEM",
        ),
        (Method::DELETE, "keys/x", json!({}), 400, "not a key's number"),
        (Method::DELETE, "clock", json!({}), 405, "DELETE is not served"),
        (Method::GET, "nothing", json!({}), 404, "below /_sim there are"),
    ] {
        let answer = rig.control(method.clone(), path, Some(body.clone())).await;
        let text = answer.json()["problem"].as_str().unwrap_or_default().to_owned();
        assert!(
            answer.status == status && text.contains(problem),
            "{method} {path} {body}: {} {text}",
            answer.status
        );
    }
}

#[tokio::test]
async fn addresses_that_are_not_loopback_and_identifiers_that_are_no_guids_are_refused() {
    let elsewhere = Options {
        esign_addr: "0.0.0.0:0".parse().unwrap(),
        ..Options::default()
    };
    let error = Simulator::start(elsewhere).await.expect_err("not loopback");
    assert!(error.to_string().contains("is not loopback"), "{error}");
    let named = Options {
        user_id: Some("api@acme.example".to_owned()),
        ..Options::default()
    };
    let error = Simulator::start(named).await.expect_err("not a GUID");
    assert!(error.to_string().contains("must be a GUID"), "{error}");
}

#[tokio::test]
async fn dropping_a_simulator_frees_its_ports_and_a_key_can_be_reused() {
    let first = Simulator::start(Options::default()).await.unwrap();
    let options = Options {
        account_addr: first.account_addr(),
        esign_addr: first.esign_addr(),
        control_addr: first.control_addr(),
        private_key: Some(first.private_key_pem().to_owned()),
        ..Options::default()
    };
    let taken = Simulator::start(options.clone()).await.expect_err("taken");
    assert!(format!("{taken:#}").contains("failed to listen"), "{taken:#}");
    let pem = first.private_key_pem().to_owned();
    drop(first);
    // Aborted tasks let go of their sockets when the runtime comes to them.
    let second = loop {
        match Simulator::start(options.clone()).await {
            Ok(second) => break second,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(second.private_key_pem(), pem);
}
