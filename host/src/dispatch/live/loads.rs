//! Tenants that are being loaded, some of them for longer than one look at the files.
//!
//! A registry that does not answer, a plugin that takes long to compile, a disk that hangs: each is one tenant's, and the
//! others' files count meanwhile. So a look waits for a load for a while, and a later look takes what came of it. Until
//! then a tenant that was not live is live without its connectors: its events are taken, and their jobs wait.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use super::changes::{File, RETRY_AFTER, tenant_name};
use super::runtime::Runtime;
use super::tenant::{LiveTenant, Loaded, load};
use crate::tenant::HostConfig;

/// Tenants loaded at a time. Loading is mostly checking keys, which is work for a processor.
const AT_ONCE: usize = 8;

/// How long a look waits: 10 seconds. A component from a registry nearby takes less, and so does an interpreter to compile;
/// a rotated secret of another tenant should not wait longer, nor until many loads have failed one after the other. The
/// first look waits for as long as one of them comes to an end in that time: nobody is served before.
const PATIENCE: Duration = Duration::from_secs(10);

/// Loads that may go on beside later looks: 64. Each has a thread.
const MOST_SLOW: usize = 64;

/// What came of one file.
pub(super) type One = (PathBuf, File, Loaded);

/// Loads that have begun.
#[derive(Debug, Default)]
pub(super) struct Loads {
    tasks: JoinSet<One>,
    /// Which file each is of, and whether the look that began it still waits for it.
    files: HashMap<Id, (PathBuf, bool)>,
    /// Whether a look has come to an end.
    has_looked: bool,
    /// Tenants as far as they are loaded.
    begun: Arc<Mutex<HashMap<PathBuf, LiveTenant>>>,
}

impl Loads {
    /// Loads these files, and takes what has come of others since. Those that take long go on.
    pub(super) async fn run(
        &mut self,
        runtime: &Arc<Runtime>,
        host: &Arc<HostConfig>,
        changed: Vec<(PathBuf, u64)>,
        old: impl Fn(&str) -> Option<Arc<LiveTenant>>,
    ) -> Vec<One> {
        let mut loaded = Vec::with_capacity(changed.len());
        let busy: BTreeSet<PathBuf> = self.files.values().map(|(path, _)| path.clone()).collect();
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            loaded.extend(self.ended(ended));
        }
        // One that was busy may be of an older file, which the next look will see.
        let mut changed = changed.into_iter().filter(|(path, _)| !busy.contains(path));
        let is_first = !std::mem::replace(&mut self.has_looked, true);
        let mut until = Instant::now() + PATIENCE;
        loop {
            while self.fresh() < AT_ONCE
                && self.files.len() < AT_ONCE + MOST_SLOW
                && let Some((path, stamp)) = changed.next()
            {
                let old = old(tenant_name(&path));
                self.begin(runtime, host, (path, stamp), old);
            }
            if self.fresh() == 0 {
                return loaded;
            }
            match timeout_at(until, self.tasks.join_next_with_id()).await {
                Ok(Some(one)) => loaded.extend(self.ended(one)),
                Ok(None) => return loaded,
                Err(_) => {
                    self.leave();
                    // What has not begun is as new to the next look.
                    if !is_first {
                        return loaded;
                    }
                }
            }
            if is_first {
                until = Instant::now() + PATIENCE;
            }
        }
    }

    fn begin(
        &mut self,
        runtime: &Arc<Runtime>,
        host: &Arc<HostConfig>,
        (path, stamp): (PathBuf, u64),
        old: Option<Arc<LiveTenant>>,
    ) {
        let (runtime, host, file) = (Arc::clone(runtime), Arc::clone(host), path.clone());
        let handle = tokio::runtime::Handle::current();
        let so_far = Arc::clone(&self.begun);
        // Files are read and keys are checked: nothing for a thread that answers requests.
        let task = self.tasks.spawn_blocking(move || {
            let begun = |tenant| drop(lock(&so_far).insert(file.clone(), tenant));
            let loaded = handle.block_on(load(&runtime, &file, &host, old.as_deref(), begun));
            let is_whole = loaded.tenant.as_ref().is_ok_and(|tenant| !tenant.is_partial());
            let seen = File {
                stamp,
                plugins: loaded.plugins.clone(),
                again: (!is_whole).then(|| Instant::now() + RETRY_AFTER),
            };
            (file, seen, loaded)
        });
        self.files.insert(task.id(), (path, true));
    }

    fn ended(&mut self, one: Result<(Id, One), JoinError>) -> Option<One> {
        let id = one.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        if let Some((path, _)) = self.files.remove(&id) {
            lock(&self.begun).remove(&path);
        }
        match one {
            Ok((_, one)) => Some(one),
            // Its file is not noted as seen, so it is tried again.
            Err(error) => {
                tracing::error!("loading a tenant failed: {error}");
                None
            }
        }
    }

    fn fresh(&self) -> usize {
        self.files.values().filter(|(_, fresh)| *fresh).count()
    }

    /// Waits no longer for those that are under way.
    fn leave(&mut self) {
        for (path, fresh) in self.files.values_mut().filter(|(_, fresh)| *fresh) {
            tracing::warn!(tenant = tenant_name(path), "takes long to load; the others do not wait");
            *fresh = false;
        }
    }

    /// Whether none is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The tenants of those under way.
    pub(super) fn tenants(&self) -> BTreeSet<String> {
        let paths = self.files.values().map(|(path, _)| path);
        paths.map(|path| tenant_name(path).to_owned()).collect()
    }

    /// Those under way as far as they are loaded: without their connectors. Each is given out once.
    pub(super) fn begun(&self) -> Vec<LiveTenant> {
        lock(&self.begun).drain().map(|(_, tenant)| tenant).collect()
    }
}

fn lock(begun: &Mutex<HashMap<PathBuf, LiveTenant>>) -> MutexGuard<'_, HashMap<PathBuf, LiveTenant>> {
    begun.lock().unwrap_or_else(PoisonError::into_inner)
}
