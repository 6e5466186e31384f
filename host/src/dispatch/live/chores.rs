//! What a reload owes the journal: lanes that may run again, and their caps.
//!
//! Kept until it is done: a reload may happen while the database is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::journal::{Journal, Lane};
use crate::tenant::Tenant;

/// How often a parked connector is let go without a reload: every hour. Consent is given at the target, where no file
/// of ours changes; if nothing was mended, the lane parks itself again at its first job.
const LET_GO_EVERY: Duration = Duration::from_secs(3600);

/// What is left to do.
#[derive(Debug)]
pub(super) struct Chores(Mutex<Left>);

#[derive(Debug)]
struct Left {
    unpark: BTreeSet<Lane>,
    caps: BTreeMap<Lane, Option<u32>>,
    all_at: Instant,
}

impl Chores {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Left {
            unpark: BTreeSet::new(),
            caps: BTreeMap::new(),
            all_at: Instant::now() + LET_GO_EVERY,
        }))
    }

    /// Whatever was wrong with these connectors of a tenant may be mended.
    pub(super) fn unpark<'a>(&self, tenant: &str, connectors: impl Iterator<Item = &'a String>) {
        let lanes = connectors.filter_map(|connector| lane(tenant, connector));
        self.left().unpark.extend(lanes);
    }

    /// How many jobs of its connectors may run at a time.
    pub(super) fn set_caps(&self, tenant: &Tenant) {
        let connectors = tenant.connectors.iter();
        let caps = connectors.filter_map(|(name, config)| Some((lane(&tenant.name, name)?, config.concurrency)));
        self.left().caps.extend(caps);
    }

    /// Does what is left. `is_ready` says whether a lane's connector can run here.
    pub(super) async fn run(&self, journal: &Journal, is_ready: impl Fn(&Lane) -> bool) {
        self.let_go(journal, is_ready).await;
        let caps: Vec<(Lane, Option<u32>)> = std::mem::take(&mut self.left().caps).into_iter().collect();
        if let Err(error) = journal.set_caps(&caps).await {
            tracing::warn!("how many jobs may run at a time is not set yet: {error}");
            let mut left = self.left();
            for (lane, cap) in caps {
                left.caps.entry(lane).or_insert(cap);
            }
        }
    }

    async fn let_go(&self, journal: &Journal, is_ready: impl Fn(&Lane) -> bool) {
        let now = Instant::now();
        let is_hour = now >= self.left().all_at;
        if self.left().unpark.is_empty() && !is_hour {
            return;
        }
        // Before the lanes are read: one that is named meanwhile may have parked meanwhile.
        let mut unpark = std::mem::take(&mut self.left().unpark);
        let parked: BTreeSet<Lane> = match journal.lanes(None).await {
            Ok(lanes) => lanes
                .into_iter()
                .filter(|status| status.parked.is_some())
                .map(|status| status.lane)
                .collect(),
            Err(error) => {
                self.left().unpark.append(&mut unpark);
                return tracing::warn!("lanes cannot be read, so none is let go yet: {error}");
            }
        };
        if is_hour {
            self.left().all_at = now + LET_GO_EVERY;
            unpark.extend(parked.iter().filter(|lane| is_ready(lane)).cloned());
        }
        for lane in unpark.intersection(&parked) {
            match journal.unpark(lane, "reload", "").await {
                Ok(true) => tracing::info!(%lane, "no longer parked: what it waited for may be mended"),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%lane, "cannot be unparked yet: {error}");
                    self.left().unpark.insert(lane.clone());
                }
            }
        }
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connector's lane. Its name was checked when its file was read.
fn lane(tenant: &str, connector: &str) -> Option<Lane> {
    Lane::new(tenant, connector).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::leaver;
    use crate::journal::{Finish, Options};

    async fn park(journal: &Journal, connector: &str) {
        let event = leaver("acme", connector, jiff::Timestamp::UNIX_EPOCH);
        journal.accept(event).await.unwrap();
        let job = journal
            .claim("host", Duration::from_secs(60), 1)
            .await
            .unwrap()
            .remove(0);
        let reason = "consent is missing".to_owned();
        journal.finish(&job.fence, Finish::Park { reason }, None).await.unwrap();
    }

    async fn parked(journal: &Journal) -> Vec<String> {
        let lanes = journal.lanes(None).await.unwrap().into_iter();
        let parked = lanes.filter(|status| status.parked.is_some());
        parked.map(|status| status.lane.connector().to_owned()).collect()
    }

    #[tokio::test]
    async fn every_hour_what_can_run_is_let_go_and_what_was_mended_at_once() {
        let folder = tempfile::TempDir::new().unwrap();
        let url = format!("sqlite:{}", folder.path().join("journal.db").display());
        let journal = Journal::open(&url, Options::default()).await.unwrap();
        for connector in ["broken", "docusign", "zoom"] {
            park(&journal, connector).await;
        }
        let chores = Chores::new();
        let is_ready = |lane: &Lane| lane.connector() != "broken";
        chores.run(&journal, is_ready).await;
        assert_eq!(parked(&journal).await, ["broken", "docusign", "zoom"]);
        chores.unpark("acme", [&"zoom".to_owned()].into_iter());
        chores.run(&journal, is_ready).await;
        assert_eq!(parked(&journal).await, ["broken", "docusign"]);

        chores.left().all_at = Instant::now();
        chores.run(&journal, is_ready).await;
        assert_eq!(parked(&journal).await, ["broken"]);
        assert!(chores.left().all_at > Instant::now() + LET_GO_EVERY - Duration::from_secs(60));
    }
}
