//! What is read again while the process runs: tenants and plugins, tokens, the certificate.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use secrecy::SecretString;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::time::Instant;

use super::serve::stop;
use crate::clock::ticker;
use crate::dispatch::LiveTenants;
use crate::intake::http::Certificates;
use crate::tenant::{HostConfig, TlsConfig, Tokens};

/// How often files are looked at. A secret that was rotated counts within this time.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often plugins that nobody uses are looked for: every minute. In that time a tenant can pull some gigabytes.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How long one look may take before it is said that something hangs: 90 seconds, more than a thousand tenants take on a
/// slow disk.
const LOOK_WITHIN: Duration = Duration::from_secs(90);

/// What is looked at, each by itself: a tenant's disk that hangs must not keep a revoked token valid.
#[derive(Debug, Clone, Copy)]
enum Part {
    Tenants,
    Tokens,
    Certificate,
}

impl Part {
    const ALL: [Self; 3] = [Self::Tenants, Self::Tokens, Self::Certificate];

    fn words(self) -> &'static str {
        match self {
            Self::Tenants => "the files of tenants",
            Self::Tokens => "the file of tokens",
            Self::Certificate => "the certificate",
        }
    }
}

/// How the looks at the files go, for `/readyz`.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<[Last; 3]>);

#[derive(Debug, Default)]
struct Last {
    /// When the look that goes on began.
    began: Option<Instant>,
    /// The last mistake, so that it is said once.
    said: Option<String>,
}

impl Looks {
    /// What is wrong.
    pub(super) fn problems(&self) -> Vec<String> {
        let lasts = self.lasts();
        let hangs = Part::ALL.into_iter().filter_map(|part| {
            let takes = lasts[part as usize].began?.elapsed();
            (takes > LOOK_WITHIN).then(|| {
                format!(
                    "the look at {} has taken {} s so far, and no change there counts meanwhile: a file or its disk hangs",
                    part.words(),
                    takes.as_secs()
                )
            })
        });
        // Those of tenants are known to whoever loads them.
        let mistakes = lasts[1..].iter().filter_map(|last| last.said.clone());
        hangs.chain(mistakes).collect()
    }

    fn begin(&self, part: Part) {
        self.lasts()[part as usize].began = Some(Instant::now());
    }

    fn end(&self, part: Part, result: anyhow::Result<()>) {
        let problem = result.err().map(|error| format!("{error:#}"));
        let mut lasts = self.lasts();
        let last = &mut lasts[part as usize];
        if let Some(problem) = problem.as_ref().filter(|problem| last.said.as_ref() != Some(problem)) {
            tracing::error!("{problem}");
        }
        *last = Last {
            began: None,
            said: problem,
        };
    }

    fn lasts(&self) -> MutexGuard<'_, [Last; 3]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is read again while the process runs.
#[derive(Debug)]
pub(super) struct Watched {
    tenants: Arc<LiveTenants>,
    pub(super) looks: Arc<Looks>,
    pub(super) tokens: Arc<ArcSwap<Tokens>>,
    tokens_file: PathBuf,
    pub(super) tls: Option<(TlsConfig, Certificates)>,
}

impl Watched {
    pub(super) fn open(host: &HostConfig, tenants: &Arc<LiveTenants>) -> anyhow::Result<Self> {
        let tokens = Tokens::load(&host.server.tokens)?;
        if tokens.is_empty() {
            tracing::warn!(
                "{} has no valid token: nobody can operate this host; run `exeunt token new`",
                host.server.tokens.display()
            );
        }
        let tls = host.server.tls.as_ref();
        let tls = tls.map(|tls| {
            let (chain, key) = read_certificate(tls)?;
            let certificates = Certificates::new(&chain, &key);
            let certificates =
                certificates.map_err(|problem| anyhow!("`tls` of exeunt.toml: {}: {problem}", both(tls)))?;
            anyhow::Ok((tls.clone(), certificates))
        });
        Ok(Self {
            tenants: Arc::clone(tenants),
            looks: Arc::default(),
            tokens: Arc::new(ArcSwap::from_pointee(tokens)),
            tokens_file: host.server.tokens.clone(),
            tls: tls.transpose()?,
        })
    }

    async fn look(&self, part: Part) {
        self.looks.begin(part);
        let result = match part {
            Part::Tenants => {
                let refreshed = self.tenants.look().await;
                refreshed.context("the files were not loaded, what runs goes on")
            }
            Part::Tokens => self.look_at_tokens().await,
            Part::Certificate => self.look_at_tls().await,
        };
        self.looks.end(part, result);
    }

    /// Looks every few seconds, and when it is rung for.
    async fn look_again(&self, part: Part, mut rung: watch::Receiver<()>) {
        let mut ticks = ticker(LOOK_EVERY);
        loop {
            tokio::select! {
                Ok(()) = rung.changed() => {}
                _ = ticks.tick() => {}
            }
            self.look(part).await;
        }
    }

    /// Does what files ask of the journal. Apart from the looks, which must not wait for a database that does not answer.
    async fn settle_again(&self) {
        let mut ticks = ticker(LOOK_EVERY);
        loop {
            ticks.tick().await;
            self.tenants.settle().await;
        }
    }

    /// Deletes plugins that nobody uses. Apart from the looks, which must not wait for the disk that they are on.
    async fn sweep_again(&self) {
        let mut ticks = ticker(SWEEP_EVERY);
        loop {
            ticks.tick().await;
            self.tenants.sweep().await;
        }
    }

    // Files are read aside: on a disk that hangs, the threads that serve must go on.
    async fn look_at_tokens(&self) -> anyhow::Result<()> {
        let file = self.tokens_file.clone();
        let loaded = tokio::task::spawn_blocking(move || Tokens::load(&file)).await??;
        let before = self.tokens.load();
        if loaded != **before {
            if loaded.is_empty() && !before.is_empty() {
                tracing::warn!(
                    "{} holds no valid token any more: nobody can operate this host",
                    self.tokens_file.display()
                );
            }
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
        replaced.map_err(|problem| anyhow!("{}: {problem}; the old one stays", both(tls)))
    }
}

/// Looks at what is watched every few seconds, and at SIGHUP.
pub(super) async fn look(watched: Watched, mut hangup: Signal, mut stopped: watch::Receiver<bool>) {
    let (bell, rung) = watch::channel(());
    let ring = async {
        while let Some(()) = hangup.recv().await {
            tracing::info!("SIGHUP: looking at the files now");
            bell.send_replace(());
        }
    };
    let look = |part| watched.look_again(part, rung.clone());
    let looks = async {
        tokio::join!(
            ring,
            look(Part::Tenants),
            look(Part::Tokens),
            look(Part::Certificate),
            watched.settle_again(),
            watched.sweep_again()
        )
    };
    // Files that hang, or a registry, must not hold up the end.
    tokio::select! {
        () = stop(&mut stopped) => {}
        _ = looks => {}
    }
}

/// Where certificate and key are: either may be what is wrong.
fn both(tls: &TlsConfig) -> String {
    format!("{} with the key {}", tls.certificate.display(), tls.key)
}

fn read_certificate(tls: &TlsConfig) -> anyhow::Result<(Vec<u8>, SecretString)> {
    let chain = std::fs::read(&tls.certificate).with_context(|| {
        format!(
            "`tls` of exeunt.toml: cannot read the certificate {}",
            tls.certificate.display()
        )
    })?;
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
        let tenants = Arc::new(LiveTenants::new(runtime, host.clone(), journal));
        let watched = Arc::new(Watched::open(&host, &tenants).unwrap());
        let looks = Arc::clone(&watched.looks);
        let all = async || tokio::join!(watched.look(Part::Tenants), watched.look(Part::Tokens)).0;
        all().await;
        assert_eq!(looks.problems(), Vec::<String>::new());

        let pipe = &host.server.tokens;
        assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
        let hung = Arc::clone(&watched);
        let looking = tokio::spawn(async move { hung.look(Part::Tokens).await });
        while looks.lasts()[Part::Tokens as usize].began.is_none() {
            tokio::task::yield_now().await;
        }
        // One that hangs holds up nobody else.
        watched.look(Part::Tenants).await;
        pause();
        advance(LOOK_WITHIN - Duration::from_secs(10)).await;
        assert_eq!(looks.problems(), Vec::<String>::new());
        advance(Duration::from_secs(11)).await;
        let problems = looks.problems();
        assert!(
            problems[0].contains("the look at the file of tokens has taken"),
            "{problems:?}"
        );

        let (writer, text) = (pipe.clone(), "no tokens");
        let written = tokio::task::spawn_blocking(move || std::fs::write(writer, text));
        written.await.unwrap().unwrap();
        looking.await.unwrap();
        let problems = looks.problems();
        assert!(problems.len() == 1 && problems[0].contains("tokens"), "{problems:?}");
        std::fs::remove_file(pipe).unwrap();
        all().await;
        assert_eq!(looks.problems(), Vec::<String>::new());
    }
}
