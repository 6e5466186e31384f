//! What all connectors share of the process, and how one is loaded with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::accepted::check_needs;
use super::connector::{Connector, check_settings, resolve_keys, token_key};
use super::history::{History, Ran};
use super::plugins::{Plugins, Wanted};
use super::registry_plugins::RegistryPlugins;
use super::tenant::LiveTenant;
use crate::capability::{Binding, CallLimits, Grant, Network};
use crate::clock::{SharedClock, system_time};
use crate::sandbox::{Plugin, Sandbox};
use crate::tenant::{ConfigError, ConnectorConfig, Location, PluginSource, Tenant, signature_file};

/// What every connector needs of the process.
#[derive(Debug)]
pub struct Runtime {
    sandbox: Sandbox,
    network: Arc<Network>,
    clock: SharedClock,
    limits: CallLimits,
    plugins: Plugins,
    registries: RegistryPlugins,
    /// What connectors have run, where the sandbox keeps anything.
    history: Option<History>,
}

impl Runtime {
    /// A runtime around a sandbox.
    #[must_use]
    pub fn new(sandbox: Sandbox, clock: SharedClock) -> Self {
        Self {
            history: sandbox.cache().map(|cache| History::beside(cache.folder())),
            sandbox,
            network: Arc::default(),
            clock,
            limits: CallLimits::default(),
            plugins: Plugins::default(),
            registries: RegistryPlugins::default(),
        }
    }

    /// The same with other budgets.
    #[must_use]
    pub fn with_limits(self, limits: CallLimits) -> Self {
        Self { limits, ..self }
    }

    /// The same on another network.
    #[must_use]
    pub fn with_network(self, network: Network) -> Self {
        Self {
            network: Arc::new(network),
            ..self
        }
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Loads a connector: its plugin, its settings against the plugin's schema, its keys, its grant.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its line in the tenant file.
    pub async fn connector(&self, tenant: &Tenant, config: &ConnectorConfig) -> Result<Connector, ConfigError> {
        self.connector_in_turn(tenant, config, &Semaphore::new(1)).await
    }

    /// As [`Runtime::connector`], beside others of the tenant: `turn` is for one of them to pull, read and compile its
    /// plugin, so that a tenant with many takes neither the compilers nor the memory from the rest.
    pub(super) async fn connector_in_turn(
        &self,
        tenant: &Tenant,
        config: &ConnectorConfig,
        turn: &Semaphore,
    ) -> Result<Connector, ConfigError> {
        let history = self.history.as_ref();
        let ran = history.map_or_else(Vec::new, |history| history.of(&tenant.name, &config.name));
        let plugin = self.plugin((tenant, turn), config, &ran).await?;
        check_needs(&plugin, config, &ran)?;
        check_settings(&plugin, config)?;
        let keys = resolve_keys(&plugin, config)?;
        let token_key = token_key(&plugin, config, &keys);
        let binding = Binding {
            tenant: tenant.name.clone(),
            connector: config.name.clone(),
            settings: config.settings.clone(),
            endpoints: config.endpoints.clone(),
            keys,
            reach: config.reach.clone(),
            max_assertion: config.max_assertion,
            network: Arc::clone(&tenant.grants),
        };
        let grant = Grant::new(
            &plugin.descriptor,
            binding,
            Arc::clone(&self.network),
            Arc::clone(&self.clock),
            self.limits.clone(),
        )
        .map_err(|problems| {
            all(problems
                .into_iter()
                .map(|problem| config.at(problem.field).error(problem.text)))
        })?;
        Ok(Connector {
            tenant: tenant.name.clone(),
            name: config.name.clone(),
            is_noted: ran.last().is_some_and(|last| last.digest == plugin.digest),
            plugin,
            grant: Arc::new(grant),
            mode: config.mode,
            close_all: config.close_all,
            policy: tenant.policy.clone(),
            tokens: Arc::default(),
            token_key,
        })
    }

    async fn plugin(
        &self,
        (tenant, turn): (&Tenant, &Semaphore),
        config: &ConnectorConfig,
        ran: &[Ran],
    ) -> Result<Arc<Plugin>, ConfigError> {
        let digest = config.digest.as_deref();
        let ran_it = ran.iter().any(|ran| Some(ran.digest.as_str()) == digest);
        // Nobody closes it; without a turn it is loaded all the same.
        let _turn = turn.acquire().await.ok();
        let (path, signed) = match &config.plugin {
            PluginSource::File(path) => (path.clone(), signature_file(path)),
            PluginSource::Registry(plugin) => {
                let kept = || self.sandbox.kept(digest.filter(|_| ran_it)?);
                match (self.registries.fetch(&self.sandbox, plugin).await, kept()) {
                    (Ok(fetched), _) => (fetched.component, fetched.signatures),
                    // Gone back to, and what the file names beside it cannot be had: that is not what is to run.
                    (Err(_), Some(path)) => (path.clone(), signature_file(&path)),
                    (Err(text), None) => return Err(config.at("plugin").error(text)),
                }
            }
        };
        let wanted = Wanted {
            path: &path,
            signed: &signed,
            digest,
            signatures: &tenant.signatures,
            ran_it,
        };
        let loaded = self.plugins.load(&self.sandbox, wanted).await;
        loaded.map_err(|problem| config.at(problem.field).error(problem.text))
    }

    /// Remembers what a connector runs from now on. Where that fails, the next upgrade is compared with what ran before.
    pub(super) fn note(&self, connector: &Connector) {
        let Some(history) = self.history.as_ref().filter(|_| !connector.is_noted) else {
            return;
        };
        let (tenant, name) = (&connector.tenant, &connector.name);
        let ran = Ran::new(&connector.plugin, self.clock.now());
        if let Err(error) = history.note(tenant, name, ran) {
            tracing::error!(
                tenant,
                connector = name,
                "cannot write down which plugin it runs: {error}"
            );
        }
    }

    /// Deletes what is kept of plugins that neither these tenants use nor others have run, where it is too much. Blocks.
    pub(super) fn sweep(&self, tenants: &BTreeMap<String, Arc<LiveTenant>>) {
        let Some(history) = &self.history else { return };
        let used = tenants.values().flat_map(|live| live.digests()).collect();
        let ran = || {
            let mut ran = history.all()?;
            // A connector that a live tenant does not have any more can have any name.
            ran.retain(|(tenant, connector, _)| {
                let live = tenants.get(tenant);
                live.is_none_or(|live| live.tenant.connectors.contains_key(connector))
            });
            let ran = ran.into_iter().flat_map(|(_, _, ran)| ran);
            Ok(ran.map(|ran| ran.digest).collect())
        };
        if let Err(error) = self.sandbox.sweep(used, ran, system_time(self.clock.now())) {
            tracing::warn!("what nobody uses in `cache` is not deleted yet: {error}");
        }
    }

    /// Forgets what could not be loaded, so that it is tried again, while other tenants are being loaded.
    pub(super) fn forget_failures(&self) {
        self.plugins.forget_failures();
        self.registries.forget_failures();
    }

    /// Forgets plugins that no connector uses any more.
    pub(super) fn prune(&self) {
        self.plugins.prune();
        self.registries.prune();
    }
}

fn all(errors: impl Iterator<Item = ConfigError>) -> ConfigError {
    let mut errors = errors;
    let mut first = errors
        .next()
        .unwrap_or_else(|| Location::file_only(std::path::Path::new("")).error("unknown problem"));
    errors.for_each(|error| first.merge(error));
    first
}
