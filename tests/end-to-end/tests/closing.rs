//! Closing a membership and finding whose: each row of what is known about eSignature's `Users` resource.

use docusign_sim::{
    AlreadyClosed, Delegation, EmailFilter, ErrorDetails, Fault, FaultKind, LimitKind, NoMatch, Options, ReadOthers,
    Status, UnknownUser, User,
};
use end_to_end::{World, event, event_with, event_with_target_id};
use serde_json::{Value, json};

const ANN: &str = "ann.english@acme.example";
const SOMEBODY: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

async fn recording() -> World {
    World::with(Options {
        record_exchanges: true,
        ..Options::default()
    })
    .await
}

fn fault(status: u16, body: &Value) -> Fault {
    Fault::new(FaultKind::Answer {
        status,
        headers: Vec::new(),
        body: body.to_string(),
    })
}

#[tokio::test]
async fn the_close_is_one_delete_of_the_list_with_a_body() {
    let world = recording().await;
    let ann = world.user(ANN);
    world.run(&event(ANN)).await.ended("closed", 0);
    let exchanges = world.simulator.exchanges();
    for exchange in &exchanges {
        docusign_sim::openapi::check(exchange).expect("DocuSign's own definition of the exchange");
    }
    let closes: Vec<_> = exchanges
        .iter()
        .filter(|exchange| exchange.method == "DELETE")
        .collect();
    assert_eq!(closes.len(), 1);
    assert_eq!(
        closes[0].path,
        format!("/restapi/v2.1/accounts/{}/users", world.simulator.account_id())
    );
    assert_eq!(closes[0].query, None);
    let body: Value = serde_json::from_str(&closes[0].request_body).expect("JSON");
    assert_eq!(body, json!({"users": [{"userId": ann}]}));
    assert_eq!(
        world.seen("DELETE", "/users")[0].content_type.as_deref(),
        Some("application/json")
    );
}

#[tokio::test]
async fn closed_users_are_asked_for_too() {
    let world = World::new().await;
    world.run(&event("ann+x&y=1@acme.example")).await.ended("no_account", 0);
    let query = world.seen("GET", "/users")[0].query.clone().expect("a query");
    assert_eq!(
        query, "email=ann%2Bx%26y%3D1%40acme.example&count=100&start_position=0",
        "and no status"
    );
}

#[tokio::test]
async fn what_the_settings_name_is_removed_with_the_membership() {
    let world = World::new().await;
    let ann = world.user(ANN);
    join_groups(&world, &ann);
    let removed = "settings = { also_remove = [\"Groups\", \"PermissionSet\", \"SigningGroupsEmail\"], ";
    world.edit("settings = { ", removed);
    world.run(&event(ANN)).await.ended("closed", 0);
    let query = world.seen("DELETE", "/users")[0].query.clone();
    assert_eq!(
        query.as_deref(),
        Some("delete=Groups%2CPermissionSet%2CSigningGroupsEmail")
    );
    assert_eq!(groups_of(&world, &ann), (0, 0));
    let user = world.simulator.user(&ann).expect("Ann");
    assert_eq!(user.permission_profile.name, "DocuSign Viewer");
}

#[tokio::test]
async fn nothing_else_is_removed_unless_the_settings_name_it() {
    let world = World::new().await;
    let ann = world.user(ANN);
    join_groups(&world, &ann);
    world.run(&event(ANN)).await.ended("closed", 0);
    assert_eq!(groups_of(&world, &ann), (1, 1));
}

fn join_groups(world: &World, id: &str) {
    let account = world.simulator.account_id().to_owned();
    let mut state = world.simulator.state();
    let account = state.account_mut(&account).expect("the account");
    account.add_group("Sales", &[id]);
    account.add_signing_group("Sales signatures", &[ANN]);
}

/// Groups and signing groups that the user is in.
fn groups_of(world: &World, id: &str) -> (usize, usize) {
    let state = world.simulator.state();
    let account = state.account(world.simulator.account_id()).expect("the account");
    let groups = account.groups.iter().filter(|group| group.users.contains(id)).count();
    let signing = account
        .signing_groups
        .iter()
        .filter(|group| group.emails.contains(ANN))
        .count();
    (groups, signing)
}

#[tokio::test]
async fn a_200_with_an_error_inside_is_a_failure() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let error = ErrorDetails::new("USER_LACKS_PERMISSIONS", "This User lacks sufficient permissions.");
    world
        .simulator
        .switch(|switches| drop(switches.refuse_close.insert(ann.clone(), error)));
    let said = [
        "USER_LACKS_PERMISSIONS",
        "This User lacks sufficient permissions.",
        "HTTP 200",
    ];
    let job = world.run(&event(ANN)).await.ended_because("failed", 4, &said);
    assert_eq!(job["accounts"][0]["before"], "Active");
    assert_eq!(job["accounts"][0]["after"], "Active", "looked at once more");
    assert_eq!(world.status(&ann), Status::Active);
    assert_eq!(world.seen("DELETE", "/users").len(), 1, "a clear no is not asked again");
}

#[tokio::test]
async fn a_refusal_because_somebody_else_was_quicker_is_found_out_by_reading() {
    for answer in [AlreadyClosed::ErrorDetails, AlreadyClosed::Closed] {
        let world = World::new().await;
        let ann = world.simulator.add_user(User::new(ANN).with_status(Status::Closed));
        world.simulator.switch(|switches| switches.already_closed = answer);
        // The search still shows what the close meets no more.
        world
            .simulator
            .fault(fault(200, &listing(&ann, ANN, "Active")).path("*/users"));
        let job = world.run(&event(ANN)).await.ended("closed", 0);
        assert_eq!(
            (&job["accounts"][0]["before"], &job["accounts"][0]["after"]),
            (&json!("Active"), &json!("Closed"))
        );
        assert_eq!(world.seen("DELETE", "/users").len(), 1);
    }
}

#[tokio::test]
async fn an_unknown_user_is_a_failure_in_both_forms() {
    for form in [UnknownUser::ErrorDetails, UnknownUser::BadRequest] {
        let world = World::new().await;
        world.simulator.switch(|switches| switches.unknown_user = form);
        world
            .simulator
            .fault(fault(200, &listing(SOMEBODY, ANN, "Active")).path("*/users"));
        world
            .run(&event(ANN))
            .await
            .ended_because("failed", 4, &["USER_LACKS_MEMBERSHIP"]);
    }
}

#[tokio::test]
async fn a_status_is_read_in_any_case() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let answer = json!({"users": [{"userId": ann.to_uppercase(), "userStatus": "CLOSED"}]});
    world
        .simulator
        .fault(fault(200, &answer).method("DELETE").after_effect());
    world
        .simulator
        .fault(fault(200, &listing(&ann, ANN, "closed")["users"][0]).path(&format!("*/users/{ann}")));
    let job = world.run(&event(ANN)).await.ended("closed", 0);
    assert_eq!(job["accounts"][0]["after"], "closed", "the target's own word");
}

#[tokio::test]
async fn an_answer_about_somebody_else_is_not_believed() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let answer = json!({"users": [{"userId": SOMEBODY, "userStatus": "closed"}]});
    world
        .simulator
        .fault(fault(200, &answer).method("DELETE").after_effect());
    world.run(&event(ANN)).await.ended("closed", 0);
    assert_eq!(world.seen("GET", &ann).len(), 1, "the account's own word counts");
}

#[tokio::test]
async fn a_close_that_settles_late_is_waited_for() {
    let world = World::new().await;
    let ann = world.user(ANN);
    world
        .simulator
        .switch(|switches| switches.close_visible_after_reads = 2);
    world.run(&event(ANN)).await.ended("closed", 0);
    assert_eq!(world.seen("GET", &ann).len(), 3);
    assert_eq!(world.seen("DELETE", "/users").len(), 1);
}

#[tokio::test]
async fn a_read_that_makes_no_sense_is_read_again() {
    for kind in [
        FaultKind::CutJson,
        FaultKind::Html { status: 200 },
        FaultKind::Empty { status: 200 },
    ] {
        let world = World::new().await;
        let ann = world.user(ANN);
        let user = format!("*/users/{ann}");
        world
            .simulator
            .fault(Fault::new(kind.clone()).method("GET").path(&user));
        let job = world.run(&event(ANN)).await.ended("closed", 0);
        assert_eq!(job["accounts"][0]["after"], "Closed", "{kind:?}");
        assert_eq!(world.seen("GET", &ann).len(), 2, "{kind:?}");
        assert_eq!(world.seen("DELETE", "/users").len(), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn a_closure_that_cannot_be_verified_yet_is_reported_as_one() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let limit = FaultKind::RateLimit {
        which: LimitKind::Hourly,
    };
    let user = format!("*/users/{ann}");
    world
        .simulator
        .fault(Fault::new(limit).method("GET").path(&user).forever());
    let said = ["the target accepted the closure, not verified: "];
    let job = world.run(&event(ANN)).await.ended_because("parked", 4, &said);
    assert_eq!(
        job["accounts"][0],
        json!({"id": ann, "email": ANN, "before": "Active", "after": null, "unverified": true})
    );
    assert_eq!(world.status(&ann), Status::Closed);
    world.simulator.clear_faults();
    let job = world.run(&event(ANN)).await.ended("already_closed", 0);
    assert_eq!(job["accounts"][0]["unverified"], Value::Null);
}

#[tokio::test]
async fn a_refusal_because_the_caller_lost_its_membership_parks_the_connector() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let own = world.simulator.user_id().to_owned();
    let lacks =
        json!({"errorCode": "USER_LACKS_MEMBERSHIP", "message": "The UserID does not have a valid membership."});
    for (method, path) in [
        ("DELETE", "*/users".to_owned()),
        ("GET", format!("*/users/{ann}")),
        ("GET", format!("*/users/{own}")),
    ] {
        world
            .simulator
            .fault(fault(400, &lacks).method(method).path(&path).forever());
    }
    let said = ["is not a member any more", "settings.account_id"];
    world.run(&event(ANN)).await.ended_because("parked", 4, &said);
    assert_eq!(world.seen("DELETE", "/users").len(), 1);
}

#[tokio::test]
async fn a_caller_without_the_privilege_is_told_which_one_it_needs() {
    for status in [401, 403] {
        let world = World::new().await;
        let ann = world.user(ANN);
        let own = world.simulator.user_id().to_owned();
        world.simulator.update_user(&own, |user| user.is_admin = false);
        world
            .simulator
            .switch(|switches| switches.lacks_permission_status = status);
        let said = [
            "USER_LACKS_PERMISSIONS",
            "Users and Groups and Administrators",
            "settings.user_id",
        ];
        world.run(&event(ANN)).await.ended_because("parked", 4, &said);
        assert_eq!(world.status(&ann), Status::Active);
        assert_eq!(
            world.seen("POST", "/oauth/token").len(),
            1,
            "another token would not help"
        );
    }
}

#[tokio::test]
async fn delegated_rights_are_enough_for_ordinary_users() {
    for read_others in [ReadOthers::Managers, ReadOthers::Anybody] {
        let (world, ann) = closing_as_a_delegate(read_others).await;
        world.run(&event(ANN)).await.ended("closed", 0);
        assert_eq!(world.status(&ann), Status::Closed);
    }
}

#[tokio::test]
async fn a_delegate_that_may_not_read_others_closes_and_proves_nothing() {
    let (world, ann) = closing_as_a_delegate(ReadOthers::Administrators).await;
    let said = [
        "accepted the closure, not verified",
        "USER_LACKS_PERMISSIONS",
        "make it an account administrator",
    ];
    let job = world.run(&event(ANN)).await.ended_because("parked", 4, &said);
    assert_eq!(job["accounts"][0]["unverified"], true);
    assert_eq!(world.status(&ann), Status::Closed);
    assert_eq!(world.seen("DELETE", "/users").len(), 1);
}

async fn closing_as_a_delegate(read_others: ReadOthers) -> (World, String) {
    let world = World::new().await;
    let ann = world.user(ANN);
    let own = world.simulator.user_id().to_owned();
    world.simulator.switch(|switches| switches.read_others = read_others);
    world.simulator.update_user(&own, |user| {
        user.is_admin = false;
        user.delegation = Delegation::UsersAndGroups;
    });
    (world, ann)
}

#[tokio::test]
async fn the_search_goes_through_every_page() {
    let world = World::new().await;
    for number in 0..150 {
        let _ = world.user(&format!("{ANN}.of.{number}"));
    }
    let ann = world.user(ANN);
    world.run(&event(ANN)).await.ended("closed", 0);
    assert_eq!(world.status(&ann), Status::Closed);
    assert_eq!(world.simulator.counters().closes, 1);
    let pages: Vec<Option<String>> = world
        .seen("GET", "/users")
        .into_iter()
        .map(|record| record.query)
        .collect();
    assert_eq!(pages.len(), 2);
    assert!(
        pages[1]
            .as_deref()
            .is_some_and(|query| query.ends_with("start_position=100")),
        "{pages:?}"
    );
}

#[tokio::test]
async fn a_filter_that_does_nothing_is_noticed() {
    let world = World::new().await;
    for number in 0..1001 {
        let _ = world.user(&format!("{ANN}.of.{number}"));
    }
    world
        .run(&event(ANN))
        .await
        .ended_because("failed", 4, &["more users than one address can have"]);
    world.was_only_read();
}

#[tokio::test]
async fn an_address_that_only_begins_alike_is_somebody_else() {
    for filter in [EmailFilter::Prefix, EmailFilter::Exact] {
        let world = World::new().await;
        world.simulator.switch(|switches| switches.email_filter = filter);
        let longer = world.user("ann.english@acme.example.org");
        let tagged = world.user("ann.english+contracts@acme.example");
        let job = world.run(&event(ANN)).await.ended("no_account", 0);
        assert_eq!(job["accounts"], json!([]));
        assert_eq!([world.status(&longer), world.status(&tagged)], [Status::Active; 2]);
        world.was_only_read();
    }
}

#[tokio::test]
async fn no_match_is_an_error_code_and_no_failure() {
    for (code, status) in [(NoMatch::UserLacksMembership, 400), (NoMatch::UserNotFound, 404)] {
        let world = World::new().await;
        world
            .simulator
            .switch(|switches| (switches.no_match, switches.no_match_status) = (code, status));
        world.run(&event(ANN)).await.ended("no_account", 0);
        assert_eq!(
            world.seen("GET", world.simulator.user_id()).len(),
            1,
            "the caller's own user is read first"
        );
    }
}

#[tokio::test]
async fn a_caller_that_lost_its_membership_is_not_taken_for_no_account() {
    let world = World::new().await;
    let ann = world.user(ANN);
    world
        .simulator
        .switch(|switches| switches.caller_lost_membership = true);
    let said = [
        world.simulator.user_id(),
        "is not a member any more",
        "settings.account_id",
        "USER_LACKS_MEMBERSHIP",
    ];
    world.run(&event(ANN)).await.ended_because("parked", 4, &said);
    assert_eq!(world.status(&ann), Status::Active);
}

#[tokio::test]
async fn an_empty_list_is_no_account() {
    let world = World::new().await;
    let empty = json!({"users": [], "resultSetSize": "0", "totalSetSize": "0", "startPosition": "0"});
    world.simulator.fault(fault(200, &empty).path("*/users"));
    world.run(&event(ANN)).await.ended("no_account", 0);
}

#[tokio::test]
async fn a_target_id_is_enough_to_close() {
    let world = World::new().await;
    let ann = world.user("somebody.else@acme.example");
    let event = event_with_target_id(&world, "", &ann.to_uppercase());
    world.run(&event).await.ended("closed", 0);
    assert_eq!(world.status(&ann), Status::Closed);
    assert!(world.seen("GET", "/users").is_empty(), "nobody is searched for");
}

#[tokio::test]
async fn a_target_id_and_an_address_must_be_one_persons() {
    let world = World::new().await;
    let letty = world.user("letty.wilson@acme.example");
    let event = event_with_target_id(&world, ANN, &letty);
    world
        .run(&event)
        .await
        .ended_because("failed", 4, &["EMAIL_DOES_NOT_FIT", "letty.wilson@", ANN]);
    world.was_only_read();
}

#[tokio::test]
async fn a_target_id_that_nobody_has_does_not_hide_an_open_account() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let event = event_with_target_id(&world, ANN, SOMEBODY);
    world
        .run(&event)
        .await
        .ended_because("failed", 4, &["TARGET_ID_DOES_NOT_FIT", &ann, "person.target_id"]);
    world.was_only_read();
    world.simulator.update_user(&ann, |user| user.status = Status::Closed);
    world.run(&event).await.ended("no_account", 0);

    // Hired again, with a new user; the source still has the id of the old one.
    let again = world.user(ANN);
    let old = event_with(ANN, |event| event["identity"]["docusign"] = json!(ann));
    world
        .run(&old)
        .await
        .ended_because("failed", 4, &["TARGET_ID_DOES_NOT_FIT", &ann, &again]);
    world.was_only_read();
}

#[tokio::test]
async fn a_target_id_that_is_no_guid_is_refused_with_the_mapping_to_mend() {
    let world = World::new().await;
    let event = event_with_target_id(&world, "", "12/../../../users");
    world
        .run(&event)
        .await
        .ended_because("failed", 4, &["INVALID_USER_ID", "person.target_id"]);
    assert!(
        world
            .seen("", "")
            .iter()
            .all(|record| record.path.starts_with("/oauth/"))
    );
}

#[tokio::test]
async fn a_user_that_cannot_be_read_for_certain_is_not_closed() {
    let world = World::new().await;
    let cases = [
        (
            json!({"users": [{"userId": "17", "email": ANN, "userStatus": "Active"}]}),
            "userId that is a GUID",
        ),
        (json!({"users": [{"userId": SOMEBODY, "email": ANN}]}), "no userStatus"),
        (json!({"users": "none"}), "no list of users"),
        (json!({"users": [], "totalSetSize": "5"}), "empty page"),
    ];
    for (list, said) in cases {
        world.simulator.fault(fault(200, &list).path("*/users"));
        world
            .run(&event(ANN))
            .await
            .ended_because("failed", 4, &["makes no sense", said]);
    }
    world.was_only_read();
}

#[tokio::test]
async fn who_may_be_an_administrator_waits_for_a_person() {
    let world = World::new().await;
    let ann = world.simulator.add_user(User::new(ANN));
    let mut list = listing(&ann, ANN, "Active");
    if let Some(user) = list["users"][0].as_object_mut() {
        user.remove("isAdmin");
    }
    world.simulator.fault(fault(200, &list).path("*/users"));
    world
        .run(&event(ANN))
        .await
        .ended_because("held", 3, &["administrator"]);
}

fn listing(id: &str, email: &str, status: &str) -> Value {
    json!({
        "users": [{"userId": id, "userName": "Ann English", "email": email, "userStatus": status, "isAdmin": "False"}],
        "resultSetSize": "1", "totalSetSize": "1", "startPosition": "0", "endPosition": "0"
    })
}
