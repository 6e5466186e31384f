//! The command line: one file a command.
//!
//! Exit codes are part of the interface, so they are data ([`Exit`]), and a command returns one instead of ending the
//! process.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::clock::SystemClock;
use crate::dispatch::Runtime;
use crate::sandbox::{Compiler, PluginCache, Sandbox, SandboxLimits};
use crate::tenant::{HostConfig, Tenant};

mod actions;
mod breaker;
mod check;
mod client;
mod compile;
mod core_dumps;
mod demo;
mod each;
mod events;
mod history;
mod jobs;
mod journal;
mod lanes;
mod leaver;
mod own;
mod page;
mod pause;
mod plugin;
mod replay;
mod run;
mod serve;
mod signals;
mod status;
mod sweep;
mod table;
mod telemetry;
mod timeline;
mod token;
mod watched;

/// Exeunt: closes the accounts of people who left, and proves it.
#[derive(Debug, Parser)]
#[command(name = "exeunt", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    // Where there is no text here, the command's own is shown, with its exit codes. A text here would hide all of it.
    Run(run::Run),
    Check(check::Check),
    /// Builds, inspects, tries and signs plugins, and goes back to earlier ones.
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    Replay(replay::Replay),
    /// Takes events over HTTP and closes accounts, until it is stopped.
    Serve(serve::Serve),
    Status(status::Status),
    /// Lists jobs and acts on them, through the server.
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// Lists events, and judges refused ones again, through the server.
    #[command(subcommand)]
    Events(events::Events),
    /// Shows what waits at each connector.
    Lanes(lanes::Lanes),
    Actions(actions::Actions),
    Leaver(leaver::Leaver),
    Pause(pause::Pause),
    Resume(pause::Resume),
    /// Lets closures go on that the limit (breaker) has stopped.
    #[command(subcommand)]
    Breaker(breaker::Breaker),
    /// Makes, lists and revokes API tokens.
    #[command(subcommand)]
    Token(token::Token),
    /// Moves the journal between databases.
    #[command(subcommand)]
    Journal(journal::Journal),
    /// Compiles a component for the host that starts it.
    #[command(name = Compiler::COMMAND, hide = true)]
    Compile(compile::Compile),
    /// Shows the whole procedure against a DocuSign simulator.
    Demo(demo::Demo),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Every job is closed, already closed, without account or planned; or the event is not a leaver's.
    Success = 0,
    /// A check found something, something was done in part, or it may go well later as it is.
    Problem = 1,
    /// Usage or configuration.
    Usage = 2,
    /// A job is held or refused.
    Withheld = 3,
    /// A job failed or is parked.
    Failed = 4,
}

impl Exit {
    /// How a command ends with an error: [`Exit::Problem`] where the same may go well later, or some of it was done.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        if error.is::<client::Unfinished>() {
            Self::Problem
        } else {
            Self::Usage
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the command line and returns how it ended.
///
/// # Errors
///
/// What the operator has to change, or to repeat; the process ends as [`Exit::of`] says.
pub async fn main(cli: Cli) -> anyhow::Result<Exit> {
    // Before anything secret is read.
    core_dumps::off()?;
    // One TLS provider for the process; an error means that the embedder has chosen one before us.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    // `serve` has its own say, once it has read its file.
    if !matches!(cli.command, Command::Serve(_)) {
        telemetry::commands()?;
    }
    match cli.command {
        Command::Run(command) => command.run().await,
        Command::Check(command) => command.run().await,
        Command::Plugin(command) => command.run().await,
        Command::Replay(command) => command.run().await,
        Command::Serve(command) => command.run().await,
        Command::Status(command) => command.run().await,
        Command::Jobs(command) => command.run().await,
        Command::Events(command) => command.run().await,
        Command::Lanes(command) => command.run().await,
        Command::Actions(command) => command.run().await,
        Command::Leaver(command) => command.run().await,
        Command::Pause(command) => command.run().await,
        Command::Resume(command) => command.run().await,
        Command::Breaker(command) => command.run().await,
        Command::Token(command) => command.run().await,
        Command::Journal(command) => command.run().await,
        Command::Compile(command) => command.run(),
        Command::Demo(command) => command.run().await,
    }
}

/// The host's file for a command about the host itself. Where there is none, what it is about lies in this folder, and
/// may be no server's: that is said.
fn host_here(config: Option<&Path>) -> anyhow::Result<HostConfig> {
    let host = HostConfig::here(config)?;
    if host.file.is_none() {
        eprintln!("note: there is no exeunt.toml here; name the host file of a server elsewhere with --config");
    }
    Ok(host)
}

/// A tenant for a command about one: its file, or, where there is no such file, its name at the host here.
fn tenant_here(config: Option<&Path>, named: &Path) -> anyhow::Result<(HostConfig, Tenant)> {
    let name = named.to_str().filter(|name| !name.contains(['/', '.']));
    if let Some(name) = name.filter(|_| !named.exists()) {
        let host = HostConfig::here(config)?;
        let tenant = Tenant::load(&host.server.tenant_file(name), &host)?;
        return Ok((host, tenant));
    }
    let host = HostConfig::locate(config, named)?;
    let tenant = Tenant::load(named, &host)?;
    Ok((host, tenant))
}

/// A runtime with the machine's clock and default limits. It knows what the host's service has compiled and run, where
/// that is ours to read, and adds nothing to what it has run.
fn runtime(host: &HostConfig) -> anyhow::Result<Runtime> {
    let chosen = match chosen_cache()? {
        Some(cache) => Some(cache),
        // Without the error's words: they are for the service, and chown would take the folder away from it.
        None => PluginCache::open_existing(&host.server.cache).unwrap_or_else(|_| {
            eprintln!(
                "note: {} is not this user's, so it is not known here what ran before; run this as the service's user",
                host.server.cache.display()
            );
            None
        }),
    };
    let cache = chosen.map_or_else(PluginCache::temporary, Ok)?;
    Ok(Runtime::new(keeping(Some(cache))?, Arc::new(SystemClock)))
}

/// A sandbox with default limits, which compiles in processes of its own.
fn sandbox() -> anyhow::Result<Sandbox> {
    keeping(chosen_cache()?)
}

fn keeping(cache: Option<PluginCache>) -> anyhow::Result<Sandbox> {
    let sandbox = Sandbox::new(SandboxLimits::default())?.with_compiler(Compiler::of_this_program());
    Ok(match cache {
        Some(cache) => sandbox.with_cache(cache),
        None => sandbox,
    })
}

/// The folder that `EXEUNT_CACHE` names keeps what is compiled: a JavaScript or Python plugin takes seconds, and an
/// author runs it again and again.
fn chosen_cache() -> anyhow::Result<Option<PluginCache>> {
    let folder = std::env::var_os("EXEUNT_CACHE");
    Ok(folder.map(|folder| PluginCache::open(folder.as_ref())).transpose()?)
}
