use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
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
    let options = ServiceOptions {
        lease: Duration::from_secs(1),
        ..ServiceOptions::default()
    };
    let connectors = Always(Lookup::Absent(String::new()));
    let service = Service::new(journal.clone(), Arc::new(connectors), options);
    let mut tasks = tokio::task::JoinSet::new();
    let task = tasks.spawn(std::future::pending::<()>());
    let lease = Arc::new(Lease::new(fence("acme", "docusign")));
    service.leases.add(lease, task, tokio::time::Instant::now());
    journal.close().await;
    let _upkeep = service.upkeep();
    let ended = tokio::time::timeout(Duration::from_secs(60), tasks.join_next()).await;
    assert!(ended.unwrap().unwrap().unwrap_err().is_cancelled());
}
