//! An event that a wrong mapping has refused is not lost.

use serde_json::json;

use super::testing::*;

async fn replay(house: &House, id: &str, token: &str) -> Reply {
    let bearer = format!("Bearer {}", house.tokens[token]);
    house
        .post(&format!("/v1/events/{id}/replay"), &[("authorization", &bearer)], b"")
        .await
}

/// The tenant with its mapping put right.
fn mapped() -> String {
    let mapped = ACME.replace(
        "person  = { email = \"$.email\" }\nid",
        "person  = { email = \"$.mail\" }\nid",
    );
    assert_ne!(mapped, ACME);
    mapped
}

fn id(reply: &Reply) -> String {
    reply.json()["event"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_refused_event_is_judged_again_by_the_source_as_it_is_now() {
    let mut house = House::open().await;
    let nobody = house
        .event("shop", &json!({"type": "left", "id": "7", "mail": "a@acme.example"}))
        .await;
    assert_eq!(nobody.json()["decision"], "refused", "{nobody:?}");
    let still = replay(&house, &id(&nobody), "acme").await;
    assert_eq!(
        (still.status, still.json()["decision"].as_str()),
        (200, Some("refused"))
    );
    assert_eq!(house.count().await, 1, "nothing was recorded for that");

    house.reopen(&mapped()).await;
    let accepted = replay(&house, &id(&nobody), "acme").await;
    assert_eq!(
        (accepted.status, accepted.json()["decision"].as_str()),
        (202, Some("leaver")),
        "{accepted:?}"
    );
    let recorded = house.recorded(&accepted).await;
    assert_eq!(recorded.jobs.len(), 2);
    assert!(recorded.summary.reason.contains("replayed from event"), "{recorded:?}");
    // However much later, and whatever the source says by then.
    house.clock.advance(std::time::Duration::from_secs(8 * 24 * 3600));
    house.reopen(ACME).await;
    let again = replay(&house, &id(&nobody), "host").await;
    assert_eq!(
        (again.status, again.json()["duplicate"].as_bool(), id(&again)),
        (202, Some(true), id(&accepted))
    );
    assert_eq!(again.json()["decision"], "leaver");
    assert_eq!(
        house.recorded(&nobody).await.summary.decision,
        crate::journal::Decision::Replayed
    );
    // The mapping that it was replayed with was the wrong one: she must not look done.
    house.reopen(&mapped().replace("\"$.mail\"", "\"$.id\"")).await;
    let other = replay(&house, &id(&nobody), "acme").await;
    assert!(other.problem(409).contains("names somebody else"), "{other:?}");
    let actions = house
        .journal
        .actions(Some("acme"), None, crate::journal::Page::default())
        .await;
    let actions = actions.unwrap().items;
    assert_eq!(actions.len(), 2, "one for each job");
    assert!(
        actions
            .iter()
            .all(|done| done.action.verb == "replay" && done.action.actor == "acme"),
        "{actions:?}"
    );
    assert!(actions[0].action.detail.contains(&id(&nobody)), "{actions:?}");
    assert!(
        replay(&house, &id(&accepted), "acme")
            .await
            .problem(409)
            .contains("jobs retry")
    );
}

#[tokio::test]
async fn a_signed_event_keeps_its_id_when_it_is_replayed() {
    let mut house = House::open().await;
    let now = seconds_from_now(0);
    let event = json!({"type": "left", "mail": "ann@acme.example"});
    let refused = send_signed(&house, SIGN_NEW, "msg_7", now, &event).await;
    assert_eq!(refused.json()["decision"], "refused", "{refused:?}");
    let before = "person = { email = \"$.email\" }";
    let signed = ACME.replace(before, "person = { email = \"$.mail\" }");
    assert_ne!(signed, ACME);
    house.reopen(&signed).await;
    let accepted = replay(&house, &id(&refused), "acme").await;
    assert_eq!(accepted.json()["duplicate"], false, "{accepted:?}");
    assert_eq!(
        house.recorded(&accepted).await.summary.source_id.as_deref(),
        Some("msg_7")
    );
    // The sender tries once more, after the window within which equal content would be a repetition.
    house.clock.advance(std::time::Duration::from_secs(3600));
    let again = send_signed(&house, SIGN_NEW, "msg_7", seconds_from_now(3600), &event).await;
    assert_eq!(
        (again.json()["duplicate"].as_bool(), id(&again)),
        (Some(true), id(&accepted))
    );
}

#[tokio::test]
async fn an_event_without_a_time_is_as_old_as_when_it_came() {
    let mut house = House::open().await;
    let refused = house
        .event("shop", &json!({"type": "left", "id": "8", "mail": "b@acme.example"}))
        .await;
    house.clock.advance(std::time::Duration::from_secs(8 * 24 * 3600));
    let timeless = mapped().replace("time    = \"$.at\"\nmax_age = \"2d\"\n", "");
    assert_ne!(timeless, mapped());
    house.reopen(&timeless).await;
    let accepted = replay(&house, &id(&refused), "acme").await;
    let job = house.recorded(&accepted).await.jobs[0];
    let job = house.journal.job(job).await.unwrap().unwrap();
    assert!(
        matches!(job.summary.state, crate::journal::JobState::Held { .. }),
        "{job:?}"
    );
}

#[tokio::test]
async fn who_may_not_operate_the_tenant_replays_nothing() {
    let house = House::open().await;
    let refused = house.event("shop", &json!({"type": "left", "id": "9"})).await;
    replay(&house, &id(&refused), "audit").await.problem(403);
    replay(&house, &id(&refused), "other").await.problem(404);
    replay(&house, "no-id", "host").await.problem(404);
    house
        .post(&format!("/v1/events/{}/replay", id(&refused)), &[], b"")
        .await
        .problem(401);
    assert_eq!(house.count().await, 1);
}
