//! `[connectors.NAME]`: a plugin, bound to this tenant.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Number, Value};
use toml::de::DeValue;

use super::digest::parse_digest;
use super::endpoint::BaseUrl;
use super::error::Location;
use super::grants::NetworkGrants;
use super::names::{did_you_mean, is_contract_name, quoted};
use super::places::join;
use super::plugin_source::{PluginSource, Registries};
use super::policy::read_duration;
use super::reader::{Item, Section, Table};
use super::secrets::{MAX_KEY_SECRETS, SecretRef, SecretScope};

/// One connector as its operator wrote it; nothing of it was compared with the plugin yet.
#[derive(Debug, Clone)]
pub struct ConnectorConfig {
    /// Its name.
    pub name: String,
    /// Where the plugin comes from.
    pub plugin: PluginSource,
    /// The digest that the plugin must have.
    pub digest: Option<String>,
    /// The digest of what the plugin may need, as accepted.
    pub accepts: Option<String>,
    /// Whether it may close.
    pub mode: Mode,
    /// The plugin's settings, a JSON object.
    pub settings: Value,
    /// The plugin's secrets, by the names in its descriptor: one each, or the new and the old one during a rotation.
    pub keys: BTreeMap<String, Vec<SecretRef>>,
    /// Base URLs, by the names in its descriptor.
    pub endpoints: BTreeMap<String, BaseUrl>,
    /// The lines of the descriptor's reach that are granted; all that are not optional where absent.
    pub reach: Option<Vec<String>>,
    /// Whether all of a person's open accounts are closed where there is more than one.
    pub close_all: bool,
    /// Longest life of an assertion, where it is not the usual one.
    pub max_assertion: Option<Duration>,
    /// Jobs that run at a time, over all hosts, where it is not the usual number: what the target bears.
    pub concurrency: Option<u32>,
    section: Section,
}

/// Whether a connector may close.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// It looks and says what it would close. The default: a new connector closes nobody by mistake.
    #[default]
    DryRun,
    /// It closes.
    Enforce,
}

/// What a connector's table is read against.
pub(crate) struct Surroundings<'a> {
    pub(crate) plugins: &'a Path,
    pub(crate) registries: &'a Registries,
    pub(crate) grants: &'a NetworkGrants,
    pub(crate) scope: &'a SecretScope,
}

impl ConnectorConfig {
    /// The place of a key of this connector, such as `settings` or `keys.signing`; the nearest table around it where
    /// the key is absent, the connector's own for the empty key.
    #[must_use]
    pub fn at(&self, key: &str) -> Location {
        self.section.at(key)
    }

    /// The place of the setting that a JSON pointer (RFC 6901) leads to.
    #[must_use]
    pub fn settings_at(&self, pointer: &str) -> Location {
        let parts = pointer
            .split('/')
            .skip(1)
            .map(|part| part.replace("~1", "/").replace("~0", "~"));
        self.section
            .at(&parts.fold("settings".to_owned(), |path, part| join(&path, &part)))
    }

    /// Reads one connector.
    pub(crate) fn read(name: &str, mut table: Table<'_>, around: &Surroundings<'_>) -> Self {
        let plugin = table.require("plugin", "plugin = \"NAME.wasm\"");
        let plugin =
            plugin.and_then(|item| item.accept(PluginSource::parse(item.string()?, around.plugins, around.registries)));
        let mut digest = |key| {
            let item = table.get(key)?;
            item.accept(parse_digest(item.string()?))
        };
        let (digest, accepts) = (digest("digest"), digest("accepts"));
        let mode = table
            .get("mode")
            .and_then(|item| item.accept(parse_mode(item.string()?)));
        let settings = table
            .get("settings")
            .and_then(|item| settings(&item))
            .unwrap_or_else(|| Value::Object(<_>::default()));
        let keys = table.get("keys").and_then(|item| item.table());
        let keys = keys.map(|keys| read_keys(&keys, around.scope)).unwrap_or_default();
        let endpoints = table.get("endpoints").and_then(|item| item.table());
        let endpoints = endpoints
            .map(|endpoints| read_endpoints(&endpoints, around.grants))
            .unwrap_or_default();
        let reach = table.get("reach").map(|item| item.strings());
        let close_all = table.get("close_all").and_then(|item| item.boolean());
        let max_assertion = table.get("max_assertion").and_then(|item| read_duration(&item));
        let concurrency = table.get("concurrency").and_then(|item| item.count());
        let section = table.section();
        table.finish();
        Self {
            name: name.to_owned(),
            plugin: plugin.unwrap_or_default(),
            digest,
            accepts,
            mode: mode.unwrap_or_default(),
            settings,
            keys,
            endpoints,
            reach: reach.map(|lines| lines.into_iter().map(|(line, _)| line.to_owned()).collect()),
            close_all: close_all.unwrap_or(false),
            max_assertion,
            concurrency,
            section,
        }
    }
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    match text {
        "dry-run" => Ok(Mode::DryRun),
        "enforce" => Ok(Mode::Enforce),
        other => Err(format!(
            "{} is not a mode; {}",
            quoted(other),
            did_you_mean(other, ["dry-run", "enforce"])
        )),
    }
}

fn settings(item: &Item<'_>) -> Option<Value> {
    item.table()?;
    json(item)
}

/// The value as JSON.
pub(crate) fn json(item: &Item<'_>) -> Option<Value> {
    match item.value() {
        DeValue::String(text) => Some(Value::String(text.clone().into_owned())),
        DeValue::Boolean(value) => Some(Value::Bool(*value)),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(Value::Number(number.into())),
            Err(_) => item.wrong("a number of at most 64 bits", item.value()),
        },
        DeValue::Float(number) => match number.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => Some(Value::Number(number)),
            None => item.wrong("a finite number, since settings become JSON", item.value()),
        },
        DeValue::Array(_) => Some(Value::Array(item.list()?.iter().filter_map(json).collect())),
        DeValue::Table(_) => {
            let entries = item.table()?;
            let members = entries
                .entries()
                .filter_map(|(key, item)| Some((key.to_owned(), json(&item)?)));
            Some(Value::Object(members.collect()))
        }
        DeValue::Datetime(_) => item.wrong("a string in quotes, since settings become JSON,", item.value()),
    }
}

fn read_keys(table: &Table<'_>, scope: &SecretScope) -> BTreeMap<String, Vec<SecretRef>> {
    table
        .entries()
        .filter_map(|(name, item)| Some((contract_name(name, &item)?, scope.read_some(&item, MAX_KEY_SECRETS)?)))
        .collect()
}

fn read_endpoints(table: &Table<'_>, grants: &NetworkGrants) -> BTreeMap<String, BaseUrl> {
    let endpoint = |(name, item): (&str, Item<'_>)| {
        Some((
            contract_name(name, &item)?,
            item.accept(BaseUrl::parse(item.string()?, grants))?,
        ))
    };
    table.entries().filter_map(endpoint).collect()
}

fn contract_name(name: &str, item: &Item<'_>) -> Option<String> {
    if is_contract_name(name) {
        return Some(name.to_owned());
    }
    item.note("is not a name; write [a-z][a-z0-9-]*, at most 64 bytes, as the plugin declares it");
    None
}
