//! Admission: from bytes to a plugin that may run.
//!
//! Cheap checks come first and say what the file is instead; compiling comes last. What a plugin says of itself is
//! taken once, here, so it cannot say something else later.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use wasmparser::{ComponentExternName, Encoding, Parser, Payload};
use wasmtime::component::Component;

use super::bindings::ConnectorPre;
use super::cache::{PluginCache, load_compiled};
use super::describe;
use super::engine::{Sandbox, State};
use crate::capability::{Descriptor, Needs};
use crate::tenant::digest_text;
use crate::text::excerpt;

/// The package and version of the contract that this host speaks.
pub const CONTRACT: (&str, &str) = ("exeunt:connector", "0.1.0");

const IMPORTS: [&str; 6] = ["http", "credentials", "settings", "clock", "log", "types"];
const EXPORTS: [&str; 3] = ["descriptor", "token-minting", "user-closure"];

/// A component that was admitted.
pub struct Plugin {
    /// `sha256:` and the digest of the file, in hexadecimal.
    pub digest: String,
    /// Bytes of the file.
    pub size: usize,
    /// Names of its imports.
    pub imports: Vec<String>,
    /// What it says of itself.
    pub descriptor: Descriptor,
    /// What it needs of its operator.
    pub needs: Needs,
    pub(super) sandbox: Sandbox,
    pub(super) pre: ConnectorPre<State>,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.descriptor.name)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// Most characters of what a file says of itself, or what a library says of it: 1,000. It holds names from the file, which
/// may be as long as the file.
const MAX_SAID: usize = 1000;

/// Why a file is not admitted, in words for whoever placed it there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// Over the size limit.
    #[error("it has {size} bytes, at most {allowed} are allowed")]
    TooLarge {
        /// Bytes of the file.
        size: usize,
        /// Bytes allowed.
        allowed: usize,
    },
    /// Not WebAssembly at all.
    #[error("it is not WebAssembly: {}", excerpt(.0, MAX_SAID))]
    NotWasm(String),
    /// A core module, not yet a component.
    #[error("it is a core module, not a component; run `exeunt plugin build FILE -o COMPONENT` on it first")]
    CoreModule,
    /// Imports or exports are not those of the world.
    #[error("it is not a connector: {}", excerpt(.0, MAX_SAID))]
    OtherWorld(String),
    /// Made for another version of the contract.
    #[error(
        "it was built against {package}@{}, this host speaks {spoken}; rebuild it with the wit/ of this version",
        excerpt(found, MAX_SAID)
    )]
    OtherVersion {
        /// Package name.
        package: String,
        /// The version it was built against.
        found: String,
        /// The version of this host.
        spoken: String,
    },
    /// It cannot be compiled or linked.
    #[error("it cannot be loaded: {}", excerpt(.0, MAX_SAID))]
    Unloadable(String),
    /// `describe` failed.
    #[error("its `describe` failed: {}", excerpt(.0, MAX_SAID))]
    Undescribed(String),
    /// The description contradicts itself.
    #[error("its descriptor is wrong: {}", .0.join("; "))]
    BadDescriptor(Vec<String>),
}

impl Plugin {
    /// The digest that a component with this content has.
    #[must_use]
    pub fn digest_of(bytes: &[u8]) -> String {
        digest_text(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
    }
}

impl Sandbox {
    /// Admits a component.
    ///
    /// Compiling takes tens of milliseconds for a Rust guest and seconds for an interpreter, on threads of its own.
    ///
    /// # Errors
    ///
    /// Why not.
    pub async fn admit(&self, bytes: Vec<u8>) -> Result<Plugin, AdmissionError> {
        if bytes.len() > self.limits.component {
            return Err(AdmissionError::TooLarge {
                size: bytes.len(),
                allowed: self.limits.component,
            });
        }
        let imports = inspect(&bytes)?;
        let size = bytes.len();
        let digest = Plugin::digest_of(&bytes);
        let bytes = Arc::new(bytes);
        let component = self.component(&digest, Arc::clone(&bytes)).await?;
        let pre = self
            .linker
            .instantiate_pre(&component)
            .and_then(ConnectorPre::new)
            .map_err(|error| AdmissionError::OtherWorld(format!("{error:#}")))?;
        let descriptor = self.describe(&pre).await?;
        if let Some(cache) = self.cache.clone() {
            let name = digest.clone();
            let kept = tokio::task::spawn_blocking(move || cache.keep(&name, &bytes)).await;
            kept.map_err(|error| AdmissionError::Unloadable(error.to_string()))?;
        }
        Ok(Plugin {
            digest,
            size,
            imports,
            needs: Needs::of(&descriptor),
            descriptor,
            sandbox: self.clone(),
            pre,
        })
    }

    /// Reads a component's file, and no more of it than could be admitted.
    ///
    /// # Errors
    ///
    /// The file system's; what is no file, or over the size limit.
    pub async fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        let file = tokio::fs::File::open(path).await?;
        let metadata = file.metadata().await?;
        if !metadata.is_file() {
            return Err(std::io::Error::other("it is not a file"));
        }
        let allowed = self.limits.component;
        let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        if size > allowed {
            return Err(std::io::Error::other(AdmissionError::TooLarge { size, allowed }));
        }
        let mut bytes = Vec::with_capacity(size);
        // It may have grown meanwhile. One byte past the limit is enough for `admit` to refuse it.
        file.take(allowed as u64 + 1).read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    /// Where the component of a digest is kept that was admitted before. What is there is to be checked.
    pub(crate) fn kept(&self, digest: &str) -> Option<PathBuf> {
        let path = self.cache.as_ref()?.component(digest);
        PluginCache::touch(&path);
        path.exists().then_some(path)
    }

    /// What it keeps, if anything.
    pub(crate) fn cache(&self) -> Option<&PluginCache> {
        self.cache.as_ref()
    }

    /// Bytes of the largest component that it admits.
    pub(crate) fn largest_component(&self) -> usize {
        self.limits.component
    }

    /// Machine code for a component, from the cache where it is there.
    async fn component(&self, digest: &str, bytes: Arc<Vec<u8>>) -> Result<Component, AdmissionError> {
        let (sandbox, name) = (self.clone(), digest.to_owned());
        let cached = aside(move || {
            Ok(sandbox
                .cache
                .as_ref()
                .and_then(|cache| cache.load(&sandbox.engine, &name)))
        });
        if let Some(component) = cached.await? {
            metrics::counter!("exeunt_plugins_loaded_total", "from" => "cache").increment(1);
            tracing::info!(digest, "a plugin was loaded from the cache");
            return Ok(component);
        }
        let compiled = match &self.compiler {
            Some(compiler) => Some(compiler.compile(&bytes).await.map_err(AdmissionError::Unloadable)?),
            None => None,
        };
        let (sandbox, name) = (self.clone(), digest.to_owned());
        let component = aside(move || {
            let component = match &compiled {
                Some(code) => load_compiled(&sandbox.engine, code)?,
                None => Component::new(&sandbox.engine, &*bytes)?,
            };
            if let Some(cache) = &sandbox.cache {
                cache.store(&sandbox.engine, &name, &component);
            }
            Ok(component)
        });
        let component = component.await?;
        metrics::counter!("exeunt_plugins_loaded_total", "from" => "compiler").increment(1);
        tracing::info!(digest, "a plugin was compiled");
        Ok(component)
    }

    async fn describe(&self, pre: &ConnectorPre<State>) -> Result<Descriptor, AdmissionError> {
        // A description takes a slot of the pool like any other call.
        let _slot = self.permits.acquire().await.ok();
        let mut store = self.store(None, None);
        let run = async {
            let connector = pre.instantiate_async(&mut store).await?;
            connector.exeunt_connector_descriptor().call_describe(&mut store).await
        };
        let said = match tokio::time::timeout(self.limits.cpu * 2, run).await {
            Ok(said) => said.map_err(|error| AdmissionError::Undescribed(super::call::root_cause(&error)))?,
            Err(_) => return Err(AdmissionError::Undescribed("it did not come to an end".to_owned())),
        };
        describe::descriptor(said).map_err(AdmissionError::BadDescriptor)
    }
}

/// Does on a thread of its own what takes a processor for long.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> wasmtime::Result<T> + Send + 'static,
) -> Result<T, AdmissionError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| AdmissionError::Unloadable(error.to_string()))?;
    done.map_err(|error| AdmissionError::Unloadable(format!("{error:#}")))
}

/// The names of a component's imports, if it is a connector of this host's world. Nothing is compiled.
///
/// # Errors
///
/// What it is instead.
pub fn inspect(bytes: &[u8]) -> Result<Vec<String>, AdmissionError> {
    if !bytes.starts_with(b"\0asm") {
        let text = "it does not begin with the four bytes 00 61 73 6d";
        return Err(AdmissionError::NotWasm(text.to_owned()));
    }
    let mut imports = Vec::new();
    let mut exports = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| AdmissionError::NotWasm(error.to_string()))? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => return Err(AdmissionError::CoreModule),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(name(import.map(|import| import.name))?);
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(name(export.map(|export| export.name))?);
                }
            }
            _ => {}
        }
    }
    check_world(&imports, &exports)?;
    Ok(imports)
}

fn name(name: Result<ComponentExternName<'_>, wasmparser::BinaryReaderError>) -> Result<String, AdmissionError> {
    name.map(|name| name.name.to_owned())
        .map_err(|error| AdmissionError::NotWasm(error.to_string()))
}

/// Extra imports are refused, WASI above all; extra exports are harmless (Python guests have one).
fn check_world(imports: &[String], exports: &[String]) -> Result<(), AdmissionError> {
    let (package, version) = CONTRACT;
    for (list, known) in [(imports, &IMPORTS[..]), (exports, &EXPORTS[..])] {
        for name in list {
            let Some((interface, found)) = name
                .strip_prefix(package)
                .and_then(|rest| rest.strip_prefix('/'))
                .map(|rest| rest.split_once('@').unwrap_or((rest, "no version")))
            else {
                continue;
            };
            if found != version && known.contains(&interface) {
                let (package, found, spoken) = (package.to_owned(), found.to_owned(), version.to_owned());
                return Err(AdmissionError::OtherVersion { package, found, spoken });
            }
        }
    }
    let allowed = |name: &String| {
        IMPORTS
            .iter()
            .any(|interface| *name == format!("{package}/{interface}@{version}"))
    };
    if let Some(other) = imports.iter().find(|name| !allowed(name)) {
        return Err(AdmissionError::OtherWorld(format!(
            "it imports `{other}`, and a connector has only this host's five imports"
        )));
    }
    for interface in EXPORTS {
        let wanted = format!("{package}/{interface}@{version}");
        if !exports.contains(&wanted) {
            return Err(AdmissionError::OtherWorld(format!("it does not export `{wanted}`")));
        }
    }
    Ok(())
}
