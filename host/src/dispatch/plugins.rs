//! Plugins in use: each file is read once, each content compiled once, however many tenants wait for it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OnceCell;

use super::look::{Seen, look};
use crate::sandbox::{Plugin, Sandbox};

/// What became of a file. A file that is not admitted is not tried again for each tenant that names it.
type Admitted = Result<Arc<Plugin>, String>;

/// Plugins by file.
#[derive(Debug, Default)]
pub(super) struct Plugins(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    files: HashMap<PathBuf, Arc<File>>,
    /// By digest: a file that was only touched, or copied, is not compiled again.
    plugins: HashMap<[u8; 32], Weak<Plugin>>,
}

#[derive(Debug)]
struct File {
    seen: Option<Seen>,
    admitted: OnceCell<Admitted>,
}

impl Plugins {
    /// The plugin in a file, as the file is now.
    ///
    /// # Errors
    /// Why it cannot be read or is not admitted.
    pub(super) async fn load(&self, sandbox: &Sandbox, path: &Path) -> Admitted {
        // Before it is read: what changes meanwhile looks different the next time.
        let seen = look(path);
        let file = {
            let mut known = self.known();
            match known.files.get(path) {
                Some(file) if file.seen == seen => Arc::clone(file),
                _ => {
                    let admitted = OnceCell::new();
                    let file = Arc::new(File { seen, admitted });
                    known.files.insert(path.to_owned(), Arc::clone(&file));
                    file
                }
            }
        };
        file.admitted.get_or_init(|| self.admit(sandbox, path)).await.clone()
    }

    async fn admit(&self, sandbox: &Sandbox, path: &Path) -> Admitted {
        let shown = path.display();
        let bytes = sandbox
            .read(path)
            .await
            .map_err(|error| format!("cannot read the plugin {shown}: {error}"))?;
        let mut digest = [0; 32];
        digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes).as_ref());
        if let Some(plugin) = self.known().plugins.get(&digest).and_then(Weak::upgrade) {
            return Ok(plugin);
        }
        let plugin = sandbox.admit(bytes).await;
        let plugin = plugin.map_err(|error| format!("the plugin {shown} is not admitted: {error}"))?;
        let plugin = Arc::new(plugin);
        self.known().plugins.insert(digest, Arc::downgrade(&plugin));
        Ok(plugin)
    }

    /// Forgets what no connector uses, failures too: they may have been of the moment.
    pub(super) fn prune(&self) {
        let mut known = self.known();
        known.files.retain(|_, file| match file.admitted.get() {
            Some(Ok(plugin)) => Arc::strong_count(plugin) > 1,
            Some(Err(_)) => false,
            None => true,
        });
        known.plugins.retain(|_, plugin| plugin.strong_count() > 0);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::SandboxLimits;

    #[tokio::test]
    async fn a_failure_is_remembered_until_the_file_changes_or_the_next_refresh() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin.wasm");
        let sandbox = Sandbox::new(SandboxLimits::default()).unwrap();
        let plugins = Plugins::default();
        assert!(plugins.load(&sandbox, &path).await.unwrap_err().contains("cannot read"));
        std::fs::write(&path, "no plugin").unwrap();
        let refused = plugins.load(&sandbox, &path).await.unwrap_err();
        assert!(refused.contains("not admitted"), "{refused}");
        assert_eq!(plugins.known().files.len(), 1);
        plugins.prune();
        assert!(plugins.known().files.is_empty());
    }
}
