//! `exeunt run`: one event, one process, no server.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::jobs::pretty;
use super::table::show;
use super::{Exit, runtime, tenant_here, timeline};
use crate::dispatch::{Connector, Runtime, run_job};
use crate::evidence::{CallTranscript, JobReport, JobState, Outcome};
use crate::intake::{Decision, MAX_EVENT_BYTES, Person, Source};
use crate::tenant::{ConfigError, Tenant, did_you_mean};

/// Handles one event in this process, without a server.
///
/// Exit code 0: every job is closed, already closed, without account or planned, or the event is not a leaver's.
/// 3: the event or a job is held or refused. 4: a job failed or is parked. 2: usage or configuration. 1: the
/// transcript or the report could not be written, though all jobs went well.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Tenant file, or the name of a tenant of the host file in this folder.
    #[arg(long, value_name = "FILE OR NAME")]
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
    /// Print one JSON object instead of a timeline. A job's state is `ended`, and then it has an outcome, `held` or
    /// `parked`.
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
    pub(super) jobs: Vec<JobReport>,
}

/// What is decided about an event whose person's accounts are to be closed.
const LEAVER: &str = "leaver";
/// A leaver's event that an operator has to look at first.
const HELD: &str = "held";
/// An event that cannot be acted on.
const REFUSED: &str = "refused";

/// What the source made of it: `leaver`, `held`, `not_a_leaver` or `refused`.
#[derive(Debug, Serialize)]
pub(super) struct EventReport {
    pub(super) decision: &'static str,
    pub(super) reason: String,
    pub(super) person: Option<Person>,
}

impl Run {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let (host, tenant) = tenant_here(self.config.as_deref(), &self.tenant)?;
        let source = source(&tenant, &self.source)?;
        let event = read_event(&self.event)?;
        let runtime = runtime(&host)?;
        let connectors = connectors(&runtime, &tenant, &source).await?;
        // Before anything is closed: a path that cannot be written must not cost the report.
        let transcript = self.transcript.as_deref().map(open_transcript).transpose()?;
        let report = handle(&connectors, &source, &event, self.dry_run, runtime.clock().now()).await;
        let mut end = exit(&report);
        // What cannot be written is said, and costs nothing else: accounts are closed by now.
        if let (Some(path), Some(file)) = (&self.transcript, transcript)
            && let Err(error) = write_transcript(file, &report.jobs)
        {
            eprintln!("error: cannot write the transcript {}: {error}", path.display());
            end = end.max(Exit::Problem);
        }
        if let Err(error) = self.print(&report) {
            eprintln!("error: the report is lost: {error:#}");
            end = end.max(Exit::Problem);
        }
        Ok(end)
    }

    fn print(&self, report: &Report) -> anyhow::Result<Exit> {
        show(&match self.json {
            true => pretty(report)?,
            false => timeline::report(report),
        })
    }
}

/// Decides about an event and runs its jobs, all connectors at once. An event that the server would hold makes no job
/// here, since nobody could release it.
pub(super) async fn handle(
    connectors: &[Connector],
    source: &Source,
    event: &[u8],
    dry_run: bool,
    now: Timestamp,
) -> Report {
    let reading = source.read(event);
    let objection = source.objection(&reading, now);
    let (decision, reason, person) = match (reading.decision, objection) {
        (Decision::Leaver { person, reason }, Some((_, objection))) => {
            (HELD, format!("{reason}, but {objection}"), Some(person))
        }
        (Decision::Leaver { person, reason }, None) => (LEAVER, reason, Some(person)),
        (Decision::NotALeaver { reason }, _) => ("not_a_leaver", reason, None),
        (Decision::Refused { reason }, _) => (REFUSED, reason, None),
    };
    let jobs = match &person {
        Some(person) if decision == LEAVER => {
            let jobs = connectors.iter().map(|connector| run_job(connector, person, dry_run));
            futures_util::future::join_all(jobs).await
        }
        _ => Vec::new(),
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
        let file = File::open(path).with_context(|| format!("cannot open the event {}", path.display()))?;
        file.take(most)
            .read_to_end(&mut event)
            .with_context(|| format!("cannot read the event {}", path.display()))?;
    }
    Ok(event)
}

fn open_transcript(path: &Path) -> anyhow::Result<File> {
    // It may be the evidence of a run before.
    if path.metadata().is_ok_and(|there| there.is_file() && there.len() > 0) {
        bail!("the transcript {} is there already; name another file", path.display());
    }
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    // It names people and what a target said of them.
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .with_context(|| format!("cannot write the transcript {}", path.display()))
}

fn write_transcript(file: File, jobs: &[JobReport]) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        connector: &'a str,
        #[serde(flatten)]
        call: &'a CallTranscript,
    }
    let mut file = std::io::BufWriter::new(file);
    for job in jobs {
        for call in &job.transcript {
            let connector = &job.connector;
            serde_json::to_writer(&mut file, &Line { connector, call })?;
            writeln!(file)?;
        }
    }
    file.flush()
}

/// The worst of the jobs decides.
pub(super) fn exit(report: &Report) -> Exit {
    if [HELD, REFUSED].contains(&report.event.decision) {
        return Exit::Withheld;
    }
    let of_job = |job: &JobReport| match (job.state, job.outcome) {
        (JobState::Held, _) | (_, Some(Outcome::Refused | Outcome::Cancelled)) => Exit::Withheld,
        (JobState::Parked, _) | (_, Some(Outcome::Failed)) | (JobState::Ended, None) => Exit::Failed,
        (JobState::Ended, Some(Outcome::Closed | Outcome::AlreadyClosed | Outcome::NoAccount | Outcome::Planned)) => {
            Exit::Success
        }
    };
    report.jobs.iter().map(of_job).max().unwrap_or(Exit::Success)
}
