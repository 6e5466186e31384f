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
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::Unfinished;
use super::own::own;
use super::signals::{End, Signals};
use super::sweep::sweep;
use super::table::say;
use super::watched::{Looks, Watched, look};
use super::{Exit, telemetry};
use crate::clock::{SharedClock, SystemClock};
use crate::console::{self, Console, Health, HealthProblem, HealthReport, Phase};
use crate::dispatch::{Connectors as _, LiveTenants, Lookup, Runtime, Service, ServiceOptions};
use crate::intake::http::{ConnectionLimits, Intake, IntakeLimits, Server, router};
use crate::journal::{Journal, Lane, Options};
use crate::sandbox::PluginCache;
use crate::tenant::{HostConfig, JournalAddress, Tokens};

/// How long a stop may take as a whole, whatever hangs: 40 seconds, twice what requests and jobs get to end, and less
/// than service managers are told to wait. Jobs that are not put down by then are taken over when their leases end.
const STOP_WITHIN: Duration = Duration::from_secs(40);

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
        let Signals { hangup, mut end } = Signals::listen()?;
        let (phase, at) = watch::channel(Phase::Serving);
        let (stop, stopped) = watch::channel(false);
        let mut parts = JoinSet::new();
        let Opened {
            journal,
            place,
            drain,
            _owned,
        } = tokio::select! {
            opened = self.open(&mut parts, (stopped, at), hangup) => opened?,
            // Nothing has been taken yet.
            () = end.asked() => return Ok(Exit::Success),
        };
        let mut ended = wait_for_the_end((&journal, &place), &mut parts, &mut end).await;
        phase.send_replace(Phase::Stopping);
        if let (Ok(()), Some(drain)) = (&ended, drain) {
            tracing::info!(
                "draining: /readyz says so, and events are taken for {} s",
                drain.as_secs()
            );
            // Asked once more, it does not wait.
            if let Ok(early) = timeout(drain, wait_for_the_end((&journal, &place), &mut parts, &mut end)).await {
                ended = early;
            }
        }
        stop.send_replace(true);
        ended?;
        tracing::info!("stopping: no more events are taken, running jobs end or are released");
        let rest = async {
            while let Some(ended) = parts.join_next().await {
                ended.context("a part of the service failed while it stopped")?;
            }
            journal.close().await;
            anyhow::Ok(())
        };
        match timeout(STOP_WITHIN, rest).await {
            Ok(ended) => ended?,
            Err(_) => tracing::warn!("not everything has ended in time; what is left is taken over from the journal"),
        }
        Ok(Exit::Success)
    }

    /// Opens everything.
    async fn open(
        self,
        parts: &mut JoinSet<()>,
        (stopped, phase): (watch::Receiver<bool>, watch::Receiver<Phase>),
        hangup: Signal,
    ) -> anyhow::Result<Opened> {
        let host = HostConfig::load(&self.config)?;
        telemetry::serve(&host.server, parts, stopped.clone())?;
        let name = check_name(self.name.unwrap_or_else(host_name))?;
        let metrics = console::install_metrics().context("cannot set up metrics")?;
        let clock: SharedClock = Arc::new(SystemClock);
        let cache = PluginCache::open(&host.server.cache)?;
        let mut dispatching = ServiceOptions {
            owner: name,
            ..ServiceOptions::default()
        };
        if let Some(lease) = host.server.limits.lease {
            dispatching.lease = lease;
        }
        let (journal, owned) = open_journal(&host.server.journal, &clock, dispatching.lease).await?;
        let sandbox = super::sandbox()?.with_cache(cache);
        let runtime = Arc::new(Runtime::new(sandbox, Arc::clone(&clock)));
        let tenants = Arc::new(LiveTenants::new(runtime, host.clone(), journal.clone()));
        tenants.refresh().await?;
        let watched = Watched::open(&host, &tenants)?;
        let listener = tokio::net::TcpListener::bind(host.server.listen).await;
        let listener = listener.with_context(|| {
            format!(
                "cannot listen on {}; choose another with `listen` in {}",
                host.server.listen,
                self.config.display()
            )
        })?;
        let listening = listener.local_addr().context("the listener has no address")?;
        let state = Arc::new(State {
            tenants: Arc::clone(&tenants),
            looks: Arc::clone(&watched.looks),
            phase,
        });
        let routes = routes(&host, &journal, &state, &watched.tokens, &clock, metrics, &stopped);
        let mut server = Server::new(listener, routes).limits(connection_limits(&host)?);
        if let Some((_, certificates)) = &watched.tls {
            server = server.tls(certificates);
        }
        let dispatcher = Service::new(journal.clone(), tenants.clone(), dispatching);
        parts.spawn(server.run(stopped.clone()));
        parts.spawn(dispatcher.run(stopped.clone()));
        parts.spawn(look(watched, hangup, stopped.clone()));
        parts.spawn(sweep(journal.clone(), host.server.retention, stopped));
        // For people at a terminal; a server whose output nobody takes serves all the same.
        say(format_args!("listening on {listening}, {} tenants", tenants.count())).ok();
        Ok(Opened {
            journal,
            place: host.server.journal.to_string(),
            drain: host.server.limits.drain,
            _owned: owned,
        })
    }
}

/// What a service that runs consists of, beside its parts.
struct Opened {
    journal: Journal,
    /// Where the journal is, for an operator.
    place: String,
    /// For how long to drain.
    drain: Option<Duration>,
    /// The journal's lock, held until the process ends, however that happens.
    _owned: Option<std::fs::File>,
}

/// The journal, and its lock where it is a file that no other process may have.
async fn open_journal(
    address: &JournalAddress,
    clock: &SharedClock,
    lease: Duration,
) -> anyhow::Result<(Journal, Option<std::fs::File>)> {
    let owned = own(address)?;
    let options = Options {
        clock: Arc::clone(clock),
        ..Options::default()
    };
    let journal = Journal::open(address.resolve()?.expose_secret(), options).await?;
    if owned.is_some() {
        // Whoever had these jobs was the process before this one; waiting for most of its leases would help nobody.
        let back = journal.reclaim_all(lease).await?.len();
        tracing::info!(back, "the journal is this process's; took back what was running");
    }
    Ok((journal, owned))
}

/// Ends well when the process is asked to stop, and with an error when it could not go on: the journal's file failed,
/// or a part of it has ended. Half a service would look alive, and take events that nobody works on.
async fn wait_for_the_end(
    (journal, place): (&Journal, &str),
    parts: &mut JoinSet<()>,
    end: &mut End,
) -> anyhow::Result<()> {
    tokio::select! {
        reason = journal.broken() => {
            // Not a mistake of whoever started it: with room on the disk the same may go well.
            Err(Unfinished(format!(
                "{place}: the journal's file failed, nothing can be promised any more: {reason}; make room on its disk, or \
                 mend it, and start again"
            ))
            .into())
        }
        Some(ended) = parts.join_next() => match ended {
            Ok(()) => bail!("a part of the service has ended; start it again, and report this"),
            Err(error) => Err(anyhow!("a part of the service failed: {error}")),
        },
        () = end.asked() => Ok(()),
    }
}

/// No more connections than half of the files that may be open: the rest is for targets, plugins and the journal, and an
/// SQLite file that cannot be opened would look like one that failed.
fn connection_limits(host: &HostConfig) -> anyhow::Result<ConnectionLimits> {
    let default = ConnectionLimits::default();
    let configured = host.server.limits.connections;
    let wanted = configured.map_or(default.connections, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let files = rlimit::increase_nofile_limit(u64::MAX).context("cannot read how many files may be open")?;
    let connections = wanted.min(usize::try_from(files / 2).unwrap_or(usize::MAX));
    if connections < wanted {
        tracing::warn!(
            "{connections} connections at a time and not {wanted}: only {files} files may be open; raise LimitNOFILE= of \
             the unit, or `ulimit -n`"
        );
    }
    Ok(ConnectionLimits { connections, ..default })
}

/// The journal knows a host by its name. One that it would refuse must not be found out by the first job.
fn check_name(name: String) -> anyhow::Result<String> {
    Lane::new(name.as_str(), "name").context("--name cannot be used; write letters, digits and dots")?;
    Ok(name)
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
        directory: state.tenants.clone(),
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
    router(intake)
        .merge(console::router(console))
        .fallback(console::nowhere)
        .method_not_allowed_fallback(console::wrong_method)
}

/// Waits for the word to stop.
pub(super) async fn stop(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
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
    tenants: Arc<LiveTenants>,
    looks: Arc<Looks>,
    phase: watch::Receiver<Phase>,
}

impl Health for State {
    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    fn report(&self) -> HealthReport {
        let of_looks = self.looks.problems().into_iter();
        let of_looks = of_looks.map(|problem| (None, None, problem));
        let problems = of_looks.chain(self.tenants.problems());
        HealthReport {
            tenants: self.tenants.count(),
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
        self.tenants
            .tenant(tenant)
            .is_some_and(|live| connector.is_none_or(|connector| live.tenant.connectors.contains_key(connector)))
    }

    fn absent(&self, tenant: &str, connector: &str) -> Option<String> {
        match self.tenants.connector(tenant, connector) {
            Lookup::Absent(why) => Some(why),
            Lookup::Ready(_) | Lookup::Unready(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_journal_would_refuse_is_refused_at_the_start() {
        for name in ["", "a/b", "line\n", &"x".repeat(129)] {
            assert!(check_name(name.to_owned()).is_err(), "{name:?}");
        }
        assert!(check_name("x".repeat(128)).is_ok());
        assert!(check_name(host_name()).is_ok());
    }

    #[tokio::test]
    async fn a_part_that_ends_or_fails_ends_the_service() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("j.db").display());
        let journal = Journal::open(&url, Options::default()).await.unwrap();
        let Signals { mut end, .. } = Signals::listen().unwrap();
        let mut parts = JoinSet::new();
        parts.spawn(async { panic!("a bug") });
        let error = wait_for_the_end((&journal, "j.db"), &mut parts, &mut end)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("a part of the service failed"), "{error}");
        parts.spawn(async {});
        assert!(
            wait_for_the_end((&journal, "j.db"), &mut parts, &mut end)
                .await
                .is_err()
        );
    }
}
