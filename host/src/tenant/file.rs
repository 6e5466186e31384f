//! `tenants/NAME.toml`, whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::connector::{ConnectorConfig, Surroundings};
use super::error::{ConfigError, Location};
use super::grants::NetworkGrants;
use super::host::HostConfig;
use super::names::{is_name, quoted};
use super::policy::Policy;
use super::reader::{Table, read, read_text};
use super::secrets::SecretScope;
use super::signers::{SignatureDemand, SignatureLines};
use super::source::SourceConfig;

/// Most connectors of a tenant: 64, as many jobs as the journal makes of one event.
pub const MAX_CONNECTORS: usize = 64;

/// One customer: its sources, connectors, policy and references to secrets.
///
/// A map has room for eleven values where most tenants have one, so what is large is not kept in its map.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its name, that of the file without `.toml`.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// Where its events come from.
    pub sources: BTreeMap<String, Arc<SourceConfig>>,
    /// What they are sent to.
    pub connectors: BTreeMap<String, Arc<ConnectorConfig>>,
    /// What holds for all of its connectors.
    pub policy: Policy,
    /// Who must have signed its plugins: each of these demands is met.
    pub signatures: Vec<SignatureDemand>,
    /// What `exeunt.toml` grants to it.
    pub grants: Arc<NetworkGrants>,
}

impl Tenant {
    /// Reads a tenant file. Secrets are not resolved, plugins not loaded, filters not compiled.
    ///
    /// # Errors
    /// All mistakes in the file, each with its line. One without connectors is a mistake: a file that was emptied, or is
    /// just being written, must not take the tenant's events from it.
    pub fn load(file: &Path, host: &HostConfig) -> Result<Self, ConfigError> {
        let tenant = Self::parse(&read_text(file)?, file, host)?;
        if tenant.connectors.is_empty() {
            return Err(Location::file_only(file)
                .error("has no [connectors.NAME]; write one, or remove the file where the tenant is to go"));
        }
        Ok(tenant)
    }

    /// As [`Tenant::load`], with the text in hand, and maybe without connectors; `file` gives the name and the place of secrets.
    ///
    /// # Errors
    /// All mistakes in the text, each with its line.
    pub fn parse(text: &str, file: &Path, host: &HostConfig) -> Result<Self, ConfigError> {
        let name = tenant_name(file)?;
        let grants = host.grants(&name);
        let scope = SecretScope::new(file, &name);
        let around = Surroundings {
            plugins: &host.plugins,
            registries: host.registries(),
            grants: &grants,
            scope: &scope,
        };
        let elsewhere = |key: &str| granted_elsewhere(key, &name);
        read(file, text, &elsewhere, |mut table| {
            let connectors = named(&mut table, "connectors", |name, table| {
                ConnectorConfig::read(name, table, &around)
            });
            if connectors.len() > MAX_CONNECTORS {
                let count = connectors.len();
                table.note(format!(
                    "has {count} connectors, at most {MAX_CONNECTORS} are allowed; split it into two tenants"
                ));
            }
            let known: Vec<&str> = connectors.keys().map(String::as_str).collect();
            let sources = named(&mut table, "sources", |name, table| {
                SourceConfig::read(name, table, &scope, &known)
            });
            let policy = table
                .get("policy")
                .and_then(|item| item.table())
                .map(Policy::read)
                .unwrap_or_default();
            let signatures = read_signatures(&mut table, host, &name);
            table.finish();
            Self {
                name: name.clone(),
                file: file.to_owned(),
                sources,
                connectors,
                policy,
                signatures,
                grants: grants.clone(),
            }
        })
    }
}

fn tenant_name(file: &Path) -> Result<String, ConfigError> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if is_name(stem) && file.extension().is_some_and(|extension| extension == "toml") {
        return Ok(stem.to_owned());
    }
    Err(Location::file_only(file).error(format!(
        "{} does not name a tenant; name the file [a-z][a-z0-9-]*.toml, at most 63 characters before the dot",
        quoted(stem)
    )))
}

fn named<T>(
    table: &mut Table<'_>,
    key: &'static str,
    mut read: impl FnMut(&str, Table<'_>) -> T,
) -> BTreeMap<String, Arc<T>> {
    let mut all = BTreeMap::new();
    let Some(tables) = table.get(key).and_then(|item| item.table()) else {
        return all;
    };
    for (name, item) in tables.entries() {
        if !is_name(name) {
            item.note("is not a name; write [a-z][a-z0-9-]*, at most 63 characters");
        }
        if let Some(table) = item.table() {
            all.insert(name.to_owned(), Arc::new(read(name, table)));
        }
    }
    all
}

/// A tenant that names signers trusts those; one that names none trusts the host's.
fn read_signatures(table: &mut Table<'_>, host: &HostConfig, tenant: &str) -> Vec<SignatureDemand> {
    let lines = SignatureLines::read(table);
    let mut demands: Vec<SignatureDemand> = host.signature_demand(tenant).into_iter().collect();
    if lines.required {
        let signers = if lines.signers.is_empty() {
            host.signers(tenant)
        } else {
            lines.signers
        };
        if signers.is_empty() {
            table.note("`require_signature` is true and nobody's signature counts; write signers = [\"ed25519:…\"]");
        }
        let by = "the tenant file";
        demands.push(SignatureDemand { by, signers });
    }
    demands
}

fn granted_elsewhere(key: &str, tenant: &str) -> Option<String> {
    let network = ["ca", "connect_to", "private", "insecure", "proxy"].contains(&key);
    network.then(|| {
        format!(
            "`{key}` bends the network, which a tenant cannot grant itself; the host's operator writes it in \
             exeunt.toml under [tenants.{tenant}]"
        )
    })
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
