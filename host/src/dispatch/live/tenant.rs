//! One tenant as it is live: its sources open, its connectors bound.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::connector::Connector;
use super::runtime::Runtime;
use super::stamp::{Seen, look};
use crate::intake::http::OpenSource;
use crate::tenant::{ConfigError, HostConfig, PluginSource, Tenant, signature_file};

/// What is known of a connector at the moment.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// It can run.
    Ready(Arc<Connector>),
    /// It cannot, and this is what an operator has to change.
    Unready(String),
    /// This host does not know it; another one may.
    Absent(String),
}

/// A tenant that is loaded.
#[derive(Debug, Clone)]
pub struct LiveTenant {
    /// What its file says.
    pub tenant: Tenant,
    /// Its sources that are ready to judge events.
    pub sources: BTreeMap<String, Arc<OpenSource>>,
    /// Its sources that are not, and what an operator has to change.
    pub(super) unready: BTreeMap<String, String>,
    pub(super) connectors: BTreeMap<String, Lookup>,
    /// Its file is gone: nothing new is taken.
    pub(super) draining: bool,
}

impl LiveTenant {
    /// The same without sources: its jobs go on, and no event is taken.
    pub(super) fn drained(&self) -> Self {
        Self {
            sources: BTreeMap::new(),
            unready: BTreeMap::new(),
            draining: true,
            ..self.clone()
        }
    }

    /// The same with connectors that do not run, since what they were granted was taken back.
    pub(super) fn withheld(&self, reason: &str) -> Self {
        let withhold = |lookup: &Lookup| match lookup {
            Lookup::Ready(_) => Lookup::Unready(reason.to_owned()),
            other => other.clone(),
        };
        let connectors = self.connectors.iter();
        let connectors = connectors.map(|(name, lookup)| (name.clone(), withhold(lookup)));
        Self {
            connectors: connectors.collect(),
            ..self.clone()
        }
    }

    /// Whether any connector can run.
    pub(super) fn is_running(&self) -> bool {
        let mut connectors = self.connectors.values();
        connectors.any(|lookup| matches!(lookup, Lookup::Ready(_)))
    }

    /// Whether a connector can run.
    pub(super) fn is_ready(&self, connector: &str) -> bool {
        matches!(self.connectors.get(connector), Some(Lookup::Ready(_)))
    }

    /// Whether something of it does not run.
    pub(super) fn is_partial(&self) -> bool {
        self.problems().next().is_some()
    }

    /// Digests of the plugins that it runs, and of the manifests by which it names some.
    pub(super) fn digests(&self) -> impl Iterator<Item = String> {
        let plugins = self.connectors.values().filter_map(|lookup| match lookup {
            Lookup::Ready(connector) => Some(connector.plugin.digest.clone()),
            Lookup::Unready(_) | Lookup::Absent(_) => None,
        });
        let manifests = self.tenant.connectors.values();
        let manifests = manifests.filter_map(|config| match &config.plugin {
            PluginSource::Registry(plugin) => Some(plugin.digest.clone()),
            PluginSource::File(_) => None,
        });
        plugins.chain(manifests)
    }

    /// What of it does not run: the connector where it is one, and what an operator has to change.
    pub(super) fn problems(&self) -> impl Iterator<Item = (Option<&str>, String)> {
        let sources = self.unready.iter();
        let sources = sources.map(|(source, problem)| {
            let problem = format!("the source `{source}` takes no events: {problem}");
            (None, problem)
        });
        let connectors = self.connectors.iter().filter_map(|(name, lookup)| match lookup {
            Lookup::Unready(reason) => Some((Some(name.as_str()), reason.clone())),
            Lookup::Ready(_) | Lookup::Absent(_) => None,
        });
        sources.chain(connectors)
    }
}

/// What came of a tenant file.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The plugins that it names, as they looked before they were read.
    pub(super) plugins: Vec<(PathBuf, Option<Seen>)>,
    pub(super) tenant: Result<LiveTenant, ConfigError>,
}

/// Loads a tenant.
///
/// A reload fails as a whole, and the old tenant goes on, if a source or connector that was ready is not ready any more.
/// One that is new, or was not ready before, may be unready while the others work. A tenant that drains takes no
/// events, so it comes back like a new one: going on as it is would refuse what is never sent again.
///
/// `begun` is given what is new, before its connectors are loaded, which may take long.
pub(super) async fn load(
    runtime: &Runtime,
    file: &Path,
    host: &HostConfig,
    old: Option<&LiveTenant>,
    begun: impl FnOnce(LiveTenant),
) -> Loaded {
    let tenant = match Tenant::load(file, host) {
        Ok(tenant) => tenant,
        Err(error) => {
            return Loaded {
                plugins: Vec::new(),
                tenant: Err(error),
            };
        }
    };
    let files = tenant.connectors.values().filter_map(|config| match &config.plugin {
        PluginSource::File(path) => Some(path.clone()),
        // Named by its digest: there is nothing to look at.
        PluginSource::Registry(_) => None,
    });
    let mut plugins: Vec<_> = files.collect();
    if !tenant.signatures.is_empty() {
        let signatures = plugins.iter().map(|path| signature_file(path)).collect::<Vec<_>>();
        plugins.extend(signatures);
    }
    plugins.sort();
    plugins.dedup();
    let plugins = plugins.into_iter().map(|path| (path.clone(), look(&path))).collect();
    let tenant = open(runtime, tenant, old, begun).await;
    Loaded { plugins, tenant }
}

async fn open(
    runtime: &Runtime,
    tenant: Tenant,
    old: Option<&LiveTenant>,
    begun: impl FnOnce(LiveTenant),
) -> Result<LiveTenant, ConfigError> {
    let standing = old.filter(|old| !old.draining);
    let (sources, unready) = open_sources(&tenant, standing)?;
    if standing.is_none() {
        begun(LiveTenant {
            tenant: tenant.clone(),
            sources: sources.clone(),
            unready: unready.clone(),
            connectors: BTreeMap::new(),
            draining: false,
        });
    }
    // Together, so that many that wait for a registry take as long as one.
    let turn = Semaphore::new(1);
    let loaded = join_all(
        tenant
            .connectors
            .values()
            .map(|config| runtime.connector_in_turn(&tenant, config, &turn)),
    )
    .await;
    let loaded = tenant.connectors.keys().zip(loaded).map(|(name, loaded)| {
        let before = old.and_then(|old| old.connectors.get(name));
        Ok((name.clone(), take_over(loaded, before, standing.is_some())?))
    });
    let connectors: BTreeMap<String, Lookup> = loaded.collect::<Result<_, ConfigError>>()?;
    // Nothing after this can refuse the tenant: what is written down does go live.
    for lookup in connectors.values() {
        if let Lookup::Ready(connector) = lookup {
            runtime.note(connector);
        }
    }
    Ok(LiveTenant {
        tenant,
        sources,
        unready,
        connectors,
        draining: false,
    })
}

/// Those that take events, and why the others do not yet. One that takes them and could not any more refuses the tenant.
fn open_sources(tenant: &Tenant, standing: Option<&LiveTenant>) -> Result<Sources, ConfigError> {
    let (mut sources, mut unready) = (BTreeMap::new(), BTreeMap::new());
    for (name, config) in &tenant.sources {
        match OpenSource::open(config) {
            Ok(source) => drop(sources.insert(name.clone(), Arc::new(source))),
            Err(error) if standing.is_some_and(|old| old.sources.contains_key(name)) => return Err(error),
            Err(error) => drop(unready.insert(name.clone(), error.to_string())),
        }
    }
    Ok((sources, unready))
}

type Sources = (BTreeMap<String, Arc<OpenSource>>, BTreeMap<String, String>);

/// What stands for a connector now. One that runs and could not any more refuses the tenant, where that stands.
fn take_over(
    loaded: Result<Connector, ConfigError>,
    before: Option<&Lookup>,
    stands: bool,
) -> Result<Lookup, ConfigError> {
    match (loaded, before) {
        (Ok(mut connector), before) => {
            if let Some(Lookup::Ready(before)) = before {
                connector.inherit(before);
            }
            Ok(Lookup::Ready(Arc::new(connector)))
        }
        (Err(error), Some(Lookup::Ready(_))) if stands => Err(error),
        (Err(error), _) => Ok(Lookup::Unready(error.to_string())),
    }
}
