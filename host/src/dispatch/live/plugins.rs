//! Plugins in use: each file is read once, each content compiled once, however many tenants wait for it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::io::AsyncReadExt as _;
use tokio::sync::OnceCell;

use super::stamp::{Seen, look};
use crate::capability::Problem;
use crate::sandbox::{Plugin, Sandbox};
use crate::tenant::{MAX_SIGNATURES_BYTES, SignatureDemand, Signatures, signature_file};

/// What became of a file. A file that is not admitted is not tried again for each tenant that names it.
type Admitted = Result<Arc<Plugin>, String>;

/// Which plugin a connector is to run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The file that it names.
    pub(super) path: &'a Path,
    /// Where the signatures of that file are.
    pub(super) signed: &'a Path,
    /// The digest that it names.
    pub(super) digest: Option<&'a str>,
    /// Who must have signed it.
    pub(super) signatures: &'a [SignatureDemand],
    /// Whether it ran the plugin of that digest before. One that was kept is for those who ran it, and not for a
    /// neighbour who knows its digest.
    pub(super) ran_it: bool,
}

/// Plugins by file.
#[derive(Debug, Default)]
pub(super) struct Plugins(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    files: HashMap<PathBuf, Arc<File>>,
    /// By digest: a file that was only touched, or copied, is not compiled again.
    plugins: HashMap<String, Weak<Plugin>>,
}

#[derive(Debug)]
struct File {
    seen: Option<Seen>,
    content: OnceCell<Result<Content, String>>,
    admitted: OnceCell<Admitted>,
}

/// What is in a file. Whether a connector wants it is known before it is compiled.
#[derive(Debug)]
struct Content {
    digest: String,
    /// Until they are compiled.
    bytes: Mutex<Vec<u8>>,
}

impl Plugins {
    /// The plugin that a connector is to run, as its file is now.
    ///
    /// # Errors
    /// Why there is none: it cannot be read, is another than wanted, or is not admitted.
    pub(super) async fn load(&self, sandbox: &Sandbox, wanted: Wanted<'_>) -> Result<Arc<Plugin>, Problem> {
        let problem = |field, text| Problem { field, text };
        let file = self.file(wanted.path);
        let held = file.content(sandbox, wanted.path).await;
        let Some(digest) = wanted.digest else {
            let content = held.map_err(|text| problem("plugin", text))?;
            let admitted = self
                .vouched(sandbox, &file, (wanted.path, wanted.signed), content, wanted.signatures)
                .await;
            return admitted.map_err(|text| problem("plugin", text));
        };
        let mut candidates = vec![(Arc::clone(&file), wanted.path.to_owned(), wanted.signed.to_owned())];
        if let Some(kept) = sandbox.kept(digest).filter(|_| wanted.ran_it) {
            let signed = signature_file(&kept);
            candidates.push((self.file(&kept), kept, signed));
        }
        for (file, path, signed) in candidates {
            if let Ok(content) = file.content(sandbox, &path).await
                && content.digest == digest
            {
                let at = (path.as_path(), signed.as_path());
                let admitted = self.vouched(sandbox, &file, at, content, wanted.signatures).await;
                return admitted.map_err(|text| problem("plugin", text));
            }
        }
        let shown = wanted.path.display();
        Err(match held {
            Ok(content) => problem(
                "digest",
                format!(
                    "{shown} holds {}, and {digest} is to run, which this connector has not run on this host; put that \
                     file there, or write digest = \"{}\" once you have looked at it",
                    content.digest, content.digest
                ),
            ),
            Err(text) => problem("plugin", text),
        })
    }

    /// The file as it is now.
    fn file(&self, path: &Path) -> Arc<File> {
        // Before it is read: what changes meanwhile looks different the next time.
        let seen = look(path);
        let mut known = self.known();
        match known.files.get(path) {
            Some(file) if file.seen == seen => Arc::clone(file),
            _ => {
                let (content, admitted) = (OnceCell::new(), OnceCell::new());
                let file = Arc::new(File {
                    seen,
                    content,
                    admitted,
                });
                known.files.insert(path.to_owned(), Arc::clone(&file));
                file
            }
        }
    }

    /// Admits what is signed as demanded. Each time it is asked for: who signed is not seen by the component's file.
    async fn vouched(
        &self,
        sandbox: &Sandbox,
        file: &File,
        (path, signed): (&Path, &Path),
        content: &Content,
        demands: &[SignatureDemand],
    ) -> Admitted {
        if !demands.is_empty() {
            let signatures = signatures(signed).await;
            for demand in demands {
                let verified = match &signatures {
                    Ok(signatures) => signatures.verify(&content.digest, &demand.signers),
                    Err(text) => Err(text.clone()),
                };
                verified.map_err(|text| {
                    let (shown, by) = (path.display(), demand.by);
                    format!("the plugin {shown} is not signed as {by} demands: {text}")
                })?;
            }
            // Beside what is kept, so that it can be gone back to.
            if let (Ok(signatures), Some(cache)) = (signatures, sandbox.cache()) {
                let kept = cache.add_signatures(&content.digest, &signatures);
                kept.map_err(|error| format!("its signatures cannot be kept: {error}"))?;
            }
        }
        self.admit(sandbox, file, path, content).await
    }

    async fn admit(&self, sandbox: &Sandbox, file: &File, path: &Path, content: &Content) -> Admitted {
        let admit = async || {
            // Taken in any case: a file with the content of another is not compiled, and would keep them.
            let bytes = std::mem::take(&mut *content.bytes.lock().unwrap_or_else(PoisonError::into_inner));
            if let Some(plugin) = self.known().plugins.get(&content.digest).and_then(Weak::upgrade) {
                return Ok(plugin);
            }
            let plugin = sandbox.admit(bytes).await;
            let plugin = plugin.map_err(|error| format!("the plugin {} is not admitted: {error}", path.display()))?;
            let plugin = Arc::new(plugin);
            let known = Arc::downgrade(&plugin);
            self.known().plugins.insert(content.digest.clone(), known);
            Ok(plugin)
        };
        file.admitted.get_or_init(admit).await.clone()
    }

    /// Forgets what no connector uses, failures too: they may have been of the moment. Not while something is loaded.
    pub(super) fn prune(&self) {
        let mut known = self.known();
        // Files with one content share a plugin.
        let mut files: HashMap<*const Plugin, usize> = HashMap::new();
        for plugin in known.files.values().filter_map(|file| file.plugin()) {
            *files.entry(Arc::as_ptr(plugin)).or_default() += 1;
        }
        let is_used = |plugin: &Arc<Plugin>| Some(&Arc::strong_count(plugin)) > files.get(&Arc::as_ptr(plugin));
        known.files.retain(|_, file| file.plugin().is_some_and(is_used));
        known.plugins.retain(|_, plugin| plugin.strong_count() > 0);
    }

    /// Forgets failures, which may have been of the moment, while others are loaded.
    pub(super) fn forget_failures(&self) {
        self.known().files.retain(|_, file| !file.has_failed());
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    fn plugin(&self) -> Option<&Arc<Plugin>> {
        self.admitted.get()?.as_ref().ok()
    }

    fn has_failed(&self) -> bool {
        let unread = self.content.get().is_some_and(Result::is_err);
        unread || self.admitted.get().is_some_and(Result::is_err)
    }

    async fn content(&self, sandbox: &Sandbox, path: &Path) -> Result<&Content, String> {
        let read = async || {
            let bytes = sandbox.read(path).await;
            let bytes = bytes.map_err(|error| format!("cannot read the plugin {}: {error}", path.display()))?;
            Ok(Content {
                digest: Plugin::digest_of(&bytes),
                bytes: Mutex::new(bytes),
            })
        };
        self.content.get_or_init(read).await.as_ref().map_err(Clone::clone)
    }
}

async fn signatures(path: &Path) -> Result<Signatures, String> {
    let mut text = Vec::new();
    let read = async {
        let file = tokio::fs::File::open(path).await?;
        file.take(MAX_SIGNATURES_BYTES as u64 + 1).read_to_end(&mut text).await
    };
    match read.await {
        Ok(_) => Signatures::parse(&text).map_err(|text| format!("{} {text}", path.display())),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
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
        let load = async || {
            let wanted = Wanted {
                path: &path,
                signed: &path,
                digest: None,
                signatures: &[],
                ran_it: false,
            };
            plugins.load(&sandbox, wanted).await.unwrap_err().text
        };
        assert!(load().await.contains("cannot read"));
        std::fs::write(&path, "no plugin").unwrap();
        let refused = load().await;
        assert!(refused.contains("not admitted"), "{refused}");
        assert_eq!(plugins.known().files.len(), 1);
        plugins.forget_failures();
        assert!(plugins.known().files.is_empty());
        load().await;
        plugins.prune();
        assert!(plugins.known().files.is_empty());
    }
}
