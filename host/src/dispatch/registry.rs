//! Tenants that are live: loaded from their folder, loaded again when a file of theirs changes.
//!
//! A tenant is swapped as a whole, so a job or an event sees the old one or the new one. A file that cannot be loaded
//! changes nothing: the old tenant goes on and the mistake is reported. A tenant whose file is gone takes no events
//! and keeps its connectors until its jobs are done.
//!
//! Files are looked at every few seconds. Watching through the kernel lost: it misses files behind mounts and
//! secret stores that swap links, and the look costs a millisecond for a thousand tenants.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::task::JoinSet;

use super::connector::Runtime;
use super::service::{Connectors, Lookup};
use crate::intake::http::{Directory, OpenSource};
use crate::journal::{Journal, Lane};
use crate::tenant::{ConfigError, DEFAULT_MAX_AGE, HostConfig, Tenant};

/// Tenants loaded at a time. Loading is mostly checking keys, which is work for a processor.
const LOADS_AT_ONCE: usize = 8;

/// A tenant that is loaded.
#[derive(Debug)]
pub struct LiveTenant {
    /// What its file says.
    pub tenant: Tenant,
    /// Its sources, ready to judge events.
    pub sources: BTreeMap<String, Arc<OpenSource>>,
    connectors: BTreeMap<String, Lookup>,
    /// Its file is gone: nothing new is taken.
    draining: bool,
}

/// All tenants that are live.
#[derive(Debug)]
pub struct Registry {
    runtime: Arc<Runtime>,
    config: Option<PathBuf>,
    root: PathBuf,
    journal: Journal,
    live: ArcSwap<Live>,
}

#[derive(Debug, Default)]
struct Live {
    tenants: BTreeMap<String, Arc<LiveTenant>>,
    /// What each file looked like when it was last loaded, well or not.
    stamps: BTreeMap<PathBuf, Stamp>,
    /// Mistakes by file.
    problems: BTreeMap<PathBuf, String>,
}

/// What files look like from outside. Any difference means: load again.
type Stamp = Vec<(PathBuf, Option<SystemTime>, u64)>;

impl Registry {
    /// A registry without tenants; [`Registry::refresh`] loads them.
    #[must_use]
    pub fn new(runtime: Arc<Runtime>, host: &HostConfig, journal: Journal) -> Self {
        Self {
            runtime,
            config: host.file.clone(),
            root: host.root.clone(),
            journal,
            live: ArcSwap::default(),
        }
    }

    /// A tenant that takes events.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Option<Arc<LiveTenant>> {
        self.live
            .load()
            .tenants
            .get(name)
            .filter(|live| !live.draining)
            .cloned()
    }

    /// Names of the tenants that take events.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let live = self.live.load();
        live.tenants
            .iter()
            .filter(|(_, live)| !live.draining)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// What does not run as its files say: (file, tenant, connector where it is one, mistake).
    #[must_use]
    pub fn problems(&self) -> Vec<(Option<String>, Option<String>, String)> {
        let live = self.live.load();
        let of_files = live.problems.iter().map(|(file, problem)| {
            (
                file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned),
                None,
                problem.clone(),
            )
        });
        let of_connectors = live.tenants.iter().flat_map(|(name, live)| {
            live.connectors
                .iter()
                .filter_map(move |(connector, lookup)| match lookup {
                    Lookup::Unready(reason) => Some((Some(name.clone()), Some(connector.clone()), reason.clone())),
                    Lookup::Ready(_) | Lookup::Absent(_) => None,
                })
        });
        of_files.chain(of_connectors).collect()
    }

    /// Looks at the files and loads what has changed. One caller at a time.
    ///
    /// # Errors
    ///
    /// The host's own file is wrong, or the folder of tenants cannot be read; nothing has changed then.
    pub async fn refresh(&self) -> anyhow::Result<()> {
        let host = match &self.config {
            Some(file) => HostConfig::load(file)?,
            None => HostConfig::default_for(&self.root),
        };
        let host = Arc::new(host);
        let before = self.live.load_full();
        let files = tenant_files(&host.server.tenant_files)?;
        let mut next = Live {
            stamps: BTreeMap::new(),
            problems: before.problems.clone(),
            tenants: before.tenants.clone(),
        };
        next.problems.retain(|file, _| files.contains(file));
        let mut changed = Vec::new();
        for file in &files {
            let known = before.stamps.get(file);
            let old = file
                .file_stem()
                .and_then(|stem| stem.to_str())
                .and_then(|name| before.tenants.get(name));
            let stamp = stamp(file, host.file.as_deref(), old.map(|live| &live.tenant));
            if known != Some(&stamp) || old.is_some_and(|live| live.draining) {
                changed.push(file.clone());
            }
            next.stamps.insert(file.clone(), stamp);
        }
        let loaded = self.load(changed, &host, &before).await;
        let mut lanes = Vec::new();
        for (file, result) in loaded {
            match result {
                Ok(live) => {
                    next.problems.remove(&file);
                    // Now that the plugins' paths are known, they count for the stamp too.
                    next.stamps
                        .insert(file.clone(), stamp(&file, host.file.as_deref(), Some(&live.tenant)));
                    lanes.extend(
                        live.connectors
                            .keys()
                            .map(|name| (live.tenant.name.clone(), name.clone())),
                    );
                    tracing::info!(tenant = live.tenant.name, "loaded");
                    next.tenants.insert(live.tenant.name.clone(), live);
                }
                Err(error) => {
                    tracing::error!("{error}");
                    next.problems.insert(file, error.to_string());
                }
            }
        }
        self.drain(&mut next, &files).await;
        self.live.store(Arc::new(next));
        self.unpark(lanes).await;
        Ok(())
    }

    async fn load(
        &self,
        files: Vec<PathBuf>,
        host: &Arc<HostConfig>,
        before: &Arc<Live>,
    ) -> Vec<(PathBuf, Result<Arc<LiveTenant>, ConfigError>)> {
        let mut loads = JoinSet::new();
        let mut loaded = Vec::with_capacity(files.len());
        let mut files = files.into_iter();
        loop {
            while loads.len() < LOADS_AT_ONCE
                && let Some(file) = files.next()
            {
                let (runtime, host, before) = (Arc::clone(&self.runtime), Arc::clone(host), Arc::clone(before));
                loads.spawn(async move {
                    let result = load_one(&runtime, &file, &host, &before).await;
                    (file, result.map(Arc::new))
                });
            }
            match loads.join_next().await {
                Some(Ok(one)) => loaded.push(one),
                Some(Err(error)) => tracing::error!("loading a tenant failed: {error}"),
                None => return loaded,
            }
        }
    }

    /// Tenants without a file take no events, and are forgotten when their jobs are done.
    async fn drain(&self, next: &mut Live, files: &[PathBuf]) {
        let gone = |live: &LiveTenant| !files.contains(&live.tenant.file);
        let gone: Vec<String> = next
            .tenants
            .iter()
            .filter(|(_, live)| gone(live))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            let is_done = match self.journal.lanes(Some(&name)).await {
                Ok(lanes) => lanes.iter().all(|lane| lane.queued + lane.running + lane.held == 0),
                Err(_) => false,
            };
            if is_done {
                tracing::info!(tenant = name, "its file is gone and its jobs are done");
                next.tenants.remove(&name);
            } else if let Some(live) = next.tenants.get_mut(&name)
                && !live.draining
            {
                tracing::warn!(tenant = name, "its file is gone; it takes no events, its jobs go on");
                *live = Arc::new(LiveTenant {
                    tenant: live.tenant.clone(),
                    sources: BTreeMap::new(),
                    connectors: live.connectors.clone(),
                    draining: true,
                });
            }
        }
    }

    /// Whatever was wrong may be mended now; if not, the lane parks itself again at its first job.
    async fn unpark(&self, lanes: Vec<(String, String)>) {
        for (tenant, connector) in lanes {
            let Ok(lane) = Lane::new(tenant, connector) else {
                continue;
            };
            match self.journal.unpark(&lane, "reload").await {
                Ok(true) => tracing::info!(%lane, "no longer parked: its configuration was loaded again"),
                Ok(false) => {}
                Err(error) => tracing::error!(%lane, "cannot be unparked: {error}"),
            }
        }
    }
}

impl Directory for Registry {
    fn source(&self, tenant: &str, source: &str) -> Option<Arc<OpenSource>> {
        self.tenant(tenant)?.sources.get(source).cloned()
    }

    fn connectors(&self, tenant: &str) -> Option<Arc<[String]>> {
        self.tenant(tenant)
            .map(|live| live.tenant.connectors.keys().cloned().collect())
    }
}

impl Connectors for Registry {
    fn connector(&self, tenant: &str, connector: &str) -> Lookup {
        let live = self.live.load();
        let Some(tenant_is) = live.tenants.get(tenant) else {
            return Lookup::Absent(format!(
                "there is no tenant `{tenant}`; put its file back, or cancel its jobs"
            ));
        };
        tenant_is.connectors.get(connector).cloned().unwrap_or_else(|| {
            Lookup::Absent(format!(
                "tenants/{tenant}.toml has no [connectors.{connector}]; add it, or cancel its jobs"
            ))
        })
    }

    fn max_age(&self, tenant: &str, source: &str) -> Duration {
        let live = self.live.load();
        let config = live
            .tenants
            .get(tenant)
            .and_then(|live| live.tenant.sources.get(source));
        config.map_or(DEFAULT_MAX_AGE, |source| source.max_age)
    }
}

async fn load_one(runtime: &Runtime, file: &Path, host: &HostConfig, before: &Live) -> Result<LiveTenant, ConfigError> {
    let tenant = Tenant::load(file, host)?;
    let old = before.tenants.get(&tenant.name);
    let mut sources = BTreeMap::new();
    for (name, config) in &tenant.sources {
        sources.insert(name.clone(), Arc::new(OpenSource::open(config)?));
    }
    let mut connectors = BTreeMap::new();
    for (name, config) in &tenant.connectors {
        let lookup = match runtime.connector(&tenant, config).await {
            Ok(mut connector) => {
                if let Some(Lookup::Ready(old)) = old.and_then(|old| old.connectors.get(name)) {
                    connector.inherit(old);
                }
                Lookup::Ready(Arc::new(connector))
            }
            // Where an older one runs, it goes on as a whole. At the start there is none: events are taken and wait.
            Err(error) if old.is_some() => return Err(error),
            Err(error) => Lookup::Unready(error.to_string()),
        };
        connectors.insert(name.clone(), lookup);
    }
    Ok(LiveTenant {
        tenant,
        sources,
        connectors,
        draining: false,
    })
}

fn tenant_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    use anyhow::Context;
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| {
        format!(
            "cannot read the folder of tenants {}; make it, or write `tenant_files`",
            folder.display()
        )
    })?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot read {}", folder.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn stamp(file: &Path, host: Option<&Path>, tenant: Option<&Tenant>) -> Stamp {
    let mut paths: Vec<PathBuf> = vec![file.to_owned()];
    paths.extend(host.map(Path::to_owned));
    if let Ok(secrets) = std::fs::read_dir(file.with_extension("")) {
        paths.extend(secrets.flatten().map(|entry| entry.path()));
    }
    if let Some(tenant) = tenant {
        paths.extend(tenant.connectors.values().map(|connector| connector.plugin.clone()));
    }
    paths.sort();
    let look = |path: PathBuf| {
        let seen = std::fs::metadata(&path).ok();
        let (modified, length) = (
            seen.as_ref().and_then(|seen| seen.modified().ok()),
            seen.map_or(0, |seen| seen.len()),
        );
        (path, modified, length)
    };
    paths.into_iter().map(look).collect()
}
