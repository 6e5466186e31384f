use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::watch;

use super::{Connectors, Lookup, Service, ServiceOptions};
use crate::clock::ManualClock;
use crate::journal::{Decision, Dedupe, JobId, JobState, Journal, Lane, NewEvent, NewJob, NewState, Options};

/// Answers the same for each connector.
#[derive(Debug)]
struct Always(Lookup);

impl Connectors for Always {
    fn connector(&self, _tenant: &str, _connector: &str) -> Lookup {
        self.0.clone()
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
    let job = NewJob {
        connector: "docusign".to_owned(),
        state: NewState::Queued,
    };
    let event = NewEvent {
        tenant: "acme".to_owned(),
        source: "hr".to_owned(),
        dedupe: Dedupe::None,
        body: Vec::new(),
        received_at: now(),
        occurred_at: None,
        decision: Decision::Leaver,
        reason: "left".to_owned(),
        person: Some("{}".to_owned()),
        person_key: None,
        jobs: vec![job],
    };
    journal.accept(event).await.unwrap().jobs[0]
}

/// Runs a dispatcher until the job has been put down once, and returns what it is then.
async fn put_down(url: &str, lookup: Lookup) -> (JobState, bool) {
    let journal = journal(url).await;
    let job = accept(&journal).await;
    let mut changes = journal.changes();
    let service = Service::new(journal.clone(), Arc::new(Always(lookup)), ServiceOptions::default());
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(service.run(stopped));
    let state = loop {
        let state = journal.job(job).await.unwrap().unwrap().summary.state;
        if !matches!(state, JobState::Queued | JobState::Running { .. }) {
            break state;
        }
        changes.next().await;
    };
    stop.send_replace(true);
    running.await.unwrap();
    let lane = Lane::new("acme", "docusign").unwrap();
    let lanes = journal.lanes(None).await.unwrap();
    let is_parked = lanes
        .iter()
        .any(|status| status.lane == lane && status.parked.is_some());
    (state, is_parked)
}

#[tokio::test]
async fn a_connector_that_another_host_may_run_parks_nothing() {
    let (_folder, sqlite) = sqlite();
    let postgres = kit::PrivatePostgres::shared().database();
    let (absent, unready) = ("there is no tenant `acme`", "its key is missing");
    for (url, lookup, why) in [
        (&sqlite, Lookup::Absent(absent.to_owned()), absent),
        (&postgres, Lookup::Absent(absent.to_owned()), absent),
        (&postgres, Lookup::Unready(unready.to_owned()), unready),
    ] {
        let (state, is_parked) = put_down(url, lookup).await;
        let (until, why) = (Some(now() + Duration::from_secs(30)), why.to_owned());
        assert_eq!((state, is_parked), (JobState::Parked { until, why }, false), "{url}");
    }
}

#[tokio::test]
async fn a_connector_that_the_only_host_cannot_run_parks_its_lane() {
    let (_folder, url) = sqlite();
    let why = "its key is missing".to_owned();
    let (state, is_parked) = put_down(&url, Lookup::Unready(why.clone())).await;
    assert_eq!((state, is_parked), (JobState::Parked { until: None, why }, true));
}
