//! What is read again while the process runs: tenants and plugins, tokens, the certificate.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use secrecy::SecretString;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::serve::stop;
use crate::dispatch::Registry;
use crate::intake::http::Certificates;
use crate::tenant::{HostConfig, TlsConfig, Tokens};

/// How often files are looked at. A secret that was rotated counts within this time.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long one look may take before it is said that something hangs: 90 seconds, more than a thousand tenants take on a
/// slow disk.
const LOOK_WITHIN: Duration = Duration::from_secs(90);

/// How the looks at the files go, for `/readyz`.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    /// When the one that goes on began.
    began: Option<Instant>,
    /// The last mistakes in tenants, tokens and the certificate, so that they are said once.
    said: [Option<String>; 3],
}

impl Looks {
    /// What is wrong.
    pub(super) fn problems(&self) -> Vec<String> {
        let last = self.last();
        let takes = last.began.map(|began| began.elapsed());
        let hangs = takes.filter(|takes| *takes > LOOK_WITHIN).map(|takes| {
            format!(
                "the files have been looked at for {} s, and no change counts meanwhile: a file or its disk hangs",
                takes.as_secs()
            )
        });
        // Those of tenants the registry knows.
        let mistakes = last.said[1..].iter().flatten().cloned();
        hangs.into_iter().chain(mistakes).collect()
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is read again while the process runs.
#[derive(Debug)]
pub(super) struct Watched {
    registry: Arc<Registry>,
    pub(super) looks: Arc<Looks>,
    pub(super) tokens: Arc<ArcSwap<Tokens>>,
    tokens_file: PathBuf,
    pub(super) tls: Option<(TlsConfig, Certificates)>,
}

impl Watched {
    pub(super) fn open(host: &HostConfig, registry: &Arc<Registry>) -> anyhow::Result<Self> {
        let tokens = Tokens::load(&host.server.tokens)?;
        if tokens.is_empty() {
            tracing::warn!(
                "{} has no tokens: nobody can operate this host; run `exeunt token new`",
                host.server.tokens.display()
            );
        }
        let tls = host.server.tls.as_ref();
        let tls = tls.map(|tls| {
            let (chain, key) = read_certificate(tls)?;
            let certificates = Certificates::new(&chain, &key);
            let certificates = certificates.map_err(|problem| anyhow!("{}: {problem}", tls.certificate.display()))?;
            anyhow::Ok((tls.clone(), certificates))
        });
        Ok(Self {
            registry: Arc::clone(registry),
            looks: Arc::default(),
            tokens: Arc::new(ArcSwap::from_pointee(tokens)),
            tokens_file: host.server.tokens.clone(),
            tls: tls.transpose()?,
        })
    }

    async fn look(&mut self) {
        self.looks.last().began = Some(Instant::now());
        let refreshed = self.registry.refresh().await;
        let refreshed = refreshed.context("the files were not loaded, what runs goes on");
        let results = [refreshed, self.look_at_tokens().await, self.look_at_tls().await];
        let mut last = self.looks.last();
        last.began = None;
        for (result, said) in results.into_iter().zip(&mut last.said) {
            let problem = result.err().map(|error| format!("{error:#}"));
            if let Some(problem) = problem.as_ref().filter(|problem| said.as_ref() != Some(problem)) {
                tracing::error!("{problem}");
            }
            *said = problem;
        }
    }

    // Files are read aside: on a disk that hangs, the threads that serve must go on.
    async fn look_at_tokens(&self) -> anyhow::Result<()> {
        let file = self.tokens_file.clone();
        let loaded = tokio::task::spawn_blocking(move || Tokens::load(&file)).await??;
        if loaded != **self.tokens.load() {
            self.tokens.store(Arc::new(loaded));
        }
        Ok(())
    }

    /// A renewed certificate counts for connections from now on. Two small files are read; comparing what they look
    /// like would save little, and miss a renewal while they are read.
    async fn look_at_tls(&self) -> anyhow::Result<()> {
        let Some((tls, certificates)) = &self.tls else {
            return Ok(());
        };
        let files = tls.clone();
        let (chain, key) = tokio::task::spawn_blocking(move || read_certificate(&files)).await??;
        let replaced = certificates.replace(&chain, &key);
        replaced.map_err(|problem| anyhow!("{}: {problem}; the old one stays", tls.certificate.display()))
    }
}

/// Looks at what is watched every few seconds, and at SIGHUP.
pub(super) async fn look(mut watched: Watched, mut hangup: Signal, mut stopped: watch::Receiver<bool>) {
    let mut ticker = tokio::time::interval(LOOK_EVERY);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop(&mut stopped) => return,
            Some(()) = hangup.recv() => tracing::info!("SIGHUP: looking at the files now"),
            _ = ticker.tick() => {}
        }
        // Files that hang, or a registry, must not hold up the end.
        tokio::select! {
            () = stop(&mut stopped) => return,
            () = watched.look() => {}
        }
    }
}

fn read_certificate(tls: &TlsConfig) -> anyhow::Result<(Vec<u8>, SecretString)> {
    let chain = std::fs::read(&tls.certificate)
        .with_context(|| format!("cannot read the certificate {}", tls.certificate.display()))?;
    Ok((chain, tls.key.resolve()?))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tokio::time::{advance, pause};

    use super::*;
    use crate::clock::SystemClock;
    use crate::dispatch::Runtime;
    use crate::journal::{Journal, Options};
    use crate::sandbox::{Sandbox, SandboxLimits};

    #[tokio::test]
    async fn a_file_that_hangs_is_said_and_so_is_one_with_a_mistake() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        std::fs::create_dir(path("tenants")).unwrap();
        std::fs::write(path("exeunt.toml"), "").unwrap();
        let host = HostConfig::load(&path("exeunt.toml")).unwrap();
        let url = format!("sqlite:{}", path("j.db").display());
        let journal = Journal::open(&url, Options::default()).await.unwrap();
        let sandbox = Sandbox::new(SandboxLimits::default()).unwrap();
        let runtime = Arc::new(Runtime::new(sandbox, Arc::new(SystemClock)));
        let registry = Arc::new(Registry::new(runtime, host.clone(), journal));
        let mut watched = Watched::open(&host, &registry).unwrap();
        let looks = Arc::clone(&watched.looks);
        watched.look().await;
        assert_eq!(looks.problems(), Vec::<String>::new());

        let pipe = &host.server.tokens;
        assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
        let looking = tokio::spawn(async move {
            watched.look().await;
            watched
        });
        while looks.last().began.is_none() {
            tokio::task::yield_now().await;
        }
        pause();
        advance(LOOK_WITHIN - Duration::from_secs(10)).await;
        assert_eq!(looks.problems(), Vec::<String>::new());
        advance(Duration::from_secs(11)).await;
        assert!(
            looks.problems()[0].contains("have been looked at for"),
            "{:?}",
            looks.problems()
        );

        let (writer, text) = (pipe.clone(), "no tokens");
        let written = tokio::task::spawn_blocking(move || std::fs::write(writer, text));
        written.await.unwrap().unwrap();
        let mut watched = looking.await.unwrap();
        let problems = looks.problems();
        assert!(problems.len() == 1 && problems[0].contains("tokens"), "{problems:?}");
        std::fs::remove_file(pipe).unwrap();
        watched.look().await;
        assert_eq!(looks.problems(), Vec::<String>::new());
    }
}
