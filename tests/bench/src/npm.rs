//! What others do the same work with: programs of Node, with packages from npm.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use docusign_sim::Simulator;

/// A program of Node, its package and the authority that it trusts.
#[derive(Debug)]
pub(crate) struct Program {
    modules: PathBuf,
    authority: tempfile::NamedTempFile,
}

impl Program {
    /// Installs a package below the target folder, once, for a program that speaks to the simulator.
    pub(crate) fn with(package: &str, sim: &Simulator) -> anyhow::Result<Self> {
        let folder = crate::world::beside("../bench-node")?;
        install(&folder, package)?;
        let authority = tempfile::NamedTempFile::new()?;
        std::fs::write(authority.path(), sim.ca_pem())?;
        Ok(Self {
            modules: folder.join("node_modules"),
            authority,
        })
    }

    /// The command that runs a script: a task in, its answer out, its complaints to ours. All names lead to this machine.
    pub(crate) fn run(&self, script: &str) -> Command {
        let script = format!("{}\n{script}", include_str!("../node/common.js"));
        let mut command = Command::new("node");
        command
            .args(["--input-type=commonjs", "--eval", &script])
            .env("NODE_PATH", &self.modules)
            .env("NODE_EXTRA_CA_CERTS", self.authority.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        command
    }
}

fn install(folder: &Path, package: &str) -> anyhow::Result<()> {
    let name = package.split('@').next().unwrap_or(package);
    if folder.join("node_modules").join(name).is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--prefix", ".", package])
        .current_dir(folder);
    let output = npm.output().context("cannot start npm")?;
    let problem = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "npm: {problem}");
    Ok(())
}
