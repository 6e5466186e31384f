use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::{Connection as _, Executor as _};
use tempfile::TempDir;
use tokio::sync::watch;

use super::{Connectors, Lease, Lookup, Service, ServiceOptions};
use crate::clock::ManualClock;
use crate::journal::testing::{fence, leaver};
use crate::journal::{JobId, JobState, Journal, Lane, Options};
use crate::tenant::DEFAULT_MAX_AGE;

/// Answers the same for each connector.
#[derive(Debug)]
struct Always(Lookup);

impl Connectors for Always {
    fn connector(&self, _tenant: &str, _connector: &str) -> Lookup {
        self.0.clone()
    }

    fn max_age(&self, _tenant: &str, _source: &str) -> Duration {
        DEFAULT_MAX_AGE
    }
}

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn sqlite() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite:{}", folder.path().join("journal.db").display());
    (folder, url)
}

async fn journal(url: &str) -> Journal {
    let options = Options {
        clock: Arc::new(ManualClock::new(now())),
        ..Options::default()
    };
    Journal::open(url, options).await.unwrap()
}

async fn accept(journal: &Journal) -> JobId {
    let event = leaver("acme", "docusign", now());
    journal.accept(event).await.unwrap().jobs[0]
}

/// Runs a dispatcher until the job has been put down once, and returns what it is then and whether its lane is parked;
/// and whether another host can have it.
async fn put_down(url: &str, lookup: Lookup) -> (JobState, bool, bool) {
    let journal = journal(url).await;
    let job = accept(&journal).await;
    let service = Service::new(journal.clone(), Arc::new(Always(lookup)), ServiceOptions::default());
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(service.run(stopped));
    let state = loop {
        let summary = journal.job(job).await.unwrap().unwrap().summary;
        let is_parked = matches!(summary.state, JobState::Parked { .. });
        if is_parked || summary.reason.is_some() && summary.state == JobState::Queued {
            break summary.state;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    // Once more and it would be taken again by now.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let is_free = !journal
        .claim("other", Duration::from_secs(30), 1)
        .await
        .unwrap()
        .is_empty();
    stop.send_replace(true);
    running.await.unwrap();
    let lane = Lane::new("acme", "docusign").unwrap();
    let lanes = journal.lanes(None).await.unwrap();
    let is_parked = lanes
        .iter()
        .any(|status| status.lane == lane && status.parked.is_some());
    (state, is_parked, is_free)
}

#[tokio::test]
async fn a_connector_that_another_host_may_run_is_left_to_it() {
    let postgres = kit::PrivatePostgres::shared();
    for lookup in [
        Lookup::Absent("there is no tenant `acme`".to_owned()),
        Lookup::Unready("its key is missing".to_owned()),
    ] {
        let put_down = put_down(&postgres.database(), lookup.clone()).await;
        assert_eq!(put_down, (JobState::Queued, false, true), "{lookup:?}");
    }
}

#[tokio::test]
async fn a_tenant_that_the_only_host_does_not_know_waits() {
    let (_folder, url) = sqlite();
    let why = "there is no tenant `acme`".to_owned();
    let put_down = put_down(&url, Lookup::Absent(why.clone())).await;
    let until = Some(now() + Duration::from_secs(30));
    assert_eq!(put_down, (JobState::Parked { until, why }, false, false));
}

#[tokio::test]
async fn a_connector_that_the_only_host_cannot_run_parks_its_lane() {
    let (_folder, url) = sqlite();
    let why = "its key is missing".to_owned();
    let put_down = put_down(&url, Lookup::Unready(why.clone())).await;
    assert_eq!(put_down, (JobState::Parked { until: None, why }, true, false));
}

/// What another host takes over by then must not go on here.
#[tokio::test]
async fn a_job_ends_with_its_lease_where_the_database_is_not_heard_of() {
    let (_folder, url) = sqlite();
    let journal = journal(&url).await;
    let service = service(&journal, Duration::from_secs(1));
    let mut tasks = tokio::task::JoinSet::new();
    let task = tasks.spawn(std::future::pending::<()>());
    let lease = Arc::new(Lease::new(fence("acme", "docusign")));
    service.leases.add(lease, task, tokio::time::Instant::now());
    journal.close().await;
    let _upkeep = service.upkeep();
    let ended = tokio::time::timeout(Duration::from_secs(60), tasks.join_next()).await;
    assert!(ended.unwrap().unwrap().unwrap_err().is_cancelled());
}

fn service(journal: &Journal, lease: Duration) -> Service {
    let options = ServiceOptions {
        lease,
        ..ServiceOptions::default()
    };
    let connectors = Always(Lookup::Absent(String::new()));
    Service::new(journal.clone(), Arc::new(connectors), options)
}

#[tokio::test]
async fn a_job_whose_lease_could_not_be_extended_is_given_back_where_it_is_still_ours() {
    let (_folder, url) = sqlite();
    let journal = journal(&url).await;
    let job = accept(&journal).await;
    let mut service = service(&journal, Duration::from_secs(30));
    for is_closing in [false, true] {
        let claimed = journal.claim("us", Duration::from_secs(30), 1).await.unwrap().remove(0);
        let lease = Arc::new(Lease::new(claimed.fence));
        lease.closing().store(is_closing, std::sync::atomic::Ordering::SeqCst);
        let task = service.running.spawn(std::future::pending());
        service.leases.add(lease, task.clone(), tokio::time::Instant::now());
        task.abort();
        let ended = service.running.join_next_with_id().await.unwrap();
        service.forget(ended);
        while service.releases.join_next().await.is_some() {}
        let state = journal.job(job).await.unwrap().unwrap().summary.state;
        // Its closure may be on its way to the target.
        let is_given_back = !matches!(state, JobState::Running { .. });
        assert_eq!(is_given_back, !is_closing, "{state:?}");
    }
    let record = journal.job(job).await.unwrap().unwrap();
    assert_eq!(record.attempts[0].result, "released");
}

#[tokio::test]
async fn leases_that_are_half_over_when_they_come_are_extended_at_once() {
    let url = kit::PrivatePostgres::shared().database();
    let journal = journal(&url).await;
    accept(&journal).await;
    let mut service = service(&journal, Duration::from_secs(3));
    let mut other = sqlx::AnyConnection::connect(&url).await.unwrap();
    other.execute("BEGIN").await.unwrap();
    other.execute("SELECT id FROM lane FOR UPDATE").await.unwrap();
    let slow = async {
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        other.execute("COMMIT").await.unwrap();
    };
    tokio::join!(service.claim(), slow);
    assert_eq!(service.running.len(), 1);
    tokio::time::timeout(Duration::from_secs(10), service.leases.hurry())
        .await
        .expect("a heartbeat is asked for");
}
