//! `POST /oauth/token`: the JWT grant and each of its errors.

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docusign_sim::{LongAssertion, Status, User};
use serde_json::{Value, json};

use crate::client::{Answer, JWT_BEARER, NOW, Rig, sign, sign_as};

fn error(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json())
}

fn invalid_grant(description: &str) -> (u16, Value) {
    (
        400,
        json!({ "error": "invalid_grant", "error_description": description }),
    )
}

#[tokio::test]
async fn a_good_assertion_gives_a_token_for_an_hour_and_no_scope() {
    let rig = Rig::start().await;
    let answer = rig.mint_claims(&json!({ "exp": NOW + 60 })).await;
    let body = answer.json();
    assert_eq!(answer.status, 200);
    assert_eq!(
        (&body["token_type"], &body["expires_in"]),
        (&json!("Bearer"), &json!(3600))
    );
    assert!(body["access_token"].as_str().is_some_and(|token| token.len() > 500));
    assert_eq!(body.get("scope"), None);
    rig.sim.switch(|switches| switches.token_scope_member = true);
    assert_eq!(
        rig.mint_claims(&json!({})).await.json()["scope"],
        "impersonation signature"
    );
}

#[tokio::test]
async fn a_token_dies_after_3600_seconds_whatever_the_assertion_said() {
    let rig = Rig::start().await;
    let token = rig.token().await;
    rig.sim.advance(Duration::from_secs(3599));
    assert_eq!(rig.userinfo(&token).await.status, 200);
    rig.sim.advance(Duration::from_secs(1));
    assert_eq!(rig.userinfo(&token).await.status, 401);
}

#[tokio::test]
async fn an_assertion_may_be_exchanged_again_until_it_expires() {
    let rig = Rig::start().await;
    let assertion = sign(
        rig.sim.private_key_pem(),
        &rig.claims_with(&json!({ "exp": NOW + 100 })),
    );
    let first = rig.mint(&assertion).await.json();
    rig.sim.advance(Duration::from_secs(99));
    let second = rig.mint(&assertion).await.json();
    assert_ne!(first["access_token"], second["access_token"]);
    rig.sim.advance(Duration::from_secs(1));
    assert_eq!(error(&rig.mint(&assertion).await), invalid_grant("expired_grant"));
}

#[tokio::test]
async fn a_json_body_is_refused() {
    let rig = Rig::start().await;
    let assertion = sign(rig.sim.private_key_pem(), &rig.claims());
    let body = json!({ "grant_type": JWT_BEARER, "assertion": assertion }).to_string();
    let answer = rig.post_token("application/json", body).await;
    assert_eq!(error(&answer), (400, json!({ "error": "invalid_request" })));
}

#[tokio::test]
async fn a_malformed_request_is_an_invalid_request() {
    let rig = Rig::start().await;
    for body in [
        "",
        "grant_type=password",
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer",
    ] {
        let answer = rig
            .post_token("application/x-www-form-urlencoded", body.to_owned())
            .await;
        assert_eq!(error(&answer), (400, json!({ "error": "invalid_request" })), "{body}");
    }
    for scope in [json!(null), json!(" ")] {
        let answer = rig.mint_claims(&json!({ "scope": scope })).await;
        assert_eq!(error(&answer), (400, json!({ "error": "invalid_request" })), "{scope}");
    }
}

#[tokio::test]
async fn consent_is_for_one_user_and_its_scopes_and_its_error_has_no_description() {
    let rig = Rig::start().await;
    let consent_required = (400, json!({ "error": "consent_required" }));
    let more = rig
        .mint_claims(&json!({ "scope": "signature impersonation user_write" }))
        .await;
    assert_eq!(error(&more), consent_required, "a scope that nobody consented to");
    // The same address, another user id: consent does not carry over.
    let other = rig.sim.add_user(User::new("docusign.api@acme.example").admin());
    assert_eq!(
        error(&rig.mint_claims(&json!({ "sub": other })).await),
        consent_required
    );
    rig.sim.set_consent("signature");
    assert_eq!(
        error(&rig.mint_claims(&json!({ "scope": "signature" })).await),
        consent_required,
        "not impersonation"
    );
    rig.sim.set_consent("");
    assert_eq!(error(&rig.mint_claims(&json!({})).await), consent_required, "revoked");
    rig.sim.set_consent("signature impersonation user_write");
    assert_eq!(rig.mint_claims(&json!({ "scope": "signature" })).await.status, 200);
}

#[tokio::test]
async fn a_subject_must_be_the_guid_of_an_active_user() {
    let rig = Rig::start().await;
    let answer = rig.mint_claims(&json!({ "sub": "docusign.api@acme.example" })).await;
    assert_eq!(error(&answer), invalid_grant("invalid_subject"));
    let unknown = rig
        .mint_claims(&json!({ "sub": "0a1b2c3d-0000-4000-8000-000000000000" }))
        .await;
    assert_eq!(error(&unknown), invalid_grant("user_not_found"));
    for status in [
        Status::ActivationSent,
        Status::ActivationRequired,
        Status::Disabled,
        Status::Closed,
    ] {
        let sub = rig.sim.add_user(User::new("inactive@acme.example").with_status(status));
        assert_eq!(
            error(&rig.mint_claims(&json!({ "sub": sub })).await),
            invalid_grant("user_not_found"),
            "{status:?}"
        );
    }
}

#[tokio::test]
async fn an_issuer_or_an_audience_of_another_environment_is_not_found() {
    let rig = Rig::start().await;
    for change in [
        json!({ "iss": "0a1b2c3d-0000-4000-8000-000000000000" }),
        json!({ "iss": null }),
        json!({ "aud": "account.docusign.com" }),
    ] {
        let answer = rig.mint_claims(&change).await;
        assert_eq!(error(&answer), invalid_grant("issuer_not_found"), "{change}");
    }
}

#[tokio::test]
async fn bad_signatures_and_bad_claims_have_one_error_in_common() {
    let rig = Rig::start().await;
    let no_valid_keys = invalid_grant("no_valid_keys_or_signatures");
    for change in [
        json!({ "exp": null }),
        json!({ "exp": "soon" }),
        json!({ "aud": "https://account-d.docusign.com" }),
        json!({ "aud": "account-d.docusign.com/" }),
        json!({ "aud": null }),
        json!({ "nbf": NOW + 1 }),
    ] {
        assert_eq!(error(&rig.mint_claims(&change).await), no_valid_keys, "{change}");
    }
    assert_eq!(rig.mint_claims(&json!({ "nbf": NOW })).await.status, 200);
    let (stranger, _) = fresh_key();
    assert_eq!(
        error(&rig.mint(&sign(&stranger, &rig.claims())).await),
        no_valid_keys,
        "another key"
    );
    let pem = rig.sim.private_key_pem();
    let none = sign_as(pem, &json!({ "alg": "none" }), &rig.claims());
    assert_eq!(error(&rig.mint(&none).await), no_valid_keys, "another algorithm");
    let signed = sign(pem, &rig.claims());
    let forged = sign(pem, &rig.claims_with(&json!({ "scope": "signature" })));
    let mixed = format!(
        "{}.{}",
        forged.rsplit_once('.').unwrap().0,
        signed.rsplit_once('.').unwrap().1
    );
    assert_eq!(
        error(&rig.mint(&mixed).await),
        no_valid_keys,
        "a payload that was not signed"
    );
    assert_eq!(error(&rig.mint("not a token").await), no_valid_keys);
}

#[tokio::test]
async fn an_assertion_of_more_than_an_hour_is_refused_unless_the_switch_says_otherwise() {
    let rig = Rig::start().await;
    let long = json!({ "exp": NOW + 3601 });
    assert_eq!(
        error(&rig.mint_claims(&long).await),
        (400, json!({ "error": "invalid_grant" }))
    );
    rig.sim
        .switch(|switches| switches.long_assertion = LongAssertion::InvalidRequest);
    assert_eq!(
        error(&rig.mint_claims(&long).await),
        (400, json!({ "error": "invalid_request" }))
    );
    rig.sim
        .switch(|switches| switches.long_assertion = LongAssertion::Accept);
    let answer = rig.mint_claims(&json!({ "exp": 1_999_999_999 })).await;
    assert_eq!((answer.status, &answer.json()["expires_in"]), (200, &json!(3600)));
}

#[tokio::test]
async fn every_public_key_of_an_integration_key_is_tried_so_that_keys_can_be_rotated() {
    let rig = Rig::start().await;
    let (private, public) = fresh_key();
    let assertion = sign(&private, &rig.claims());
    assert_eq!(rig.mint(&assertion).await.status, 400);
    let key = rig.sim.integration_key().to_owned();
    let id = rig.sim.state().add_public_key(&key, &public).expect("a public key");
    assert_eq!(rig.mint(&assertion).await.status, 200, "the new key");
    assert_eq!(rig.mint_claims(&json!({})).await.status, 200, "the old key");
    assert!(rig.sim.state().remove_public_key(id));
    assert_eq!(
        error(&rig.mint(&assertion).await),
        invalid_grant("no_valid_keys_or_signatures")
    );
    let refused = rig
        .sim
        .state()
        .add_public_key(&key, &private)
        .expect_err("not a public key");
    assert!(refused.to_string().contains("public half"), "{refused}");
}

#[tokio::test]
async fn an_assertion_without_subject_gives_an_application_token_that_esignature_refuses() {
    let rig = Rig::start().await;
    let change = json!({ "sub": null });
    assert_eq!(
        error(&rig.mint_claims(&change).await),
        (400, json!({ "error": "consent_required" }))
    );
    let key = rig.sim.integration_key().to_owned();
    rig.sim.state().set_consent(&key, "", "signature impersonation");
    let token = rig.mint_claims(&change).await.json()["access_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    assert_eq!(rig.userinfo(&token).await.status, 401);
    assert_eq!(
        rig.get(&token, "/users").await.error(),
        (401, "USER_AUTHENTICATION_FAILED".to_owned())
    );
}

#[tokio::test]
async fn a_token_can_die_early() {
    let rig = Rig::start().await;
    let token = rig.token().await;
    assert_eq!(rig.sim.revoke_tokens(), 1);
    assert_eq!(
        rig.get(&token, "/users").await.error(),
        (401, "AUTHORIZATION_INVALID_TOKEN".to_owned())
    );
    assert_eq!(rig.get(&rig.token().await, "/users").await.status, 200);
}

/// A private key and its public half, both PEM.
fn fresh_key() -> (String, String) {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let private: Pkcs8V1Der<'_> = pair.as_der().expect("PKCS#8");
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("SubjectPublicKeyInfo");
    let pem = |label: &str, der: &[u8]| {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            STANDARD.encode(der)
        )
    };
    (pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", public.as_ref()))
}
