//! `exeunt plugin`: builds, inspects and tries plugins.

mod new;
mod run;
mod test;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::Exit;
use crate::sandbox::{self, CONTRACT, Plugin as Component};

/// Builds, inspects and tries plugins.
#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    /// Turns a core module, built against `wit/`, into a component.
    Build(Build),
    /// Shows what a plugin is and what it asks for.
    Inspect(Inspect),
    /// Writes a connector project that works, to be changed.
    New(new::New),
    /// Calls one verb of a plugin by hand, at the target of a tenant's connector.
    Run(run::Run),
    /// Runs a plugin's verbs against a scripted target, without a network.
    Test(test::Test),
}

/// Turns a core module, built against `wit/`, into a component.
#[derive(Debug, Args)]
pub(super) struct Build {
    /// Core module, as `cargo build --target wasm32-unknown-unknown` leaves it.
    #[arg(value_name = "CORE.wasm")]
    core: PathBuf,
    /// Where the component goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Shows what a plugin is and what it asks for.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Component.
    file: PathBuf,
}

impl Plugin {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Build(build) => build.run(),
            Self::Inspect(inspect) => inspect.run().await,
            Self::New(new) => new.run(),
            Self::Run(run) => run.run().await,
            Self::Test(test) => test.run().await,
        }
    }
}

impl Build {
    fn run(self) -> anyhow::Result<Exit> {
        let core = std::fs::read(&self.core).with_context(|| format!("cannot read {}", self.core.display()))?;
        if wasmparser::Parser::is_component(&core) {
            bail!("{} is a component already", self.core.display());
        }
        let component = encode(&core).with_context(|| {
            format!(
                "{} is not a core module built against wit/ (with wit-bindgen or its like)",
                self.core.display()
            )
        })?;
        write_beside(&self.output, &component)?;
        Ok(Exit::Success)
    }
}

fn encode(core: &[u8]) -> anyhow::Result<Vec<u8>> {
    wit_component::ComponentEncoder::default()
        .module(core)?
        .validate(true)
        .encode()
        // The encoder makes an empty component of a module that names no world at all.
        .and_then(|component| {
            sandbox::inspect(&component)?;
            Ok(component)
        })
}

/// Writes whole or not at all: a host that watches the folder must never see half a plugin.
fn write_beside(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let context = || format!("cannot write {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(context)?;
    std::io::Write::write_all(&mut file, bytes).with_context(context)?;
    #[cfg(unix)]
    file.as_file()
        .set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .with_context(context)?;
    file.persist(path).with_context(context)?;
    Ok(())
}

/// Loads a component in a sandbox of its own.
pub(super) async fn admit(file: &Path) -> anyhow::Result<Component> {
    let sandbox = super::sandbox()?;
    let bytes = sandbox
        .read(file)
        .await
        .with_context(|| format!("cannot read {}", file.display()))?;
    match sandbox.admit(bytes).await {
        Ok(plugin) => Ok(plugin),
        Err(error) => bail!("{}: {error}", file.display()),
    }
}

impl Inspect {
    async fn run(self) -> anyhow::Result<Exit> {
        let plugin = admit(&self.file).await?;
        let (package, version) = CONTRACT;
        let mut shown = json!({
            "world": format!("{package}/connector@{version}"),
            "digest": plugin.digest,
            "size": plugin.size,
            "imports": plugin.imports,
        });
        let descriptor = serde_json::to_value(&plugin.descriptor)?;
        if let (Some(shown), Some(descriptor)) = (shown.as_object_mut(), descriptor.as_object()) {
            shown.extend(descriptor.clone());
        }
        println!("{}", serde_json::to_string_pretty(&shown)?);
        Ok(Exit::Success)
    }
}
