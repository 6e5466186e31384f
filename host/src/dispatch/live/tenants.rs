//! Tenants that are live: loaded from their folder, loaded again when a file of theirs changes.
//!
//! A tenant is swapped as a whole, so a job or an event sees the old one or the new one. A file that cannot be loaded
//! changes nothing: the old tenant goes on and the mistake is reported. A tenant whose file is gone takes no events
//! and keeps its connectors until its jobs are done.
//!
//! Files are looked at every few seconds. Watching through the kernel lost: it misses files behind mounts and
//! secret stores that swap links, and the look costs a millisecond for a thousand tenants. What files look like is
//! noted before they are read, so that a change while they are read is seen the next time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::changes::{Changes, File, HostFile, NoFolder, changes, tenant_name};
use super::chores::Chores;
use super::loads::{Loads, One};
use super::lookup::{cancelling, still_loading};
use super::runtime::Runtime;
use super::tenant::LiveTenant;
use crate::journal::{Journal, Lane};
use crate::tenant::HostConfig;

/// How long a tenant's file must be away before it counts as removed: 10 seconds. Editors and `rsync` replace files by
/// taking them away for a moment.
const ABSENT_FOR: Duration = Duration::from_secs(10);

/// All tenants that are live.
#[derive(Debug)]
pub struct LiveTenants {
    runtime: Arc<Runtime>,
    config: Option<PathBuf>,
    /// The host's file as it was when the process started.
    started: Arc<HostConfig>,
    journal: Journal,
    pub(super) live: ArcSwap<Live>,
    loads: Mutex<Loads>,
    chores: Chores,
}

#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) host: Arc<HostConfig>,
    pub(super) host_file: HostFile,
    pub(super) tenants: BTreeMap<String, Arc<LiveTenant>>,
    pub(super) files: BTreeMap<PathBuf, File>,
    /// Mistakes by tenant.
    pub(super) problems: BTreeMap<String, String>,
    /// Tenants whose file is being loaded for long, or waits for its turn.
    pub(super) loading: BTreeSet<String>,
    /// Since when files of tenants are away.
    absent: BTreeMap<String, Instant>,
    /// What is wrong with all tenants at once.
    folder_problem: Option<String>,
}

impl LiveTenants {
    /// No tenants; [`LiveTenants::refresh`] loads them.
    #[must_use]
    pub fn new(runtime: Arc<Runtime>, host: HostConfig, journal: Journal) -> Self {
        let host = Arc::new(host);
        Self {
            runtime,
            config: host.file.clone(),
            started: Arc::clone(&host),
            journal,
            live: ArcSwap::from_pointee(Live {
                host,
                host_file: HostFile::default(),
                tenants: BTreeMap::new(),
                files: BTreeMap::new(),
                problems: BTreeMap::new(),
                loading: BTreeSet::new(),
                absent: BTreeMap::new(),
                folder_problem: None,
            }),
            loads: Mutex::default(),
            chores: Chores::new(),
        }
    }

    /// A tenant that takes events.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Option<Arc<LiveTenant>> {
        let live = self.live.load();
        live.tenants.get(name).filter(|live| !live.draining).cloned()
    }

    /// How many tenants take events.
    #[must_use]
    pub fn count(&self) -> usize {
        self.live.load().tenants.values().filter(|live| !live.draining).count()
    }

    /// What does not run as its files say: (tenant, connector where it is one, mistake).
    #[must_use]
    pub fn problems(&self) -> Vec<(Option<String>, Option<String>, String)> {
        let live = self.live.load();
        let restart = self.restart_for(&live.host);
        let of_host = [&live.host_file.problem, &live.folder_problem, &restart];
        let of_host = of_host
            .into_iter()
            .flatten()
            .map(|problem| (None, None, problem.clone()));
        let of_files = live.problems.iter();
        let of_files = of_files.map(|(tenant, problem)| (Some(tenant.clone()), None, problem.clone()));
        let loading = live.loading.iter().map(|tenant| {
            let problem = format!("{}; what ran before goes on", still_loading(&live.host, tenant));
            (Some(tenant.clone()), None, problem)
        });
        let of_parts = live.tenants.iter().flat_map(|(name, live)| {
            let problems = live.problems();
            problems.map(|(connector, problem)| (Some(name.clone()), connector.map(str::to_owned), problem))
        });
        of_host.chain(of_files).chain(loading).chain(of_parts).collect()
    }

    /// [`LiveTenants::look`] and [`LiveTenants::settle`], once.
    ///
    /// # Errors
    ///
    /// As [`LiveTenants::look`].
    pub async fn refresh(&self) -> anyhow::Result<()> {
        self.look().await?;
        self.settle().await;
        Ok(())
    }

    /// Looks at the files and loads what has changed. One caller at a time. What takes long to load is not waited for, and
    /// taken by a later look. The journal is not asked: what a file takes back counts, whatever the database does.
    ///
    /// # Errors
    ///
    /// The folder of tenants cannot be read; nothing has changed then but what the host's file takes back.
    pub async fn look(&self) -> anyhow::Result<()> {
        let mut loads = self.loads.lock().await;
        let before = self.live.load_full();
        let now = Instant::now();
        let found = match self.changes(&before, now).await? {
            Ok(found) => found,
            Err(without) => return Err(self.go_on_without(&before, *without)),
        };
        if is_quiet(&before, &found) && loads.is_empty() {
            return Ok(());
        }
        let mut next = Live::clone(&before);
        (next.host, next.host_file) = (Arc::clone(&found.host), found.host_file);
        let restart = self.restart_for(&next.host);
        if restart != self.restart_for(&before.host)
            && let Some(restart) = restart
        {
            tracing::warn!("{restart}");
        }
        next.folder_problem = None;
        next.files.retain(|file, _| found.files.binary_search(file).is_ok());
        let old = |tenant: &str| before.tenants.get(tenant).cloned();
        let loaded = loads.run(&self.runtime, &found.host, found.changed, old).await;
        self.take(&mut next, loaded);
        // Those under way, and those whose turn has not come.
        let waiting = found.files.iter().filter(|file| !next.files.contains_key(*file));
        next.loading = waiting.map(|file| tenant_name(file).to_owned()).collect();
        next.loading.append(&mut loads.tenants());
        for begun in loads.begun() {
            let name = begun.tenant.name.clone();
            if next.tenants.get(&name).is_none_or(|live| live.draining) {
                next.tenants.insert(name, Arc::new(begun));
            }
        }
        self.drain(&mut next, &found.files, now);
        withhold(&mut next);
        next.problems.retain(|tenant, _| {
            let file = next.host.server.tenant_file(tenant);
            found.files.binary_search(&file).is_ok()
        });
        self.live.store(Arc::new(next));
        // Before it is asked which plugins are used; not while some are still fetched or compiled.
        drop(before);
        if loads.is_empty() {
            self.runtime.prune();
        } else {
            self.runtime.forget_failures();
        }
        Ok(())
    }

    /// Does what the files ask of the journal: lanes that may run again, caps, and tenants whose jobs are done.
    pub async fn settle(&self) {
        self.chores.run(&self.journal, |lane| self.is_ready(lane)).await;
        let draining: Vec<(String, Arc<LiveTenant>)> = {
            let live = self.live.load();
            let draining = live.tenants.iter().filter(|(_, live)| live.draining);
            draining.map(|(name, live)| (name.clone(), Arc::clone(live))).collect()
        };
        for (name, live) in draining {
            if self.is_done(&name).await {
                self.forget(&name, &live).await;
            }
        }
    }

    /// Forgets a tenant whose jobs are done, unless its file has come back meanwhile.
    async fn forget(&self, name: &str, done: &Arc<LiveTenant>) {
        let _one_at_a_time = self.loads.lock().await;
        let mut next = Live::clone(&self.live.load_full());
        if next.tenants.get(name).is_some_and(|live| Arc::ptr_eq(live, done)) {
            tracing::info!(tenant = name, "its file is gone and its jobs are done");
            next.tenants.remove(name);
            next.absent.remove(name);
            self.live.store(Arc::new(next));
        }
    }

    /// Deletes plugins that nobody uses, where they are too many.
    pub async fn sweep(&self) {
        let (runtime, live) = (Arc::clone(&self.runtime), self.live.load_full());
        if let Err(error) = tokio::task::spawn_blocking(move || runtime.sweep(&live.tenants)).await {
            tracing::error!("looking for plugins that nobody uses failed: {error}");
        }
    }

    /// What is read at the start only and has changed since.
    fn restart_for(&self, host: &HostConfig) -> Option<String> {
        let changed = host.server.needs_restart(&self.started.server);
        (!changed.is_empty()).then(|| {
            format!(
                "{} of exeunt.toml is read at the start only and has changed since; restart the host",
                changed.join(", ")
            )
        })
    }

    /// Looks at all files, on a thread where that may take long.
    async fn changes(&self, before: &Arc<Live>, now: Instant) -> anyhow::Result<Result<Changes, Box<NoFolder>>> {
        let (before, config) = (Arc::clone(before), self.config.clone());
        let found = tokio::task::spawn_blocking(move || changes(&before, config.as_deref(), now));
        found.await.context("looking at the files failed")
    }

    /// Puts in place what was loaded.
    fn take(&self, next: &mut Live, loaded: Vec<One>) {
        for (path, file, loaded) in loaded {
            let name = tenant_name(&path).to_owned();
            let same = |known: &File| known.stamp == file.stamp && known.plugins == file.plugins;
            let is_retry = next.files.get(&path).is_some_and(same);
            next.files.insert(path, file);
            match loaded.tenant {
                Ok(live) => {
                    // What is tried again after it could not be loaded is as new as its file.
                    let could_not_be = next.problems.remove(&name).is_some();
                    let is_retry = is_retry && !could_not_be;
                    next.absent.remove(&name);
                    let old = next.tenants.get(&name).filter(|_| is_retry);
                    let mended = live.connectors.keys().filter(|connector| {
                        let was_ready = old.is_some_and(|old| old.is_ready(connector));
                        live.is_ready(connector) && !was_ready
                    });
                    self.chores.unpark(&name, mended);
                    self.chores.set_caps(&live.tenant);
                    if !is_retry {
                        tracing::info!(tenant = name, "loaded");
                    }
                    // Said once, not at each try.
                    let said: Vec<_> = old.iter().flat_map(|old| old.problems()).collect();
                    for (connector, problem) in live.problems().filter(|problem| !said.contains(problem)) {
                        tracing::error!(tenant = name, connector, "{problem}");
                    }
                    next.tenants.insert(name, Arc::new(live));
                }
                Err(error) => {
                    let problem = error.to_string();
                    // Said once, not at each try.
                    if next.problems.get(&name) != Some(&problem) {
                        tracing::error!("{problem}");
                    }
                    next.problems.insert(name, problem);
                }
            }
        }
    }

    /// Tenants without a file take no events, until they are forgotten.
    fn drain(&self, next: &mut Live, files: &[PathBuf], now: Instant) {
        let (gone, all) = gone(next, files);
        next.absent.retain(|name, _| gone.binary_search(name).is_ok());
        // A folder that lost all of its files at once is a mount that failed more often than a host without customers.
        if all {
            let problem = format!(
                "{} holds none of the tenants that are live; they go on. Put their files back; to be without tenants, \
                 restart",
                next.host.server.tenant_files.display()
            );
            if self.live.load().folder_problem.as_ref() != Some(&problem) {
                tracing::error!("{problem}");
            }
            next.folder_problem = Some(problem);
            next.absent.clear();
        }
        for name in gone {
            let Some(live) = next.tenants.get(&name).cloned() else {
                continue;
            };
            if !live.draining && next.folder_problem.is_none() {
                let since = *next.absent.entry(name.clone()).or_insert(now);
                if now.duration_since(since) >= ABSENT_FOR {
                    tracing::warn!(tenant = name, "its file is gone; it takes no events, its jobs go on");
                    next.tenants.insert(name, Arc::new(live.drained()));
                }
            }
        }
    }

    async fn is_done(&self, tenant: &str) -> bool {
        match self.journal.lanes(Some(tenant)).await {
            Ok(lanes) => lanes.iter().all(|lane| lane.queued + lane.running + lane.held == 0),
            Err(_) => false,
        }
    }

    /// Lets all tenants go on while their folder cannot be read, but for what the host's file has taken back.
    fn go_on_without(&self, before: &Live, without: NoFolder) -> anyhow::Error {
        let NoFolder { error, host, host_file } = without;
        let problem = Some(format!("{error:#}"));
        if before.folder_problem != problem || before.host_file.tried != host_file.tried {
            let mut next = Live {
                host,
                host_file,
                folder_problem: problem,
                ..Live::clone(before)
            };
            withhold(&mut next);
            self.live.store(Arc::new(next));
        }
        error
    }

    /// Whether a lane's connector can run here.
    fn is_ready(&self, lane: &Lane) -> bool {
        self.tenant(lane.tenant())
            .is_some_and(|live| live.is_ready(lane.connector()))
    }
}

/// Stops the connectors of tenants that go on as they were loaded before, where the host's file no longer grants what they
/// use: what the host takes back must not stay in force because a tenant's file has a mistake, is gone, or takes long to
/// load.
fn withhold(next: &mut Live) {
    let host = Arc::clone(&next.host);
    for (name, live) in &mut next.tenants {
        // One of which nothing runs stays what it is: whoever is about to forget it knows it by that.
        if host.grants(name).cover(&live.tenant.grants) || !live.is_running() {
            continue;
        }
        let reason = format!(
            "exeunt.toml no longer grants all that [tenants.{name}] had, and {} was not loaded since; mend or restore that \
             file, or cancel its jobs: {}",
            host.server.tenant_file(name).display(),
            cancelling(name, None)
        );
        *live = Arc::new(live.withheld(&reason));
    }
}

/// Whether everything is as it was, which it nearly always is.
fn is_quiet(before: &Live, found: &Changes) -> bool {
    let is_settled = before.absent.is_empty() && before.folder_problem.is_none();
    let is_host_same = before.host_file.tried == found.host_file.tried;
    let are_files_same = found.changed.is_empty() && before.files.len() == found.files.len();
    is_settled && is_host_same && are_files_same && gone(before, &found.files).0.is_empty()
}

/// Tenants without a file, sorted, and whether none of those that take events has one.
fn gone(live: &Live, files: &[PathBuf]) -> (Vec<String>, bool) {
    // Where it would be now: the folder may be another one than it was loaded from.
    let is_gone = |name: &str| files.binary_search(&live.host.server.tenant_file(name)).is_err();
    let gone = live.tenants.keys().filter(|name| is_gone(name)).cloned().collect();
    let mut taking = live.tenants.iter().filter(|(_, tenant)| !tenant.draining).peekable();
    let all = taking.peek().is_some() && taking.all(|(name, _)| is_gone(name));
    (gone, all)
}

#[cfg(test)]
#[path = "tenants_tests.rs"]
mod tests;
