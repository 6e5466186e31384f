//! `DELETE …/users`: what closing does, and the many ways in which it does not.

use docusign_sim::{AlreadyClosed, Delegation, ErrorDetails, ReadClosed, SelfClose, Status, UnknownUser, User};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Rig, user_list};

const NOBODY: &str = "0a1b2c3d-0000-4000-8000-000000000000";

fn membership_error() -> Value {
    json!({
        "errorCode": "USER_LACKS_MEMBERSHIP",
        "message": "The UserID does not have a valid membership in this Account.",
    })
}

#[tokio::test]
async fn closing_answers_closed_in_lower_case_and_reading_closed_in_capitals() {
    let rig = Rig::start().await;
    let token = rig.token().await;
    for status in [
        Status::Active,
        Status::ActivationSent,
        Status::ActivationRequired,
        Status::Disabled,
    ] {
        let id = rig.sim.add_user(User::new("ann@acme.example").with_status(status));
        let answer = rig.close(&token, &[&id], "").await;
        assert_eq!(answer.status, 200);
        let item = json!({ "userId": id, "userStatus": "closed", "uri": format!("/users/{id}") });
        assert_eq!(answer.json(), json!({ "users": [item] }), "{status:?}");
        assert_eq!(
            rig.get(&token, &format!("/users/{id}")).await.json()["userStatus"],
            "Closed"
        );
    }
    assert_eq!(rig.sim.counters().closes, 4);
}

#[tokio::test]
async fn each_item_has_its_own_result_and_the_answer_is_200_even_when_all_fail() {
    let rig = Rig::start().await;
    let (ann, bob) = (rig.add("ann@acme.example"), rig.add("bob@acme.example"));
    rig.sim.switch(|switches| {
        switches
            .refuse_close
            .insert(bob.clone(), ErrorDetails::new("USER_HAS_PENDING_ENVELOPES", "Not now."));
    });
    let token = rig.token().await;
    let mixed = rig.close(&token, &[&ann, &bob, NOBODY], "").await;
    assert_eq!(mixed.status, 200);
    let users = mixed.json()["users"].clone();
    assert_eq!(users[0]["userStatus"], "closed");
    assert_eq!(users[1]["errorDetails"]["errorCode"], "USER_HAS_PENDING_ENVELOPES");
    assert_eq!(users[2]["errorDetails"], membership_error());
    let all_bad = rig.close(&token, &[&bob, NOBODY], "").await;
    assert_eq!(all_bad.status, 200);
    assert_eq!(rig.sim.user(&bob).unwrap().status, Status::Active);
}

#[tokio::test]
async fn a_lie_says_closed_and_closes_nothing() {
    let rig = Rig::start().await;
    let id = rig.add("ann@acme.example");
    rig.sim
        .switch(|switches| switches.pretend_close = ["*".to_owned()].into());
    let answer = rig.close(&rig.token().await, &[&id], "").await;
    assert_eq!(answer.json()["users"][0]["userStatus"], "closed");
    assert_eq!(rig.sim.user(&id).unwrap().status, Status::Active);
    assert_eq!(rig.sim.counters().closes, 0);
}

#[tokio::test]
async fn a_close_may_be_seen_late() {
    let rig = Rig::start().await;
    let id = rig.add("ann@acme.example");
    rig.sim.switch(|switches| switches.close_visible_after_reads = 2);
    let token = rig.token().await;
    rig.close(&token, &[&id], "").await;
    let mut seen = Vec::new();
    for path in [
        format!("/users/{id}"),
        "/users?email=ann@acme.example".to_owned(),
        format!("/users/{id}"),
    ] {
        let body = rig.get(&token, &path).await.json();
        seen.push(body.get("users").map_or(body.clone(), |users| users[0].clone())["userStatus"].clone());
    }
    assert_eq!(seen, ["Active", "Active", "Closed"]);
}

#[tokio::test]
async fn a_closed_user_may_be_unknown_by_id_and_is_still_listed() {
    let rig = Rig::start().await;
    let id = rig.add("ann@acme.example");
    rig.sim.switch(|switches| switches.read_closed = ReadClosed::Unknown);
    let (token, by_id) = (rig.token().await, format!("/users/{id}"));
    assert_eq!(rig.get(&token, &by_id).await.json()["userStatus"], "Active");
    rig.close(&token, &[&id], "").await;
    assert_eq!(
        rig.get(&token, &by_id).await.json()["errorCode"],
        "USER_LACKS_MEMBERSHIP"
    );
    let listed = rig.get(&token, "/users?email=ann@acme.example").await.json();
    assert_eq!(listed["users"][0]["userStatus"], "Closed");
}

#[tokio::test]
async fn closing_twice_is_counted_and_answers_as_the_switch_says() {
    let rig = Rig::start().await;
    let id = rig.add("ann@acme.example");
    let token = rig.token().await;
    rig.close(&token, &[&id], "").await;
    assert_eq!(rig.sim.counters().second_deletes, 0);
    assert_eq!(
        rig.close(&token, &[&id], "").await.json()["users"][0]["errorDetails"],
        membership_error()
    );
    rig.sim
        .switch(|switches| switches.already_closed = AlreadyClosed::Closed);
    assert_eq!(
        rig.close(&token, &[&id], "").await.json()["users"][0]["userStatus"],
        "closed"
    );
    let user = rig.sim.user(&id).unwrap();
    assert_eq!((user.deletes, user.second_deletes), (3, 2));
    assert_eq!((rig.sim.counters().second_deletes, rig.sim.counters().closes), (2, 1));
}

#[tokio::test]
async fn an_unknown_user_can_refuse_the_whole_request() {
    let rig = Rig::start().await;
    let id = rig.add("ann@acme.example");
    rig.sim
        .switch(|switches| switches.unknown_user = UnknownUser::BadRequest);
    let answer = rig.close(&rig.token().await, &[&id, NOBODY], "").await;
    assert_eq!(answer.error(), (400, "USER_LACKS_MEMBERSHIP".to_owned()));
    assert_eq!(rig.sim.user(&id).unwrap().status, Status::Active);
}

#[tokio::test]
async fn closing_oneself_does_what_the_switch_says() {
    let rig = Rig::start().await;
    let own = rig.sim.user_id().to_owned();
    let token = rig.token().await;
    rig.sim.switch(|switches| switches.self_close = SelfClose::BadRequest);
    assert_eq!(rig.close(&token, &[&own], "").await.status, 400);
    rig.sim.switch(|switches| switches.self_close = SelfClose::ErrorDetails);
    assert!(rig.close(&token, &[&own], "").await.json()["users"][0]["errorDetails"].is_object());
    assert_eq!(rig.sim.user(&own).unwrap().status, Status::Active);
    rig.sim.switch(|switches| switches.self_close = SelfClose::Allowed);
    assert_eq!(
        rig.close(&token, &[&own], "").await.json()["users"][0]["userStatus"],
        "closed"
    );
    assert_eq!(
        rig.get(&token, "/users").await.error(),
        (400, "USER_LACKS_MEMBERSHIP".to_owned())
    );
}

#[tokio::test]
async fn only_administrators_close_and_delegates_close_no_administrator() {
    let rig = Rig::start().await;
    let own = rig.sim.user_id().to_owned();
    let (ann, boss) = (
        rig.add("ann@acme.example"),
        rig.sim.add_user(User::new("boss@acme.example").admin()),
    );
    let token = rig.token().await;
    rig.sim.update_user(&own, |user| user.is_admin = false);
    assert_eq!(
        rig.close(&token, &[&ann], "").await.error(),
        (401, "USER_LACKS_PERMISSIONS".to_owned())
    );
    rig.sim.switch(|switches| switches.lacks_permission_status = 403);
    assert_eq!(
        rig.close(&token, &[&ann], "").await.error(),
        (403, "USER_LACKS_PERMISSIONS".to_owned())
    );
    rig.sim
        .update_user(&own, |user| user.delegation = Delegation::UsersAndGroups);
    let users = rig.close(&token, &[&ann, &boss], "").await.json()["users"].clone();
    assert_eq!(users[0]["userStatus"], "closed");
    assert_eq!(users[1]["errorDetails"]["errorCode"], "USER_LACKS_PERMISSIONS");
    rig.sim
        .update_user(&own, |user| user.delegation = Delegation::UsersGroupsAndAdministrators);
    assert_eq!(
        rig.close(&token, &[&boss], "").await.json()["users"][0]["userStatus"],
        "closed"
    );
}

#[tokio::test]
async fn an_alternate_administrator_takes_over_when_the_last_one_is_closed() {
    let rig = Rig::start().await;
    let mut alternate = User::new("alan@acme.example");
    alternate.is_alternate_admin = true;
    let alternate = rig.sim.add_user(alternate);
    rig.close(&rig.token().await, &[rig.sim.user_id()], "").await;
    assert!(rig.sim.user(&alternate).unwrap().is_admin);
}

#[tokio::test]
async fn groups_profile_and_signing_groups_go_only_when_they_are_named() {
    for (query, groups, profile, signing) in [
        ("", 1, "DocuSign Sender", 1),
        ("?delete=Groups", 0, "DocuSign Sender", 1),
        (
            "?delete=Groups,PermissionSet,SigningGroupsEmail",
            0,
            "DocuSign Viewer",
            0,
        ),
        (
            "?delete=Groups%2CPermissionSet%2CSigningGroupsEmail",
            0,
            "DocuSign Viewer",
            0,
        ),
    ] {
        let rig = Rig::start().await;
        let ann = rig.add("Ann@acme.example");
        {
            let mut state = rig.sim.state();
            let account = state.account_mut(rig.sim.account_id()).unwrap();
            account.add_group("Sales", &[&ann]);
            account.add_signing_group("Sales signatures", &["ann@acme.example"]);
        }
        let token = rig.token().await;
        assert_eq!(
            rig.close(&token, &[&ann], query).await.json()["users"][0]["userStatus"],
            "closed"
        );
        let listed = rig.get(&token, "/groups").await.json();
        let group = listed["groups"][0]["groupId"].as_str().unwrap();
        let members = rig.get(&token, &format!("/groups/{group}/users")).await.json();
        assert_eq!(members["users"].as_array().unwrap().len(), groups, "{query}");
        if groups > 0 {
            assert_eq!(members["users"][0]["userStatus"], "closed", "groups write lower case");
        }
        let listed = rig.get(&token, "/signing_groups?include_users=true").await.json()["groups"][0].clone();
        assert_eq!(listed["users"].as_array().unwrap().len(), signing, "{query}");
        let path = format!("/signing_groups/{}/users", listed["signingGroupId"].as_str().unwrap());
        assert_eq!(
            rig.get(&token, &path).await.json()["users"].as_array().unwrap().len(),
            signing,
            "{query}"
        );
        assert_eq!(rig.sim.user(&ann).unwrap().permission_profile.name, profile, "{query}");
    }
}

#[tokio::test]
async fn permission_profiles_are_counted_among_open_users() {
    let rig = Rig::start().await;
    let ann = rig.add("ann@acme.example");
    let token = rig.token().await;
    let senders = |body: Value| {
        let profiles = body["permissionProfiles"].as_array().unwrap().clone();
        profiles
            .into_iter()
            .find(|profile| profile["permissionProfileName"] == "DocuSign Sender")
            .unwrap()["userCount"]
            .clone()
    };
    assert_eq!(senders(rig.get(&token, "/permission_profiles").await.json()), "1");
    rig.close(&token, &[&ann], "").await;
    assert_eq!(senders(rig.get(&token, "/permission_profiles").await.json()), "0");
}

#[tokio::test]
async fn a_delete_needs_its_body_and_known_words_in_its_query() {
    let rig = Rig::start().await;
    let id = rig.add("ann@acme.example");
    let token = rig.token().await;
    for body in [None, Some(json!({})), Some(json!({ "users": [] })), Some(json!([id]))] {
        let answer = rig.odd_esign(&token, Method::DELETE, "/users", body.clone()).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST_BODY".to_owned()), "{body:?}");
    }
    let answer = rig
        .odd_esign(
            &token,
            Method::DELETE,
            "/users?delete=Everything",
            Some(user_list(&[&id])),
        )
        .await;
    assert_eq!(answer.error(), (400, "INVALID_REQUEST_PARAMETER".to_owned()));
    assert_eq!(rig.sim.user(&id).unwrap().status, Status::Active);
}

#[tokio::test]
async fn the_path_of_one_user_cannot_be_deleted() {
    let rig = Rig::start().await;
    let id = rig.add("ann@acme.example");
    let answer = rig
        .odd_esign(&rig.token().await, Method::DELETE, &format!("/users/{id}"), None)
        .await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, PUT")));
    assert!(answer.text.starts_with("<!DOCTYPE html>"));
    assert_eq!(rig.sim.user(&id).unwrap().status, Status::Active);
}

#[tokio::test]
async fn closing_one_account_leaves_the_others_alone() {
    let rig = Rig::start().await;
    let ann = rig.add("ann@acme.example");
    let mut other = docusign_sim::Account::new("Acme Holding");
    other.add(User::new("ann@acme.example").with_id(&ann));
    let other = rig.sim.state().add_account(other);
    rig.close(&rig.token().await, &[&ann], "").await;
    let state = rig.sim.state();
    assert_eq!(
        state.account(&other).unwrap().user(&ann).unwrap().status,
        Status::Active
    );
}
