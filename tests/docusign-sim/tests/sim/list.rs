//! `GET …/users` and `GET …/users/{userId}`.

use docusign_sim::{Delegation, EmailFilter, NoMatch, ReadOthers, Status, User};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Rig};

fn emails(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    let users = body["users"].as_array().unwrap_or_else(|| panic!("no users in {body}"));
    users
        .iter()
        .map(|user| user["email"].as_str().expect("an email").to_owned())
        .collect()
}

#[tokio::test]
async fn without_status_closed_users_are_in_the_list_and_status_takes_several() {
    let rig = Rig::start().await;
    for status in Status::ALL {
        rig.sim.add_user(User::new("ann@acme.example").with_status(status));
    }
    let token = rig.token().await;
    let all = rig.get(&token, "/users?email=ann@acme.example").await.json();
    let mut statuses: Vec<&str> = all["users"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| u["userStatus"].as_str().unwrap())
        .collect();
    statuses.sort_unstable();
    assert_eq!(
        statuses,
        ["ActivationRequired", "ActivationSent", "Active", "Closed", "Disabled"]
    );
    for query in [
        "status=Active,ActivationSent,ActivationRequired,Disabled",
        "status=active%2Cactivationsent%2Cactivationrequired%2Cdisabled",
    ] {
        let open = rig
            .get(&token, &format!("/users?email=ann@acme.example&{query}"))
            .await
            .json();
        assert_eq!(open["totalSetSize"], "4", "{query}");
    }
    let wrong = rig.get(&token, "/users?status=Gone").await;
    assert_eq!(wrong.error(), (400, "INVALID_REQUEST_PARAMETER".to_owned()));
}

#[tokio::test]
async fn addresses_match_in_any_case_and_come_back_as_they_were_entered() {
    let rig = Rig::start().await;
    rig.add("Ann.Lee@Acme.Example");
    let found = rig.get(&rig.token().await, "/users?email=ANN.lee@acme.example").await;
    assert_eq!(emails(&found), ["Ann.Lee@Acme.Example"]);
}

#[tokio::test]
async fn the_email_filter_also_finds_longer_addresses_unless_it_is_switched_to_exact() {
    let rig = Rig::start().await;
    rig.add("ann@acme.example");
    rig.add("ann@acme.example.org");
    let token = rig.token().await;
    let found = rig.get(&token, "/users?email=ann@acme.example").await;
    assert_eq!(emails(&found), ["ann@acme.example", "ann@acme.example.org"]);
    rig.sim.switch(|switches| switches.email_filter = EmailFilter::Exact);
    assert_eq!(
        emails(&rig.get(&token, "/users?email=ann@acme.example").await),
        ["ann@acme.example"]
    );
}

#[tokio::test]
async fn one_address_may_have_several_memberships() {
    let rig = Rig::start().await;
    for status in [Status::Closed, Status::Closed, Status::Active, Status::ActivationSent] {
        rig.sim.add_user(User::new("twice@acme.example").with_status(status));
    }
    let found = rig
        .get(&rig.token().await, "/users?email=twice@acme.example")
        .await
        .json();
    let mut ids: Vec<&Value> = found["users"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| &user["userId"])
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn a_list_without_a_match_is_an_error() {
    let rig = Rig::start().await;
    let token = rig.token().await;
    let path = "/users?email=nobody@acme.example";
    assert_eq!(
        rig.get(&token, path).await.error(),
        (400, "USER_LACKS_MEMBERSHIP".to_owned())
    );
    rig.sim.switch(|switches| switches.no_match = NoMatch::UserNotFound);
    assert_eq!(rig.get(&token, path).await.error(), (400, "USER_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn a_plus_in_a_query_is_a_space_unless_it_is_encoded() {
    let rig = Rig::start().await;
    rig.add("ann+contracts@acme.example");
    let token = rig.token().await;
    assert_eq!(
        rig.get(&token, "/users?email=ann+contracts@acme.example").await.status,
        400
    );
    let found = rig.get(&token, "/users?email=ann%2Bcontracts%40acme.example").await;
    assert_eq!(emails(&found), ["ann+contracts@acme.example"]);
}

#[tokio::test]
async fn pages_have_numbers_as_text_and_the_last_one_has_no_next() {
    let rig = Rig::start().await;
    for number in 0..249 {
        rig.add(&format!("user{number:03}@acme.example"));
    }
    let token = rig.token().await;
    let mut found = Vec::new();
    let mut next = Some("/users?count=100&additional_info=true".to_owned());
    let mut sizes = Vec::new();
    while let Some(uri) = next {
        let page = rig.get(&token, &uri).await;
        let body = page.json();
        found.extend(emails(&page));
        sizes.push(
            [
                &body["startPosition"],
                &body["endPosition"],
                &body["resultSetSize"],
                &body["totalSetSize"],
            ]
            .map(Clone::clone),
        );
        next = body.get("nextUri").map(|uri| uri.as_str().expect("text").to_owned());
    }
    assert_eq!(
        sizes,
        [
            ["0", "99", "100", "250"].map(Value::from),
            ["100", "199", "100", "250"].map(Value::from),
            ["200", "249", "50", "250"].map(Value::from),
        ]
    );
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 250);
}

#[tokio::test]
async fn count_is_1_to_100() {
    let rig = Rig::start().await;
    let token = rig.token().await;
    for (query, status) in [
        ("count=1", 200),
        ("count=100", 200),
        ("count=0", 400),
        ("count=101", 400),
        ("count=x", 400),
        ("start_position=-1", 400),
    ] {
        assert_eq!(
            rig.get(&token, &format!("/users?{query}")).await.status,
            status,
            "{query}"
        );
    }
}

#[tokio::test]
async fn booleans_are_text_in_capitals_and_scim_ownership_is_shown() {
    let rig = Rig::start().await;
    let id = rig.sim.add_user(User::new("hana@acme.example").scim());
    let token = rig.token().await;
    let hana = rig.get(&token, &format!("/users/{id}")).await.json();
    assert_eq!(
        (&hana["isAdmin"], &hana["isMembershipManagedByScim"]),
        (&json!("False"), &json!("True"))
    );
    let admin = rig.get(&token, &format!("/users/{}", rig.sim.user_id())).await.json();
    assert_eq!(
        (&admin["isAdmin"], &admin["isMembershipManagedByScim"]),
        (&json!("True"), &json!("False"))
    );
}

#[tokio::test]
async fn one_user_is_read_by_its_id_in_any_case_with_its_groups() {
    let rig = Rig::start().await;
    let id = rig.add("ann@acme.example");
    rig.sim
        .state()
        .account_mut(rig.sim.account_id())
        .unwrap()
        .add_group("Sales", &[&id]);
    let token = rig.token().await;
    let user = rig.get(&token, &format!("/users/{}", id.to_uppercase())).await.json();
    assert_eq!((&user["userId"], &user["userStatus"]), (&json!(id), &json!("Active")));
    assert_eq!(user["groupList"][0]["groupName"], "Sales");
    let unknown = rig.get(&token, "/users/0a1b2c3d-0000-4000-8000-000000000000").await;
    assert_eq!(unknown.error(), (400, "USER_LACKS_MEMBERSHIP".to_owned()));
}

#[tokio::test]
async fn other_users_are_read_by_whom_the_switch_names() {
    let rig = Rig::start().await;
    let ann = rig.add("ann@acme.example");
    let own = rig.sim.user_id().to_owned();
    let token = rig.token().await;
    let (member, delegate) = (Delegation::None, Delegation::UsersGroupsAndAdministrators);
    for (read_others, is_admin, delegation, status) in [
        (ReadOthers::Administrators, false, member, 401),
        (ReadOthers::Administrators, false, delegate, 401),
        (ReadOthers::Administrators, true, member, 200),
        (ReadOthers::Managers, false, member, 401),
        (ReadOthers::Managers, false, delegate, 200),
        (ReadOthers::Anybody, false, member, 200),
    ] {
        rig.sim.switch(|switches| switches.read_others = read_others);
        rig.sim.update_user(&own, |user| {
            user.is_admin = is_admin;
            user.delegation = delegation;
        });
        let read = rig.get(&token, &format!("/users/{ann}")).await;
        assert_eq!(read.status, status, "{read_others:?} {delegation:?}");
        for path in [format!("/users/{own}"), "/users".to_owned()] {
            assert_eq!(rig.get(&token, &path).await.status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn a_caller_that_lost_its_membership_gets_the_code_of_a_list_without_a_match() {
    let rig = Rig::start().await;
    let token = rig.token().await;
    rig.sim.switch(|switches| switches.caller_lost_membership = true);
    let own = format!("/users/{}", rig.sim.user_id());
    assert_eq!(
        rig.get(&token, &own).await.error(),
        (400, "USER_LACKS_MEMBERSHIP".to_owned())
    );
    rig.sim.switch(|switches| switches.caller_lost_membership = false);
    assert_eq!(rig.get(&token, &own).await.status, 200);
    rig.sim
        .update_user(rig.sim.user_id(), |user| user.status = Status::Closed);
    assert_eq!(
        rig.get(&token, &own).await.error(),
        (400, "USER_LACKS_MEMBERSHIP".to_owned())
    );
}

#[tokio::test]
async fn an_account_on_another_host_is_a_401_that_blames_the_password() {
    let rig = Rig::start().await;
    let token = rig.token().await;
    rig.sim.state().account_mut(rig.sim.account_id()).unwrap().base_uri = "https://na2.docusign.net".to_owned();
    assert_eq!(
        rig.get(&token, "/users").await.error(),
        (401, "USER_AUTHENTICATION_FAILED".to_owned())
    );
    assert_eq!(
        rig.userinfo(&token).await.json()["accounts"][0]["base_uri"],
        "https://na2.docusign.net"
    );
    let url = format!("https://na2.docusign.net{}/users", rig.account_path());
    assert_eq!(
        rig.http.get(url).bearer_auth(&token).send().await.unwrap().status(),
        200
    );
    rig.sim
        .switch(|switches| switches.wrong_host_code = "PARTNER_AUTHENTICATION_FAILED".to_owned());
    assert_eq!(
        rig.get(&token, "/users").await.error(),
        (401, "PARTNER_AUTHENTICATION_FAILED".to_owned())
    );
}

#[tokio::test]
async fn tokens_that_are_missing_made_up_or_without_signature_are_401() {
    let rig = Rig::start().await;
    rig.sim.set_consent("signature impersonation user_read");
    let other = rig.mint_claims(&json!({ "scope": "user_read" })).await.json();
    for token in ["", "made-up", other["access_token"].as_str().unwrap()] {
        assert_eq!(
            rig.get(token, "/users").await.error(),
            (401, "AUTHORIZATION_INVALID_TOKEN".to_owned()),
            "{token}"
        );
    }
}

#[tokio::test]
async fn every_answer_has_a_trace_token_of_its_own() {
    let rig = Rig::start().await;
    let token = rig.token().await;
    let mut traces = Vec::new();
    for path in ["/users", "/users?email=nobody@acme.example", "/users?count=0"] {
        traces.push(
            rig.get(&token, path)
                .await
                .header("x-docusign-tracetoken")
                .expect("a trace token")
                .to_owned(),
        );
    }
    traces.push(
        rig.odd_esign(&token, Method::GET, "/nothing", None)
            .await
            .header("x-docusign-tracetoken")
            .unwrap()
            .to_owned(),
    );
    traces.push(
        rig.mint("nonsense")
            .await
            .header("x-docusign-tracetoken")
            .unwrap()
            .to_owned(),
    );
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 5);
    let logged: Vec<String> = rig
        .sim
        .requests()
        .into_iter()
        .map(|record| record.trace_token)
        .collect();
    assert!(traces.iter().all(|trace| logged.contains(trace)));
}

#[tokio::test]
async fn a_put_changes_a_name_and_does_not_close() {
    let rig = Rig::start().await;
    let id = rig.add("ann@acme.example");
    let body = json!({ "userName": "Ann Lee-Smith", "userStatus": "Closed" });
    let answer = rig
        .esign(&rig.token().await, Method::PUT, &format!("/users/{id}"), Some(body))
        .await;
    assert_eq!((answer.status, &answer.json()["userStatus"]), (200, &json!("Active")));
    assert_eq!(rig.sim.user(&id).unwrap().user_name, "Ann Lee-Smith");
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let rig = Rig::start().await;
    let answer = rig.odd_esign(&rig.token().await, Method::GET, "/nothing", None).await;
    assert_eq!(answer.error(), (404, "RESOURCE_NOT_FOUND".to_owned()));
}
