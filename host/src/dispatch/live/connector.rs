//! Connectors: a plugin bound to a tenant, ready to run.

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::capability::{Call, Grant, KeyKind, KeyMaterial, TokenCell, Verb};
use crate::dispatch::Stop;
use crate::evidence::PluginIdentity;
use crate::sandbox::{Failure, Plugin};
use crate::tenant::{ConfigError, ConnectorConfig, Location, Mode, Policy, SigningKey, did_you_mean};
use crate::text::excerpt;

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
    pub(super) is_noted: bool,
    /// Its token.
    pub(in crate::dispatch) tokens: Arc<TokenCell<Stop>>,
    /// What the token hangs on: digests of plugin, settings, endpoints and keys.
    pub(super) token_key: [u8; 32],
}

impl Connector {
    /// Which code runs.
    #[must_use]
    pub fn identity(&self) -> PluginIdentity {
        PluginIdentity {
            name: self.plugin.descriptor.name.clone(),
            version: self.plugin.descriptor.version.clone(),
            digest: self.plugin.digest.clone(),
        }
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
    pub(in crate::dispatch) fn stop(&self, failure: Failure) -> Stop {
        Stop::from_failure(failure, self.grant.clock().now(), (&self.tenant, &self.name))
    }

    /// A verb call with this connector's grant.
    pub(in crate::dispatch) fn call(&self, verb: Verb, account: Option<&str>) -> Call {
        Call::new(Arc::clone(&self.grant), verb, account.map(str::to_owned))
    }
}

/// Most problems with a connector's settings that are told: 20. A schema of 64 KiB can find thousands in one setting.
const MAX_SETTING_PROBLEMS: usize = 20;

/// Most characters of a schema's own words in a problem: 300.
const MAX_SCHEMA_WORDS: usize = 300;

pub(super) fn check_settings(plugin: &Plugin, config: &ConnectorConfig) -> Result<(), ConfigError> {
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

pub(super) fn resolve_keys(
    plugin: &Plugin,
    config: &ConnectorConfig,
) -> Result<BTreeMap<String, Vec<KeyMaterial>>, ConfigError> {
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

pub(super) fn token_key(
    plugin: &Plugin,
    config: &ConnectorConfig,
    keys: &BTreeMap<String, Vec<KeyMaterial>>,
) -> [u8; 32] {
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
