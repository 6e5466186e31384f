//! Compiled plugins on disk, so that a start does not compile them again; and the components themselves by digest, so that
//! an older one can run again.
//!
//! What is read back is machine code that runs without another check. So the folder must be ours and nobody else's.
//! The checksum in each file finds damage; it does not stop somebody who may write there.

use std::fs::{DirBuilder, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::admission::Plugin;
use crate::tenant::{MAX_SIGNATURES_BYTES, Signatures, signature_file};

/// Length of a checksum.
const CHECKSUM: usize = 32;

/// A folder of compiled plugins.
#[derive(Debug, Clone)]
pub struct PluginCache {
    folder: PathBuf,
    /// Who we are.
    owner: u32,
    /// Where it goes away again.
    _temporary: Option<Arc<tempfile::TempDir>>,
}

/// Why a folder cannot hold compiled plugins, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the folder of compiled plugins {folder} {problem}")]
pub struct CacheError {
    folder: String,
    problem: String,
}

/// Where a manifest is kept in a cache's folder. For whoever may not open the cache: it is for the service's user alone.
pub(crate) fn kept_manifest(folder: &Path, digest: &str) -> PathBuf {
    folder.join(format!("{}.manifest", digits(digest)))
}

impl PluginCache {
    /// Opens a folder, and makes it where there is none.
    ///
    /// # Errors
    /// It cannot be made or written, belongs to somebody else, or others may read or write there.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        let failed = |problem: String| CacheError {
            folder: folder.display().to_string(),
            problem,
        };
        let cannot = |error: io::Error| failed(format!("cannot be used: {error}"));
        let mut make = DirBuilder::new();
        make.recursive(true).mode(0o700).create(folder).map_err(cannot)?;
        let seen = std::fs::metadata(folder).map_err(cannot)?;
        // Whoever owns a file that we make there is us.
        let probe = tempfile::tempfile_in(folder).and_then(|probe| probe.metadata());
        let us = probe.map_err(cannot)?.uid();
        check(seen.uid(), us, seen.mode()).map_err(failed)?;
        Ok(Self {
            folder: folder.to_owned(),
            owner: us,
            _temporary: None,
        })
    }

    /// What was compiled for this engine from the plugin of this digest. None where there is nothing, or it is damaged.
    pub(super) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(engine, digest);
        match self
            .read(&path)
            .and_then(|code| load_compiled(engine, &code).map_err(io::Error::other))
        {
            Ok(component) => Some(component),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("{} is compiled again: {error}", path.display());
                None
            }
        }
    }

    /// Keeps what was compiled. Where that fails nothing is lost but time at the next start.
    pub(super) fn store(&self, engine: &Engine, digest: &str, component: &Component) {
        let path = self.path(engine, digest);
        let code = component.serialize().map_err(io::Error::other);
        if let Err(error) = code.and_then(|code| self.write(&path, &[&Sha256::digest(&code), &code])) {
            tracing::warn!("{} cannot be written: {error}", path.display());
        }
    }

    /// Opens a folder if it is there: for commands that run beside the service.
    ///
    /// # Errors
    /// As [`PluginCache::open`]: they may run as another user than the service.
    pub fn open_existing(folder: &Path) -> Result<Option<Self>, CacheError> {
        folder.is_dir().then(|| Self::open(folder)).transpose()
    }

    /// Opens a folder of this process alone, which goes away with it.
    ///
    /// # Errors
    /// As [`PluginCache::open`].
    pub fn temporary() -> Result<Self, CacheError> {
        let only_ours = std::fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().permissions(only_ours).tempdir();
        let folder = folder.map_err(|error| CacheError {
            folder: std::env::temp_dir().display().to_string(),
            problem: format!("cannot be used: {error}"),
        })?;
        let cache = Self::open(folder.path())?;
        Ok(Self {
            _temporary: Some(Arc::new(folder)),
            ..cache
        })
    }

    /// Keeps an admitted component. Where that fails nobody can go back to it by its digest.
    pub(super) fn keep(&self, digest: &str, bytes: &[u8]) {
        // One that a power cut has left short is written again.
        let is_whole = |file: std::fs::Metadata| file.len() == bytes.len() as u64;
        let path = self.component(digest);
        if path.metadata().is_ok_and(is_whole) {
            Self::touch(&path);
            return;
        }
        if let Err(error) = self.put(digest, bytes) {
            tracing::warn!("{digest} cannot be kept: {error}");
        }
    }

    /// Keeps a component in the place of what is there.
    pub(crate) fn put(&self, digest: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.component(digest);
        self.write(&path, &[bytes])?;
        Ok(path)
    }

    /// Keeps signatures that count, beside their component as they are anywhere, and those that counted before: another
    /// tenant may demand other signers. Where all do not fit into one file, the older ones stay.
    pub(crate) fn add_signatures(&self, digest: &str, more: &Signatures) -> io::Result<()> {
        let path = signature_file(&self.component(digest));
        let before = std::fs::read(&path).ok();
        let kept = before.as_deref().and_then(|text| Signatures::parse(text).ok());
        let of_it = |signatures: Signatures| signatures.of(digest);
        let all = of_it(kept.unwrap_or_default()).and(&of_it(more.clone()));
        let all = all.to_string().into_bytes();
        if before.as_ref() == Some(&all) || all.len() > MAX_SIGNATURES_BYTES {
            return Ok(());
        }
        self.write(&path, &[&all])
    }

    /// Keeps the signatures that came with a manifest, which nobody has looked at yet. Under the manifest's digest and not
    /// the component's: what one tenant pulls must not stand in the place of another's.
    pub(crate) fn put_pulled_signatures(&self, manifest: &str, signatures: &[u8]) -> io::Result<()> {
        self.write(&self.pulled_signatures(manifest), &[signatures])
    }

    /// Where they are kept.
    pub(crate) fn pulled_signatures(&self, manifest: &str) -> PathBuf {
        signature_file(&self.manifest_path(manifest))
    }

    /// Keeps the manifest of a component that came from a registry.
    pub(crate) fn put_manifest(&self, digest: &str, manifest: &[u8]) -> io::Result<()> {
        self.write(&self.manifest_path(digest), &[manifest])
    }

    /// A manifest that is kept, if it is the one of this digest.
    pub(crate) fn manifest(&self, digest: &str) -> Option<Vec<u8>> {
        let path = self.manifest_path(digest);
        let manifest = std::fs::read(&path).ok()?;
        Self::touch(&path);
        Self::touch(&self.pulled_signatures(digest));
        (Plugin::digest_of(&manifest) == digest).then_some(manifest)
    }

    fn manifest_path(&self, digest: &str) -> PathBuf {
        kept_manifest(&self.folder, digest)
    }

    /// Notes that somebody is about to use a file, which then counts as new. Best effort: without it, it may have to be made
    /// or pulled again.
    pub(super) fn touch(path: &Path) {
        let now = rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        };
        let times = rustix::fs::Timestamps {
            last_access: now,
            last_modification: now,
        };
        let _ = rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty());
    }

    /// Where the component of a digest is kept.
    pub(super) fn component(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{}.wasm", digits(digest)))
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        // Whoever may write in a folder above ours can have put another one in its place since it was looked at.
        let seen = file.metadata()?;
        if check(seen.uid(), self.owner, seen.mode()).is_err() {
            return Err(io::Error::other("others than this process's user may have written it"));
        }
        let mut sum = [0; CHECKSUM];
        file.read_exact(&mut sum)?;
        let mut code = Vec::new();
        file.read_to_end(&mut code)?;
        if Sha256::digest(&code).as_slice() == sum {
            Ok(code)
        } else {
            Err(io::Error::other("its checksum does not fit"))
        }
    }

    // Renamed into place: a reader sees all of it or nothing.
    fn write(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Code fits one version of the compiler, its settings and the machine; all of that is in the name.
    pub(super) fn path(&self, engine: &Engine, digest: &str) -> PathBuf {
        let mut hash = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hash);
        let name = format!("{}-{:016x}.compiled", digits(digest), hash.finish());
        self.folder.join(name)
    }
}

fn digits(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

fn check(owner: u32, us: u32, mode: u32) -> Result<(), String> {
    if owner != us {
        return Err(format!(
            "belongs to the user {owner}, and this process runs as {us}; what lies there would run as our own code. \
             Write another `cache`, or chown it"
        ));
    }
    if mode & 0o077 != 0 {
        return Err(format!(
            "is open to others than its owner (mode {:03o}); write a folder of its own as `cache`, or, where nothing else \
             uses this one, empty it and run chmod 700 on it",
            mode & 0o777
        ));
    }
    Ok(())
}

/// Loads machine code: what [`PluginCache`] has kept, or what our own compiler has just written.
#[expect(
    unsafe_code,
    reason = "precompiled code cannot be loaded otherwise; it comes from a folder that is ours alone, or from our compiler"
)]
pub(super) fn load_compiled(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` is what wasmtime's compiler wrote for such an engine. Either it was read from a folder that nobody
    // but us can write, with its checksum; or it came through a pipe from this very program, which did nothing else than
    // compile: whoever could change that code by what is compiled could do so if it were compiled here. wasmtime itself
    // refuses what another version or other settings have made.
    unsafe { Component::deserialize(engine, code) }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    const DIGEST: &str = "sha256:00ff";

    fn cache() -> (tempfile::TempDir, PluginCache) {
        let root = tempfile::tempdir().unwrap();
        let cache = PluginCache::open(&root.path().join("deep/cache")).unwrap();
        (root, cache)
    }

    fn component(engine: &Engine) -> Component {
        Component::new(engine, wat::parse_str("(component)").unwrap()).unwrap()
    }

    #[test]
    fn what_was_compiled_is_found_again_for_its_engine_and_digest() {
        let (_root, cache) = cache();
        let engine = Engine::default();
        assert!(cache.load(&engine, DIGEST).is_none());
        cache.store(&engine, DIGEST, &component(&engine));
        assert!(cache.load(&engine, DIGEST).is_some());
        assert!(cache.load(&engine, "sha256:01").is_none());
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        assert!(cache.load(&Engine::new(&config).unwrap(), DIGEST).is_none());
    }

    #[test]
    fn a_damaged_file_is_not_loaded_and_is_written_again() {
        let (_root, cache) = cache();
        let engine = Engine::default();
        cache.store(&engine, DIGEST, &component(&engine));
        let path = cache.path(&engine, DIGEST);
        let whole = std::fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for damaged in [&flipped[..], &whole[..whole.len() / 2], &whole[..CHECKSUM - 1], &[]] {
            std::fs::write(&path, damaged).unwrap();
            assert!(cache.load(&engine, DIGEST).is_none());
        }
        cache.store(&engine, DIGEST, &component(&engine));
        assert!(cache.load(&engine, DIGEST).is_some());
    }

    /// As from a folder that was put in the place of ours: its files belong to whoever did that.
    #[test]
    fn a_file_that_is_not_ours_alone_is_not_loaded() {
        let (_root, mut cache) = cache();
        let engine = Engine::default();
        cache.store(&engine, DIGEST, &component(&engine));
        let path = cache.path(&engine, DIGEST);
        std::fs::set_permissions(&path, Permissions::from_mode(0o660)).unwrap();
        assert!(cache.load(&engine, DIGEST).is_none());
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(cache.load(&engine, DIGEST).is_some());
        cache.owner += 1;
        assert!(cache.load(&engine, DIGEST).is_none());
    }

    #[test]
    fn a_folder_that_others_may_use_is_refused() {
        let (_root, cache) = cache();
        let mode = std::fs::metadata(&cache.folder).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700, "as we make it");
        for mode in [0o701, 0o710, 0o720, 0o755, 0o777] {
            std::fs::set_permissions(&cache.folder, Permissions::from_mode(mode)).unwrap();
            let error = PluginCache::open(&cache.folder).unwrap_err().to_string();
            assert!(error.contains("chmod 700"), "{error}");
        }
        std::fs::set_permissions(&cache.folder, Permissions::from_mode(0o700)).unwrap();
        assert!(PluginCache::open(&cache.folder).is_ok());
        assert!(check(1000, 1000, 0o700).is_ok());
        assert!(
            check(1001, 1000, 0o700)
                .unwrap_err()
                .contains("belongs to the user 1001")
        );
    }
}
