//! What a reload owes the journal: lanes that may run again, and their caps.
//!
//! Kept until it is done: a reload may happen while the database is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::service::{Connectors, Lookup};
use crate::journal::{Journal, JournalError, Lane, LaneStatus, Options};
use crate::tenant::Tenant;

/// How often a parked connector is let go without a reload: every hour. Consent is given at the target, where no file
/// of ours changes; if nothing was mended, the lane parks itself again at its first job.
const LET_GO_EVERY: Duration = Duration::from_secs(3600);

/// What is left to do.
#[derive(Debug)]
pub(super) struct Chores(Mutex<Left>);

#[derive(Debug)]
struct Left {
    unpark: BTreeSet<(String, String)>,
    caps: BTreeMap<(String, String), Option<u32>>,
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

    /// Whatever was wrong with these connectors may be mended.
    pub(super) fn unpark(&self, lanes: impl Iterator<Item = (String, String)>) {
        self.left().unpark.extend(lanes);
    }

    /// How many jobs of its connectors may run at a time.
    pub(super) fn set_caps(&self, tenant: &Tenant) {
        let caps = tenant.connectors.iter();
        let caps = caps.map(|(name, config)| ((tenant.name.clone(), name.clone()), config.concurrency));
        self.left().caps.extend(caps);
    }

    /// Does what is left, after reading all lanes once.
    pub(super) async fn run(&self, journal: &Journal, connectors: &dyn Connectors) {
        let now = Instant::now();
        let is_hour = {
            let left = self.left();
            if left.unpark.is_empty() && left.caps.is_empty() && now < left.all_at {
                return;
            }
            now >= left.all_at
        };
        let lanes = match journal.lanes(None).await {
            Ok(lanes) => lanes,
            Err(error) => return tracing::warn!("lanes cannot be read, so none is let go yet: {error}"),
        };
        let (mut unpark, caps) = {
            let mut left = self.left();
            if is_hour {
                left.all_at = now + LET_GO_EVERY;
            }
            (std::mem::take(&mut left.unpark), std::mem::take(&mut left.caps))
        };
        let parked = |status: &&LaneStatus| status.parked.is_some();
        let parked: BTreeSet<(String, String)> =
            lanes.iter().filter(parked).map(|status| names(&status.lane)).collect();
        if is_hour {
            let is_ready = |(tenant, connector): &&(String, String)| {
                matches!(connectors.connector(tenant, connector), Lookup::Ready(_))
            };
            let ready = parked.iter().filter(is_ready);
            unpark.extend(ready.cloned());
        }
        for names in unpark.intersection(&parked) {
            if let Err(error) = let_go(journal, names).await {
                tracing::warn!(tenant = names.0, connector = names.1, "cannot be unparked yet: {error}");
                self.left().unpark.insert(names.clone());
            }
        }
        let current: BTreeMap<_, _> = lanes.iter().map(|status| (names(&status.lane), status.cap)).collect();
        for (names, wanted) in caps {
            let default = Options::default().default_cap;
            if current.get(&names).copied().unwrap_or(default) == wanted.unwrap_or(default) {
                continue;
            }
            if let Err(error) = set_cap(journal, &names, wanted).await {
                tracing::warn!(tenant = names.0, connector = names.1, "its cap is not set yet: {error}");
                self.left().caps.entry(names).or_insert(wanted);
            }
        }
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn names(lane: &Lane) -> (String, String) {
    (lane.tenant().to_owned(), lane.connector().to_owned())
}

async fn let_go(journal: &Journal, (tenant, connector): &(String, String)) -> Result<(), JournalError> {
    let lane = Lane::new(tenant.as_str(), connector.as_str())?;
    if journal.unpark(&lane, "reload").await? {
        tracing::info!(%lane, "no longer parked: what it waited for may be mended");
    }
    Ok(())
}

async fn set_cap(
    journal: &Journal,
    (tenant, connector): &(String, String),
    cap: Option<u32>,
) -> Result<(), JournalError> {
    let lane = Lane::new(tenant.as_str(), connector.as_str())?;
    journal.set_cap(&lane, cap).await?;
    tracing::info!(%lane, cap, "jobs at a time, over all hosts");
    Ok(())
}
