//! Which plugins a connector has run on this host: what an upgrade is compared with, and what a rollback goes back to.
//!
//! One small file a connector, in the folder of compiled plugins. The journal lost: what a host may run would then be
//! said in two places, and the tenant file is the one that is reviewed. So a host that has forgotten is no worse off
//! than a new one, and whoever wants the same answer from every host writes `accepts` into the tenant file.

use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::registry_pull::Layers;
use crate::capability::Needs;
use crate::sandbox::{Plugin, kept_manifest};
use crate::tenant::RegistryPlugin;

/// Plugins of one connector that are remembered: 8, more than anybody goes back.
const KEPT: usize = 8;

/// The folder's name beside the compiled plugins.
const FOLDER: &str = "ran";

/// A plugin that a connector has run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// Digest of the plugin.
    pub digest: String,
    /// Name of the plugin.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it needed, as lines.
    pub needs: Vec<String>,
    /// When it began to run.
    pub since: Timestamp,
}

impl Ran {
    pub(super) fn new(plugin: &Plugin, since: Timestamp) -> Self {
        Self {
            digest: plugin.digest.clone(),
            name: plugin.descriptor.name.clone(),
            version: plugin.descriptor.version.clone(),
            needs: plugin.needs.lines().map(str::to_owned).collect(),
            since,
        }
    }

    /// What it needed.
    #[must_use]
    pub fn needs(&self) -> Needs {
        Needs::from_lines(self.needs.iter().cloned())
    }
}

/// What the connectors of a host have run.
#[derive(Debug, Clone)]
pub struct History {
    folder: PathBuf,
}

impl History {
    /// The history beside the compiled plugins of this folder.
    #[must_use]
    pub fn beside(cache: &Path) -> Self {
        Self {
            folder: cache.join(FOLDER),
        }
    }

    /// What a connector has run, the latest last. Empty where nothing is known.
    #[must_use]
    pub fn of(&self, tenant: &str, connector: &str) -> Vec<Ran> {
        let path = self.path(tenant, connector);
        let read = std::fs::read(&path).and_then(|text| serde_json::from_slice(&text).map_err(io::Error::other));
        match read {
            Ok(ran) => ran,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                // As with an emptied folder: the host may forget, it must not stand still.
                tracing::warn!("{} is as if it were not there: {error}", path.display());
                Vec::new()
            }
        }
    }

    /// The digest of the component that a registry's manifest names. None where it was not pulled to this host.
    #[must_use]
    pub fn pulled(&self, plugin: &RegistryPlugin) -> Option<String> {
        // Not by `PluginCache`: root, too, goes back.
        let manifest = std::fs::read(kept_manifest(self.folder.parent()?, &plugin.digest)).ok()?;
        let layers = Layers::of(&manifest).ok()?;
        (Plugin::digest_of(&manifest) == plugin.digest).then_some(layers.component.digest)
    }

    /// Remembers that a connector runs this plugin now.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn note(&self, tenant: &str, connector: &str, ran: Ran) -> io::Result<()> {
        let mut all = self.of(tenant, connector);
        all.retain(|before| before.digest != ran.digest);
        all.push(ran);
        let forgotten = all.len().saturating_sub(KEPT);
        all.drain(..forgotten);
        let path = self.path(tenant, connector);
        let folder = path.parent().unwrap_or(&self.folder);
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&all)?)?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Everything that is known: tenant, connector, what it ran. Sorted by name.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn all(&self) -> io::Result<Vec<(String, String, Vec<Ran>)>> {
        let mut all = Vec::new();
        for tenant in names(&self.folder, "")? {
            for connector in names(&self.folder.join(&tenant), ".json")? {
                let ran = self.of(&tenant, &connector);
                all.push((tenant.clone(), connector, ran));
            }
        }
        Ok(all)
    }

    /// Both names are of the form `[a-z][a-z0-9-]*`, so they are names of files, too.
    fn path(&self, tenant: &str, connector: &str) -> PathBuf {
        self.folder.join(tenant).join(format!("{connector}.json"))
    }
}

/// What a folder holds whose name ends so, without the ending, sorted.
fn names(folder: &Path, ending: &str) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        names.extend(
            name.to_str()
                .and_then(|name| name.strip_suffix(ending))
                .map(str::to_owned),
        );
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(digest: usize) -> Ran {
        Ran {
            digest: format!("sha256:{digest}"),
            name: "test".to_owned(),
            version: "1.0.0".to_owned(),
            needs: vec!["endpoint api".to_owned()],
            since: Timestamp::UNIX_EPOCH,
        }
    }

    fn digests(history: &History) -> Vec<String> {
        let ran = history.of("acme", "docusign");
        ran.into_iter().map(|ran| ran.digest).collect()
    }

    #[test]
    fn the_last_eight_are_remembered_each_once_and_apart_from_other_tenants() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::beside(folder.path());
        assert!(history.of("acme", "docusign").is_empty());
        for digest in 0..=KEPT {
            history.note("acme", "docusign", ran(digest)).unwrap();
        }
        let kept: Vec<String> = (1..=KEPT).map(|digest| format!("sha256:{digest}")).collect();
        assert_eq!(digests(&history), kept);
        history.note("acme", "docusign", ran(1)).unwrap();
        assert_eq!(digests(&history).len(), KEPT, "it is there once");
        assert_eq!(digests(&history).last().unwrap(), "sha256:1");
        assert!(history.of("acme", "other").is_empty() && history.of("beta", "docusign").is_empty());
        let all = history.all().unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(
            (all[0].0.as_str(), all[0].1.as_str(), all[0].2.len()),
            ("acme", "docusign", KEPT)
        );
    }

    #[test]
    fn a_damaged_file_is_as_if_it_were_not_there_and_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::beside(folder.path());
        history.note("acme", "docusign", ran(1)).unwrap();
        std::fs::write(history.path("acme", "docusign"), "[{").unwrap();
        assert!(history.of("acme", "docusign").is_empty());
        history.note("acme", "docusign", ran(2)).unwrap();
        assert_eq!(digests(&history), ["sha256:2"]);
    }
}
