//! A PostgreSQL of our own that keeps its promises: Debian's server with `fsync` on, a folder of our own, a Unix socket.
//!
//! The journal's tests have one too, with `fsync` off and a start from a template, since they kill processes and never
//! the machine. A benchmark of durable writes needs the opposite, and once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// User that the server runs as where we are root, which PostgreSQL refuses.
const NOBODY: (&str, &str) = ("nobody", "65534");

/// A running server. Stopped, and its folder removed, when it is dropped.
#[derive(Debug)]
pub(crate) struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    user: String,
}

impl Postgres {
    /// Starts a server; none where Debian's package is not installed.
    pub(crate) fn start() -> anyhow::Result<Option<Self>> {
        let Some(programs) = programs() else { return Ok(None) };
        let is_root = said(Command::new("id").arg("-u"))? == "0";
        let user = match is_root {
            true => NOBODY.0.to_owned(),
            false => said(Command::new("id").arg("-un"))?,
        };
        let folder = tempfile::Builder::new().prefix("exeunt-bench-pg-").tempdir()?;
        if is_root {
            said(Command::new("chown").arg(NOBODY.1).arg(folder.path()))?;
        }
        let server = Self { folder, programs, user };
        let initialise = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "-D"];
        said(server.program("initdb").args(initialise).arg(server.data()))?;
        let options = format!("-c listen_addresses= -c unix_socket_directories={}", server.place());
        said(
            server
                .control("start")
                .arg("-w")
                .args(["-l", &format!("{}/log", server.place())])
                .args(["-o", &options]),
        )?;
        Ok(Some(server))
    }

    /// Makes an empty database and returns its address.
    pub(crate) fn database(&self, name: &str) -> anyhow::Result<String> {
        said(self.program("createdb").arg("-h").arg(self.folder.path()).arg(name))?;
        Ok(format!("postgres:///{name}?host={}&user={}", self.place(), self.user))
    }

    fn place(&self) -> std::path::Display<'_> {
        self.folder.path().display()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn control(&self, what: &str) -> Command {
        let mut command = self.program("pg_ctl");
        command.arg(what).arg("-D").arg(self.data());
        command
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if self.user == NOBODY.0 {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", NOBODY.1, "--regid", NOBODY.1, "--clear-groups"]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Err(error) = said(self.control("stop").args(["-m", "immediate"])) {
            eprintln!("PostgreSQL was not stopped: {error:#}");
        }
    }
}

/// Debian keeps the server's programs apart from the path, by version; the newest is taken.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let bin = |version: &Path| version.join("bin");
    versions
        .map(|entry| entry.path())
        .filter(|version| bin(version).join("initdb").is_file())
        .max_by_key(|version| version.file_name()?.to_str()?.parse::<u32>().ok())
        .map(|version| bin(&version))
}

/// Runs a command and returns what it wrote. Output goes through a file's worth of memory, never through our terminal.
fn said(command: &mut Command) -> anyhow::Result<String> {
    // The server that `pg_ctl` starts keeps its output open, so only a command that ends with its children is piped.
    let is_start = command.get_args().any(|argument| argument == "start");
    let piped = || if is_start { Stdio::null() } else { Stdio::piped() };
    let output = command.stdin(Stdio::null()).stdout(piped()).stderr(piped()).output();
    let output = output.with_context(|| format!("{command:?}"))?;
    let problem = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {problem}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
