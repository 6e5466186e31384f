//! `GET /oauth/userinfo`, and what the account server does not serve.

use docusign_sim::{Account, Status, User};
use serde_json::json;

use crate::client::{Rig, answer};

#[tokio::test]
async fn userinfo_lists_every_open_membership_with_its_base_uri_and_a_boolean_default() {
    let rig = Rig::start().await;
    let (user_id, account_id) = (rig.sim.user_id().to_owned(), rig.sim.account_id().to_owned());
    let mut second = Account::new("Acme Holding");
    second.base_uri = "https://na2.docusign.net".to_owned();
    second.add(User::new("docusign.api@acme.example").with_id(&user_id));
    let mut third = Account::new("Acme History");
    third.add(
        User::new("docusign.api@acme.example")
            .with_id(&user_id)
            .with_status(Status::Closed),
    );
    let second_id = rig.sim.state().add_account(second);
    rig.sim.state().add_account(third);
    let body = rig.userinfo(&rig.token().await).await.json();
    assert_eq!(body["sub"], json!(user_id));
    assert_eq!(body["email"], "docusign.api@acme.example");
    assert_eq!(
        body["accounts"],
        json!([
            {
                "account_id": account_id, "is_default": true, "account_name": "Acme Ltd",
                "base_uri": "https://demo.docusign.net",
            },
            {
                "account_id": second_id, "is_default": false, "account_name": "Acme Holding",
                "base_uri": "https://na2.docusign.net",
            },
        ])
    );
    for name in ["name", "given_name", "family_name", "created"] {
        assert!(body[name].is_string(), "{name}");
    }
}

#[tokio::test]
async fn accounts_may_be_empty() {
    let rig = Rig::start().await;
    let token = rig.token().await;
    rig.sim
        .update_user(rig.sim.user_id(), |user| user.status = Status::Closed);
    let answer = rig.userinfo(&token).await;
    assert_eq!((answer.status, &answer.json()["accounts"]), (200, &json!([])));
}

#[tokio::test]
async fn a_bad_token_is_a_401_that_reads_like_an_outage() {
    let rig = Rig::start().await;
    let answer = rig.userinfo("made-up").await;
    let body = answer.json();
    assert_eq!((answer.status, &body["error"]), (401, &json!("internal_server_error")));
    assert_eq!(body["reference_id"].as_str().map(str::len), Some(36));
    assert!(answer.header("x-docusign-tracetoken").is_some());
}

#[tokio::test]
async fn the_account_server_serves_no_esignature_and_esignature_no_tokens() {
    let rig = Rig::start().await;
    let token = rig.token().await;
    let url = format!("https://account-d.docusign.com{}/users", rig.account_path());
    let request = rig.http.get(url).bearer_auth(&token);
    assert_eq!(answer(request.send().await.unwrap()).await.status, 404);
    let url = format!(
        "https://account-d.docusign.com{}/users/{}",
        rig.account_path(),
        rig.sim.user_id()
    );
    let request = rig.http.delete(url).bearer_auth(&token);
    assert_eq!(answer(request.send().await.unwrap()).await.status, 404);
    let request = rig.http.post("https://demo.docusign.net/oauth/token");
    assert_eq!(answer(request.send().await.unwrap()).await.status, 404);
    let request = rig.http.get("https://account-d.docusign.com/oauth/token");
    assert_eq!(answer(request.send().await.unwrap()).await.status, 405);
}

#[tokio::test]
async fn userinfo_has_an_hourly_limit_of_its_own_when_it_is_switched_on() {
    let rig = Rig::start().await;
    rig.sim.switch(|switches| switches.userinfo_hourly = Some(2));
    let token = rig.token().await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(rig.userinfo(&token).await.status);
    }
    assert_eq!(statuses, [200, 200, 429]);
}
