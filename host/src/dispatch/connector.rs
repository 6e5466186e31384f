//! Connectors: a plugin bound to a tenant, ready to run.

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::accepted::check_needs;
use super::history::{History, Ran};
use super::plugins::{Plugins, Wanted};
use super::registry_plugins::RegistryPlugins;
use super::stop::Stop;
use crate::capability::{Binding, Call, CallLimits, Grant, KeyKind, KeyMaterial, Network, TokenCell, Verb};
use crate::clock::SharedClock;
use crate::evidence::PluginIdentity;
use crate::sandbox::{Failure, Plugin, Sandbox};
use crate::tenant::{
    ConfigError, ConnectorConfig, Location, Mode, PluginSource, Policy, SigningKey, Tenant, did_you_mean,
    signature_file,
};
use crate::text::excerpt;

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
        // Nobody closes it; without a turn it is loaded all the same.
        let _turn = turn.acquire().await.ok();
        let (path, signed) = match &config.plugin {
            PluginSource::File(path) => (path.clone(), signature_file(path)),
            PluginSource::Registry(plugin) => {
                let fetched = self.registries.fetch(&self.sandbox, plugin).await;
                let kept = fetched.map_err(|text| config.at("plugin").error(text))?;
                (kept.component, kept.signatures)
            }
        };
        let wanted = Wanted {
            path: &path,
            signed: &signed,
            digest,
            signatures: &tenant.signatures,
            ran_it: ran.iter().any(|ran| Some(ran.digest.as_str()) == digest),
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

/// A plugin bound to a tenant.
#[derive(Debug)]
pub struct Connector {
    /// Tenant name.
    pub tenant: String,
    /// Connector name.
    pub name: String,
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// What it may do.
    pub grant: Arc<Grant>,
    /// Whether it acts or only plans.
    pub mode: Mode,
    /// Whether it closes all open accounts of a person, or holds when there are several.
    pub close_all: bool,
    /// The tenant's policy.
    pub policy: Policy,
    /// Whether it is written down already that it runs this plugin.
    is_noted: bool,
    /// Its token.
    pub(super) tokens: Arc<TokenCell<Stop>>,
    /// What the token hangs on: digests of plugin, settings, endpoints and keys.
    token_key: [u8; 32],
}

impl Connector {
    /// Which code runs.
    #[must_use]
    pub fn identity(&self) -> PluginIdentity {
        identity(&self.plugin)
    }

    /// Goes on with the token of the connector that this one replaces, if nothing that a token hangs on has changed.
    /// Otherwise the old token is never sent again, and kept only to be blanked in what the target sends.
    pub fn inherit(&mut self, old: &Self) {
        self.tokens = match self.token_key == old.token_key {
            true => Arc::clone(&old.tokens),
            false => Arc::new(TokenCell::after(&old.tokens)),
        };
    }

    /// What a plugin's failure means for a job of this connector.
    pub(super) fn stop(&self, failure: Failure) -> Stop {
        Stop::from_failure(failure, self.grant.clock().now(), (&self.tenant, &self.name))
    }

    /// A verb call with this connector's grant.
    pub(super) fn call(&self, verb: Verb, account: Option<&str>) -> Call {
        Call::new(Arc::clone(&self.grant), verb, account.map(str::to_owned))
    }
}

/// Which code a plugin is.
pub(super) fn identity(plugin: &Plugin) -> PluginIdentity {
    PluginIdentity {
        name: plugin.descriptor.name.clone(),
        version: plugin.descriptor.version.clone(),
        digest: plugin.digest.clone(),
    }
}

/// Most problems with a connector's settings that are told: 20. A schema of 64 KiB can find thousands in one setting.
const MAX_SETTING_PROBLEMS: usize = 20;

/// Most characters of a schema's own words in a problem: 300.
const MAX_SCHEMA_WORDS: usize = 300;

fn check_settings(plugin: &Plugin, config: &ConnectorConfig) -> Result<(), ConfigError> {
    let schema = plugin.descriptor.settings_validator().map_err(|error| {
        config
            .at("plugin")
            .error(format!("the plugin's settings schema cannot be used: it {error}"))
    })?;
    let errors = schema
        .iter_errors(&config.settings)
        .take(MAX_SETTING_PROBLEMS)
        .map(|error| {
            let pointer = error.instance_path().to_string();
            let schema = &plugin.descriptor.settings_schema;
            let described = match error.kind() {
                ValidationErrorKind::AdditionalProperties { unexpected } => {
                    meant_settings(schema, &pointer, unexpected)
                }
                _ => describe_setting(schema, &pointer),
            };
            // Without the value: it may be a key that was put into the wrong line.
            config
                .settings_at(&pointer)
                .error(excerpt(&error.masked().to_string(), MAX_SCHEMA_WORDS) + &described)
        });
    ConfigError::collect(errors)
}

/// Which settings were meant by those that the schema does not know.
fn meant_settings(schema: &Value, pointer: &str, unexpected: &[String]) -> String {
    let path = format!("{}/properties", path_of_setting(pointer));
    let known = schema.pointer(&path).and_then(Value::as_object);
    let known = || known.into_iter().flat_map(|known| known.keys().map(String::as_str));
    let meant = unexpected
        .iter()
        .take(MAX_SETTING_PROBLEMS)
        .map(|word| format!("; {}", excerpt(&did_you_mean(word, known()), MAX_SCHEMA_WORDS)));
    meant.collect()
}

fn path_of_setting(pointer: &str) -> String {
    let parts = pointer.split('/').skip(1);
    parts.map(|part| format!("/properties/{part}")).collect()
}

/// What the schema says the setting is for, where it says so.
fn describe_setting(schema: &Value, pointer: &str) -> String {
    let path = path_of_setting(pointer);
    match schema.pointer(&format!("{path}/description")).and_then(Value::as_str) {
        Some(text) if !pointer.is_empty() => format!("; it is: {}", excerpt(text, MAX_SCHEMA_WORDS)),
        _ => String::new(),
    }
}

fn resolve_keys(plugin: &Plugin, config: &ConnectorConfig) -> Result<BTreeMap<String, Vec<KeyMaterial>>, ConfigError> {
    let mut keys: BTreeMap<String, Vec<KeyMaterial>> = BTreeMap::new();
    let mut errors = Vec::new();
    let references = config
        .keys
        .iter()
        .flat_map(|(name, list)| list.iter().map(move |one| (name, one)));
    for (name, reference) in references {
        let place: &Location = reference.location();
        let declared = plugin.descriptor.keys.iter().find(|key| key.name == *name);
        let material = reference
            .resolve()
            .and_then(|secret| match declared.map(|key| &key.kind) {
                Some(KeyKind::SigningKey { .. }) => SigningKey::from_pem(&secret, place).map(KeyMaterial::Signing),
                _ => Ok(KeyMaterial::Secret(secret)),
            });
        match material {
            Ok(material) => keys.entry(name.clone()).or_default().push(material),
            Err(error) => errors.push(error),
        }
    }
    ConfigError::collect(errors)?;
    Ok(keys)
}

fn token_key(plugin: &Plugin, config: &ConnectorConfig, keys: &BTreeMap<String, Vec<KeyMaterial>>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(plugin.digest.as_bytes());
    add(config.settings.to_string().as_bytes());
    for (name, base) in &config.endpoints {
        add(name.as_bytes());
        add(base.as_str().as_bytes());
    }
    for (name, material) in keys
        .iter()
        .flat_map(|(name, list)| list.iter().map(move |one| (name, one)))
    {
        add(name.as_bytes());
        match material {
            KeyMaterial::Signing(key) => add(&key.digest()),
            KeyMaterial::Secret(secret) => add(&Sha256::digest(secret.expose_secret().as_bytes())),
        }
    }
    hash.finalize().into()
}

fn all(errors: impl Iterator<Item = ConfigError>) -> ConfigError {
    let mut errors = errors;
    let mut first = errors
        .next()
        .unwrap_or_else(|| Location::file_only(std::path::Path::new("")).error("unknown problem"));
    errors.for_each(|error| first.merge(error));
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_settings_that_nobody_knows_some_are_told_with_a_bounded_list() {
        let names: Vec<String> = (0..2000).map(|number| format!("setting-{number:04}")).collect();
        let properties: serde_json::Map<String, Value> =
            names.iter().map(|name| (name.clone(), Value::Bool(true))).collect();
        let schema = serde_json::json!({ "properties": properties });
        let unknown = vec!["quite-different".to_owned(); 5000];
        let said = meant_settings(&schema, "", &unknown);
        assert_eq!(said.matches("; known: setting-0000, ").count(), MAX_SETTING_PROBLEMS);
        assert!(said.chars().count() <= MAX_SETTING_PROBLEMS * (MAX_SCHEMA_WORDS + 3));
    }
}
