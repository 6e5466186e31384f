//! `exeunt run`: one event, one process, no server.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde::Serialize;

use super::{Exit, runtime, timeline};
use crate::dispatch::{Connector, Runtime, run_job};
use crate::evidence::{JobRecord, JobState, Outcome};
use crate::intake::{Decision, MAX_EVENT_BYTES, Person, Source};
use crate::tenant::{ConfigError, HostConfig, Tenant, did_you_mean};

/// Handles one event in this process, without a server.
///
/// Exit code 0: every job is closed, already closed, without account or planned, or the event is not a leaver's.
/// 3: a job is held or refused. 4: a job failed or is parked. 2: usage or configuration.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Tenant file.
    #[arg(long, value_name = "FILE")]
    tenant: PathBuf,
    /// Name of one of its sources.
    #[arg(long, value_name = "NAME")]
    source: String,
    /// File with the event as it was received, or `-` for standard input.
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// Host file. Default: exeunt.toml above the folder of the tenant file, where it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Close nothing, whatever the tenant file says.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object instead of a timeline.
    #[arg(long)]
    json: bool,
    /// Write all exchanges with targets to this file, one JSON object a verb call. Secrets are blanked.
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,
}

/// What became of an event.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) event: EventReport,
    pub(super) jobs: Vec<JobRecord>,
}

/// What the source made of it.
#[derive(Debug, Serialize)]
pub(super) struct EventReport {
    pub(super) decision: &'static str,
    pub(super) reason: String,
    pub(super) person: Option<Person>,
}

impl Run {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let host = HostConfig::locate(self.config.as_deref(), &self.tenant)?;
        let tenant = Tenant::load(&self.tenant, &host)?;
        let source = source(&tenant, &self.source)?;
        let event = read_event(&self.event)?;
        let connectors = connectors(&runtime()?, &tenant, &source).await?;
        let report = handle(&connectors, &source, &event, self.dry_run).await;
        if let Some(path) = &self.transcript {
            write_transcript(path, &report.jobs)?;
        }
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &report)?;
            writeln!(out)?;
        } else {
            write!(out, "{}", timeline::report(&report))?;
        }
        Ok(exit(&report))
    }
}

/// Decides about an event and runs its jobs, all connectors at once.
pub(super) async fn handle(connectors: &[Connector], source: &Source, event: &[u8], dry_run: bool) -> Report {
    let (decision, reason, person) = match source.decide(event) {
        Decision::Leaver { person, reason } => ("leaver", reason, Some(person)),
        Decision::NotALeaver { reason } => ("not_a_leaver", reason, None),
        Decision::Refused { reason } => ("refused", reason, None),
    };
    let jobs = match &person {
        Some(person) => {
            let jobs = connectors.iter().map(|connector| run_job(connector, person, dry_run));
            futures_util::future::join_all(jobs).await
        }
        None => Vec::new(),
    };
    Report {
        event: EventReport {
            decision,
            reason,
            person,
        },
        jobs,
    }
}

/// The connectors that a source feeds. All are loaded before the first job runs: a mistake in the second one must not
/// leave half an event done.
pub(super) async fn connectors(runtime: &Runtime, tenant: &Tenant, source: &Source) -> anyhow::Result<Vec<Connector>> {
    let mut connectors = Vec::new();
    let mut errors = Vec::new();
    for name in source.connectors() {
        let config = tenant
            .connectors
            .get(name)
            .ok_or_else(|| anyhow!("no connector `{name}`"))?;
        match runtime.connector(tenant, config).await {
            Ok(connector) => connectors.push(connector),
            Err(error) => errors.push(error),
        }
    }
    ConfigError::collect(errors)?;
    Ok(connectors)
}

/// A source of the tenant, by name.
pub(super) fn source(tenant: &Tenant, name: &str) -> anyhow::Result<Source> {
    let Some(config) = tenant.sources.get(name) else {
        let known = tenant.sources.keys().map(String::as_str);
        bail!(
            "{} has no [sources.{name}]; {}",
            tenant.file.display(),
            did_you_mean(name, known)
        );
    };
    Ok(Source::new(config)?)
}

/// Reads one byte more than is allowed, so that the source can say that it is too much.
fn read_event(path: &Path) -> anyhow::Result<Vec<u8>> {
    let most = MAX_EVENT_BYTES as u64 + 1;
    let mut event = Vec::new();
    if path == Path::new("-") {
        std::io::stdin()
            .take(most)
            .read_to_end(&mut event)
            .context("cannot read the event from standard input")?;
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("cannot open the event {}", path.display()))?;
        file.take(most)
            .read_to_end(&mut event)
            .with_context(|| format!("cannot read the event {}", path.display()))?;
    }
    Ok(event)
}

fn write_transcript(path: &Path, jobs: &[JobRecord]) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        connector: &'a str,
        #[serde(flatten)]
        call: &'a crate::evidence::CallTranscript,
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    // It names people and what a target said of them.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options
        .open(path)
        .with_context(|| format!("cannot write the transcript {}", path.display()))?;
    let mut file = std::io::BufWriter::new(file);
    for job in jobs {
        for call in &job.transcript {
            serde_json::to_writer(
                &mut file,
                &Line {
                    connector: &job.connector,
                    call,
                },
            )?;
            writeln!(file)?;
        }
    }
    file.flush()
        .with_context(|| format!("cannot write the transcript {}", path.display()))
}

/// The worst of the jobs decides.
pub(super) fn exit(report: &Report) -> Exit {
    if report.event.decision == "refused" {
        return Exit::Withheld;
    }
    let of_job = |job: &JobRecord| match (job.state, job.outcome) {
        (JobState::Held, _) | (_, Some(Outcome::Refused | Outcome::Cancelled)) => Exit::Withheld,
        (JobState::Parked, _) | (_, Some(Outcome::Failed)) | (JobState::Done, None) => Exit::Failed,
        (JobState::Done, Some(Outcome::Closed | Outcome::AlreadyClosed | Outcome::NoAccount | Outcome::Planned)) => {
            Exit::Success
        }
    };
    report.jobs.iter().map(of_job).max().unwrap_or(Exit::Success)
}
