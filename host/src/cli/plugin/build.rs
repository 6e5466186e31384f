//! `exeunt plugin build`: from core module to component.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::cli::Exit;
use crate::sandbox;

/// Turns a core module, built against `wit/`, into a component.
#[derive(Debug, Args)]
pub(in crate::cli) struct Build {
    /// Core module, as `cargo build --target wasm32-unknown-unknown` leaves it.
    #[arg(value_name = "CORE.wasm")]
    core: PathBuf,
    /// Where the component goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Build {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
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

/// Writes whole or not at all: a host that watches the folder must never see half a file.
pub(super) fn write_beside(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let context = || format!("cannot write {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(context)?;
    std::io::Write::write_all(&mut file, bytes).with_context(context)?;
    file.as_file()
        .set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .with_context(context)?;
    file.persist(path).with_context(context)?;
    Ok(())
}
