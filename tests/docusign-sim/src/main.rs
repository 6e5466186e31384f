//! `docusign-sim`: the simulator as a process, for clients in any language.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Parser;
use docusign_sim::{Options, Simulator};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A faithful DocuSign on this machine: account server, eSignature users, faults on demand.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where sim.json, ca.pem and private-key.pem are written; created when missing.
    #[arg(long)]
    dir: PathBuf,
    /// Where the account server listens (TLS, account-d.docusign.com); a free port by default.
    #[arg(long, default_value_t = FREE, value_parser = loopback)]
    account_addr: SocketAddr,
    /// Where the eSignature server listens (TLS, demo.docusign.net); a free port by default.
    #[arg(long, default_value_t = FREE, value_parser = loopback)]
    esign_addr: SocketAddr,
    /// Where /_sim/… is served (plain HTTP); a free port by default.
    #[arg(long, default_value_t = FREE, value_parser = loopback)]
    control_addr: SocketAddr,
    /// Also serve the article's shapes: JSON token requests, long assertions, DELETE …/users/{userId} on the account
    /// server.
    #[arg(long)]
    article: bool,
    /// End when standard input closes, so that a parent that dies does not leave this process behind.
    #[arg(long)]
    exit_with_stdin: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("docusign-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let directory = &arguments.dir;
    std::fs::create_dir_all(directory).with_context(|| format!("failed to create {}", directory.display()))?;
    let directory = directory
        .canonicalize()
        .with_context(|| format!("failed to find {}", directory.display()))?;
    let description = directory.join("sim.json");
    // A file from an earlier run would send clients to ports that are somebody else's by now.
    remove(&description)?;
    let simulator = Simulator::start(Options {
        account_addr: arguments.account_addr,
        esign_addr: arguments.esign_addr,
        control_addr: arguments.control_addr,
        article: arguments.article,
        sample: true,
        ..Options::default()
    })
    .await?;
    let ended = ending(arguments.exit_with_stdin)?;
    describe(&simulator, &directory, &description)?;
    println!("docusign-sim is ready: {}", description.display());
    ended.await;
    remove(&description)
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let addr: SocketAddr = text
        .parse()
        .map_err(|_| "expected an address and a port, like 127.0.0.1:8443".to_owned())?;
    if addr.ip().is_loopback() {
        Ok(addr)
    } else {
        Err(format!(
            "{addr} is not loopback: the simulator serves this machine only, use 127.0.0.1:{}",
            addr.port()
        ))
    }
}

/// What a client needs. `sim.json` comes last and in one step: who finds it finds everything.
fn describe(simulator: &Simulator, directory: &Path, description: &Path) -> anyhow::Result<()> {
    let (ca, private_key) = (directory.join("ca.pem"), directory.join("private-key.pem"));
    write(&ca, simulator.ca_pem(), 0o644)?;
    write(&private_key, simulator.private_key_pem(), 0o600)?;
    let body = json!({
        "account_addr": simulator.account_addr(),
        "esign_addr": simulator.esign_addr(),
        "control_addr": simulator.control_addr(),
        "ca": ca,
        "integration_key": simulator.integration_key(),
        "user_id": simulator.user_id(),
        "account_id": simulator.account_id(),
        "private_key": private_key,
    });
    write(description, &format!("{body:#}\n"), 0o644)
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let context = || format!("failed to write {}", path.display());
    let parent = path.parent().unwrap_or(Path::new("."));
    // Made readable by its owner only, and renamed into place with its final mode.
    let mut file = tempfile::NamedTempFile::new_in(parent).with_context(context)?;
    file.write_all(text.as_bytes()).with_context(context)?;
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))
        .with_context(context)?;
    file.persist(path).with_context(context)?;
    Ok(())
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = std::fs::remove_file(path);
    let is_fine = removed
        .as_ref()
        .err()
        .is_none_or(|error| error.kind() == std::io::ErrorKind::NotFound);
    ensure!(
        is_fine,
        "failed to remove {}: {}",
        path.display(),
        removed.err().map(|e| e.to_string()).unwrap_or_default()
    );
    Ok(())
}

/// Waits for SIGTERM, SIGINT or, where asked for, the end of standard input.
fn ending(with_stdin: bool) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminated = signal(SignalKind::terminate()).context("failed to wait for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("failed to wait for SIGINT")?;
    let (closed, mut stdin) = oneshot::channel();
    // A plain thread: tokio's reader of standard input would keep the runtime from ending.
    let mut open = Some(closed);
    if with_stdin {
        let closed = open.take();
        std::thread::spawn(move || {
            let mut buffer = [0_u8; 256];
            while matches!(std::io::stdin().read(&mut buffer), Ok(read) if read > 0) {}
            drop(closed);
        });
    }
    Ok(async move {
        // While it is held here, the channel stays open and only signals end the process.
        let _open: Option<oneshot::Sender<()>> = open;
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
            _ = &mut stdin => {}
        }
    })
}
