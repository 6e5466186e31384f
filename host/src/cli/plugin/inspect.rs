//! `exeunt plugin inspect` and `exeunt plugin diff`: what a plugin is and what it needs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use crate::cli::Exit;
use crate::cli::jobs::pretty;
use crate::cli::table::show;
use crate::sandbox::{CONTRACT, Plugin, Sandbox};

/// Shows what a plugin is and what it asks for, as JSON.
///
/// `digest` is what `digest` in a tenant file takes, and `needs.digest` what `accepts` takes.
#[derive(Debug, Args)]
pub(in crate::cli) struct Inspect {
    /// Component.
    file: PathBuf,
}

/// Shows what a plugin needs that another does not.
///
/// Lines with `+` are needed by NEW only, lines with `-` by OLD only. Exit code 0: NEW needs no more than OLD. 1: it
/// needs more, and a tenant that ran OLD has to accept it.
#[derive(Debug, Args)]
pub(in crate::cli) struct Diff {
    /// Component that ran before.
    old: PathBuf,
    /// Component that is to run.
    new: PathBuf,
}

impl Inspect {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let plugin = admit(&crate::cli::sandbox()?, &self.file).await?;
        let (package, version) = CONTRACT;
        let needs: Vec<&str> = plugin.needs.lines().collect();
        let mut shown = json!({
            "world": format!("{package}/connector@{version}"),
            "digest": plugin.digest,
            "size": plugin.size,
            "imports": plugin.imports,
            "needs": { "digest": plugin.needs.digest(), "lines": needs },
        });
        let descriptor = serde_json::to_value(&plugin.descriptor)?;
        if let (Some(shown), Some(descriptor)) = (shown.as_object_mut(), descriptor.as_object()) {
            shown.extend(descriptor.clone());
        }
        show(&pretty(&shown)?)
    }
}

impl Diff {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let sandbox = crate::cli::sandbox()?;
        let (old, new) = (admit(&sandbox, &self.old).await?, admit(&sandbox, &self.new).await?);
        let mut text = String::new();
        for (sign, plugin) in [("---", &old), ("+++", &new)] {
            let described = &plugin.descriptor;
            writeln!(
                text,
                "{sign} {} {} {}",
                described.name, described.version, plugin.digest
            )?;
        }
        for line in old.needs.beyond(&new.needs) {
            writeln!(text, "- {line}")?;
        }
        let mut grew = false;
        for line in new.needs.beyond(&old.needs) {
            writeln!(text, "+ {line}")?;
            grew = true;
        }
        if grew {
            writeln!(text, "to accept this, write accepts = \"{}\"", new.needs.digest())?;
        } else {
            writeln!(text, "it needs no more than before")?;
        }
        show(&text)?;
        Ok(if grew { Exit::Problem } else { Exit::Success })
    }
}

/// Loads a component.
pub(in crate::cli) async fn admit(sandbox: &Sandbox, file: &Path) -> anyhow::Result<Plugin> {
    let bytes = sandbox.read(file).await;
    let bytes = bytes.with_context(|| format!("cannot read {}", file.display()))?;
    match sandbox.admit(bytes).await {
        Ok(plugin) => Ok(plugin),
        Err(error) => bail!("{}: {error}", file.display()),
    }
}
