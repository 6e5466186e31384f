use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::IntakeLimits;
use super::testing::{ACME, House, Reply, native_change};
use crate::journal::{ClaimedJob, Finish, Journal, Options, Outcome};

const LEASE: Duration = Duration::from_secs(60);

fn end(outcome: Outcome) -> Finish {
    Finish::End {
        outcome,
        reason: format!("it is {outcome}"),
        detail: None,
    }
}

/// Waits for jobs as a dispatcher does: what another host's journal accepts does not wake it.
async fn claim(journal: &Journal) -> ClaimedJob {
    let mut changes = journal.changes();
    loop {
        if let Some(job) = journal.claim("test", LEASE, 1).await.unwrap().pop() {
            return job;
        }
        let _ = tokio::time::timeout(Duration::from_millis(10), changes.next()).await;
    }
}

/// Ends the next jobs so, by connector.
fn work(journal: &Journal, ends: Vec<(&'static str, Finish)>) -> JoinHandle<()> {
    let journal = journal.clone();
    tokio::spawn(async move {
        for _ in 0..ends.len() {
            let job = claim(&journal).await;
            let end = ends
                .iter()
                .find(|(connector, _)| *connector == job.connector())
                .unwrap();
            journal.finish(&job.fence, end.1.clone(), None).await.unwrap();
        }
    })
}

/// Reports a leaver, for both connectors, and waits.
async fn leaver(house: &House, wait: &str) -> Reply {
    let bearer = format!("Bearer {}", house.tokens["acme"]);
    let headers = [("authorization", bearer.as_str()), ("prefer", wait)];
    house
        .post("/v1/tenants/acme/leavers", &headers, r#"{"email": "ann@acme.example"}"#)
        .await
}

/// Another host tells this one nothing: the journal does, once this one looks again.
#[tokio::test]
async fn a_job_that_another_host_does_is_waited_for_too() {
    let house = House::open().await;
    let url = format!("sqlite:{}", house.folder.path().join("exeunt.db").display());
    let options = Options {
        clock: house.clock.clone(),
        ..Options::default()
    };
    let other = Journal::open(&url, options).await.unwrap();
    let both = vec![("docusign", end(Outcome::Closed)), ("second", end(Outcome::Closed))];
    let working = work(&other, both);
    let reply = tokio::time::timeout(Duration::from_secs(30), leaver(&house, "wait=60")).await;
    let reply = reply.expect("before the caller's time is up");
    assert_eq!(reply.status, 200, "{reply:?}");
    working.await.unwrap();
}

#[tokio::test]
async fn an_answer_with_the_outcome_is_one_object() {
    let house = House::open().await;
    let working = work(
        &house.journal,
        vec![("docusign", end(Outcome::Closed)), ("second", end(Outcome::NoAccount))],
    );
    let reply = leaver(&house, "wait=60").await;
    working.await.unwrap();
    assert_eq!(
        (reply.status, reply.header("preference-applied")),
        (200, Some("wait=60"))
    );
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let mut jobs = reply.json()["jobs"].as_array().unwrap().clone();
    jobs.iter_mut()
        .for_each(|job| assert!(job.as_object_mut().unwrap().remove("id").is_some()));
    let job = |connector: &str, outcome: &str| json!({"connector": connector, "state": "ended", "outcome": outcome, "reason": format!("it is {outcome}")});
    assert_eq!(jobs, [job("docusign", "closed"), job("second", "no_account")]);
}

#[tokio::test]
async fn the_status_is_that_of_the_worst_job() {
    let held = |why: &str| Finish::Hold {
        why: why.to_owned(),
        reason: why.to_owned(),
        detail: None,
    };
    let soon = |seconds: i64| Finish::Retry {
        at: super::testing::NOW.parse::<jiff::Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds),
        reason: "away".to_owned(),
    };
    for (first, second, expected) in [
        (end(Outcome::Closed), end(Outcome::AlreadyClosed), 200),
        (end(Outcome::Planned), end(Outcome::NoAccount), 200),
        (end(Outcome::Closed), end(Outcome::Failed), 424),
        (end(Outcome::Closed), end(Outcome::Refused), 409),
        (end(Outcome::Closed), end(Outcome::Cancelled), 409),
        (end(Outcome::Closed), held("several"), 409),
        (held("admin"), end(Outcome::Failed), 424),
        (
            end(Outcome::Closed),
            Finish::Park {
                reason: "wrong key".to_owned(),
            },
            409,
        ),
        // After the caller's time, so there is nothing to wait for.
        (end(Outcome::Closed), soon(3600), 202),
        (end(Outcome::Failed), soon(3600), 424),
        (end(Outcome::Refused), soon(3600), 409),
    ] {
        let house = House::open().await;
        let working = work(
            &house.journal,
            vec![("docusign", first.clone()), ("second", second.clone())],
        );
        let reply = leaver(&house, "wait=80").await;
        working.await.unwrap();
        assert_eq!(reply.status, expected, "{first:?} {second:?} {reply:?}");
        assert_eq!(reply.header("preference-applied").is_some(), expected != 202);
    }
}

#[tokio::test]
async fn events_of_sources_are_waited_for_as_well() {
    let house = House::open().await;
    let bearer = format!("Bearer {}", super::testing::NEW);
    let headers = [("authorization", bearer.as_str()), ("prefer", "wait=60")];
    let path = super::testing::events("hr");
    let failed = vec![("docusign", end(Outcome::Failed)), ("second", end(Outcome::Closed))];
    let working = work(&house.journal, failed);
    assert_eq!(
        house
            .post(&path, &headers, native_change("ann").to_string())
            .await
            .status,
        424
    );
    working.await.unwrap();
    // A repetition gets the outcome of the first.
    let again = house.post(&path, &headers, native_change("ann").to_string()).await;
    assert_eq!((again.status, &again.json()["duplicate"]), (424, &json!(true)));

    let mut sample = native_change("bob");
    sample["identity"]["id"] = json!("2c91808978eb9fab0178fb8ca6d308fb");
    let reply = house.post(&path, &headers, sample.to_string()).await;
    assert_eq!((reply.status, &reply.json()["jobs"][0]["state"]), (409, &json!("held")));
    let mut other = native_change("cid");
    other["singleValueAttributeChanges"] = json!([]);
    let reply = house.post(&path, &headers, other.to_string()).await;
    assert_eq!((reply.status, &reply.json()["decision"]), (200, &json!("not_a_leaver")));
    let reply = house.post(&path, &headers, "{}").await;
    assert_eq!((reply.status, &reply.json()["decision"]), (409, &json!("refused")));
}

#[tokio::test]
async fn when_the_time_is_up_the_answer_is_202_with_what_is_known() {
    let house = House::open().await;
    let reply = leaver(&house, "wait=0").await;
    assert_eq!((reply.status, reply.header("preference-applied")), (202, None));
    assert_eq!(reply.json()["jobs"][0]["state"], "queued");
    assert_eq!(reply.json()["jobs"][0]["outcome"], Value::Null);
    let reply = leaver(&house, "wait=1").await;
    assert_eq!((reply.status, reply.header("preference-applied")), (202, None));
}

#[tokio::test]
async fn the_time_begins_with_the_request_and_one_look_is_made_though_it_is_up() {
    let house = House::open().await;
    let reply = house.event("hr", &native_change("ann")).await;
    let event = house.recorded(&reply).await.summary.id;
    let shared = super::router::shared(house.intake(ACME, IntakeLimits::default(), house.stop.subscribe()));
    let received = tokio::time::Instant::now() - Duration::from_secs(200);
    let waiting = super::wait::settled(&shared, event, received + Duration::from_secs(80));
    // Far above what one look takes, and below what would be waited for.
    let standing = tokio::time::timeout(Duration::from_secs(40), waiting).await.unwrap();
    assert_eq!(standing.jobs.len(), 2);
    assert_eq!(standing.status(crate::journal::Decision::Leaver), 202);
}

#[tokio::test]
async fn a_stop_ends_the_wait_and_not_the_answer() {
    let house = Arc::new(House::open().await);
    let asking = Arc::clone(&house);
    let reply = tokio::spawn(async move { leaver(&asking, "wait=80").await });
    // The first job is there, so the request is on its way.
    claim(&house.journal).await;
    house.stop.send(true).unwrap();
    let reply = reply.await.unwrap();
    assert_eq!(
        (reply.status, &reply.json()["jobs"][0]["connector"]),
        (202, &json!("docusign"))
    );
}

#[tokio::test]
async fn too_many_that_wait_are_answered_at_once() {
    let limits = super::IntakeLimits {
        waiters: 0,
        ..super::IntakeLimits::default()
    };
    let house = House::with(limits).await;
    let reply = leaver(&house, "wait=80").await;
    assert_eq!((reply.status, reply.json().get("jobs")), (202, None));
}

#[tokio::test]
async fn one_tenant_takes_not_all_places_of_those_that_wait() {
    let limits = super::IntakeLimits {
        tenant_waiters: 1,
        ..super::IntakeLimits::default()
    };
    let house = Arc::new(House::with(limits).await);
    let asking = Arc::clone(&house);
    let first = tokio::spawn(async move { leaver(&asking, "wait=80").await });
    claim(&house.journal).await;
    let second = leaver(&house, "wait=80").await;
    assert_eq!(
        (second.status, second.json().get("jobs")),
        (202, None),
        "one past the limit"
    );
    house.stop.send(true).unwrap();
    assert!(first.await.unwrap().json().get("jobs").is_some(), "at the limit");
}
