//! `exeunt serve`: everything together, until it is told to stop.
//!
//! Nothing here decides anything: rooms are opened in the order in which data flows, and closed in the same order, so
//! that what was accepted is still put down.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwap;
use clap::Args;
use secrecy::ExposeSecret;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::{Exit, runtime};
use crate::clock::{SharedClock, SystemClock};
use crate::console::{self, Console, Health, HealthProblem, HealthReport, Phase};
use crate::dispatch::{Registry, Service, ServiceOptions};
use crate::intake::http::{Certificates, Intake, IntakeLimits, Server, router};
use crate::journal::{Journal, Options};
use crate::tenant::{HostConfig, JournalAddress, Tokens};

/// How often files are looked at. A secret that was rotated counts within this time.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often transcripts past their retention are deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Takes events over HTTP and closes accounts, until it is stopped.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Host file.
    #[arg(long, value_name = "FILE", default_value = "exeunt.toml")]
    config: PathBuf,
    /// Names this host to operators. Default: the machine's name and the process's number.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl Serve {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let host = HostConfig::load(&self.config)?;
        let metrics = console::install_metrics().context("cannot set up metrics")?;
        let clock: SharedClock = Arc::new(SystemClock);
        // Held until the process ends, however that happens.
        let owned = own(&host.server.journal)?;
        let address = host.server.journal.resolve()?;
        let journal = Journal::open(
            address.expose_secret(),
            Options {
                clock: Arc::clone(&clock),
                ..Options::default()
            },
        )
        .await?;
        if owned.is_some() {
            // Whoever had these jobs was the process before this one; waiting for its leases would help nobody.
            let back = journal.reclaim_all().await?.len();
            tracing::info!(back, "the journal is this process's; took back what was running");
        }
        let registry = Arc::new(Registry::new(Arc::new(runtime()?), &host, journal.clone()));
        registry.refresh().await?;
        let tokens = Arc::new(ArcSwap::from_pointee(Tokens::load(&host.server.tokens)?));
        if tokens.load().is_empty() {
            tracing::warn!(
                "{} has no tokens: nobody can operate this host; run `exeunt token new`",
                host.server.tokens.display()
            );
        }
        let listener = tokio::net::TcpListener::bind(host.server.listen)
            .await
            .with_context(|| {
                format!(
                    "cannot listen on {}; choose another with `listen` in {}",
                    host.server.listen,
                    self.config.display()
                )
            })?;
        let listening = listener.local_addr().context("the listener has no address")?;

        let (stop, stopped) = watch::channel(false);
        let state = Arc::new(State {
            registry: Arc::clone(&registry),
            stopped: stopped.clone(),
        });
        let routes = routes(&host, &journal, &state, &tokens, &clock, metrics, &stopped);
        let mut server = Server::new(listener, routes);
        if let Some(tls) = &host.server.tls {
            server = server.tls(&certificates(tls)?);
        }
        let mut options = ServiceOptions {
            owner: self.name.unwrap_or_else(host_name),
            ..ServiceOptions::default()
        };
        if let Some(lease) = host.server.limits.lease {
            options.lease = lease;
        }
        let dispatcher = Service::new(journal.clone(), registry.clone(), options);
        let serving = tokio::spawn(server.run(stopped.clone()));
        let dispatching = tokio::spawn(dispatcher.run(stopped.clone()));
        let looking = tokio::spawn(look(
            registry.clone(),
            tokens,
            host.server.tokens.clone(),
            stopped.clone(),
        ));
        let sweeping = tokio::spawn(sweep(journal.clone(), clock, host.server.transcript_retention, stopped));
        println!("listening on {listening}, {} tenants", registry.names().len());

        let broken = wait_for_the_end(&journal).await?;
        stop.send_replace(true);
        if let Some(reason) = broken {
            bail!("the journal's file failed, nothing can be promised any more: {reason}");
        }
        tracing::info!("stopping: no more events are taken, running jobs end or are released");
        join([serving, dispatching, looking, sweeping]).await?;
        journal.close().await;
        Ok(Exit::Success)
    }
}

/// Ends with the journal's failure, or with none when the process is asked to stop.
async fn wait_for_the_end(journal: &Journal) -> anyhow::Result<Option<Arc<str>>> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("cannot listen for SIGTERM")?;
    tokio::select! {
        reason = journal.broken() => Ok(Some(reason)),
        _ = terminate.recv() => Ok(None),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for SIGINT").map(|()| None),
    }
}

async fn join(tasks: impl IntoIterator<Item = JoinHandle<()>>) -> anyhow::Result<()> {
    for task in tasks {
        task.await
            .map_err(|error| anyhow!("a part of the service failed: {error}"))?;
    }
    Ok(())
}

fn routes(
    host: &HostConfig,
    journal: &Journal,
    state: &Arc<State>,
    tokens: &Arc<ArcSwap<Tokens>>,
    clock: &SharedClock,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    stopped: &watch::Receiver<bool>,
) -> axum::Router {
    let mut limits = IntakeLimits::default();
    if let Some(events) = host.server.limits.events_per_second {
        limits.events_per_second = events;
    }
    let intake = Intake {
        journal: journal.clone(),
        directory: state.registry.clone(),
        tokens: Arc::clone(tokens),
        clock: Arc::clone(clock),
        limits,
        stop: stopped.clone(),
    };
    let console = Console {
        journal: journal.clone(),
        tokens: Arc::clone(tokens),
        health: state.clone(),
        metrics,
        metrics_token: host.server.metrics_token,
        clock: Arc::clone(clock),
    };
    router(intake).merge(console::router(console))
}

/// Waits for the word to stop.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}

/// Looks at the files of tenants and tokens, and loads what has changed.
async fn look(
    registry: Arc<Registry>,
    tokens: Arc<ArcSwap<Tokens>>,
    file: PathBuf,
    mut stopped: watch::Receiver<bool>,
) {
    let mut ticker = tokio::time::interval(LOOK_EVERY);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop(&mut stopped) => return,
            _ = ticker.tick() => {}
        }
        if let Err(error) = registry.refresh().await {
            tracing::error!("the files were not loaded, what runs goes on: {error:#}");
        }
        match Tokens::load(&file) {
            Ok(loaded) if loaded != **tokens.load() => tokens.store(Arc::new(loaded)),
            Ok(_) => {}
            Err(error) => tracing::error!("{error}"),
        }
    }
}

async fn sweep(journal: Journal, clock: SharedClock, retention: Duration, mut stopped: watch::Receiver<bool>) {
    let mut ticker = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            () = stop(&mut stopped) => return,
            _ = ticker.tick() => {}
        }
        let Ok(before) = clock.now().checked_sub(retention) else {
            continue;
        };
        match journal.expire_transcripts(before).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "transcripts past their retention were deleted"),
            Err(error) => tracing::error!("transcripts were not swept: {error}"),
        }
    }
}

fn certificates(tls: &crate::tenant::TlsConfig) -> anyhow::Result<Certificates> {
    let chain = std::fs::read(&tls.certificate)
        .with_context(|| format!("cannot read the certificate {}", tls.certificate.display()))?;
    Certificates::new(&chain, &tls.key.resolve()?)
        .map_err(|problem| anyhow!("{}: {problem}", tls.certificate.display()))
}

/// Takes a SQLite journal for this process alone: two would take each other's jobs back. A file beside it is locked, since
/// closing one of SQLite's own would let go of SQLite's locks. PostgreSQL is there for many, so nothing is held.
fn own(journal: &JournalAddress) -> anyhow::Result<Option<std::fs::File>> {
    let JournalAddress::Sqlite(path) = journal else {
        return Ok(None);
    };
    let mut name = path.clone().into_os_string();
    name.push(".lock");
    let cannot = || format!("cannot lock {}", name.display());
    let file = std::fs::File::create(&name).with_context(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!("another `exeunt serve` has {journal}; stop it, or use PostgreSQL, which is there for many hosts")
        }
        Err(std::fs::TryLockError::Error(error)) => Err(error).with_context(cannot),
    }
}

/// The machine's name and the process's number: two processes on one machine are two owners.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    format!("{}-{}", if name.is_empty() { "host" } else { name }, std::process::id())
}

/// What `/readyz` is told.
#[derive(Debug)]
struct State {
    registry: Arc<Registry>,
    stopped: watch::Receiver<bool>,
}

impl Health for State {
    fn report(&self) -> HealthReport {
        let problems = self.registry.problems().into_iter();
        HealthReport {
            phase: if *self.stopped.borrow() {
                Phase::Stopping
            } else {
                Phase::Serving
            },
            tenants: self.registry.names().len(),
            problems: problems
                .map(|(tenant, connector, message)| HealthProblem {
                    tenant,
                    connector,
                    message,
                })
                .collect(),
        }
    }

    fn knows(&self, tenant: &str, connector: Option<&str>) -> bool {
        self.registry
            .tenant(tenant)
            .is_some_and(|live| connector.is_none_or(|connector| live.tenant.connectors.contains_key(connector)))
    }
}
