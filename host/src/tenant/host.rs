//! `exeunt.toml`: what the host's operator decides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeValue;

use super::error::ConfigError;
use super::grants::{Granted, NetworkGrants, read_tenants};
use super::plugin_source::{PluginRegistry, Registries, read_registries};
use super::reader::{Item, Table, read, read_text};
use super::server::ServerConfig;
use super::signature::PublicKey;
use super::signers::{SignatureDemand, SignatureLines};

/// The host's own configuration.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// The folder that relative paths in `exeunt.toml` start from.
    pub root: PathBuf,
    /// The file, where there is one.
    pub file: Option<PathBuf>,
    /// The folder of plugin files, already below `root`.
    pub plugins: PathBuf,
    /// What only `exeunt serve` and its tools need.
    pub server: ServerConfig,
    signatures: SignatureLines,
    registries: Registries,
    tenants: BTreeMap<String, Granted>,
}

impl HostConfig {
    /// Reads `exeunt.toml` and the certificate authorities that it names.
    ///
    /// # Errors
    /// All mistakes in the file, each with its line.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path)?;
        let root = folder_of(path);
        read(path, &text, &|_| None, |mut table| {
            let plugins = table
                .get("plugins")
                .and_then(|item| item.string())
                .unwrap_or(DEFAULT_PLUGINS);
            let server = ServerConfig::read(&mut table, &root);
            let signatures = SignatureLines::read(&mut table);
            let registries = table.get("registries").and_then(|item| item.table());
            let registries = registries
                .map(|tables| read_registries(&tables, &root))
                .unwrap_or_default();
            let tenants = table.get("tenants").and_then(|item| grants_table(&item));
            let tenants = tenants.map(|tenants| read_tenants(&tenants, &root)).unwrap_or_default();
            let anybody = signatures.named || tenants.values().any(|granted| !granted.signers.is_empty());
            if signatures.required && !anybody {
                table.note("`require_signature` is true and no `signers` are given; write signers = [\"ed25519:…\"]");
            }
            table.finish();
            Self {
                plugins: root.join(plugins),
                root: root.clone(),
                file: Some(path.to_owned()),
                server,
                signatures,
                registries,
                tenants,
            }
        })
    }

    /// What holds without `exeunt.toml`: plugins in `root/plugins`, nothing granted to anybody.
    #[must_use]
    pub fn default_for(root: &Path) -> Self {
        let root = root.to_owned();
        Self {
            plugins: root.join(DEFAULT_PLUGINS),
            server: ServerConfig::default_for(&root),
            root,
            file: None,
            signatures: SignatureLines::default(),
            registries: Registries::new(),
            tenants: BTreeMap::new(),
        }
    }

    /// Finds the configuration for a command that was given a tenant file: the named file, else `exeunt.toml` in the
    /// folder above the tenant file's, else [`HostConfig::default_for`] that folder.
    ///
    /// # Errors
    /// As [`HostConfig::load`].
    pub fn locate(config: Option<&Path>, tenant_file: &Path) -> Result<Self, ConfigError> {
        if let Some(config) = config {
            return Self::load(config);
        }
        let folder = folder_of(tenant_file);
        let root = match folder.canonicalize() {
            Ok(real) => real.parent().unwrap_or(&real).to_owned(),
            Err(_) => folder.join(".."),
        };
        let file = root.join("exeunt.toml");
        if file.exists() {
            Self::load(&file)
        } else {
            Ok(Self::default_for(&root))
        }
    }

    /// Finds the configuration for a command about the host itself: the named file, else `exeunt.toml` in the working
    /// folder, else [`HostConfig::default_for`] that folder.
    ///
    /// # Errors
    /// As [`HostConfig::load`].
    pub fn here(config: Option<&Path>) -> Result<Self, ConfigError> {
        let file = Path::new("exeunt.toml");
        match config {
            Some(config) => Self::load(config),
            None if file.exists() => Self::load(file),
            None => Ok(Self::default_for(Path::new("."))),
        }
    }

    /// The files that this was read from: its own, and those of certificate authorities. None without a file.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let of_tenants = self.tenants.values().filter_map(|granted| granted.network.ca.as_ref());
        let authorities = of_tenants.chain(self.registries.values().filter_map(|registry| registry.ca.as_ref()));
        let files = self.file.iter().cloned();
        let mut files: Vec<PathBuf> = files.chain(authorities.map(|ca| ca.file.clone())).collect();
        files.sort();
        files.dedup();
        files
    }

    /// Tenants that are granted something and have no file, each with the file that there would be. No mistake, since grants
    /// may come first; but a name that is mistyped there is never seen otherwise.
    pub(crate) fn granted_to_nobody(&self, has_file: impl Fn(&Path) -> bool) -> impl Iterator<Item = (&str, PathBuf)> {
        let granted = self
            .tenants
            .keys()
            .map(|name| (name.as_str(), self.server.tenant_file(name)));
        granted.filter(move |(_, file)| !has_file(file))
    }

    /// What is granted to a tenant; nothing to one that `exeunt.toml` does not name.
    #[must_use]
    pub fn grants(&self, tenant: &str) -> Arc<NetworkGrants> {
        let granted = self.tenants.get(tenant);
        granted.map(|granted| Arc::clone(&granted.network)).unwrap_or_default()
    }

    /// Whose signatures of a tenant's plugins the host's operator trusts.
    pub(crate) fn signers(&self, tenant: &str) -> Vec<PublicKey> {
        let granted = self
            .tenants
            .get(tenant)
            .into_iter()
            .flat_map(|granted| &granted.signers);
        self.signatures.signers.iter().chain(granted).copied().collect()
    }

    /// The registries that plugins may come from, by name.
    pub(crate) fn registries(&self) -> &BTreeMap<String, Arc<PluginRegistry>> {
        &self.registries
    }

    /// What the host's operator asks of a tenant's plugins, if anything.
    #[must_use]
    pub fn signature_demand(&self, tenant: &str) -> Option<SignatureDemand> {
        self.signatures.required.then(|| SignatureDemand {
            by: "exeunt.toml",
            signers: self.signers(tenant),
        })
    }
}

const DEFAULT_PLUGINS: &str = "plugins";

pub(super) fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn grants_table<'a>(item: &Item<'a>) -> Option<Table<'a>> {
    if let DeValue::String(_) = item.value() {
        item.note(
            "holds what is granted to each tenant; for the folder of tenant files write tenant_files = \"tenants\"",
        );
        return None;
    }
    item.table()
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
