//! Components that come from registries: each is pulled once, checked, and kept by its digest.
//!
//! Manifest and component are kept under their digests and checked whenever they are read, so what is kept needs no
//! trust, and a registry is asked once in the life of a folder.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::registry_pull::{Layers, pull};
use crate::sandbox::{Plugin, PluginCache, Sandbox};
use crate::tenant::RegistryPlugin;

/// What became of a pull.
type Fetched = Result<Kept, String>;

/// Where a component is kept that was pulled, and the signatures that came with it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) component: PathBuf,
    pub(super) signatures: PathBuf,
}

/// Pulls that are under way, or were tried since files were last looked at: ten thousand tenants ask for one plugin once.
#[derive(Debug, Default)]
pub(super) struct RegistryPlugins(Mutex<HashMap<String, Arc<OnceCell<Fetched>>>>);

impl RegistryPlugins {
    /// Where a component is kept that was pulled, now or before. It has the digest that its manifest says.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub(super) async fn fetch(&self, sandbox: &Sandbox, plugin: &RegistryPlugin) -> Fetched {
        let cell = {
            let mut pulls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let cell = pulls.entry(plugin.to_string()).or_default();
            let is_gone = |fetched: &Fetched| fetched.as_ref().is_ok_and(|kept| !kept.component.exists());
            if cell.get().is_some_and(is_gone) {
                *cell = Arc::default();
            }
            Arc::clone(cell)
        };
        let fetched = cell.get_or_init(|| fetch(sandbox, plugin)).await.clone();
        fetched.map_err(|text| format!("cannot pull {plugin}: {text}"))
    }

    /// Forgets what failed, so that it is tried again, while others are pulled.
    pub(super) fn forget_failures(&self) {
        let mut pulls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.retain(|_, cell| !cell.get().is_some_and(Result::is_err));
    }

    /// Forgets what was tried, so that it is tried again.
    pub(super) fn prune(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

async fn fetch(sandbox: &Sandbox, plugin: &RegistryPlugin) -> Fetched {
    let Some(cache) = sandbox.cache() else {
        return Err("there is no folder to keep it in".to_owned());
    };
    if let Some(kept) = kept(sandbox, cache, plugin).await {
        return Ok(kept);
    }
    let pulled = pull(plugin, sandbox.largest_component()).await?;
    let digest = Plugin::digest_of(&pulled.component);
    let cannot = |error: std::io::Error| format!("it cannot be kept: {error}");
    // The manifest last: where it is, the rest is.
    let component = cache.put(&digest, &pulled.component).map_err(cannot)?;
    if let Some(signatures) = &pulled.signatures {
        cache
            .put_pulled_signatures(&plugin.digest, signatures)
            .map_err(cannot)?;
    }
    cache.put_manifest(&plugin.digest, &pulled.manifest).map_err(cannot)?;
    tracing::info!(digest, "{plugin} was pulled");
    let signatures = cache.pulled_signatures(&plugin.digest);
    Ok(Kept { component, signatures })
}

/// What was pulled before, if it is whole.
async fn kept(sandbox: &Sandbox, cache: &PluginCache, plugin: &RegistryPlugin) -> Option<Kept> {
    let manifest = cache.manifest(&plugin.digest)?;
    let layers = Layers::of(&manifest).ok()?;
    let signatures = cache.pulled_signatures(&plugin.digest);
    if layers.signatures.is_some() && !signatures.exists() {
        return None;
    }
    let component = sandbox.kept(&layers.component.digest)?;
    let bytes = sandbox.read(&component).await.ok()?;
    let is_whole = Plugin::digest_of(&bytes) == layers.component.digest;
    is_whole.then_some(Kept { component, signatures })
}
