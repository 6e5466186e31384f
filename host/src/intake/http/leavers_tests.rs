use serde_json::{Value, json};

use super::testing::{House, NEW, Reply};
use super::{MAX_IDEMPOTENCY_KEY_BYTES, MAX_LEAVER_BYTES, ON_DEMAND};
use crate::journal::{JobFilter, JobState, Page};

const PATH: &str = "/v1/tenants/acme/leavers";

fn ann() -> Value {
    json!({"email": "ann@acme.example"})
}

async fn post(house: &House, token: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
    let bearer = format!("Bearer {}", house.tokens[token]);
    let headers = [&[("authorization", bearer.as_str())], headers].concat();
    house.post(path, &headers, body.to_string()).await
}

async fn leaver(house: &House, headers: &[(&str, &str)], body: &Value) -> Reply {
    post(house, "acme", PATH, headers, body).await
}

#[tokio::test]
async fn a_leaver_is_recorded_with_who_reported_it() {
    let house = House::open().await;
    let reply = leaver(&house, &[], &ann()).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_eq!(reply.json()["decision"], "leaver");
    let record = house.recorded(&reply).await;
    assert_eq!(record.summary.source, ON_DEMAND);
    assert_eq!(record.summary.reason, "reported with the API token acme");
    assert_eq!(record.jobs.len(), 2);
    let reply = post(
        &house,
        "host",
        PATH,
        &[],
        &json!({"email": "ann@acme.example", "connectors": ["second"]}),
    )
    .await;
    assert_eq!(house.recorded(&reply).await.jobs.len(), 1);
    assert_eq!(reply.json()["duplicate"], false, "without a key each request is meant");
}

/// A workflow that is tested passes on what its trigger's sample names.
#[tokio::test]
async fn a_published_sample_is_held() {
    let house = House::open().await;
    for (id, is_held) in [("2c91808568c529c60168cca6f90c1313", true), ("4711", false)] {
        let reply = leaver(&house, &[], &json!({"email": "ann@acme.example", "id": id})).await;
        let job = house.recorded(&reply).await.jobs[0];
        let job = house.journal.job(job).await.unwrap().unwrap().summary;
        assert_eq!(
            matches!(&job.state, JobState::Held { why } if why == "sample-event"),
            is_held,
            "{job:?}"
        );
    }
}

#[tokio::test]
async fn tokens_reach_their_tenant_in_their_role() {
    let house = House::open().await;
    let nobody = "/v1/tenants/nobody/leavers";
    for (token, path, status) in [
        ("host", PATH, 202),
        ("acme", PATH, 202),
        ("audit", PATH, 403),
        ("other", PATH, 403),
        ("host", nobody, 404),
        // Whether a tenant exists is not said to others.
        ("acme", nobody, 403),
        ("other", "/v1/tenants/other/leavers", 404),
    ] {
        let reply = post(&house, token, path, &[], &ann()).await;
        assert_eq!(reply.status, status, "{token} {path}");
    }
    let bodies = [
        post(&house, "other", PATH, &[], &ann()).await,
        post(&house, "other", nobody, &[], &ann()).await,
    ];
    assert_eq!(bodies[0], bodies[1]);
    let unknown = format!("Bearer exeunt_{}", "x".repeat(43));
    let of_a_source = format!("Bearer {NEW}");
    for headers in [
        &[][..],
        &[("authorization", unknown.as_str())],
        &[("authorization", of_a_source.as_str())],
    ] {
        house.post(PATH, headers, ann().to_string()).await.problem(401);
    }
    assert_eq!(house.count().await, 2);
}

#[tokio::test]
async fn what_cannot_be_done_is_said_and_not_recorded() {
    let house = House::open().await;
    let reply = leaver(
        &house,
        &[],
        &json!({"email": "ann@acme.example", "connectors": ["docusing"]}),
    )
    .await;
    assert!(reply.problem(422).contains("did you mean `docusign`?"));
    leaver(&house, &[], &json!({"emial": "x"})).await.problem(422);
    leaver(&house, &[("content-type", "text/plain")], &ann())
        .await
        .problem(415);
    assert_eq!(house.count().await, 0);
}

#[tokio::test]
async fn a_body_may_have_its_limit_and_not_a_byte_more() {
    let house = House::open().await;
    let sized = |bytes: usize| {
        let text = ann().to_string();
        format!("{text}{}", " ".repeat(bytes - text.len()))
    };
    let bearer = format!("Bearer {}", house.tokens["acme"]);
    for (bytes, status) in [(MAX_LEAVER_BYTES, 202), (MAX_LEAVER_BYTES + 1, 413)] {
        let reply = house.post(PATH, &[("authorization", &bearer)], sized(bytes)).await;
        assert_eq!(reply.status, status, "{reply:?}");
    }
}

#[tokio::test]
async fn a_key_makes_a_repetition_the_first_request() {
    let house = House::open().await;
    let key = [("idempotency-key", "run-17")];
    let first = leaver(&house, &key, &ann()).await;
    let again = leaver(&house, &[("idempotency-key", "\"run-17\"")], &json!([ann()])).await;
    assert_eq!((again.status, &again.json()["duplicate"]), (202, &json!(true)));
    assert_eq!(again.json()["event"], first.json()["event"]);
    assert_eq!(
        house
            .journal
            .jobs(&JobFilter::default(), Page::default())
            .await
            .unwrap()
            .items
            .len(),
        2
    );

    let other = leaver(&house, &key, &json!({"email": "bob@acme.example"})).await;
    assert!(other.problem(422).contains("sent before with another leaver"));
    // Of a request that is past its retention, the person is still known.
    house.clock.advance(std::time::Duration::from_secs(1));
    let kept = std::time::Duration::ZERO;
    assert_eq!(house.journal.expire_events(kept, &mut None).await, Ok(1));
    assert_eq!(
        leaver(&house, &key, &ann()).await.json()["event"],
        first.json()["event"]
    );
    let other = leaver(&house, &key, &json!({"email": "bob@acme.example"})).await;
    assert!(other.problem(422).contains("sent before with another leaver"));
    let fewer = json!({"email": "ann@acme.example", "connectors": ["second"]});
    let fewer = leaver(&house, &key, &fewer).await;
    assert!(
        fewer.problem(422).contains("sent before"),
        "its jobs are of all connectors"
    );
    let elsewhere = post(&house, "host", PATH, &key, &json!({"email": "bob@acme.example"})).await;
    assert_eq!(elsewhere.json()["duplicate"], false, "keys of two tokens do not meet");
}

#[tokio::test]
async fn a_key_may_have_its_limit_and_not_a_byte_more() {
    let house = House::open().await;
    let key = |bytes: usize| "k".repeat(bytes);
    for (key, status) in [
        (key(MAX_IDEMPOTENCY_KEY_BYTES), 202),
        (key(MAX_IDEMPOTENCY_KEY_BYTES + 1), 400),
        (String::new(), 400),
        ("\"\"".to_owned(), 400),
        ("kéy".to_owned(), 400),
        ("{{$.trigger.id}}".to_owned(), 400),
    ] {
        let reply = leaver(&house, &[("idempotency-key", &key)], &ann()).await;
        assert_eq!(reply.status, status, "{key:?}");
    }
    let twice = leaver(&house, &[("idempotency-key", "a"), ("idempotency-key", "a")], &ann()).await;
    assert_eq!(twice.status, 400);
}
