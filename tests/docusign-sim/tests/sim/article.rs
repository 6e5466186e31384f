//! Article mode: the shapes of the article that the project starts from, and only with the option.

use docusign_sim::{Options, Status};
use serde_json::json;

use crate::client::{Answer, JWT_BEARER, Rig, answer, sign};

async fn article() -> Rig {
    Rig::with(Options {
        article: true,
        ..Options::default()
    })
    .await
}

async fn close(rig: &Rig, token: &str, user_id: &str) -> Answer {
    let url = format!("https://account-d.docusign.com{}/users/{user_id}", rig.account_path());
    answer(rig.http.delete(url).bearer_auth(token).send().await.expect("an answer")).await
}

async fn mint(rig: &Rig) -> Answer {
    let claims = rig.claims_with(&json!({ "exp": 1_999_999_999 }));
    let assertion = sign(rig.sim.private_key_pem(), &claims);
    let body = json!({ "grant_type": JWT_BEARER, "assertion": assertion });
    rig.post_token("application/json", body.to_string()).await
}

#[tokio::test]
async fn the_article_works_as_written() {
    let rig = article().await;
    let id = rig.add("ann@acme.example");
    let minted = mint(&rig).await;
    assert_eq!(minted.status, 200, "{}", minted.text);
    let token = minted.json()["access_token"].as_str().unwrap().to_owned();
    let closed = close(&rig, &token, &id).await;
    assert_eq!(
        (closed.status, &closed.json()["users"][0]["userStatus"]),
        (200, &json!("closed"))
    );
    assert_eq!(rig.sim.user(&id).unwrap().status, Status::Closed);
    assert_eq!(close(&rig, "made-up", &id).await.status, 401);
}

#[tokio::test]
async fn forms_still_work_beside_it() {
    let rig = article().await;
    assert_eq!(rig.mint_claims(&json!({})).await.status, 200);
}

#[tokio::test]
async fn without_the_option_none_of_it_works() {
    let rig = Rig::start().await;
    let id = rig.add("ann@acme.example");
    assert_eq!(mint(&rig).await.status, 400);
    assert_eq!(close(&rig, &rig.token().await, &id).await.status, 404);
    assert_eq!(rig.sim.user(&id).unwrap().status, Status::Active);
}
