//! `exeunt demo`: the whole procedure, for real, against a DocuSign simulator.
//!
//! The same tenant file would run against DocuSign itself: only `exeunt.toml` sends the sockets elsewhere.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use super::run::{Report, connectors, handle, source};
use super::signals::End;
use super::table::{say, show};
use super::{Exit, runtime, timeline};
use crate::clock::{Clock, SystemClock};
use crate::dispatch::Connector;
use crate::evidence::Outcome;
use crate::intake::Source;
use crate::tenant::{HostConfig, Tenant};
use simulator::Simulator;

mod files;
mod simulator;

/// Shows the whole procedure against a DocuSign simulator.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// End after the scenes, with 0 only if each went as it should. Without it the simulator stays up to play with.
    #[arg(long)]
    once: bool,
    /// The simulator. Default: `docusign-sim` beside this program.
    #[arg(long, value_name = "FILE")]
    simulator: Option<PathBuf>,
    /// Folder with docusign.wasm. Default: `plugins` beside this program's folder, as `make` leaves it.
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
}

/// Everything that a scene needs.
struct Stage {
    simulator: Simulator,
    connectors: Vec<Connector>,
    source: Source,
    failures: Vec<String>,
}

impl Demo {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let mut end = End::listen()?;
        let mut exit = Exit::Problem;
        // Told to end, by Ctrl-C or SIGTERM, it takes its folders and the simulator away like after the last scene.
        tokio::select! {
            ended = self.perform(&mut exit) => ended?,
            () = end.asked() => {}
        }
        Ok(exit)
    }

    /// Ends after the scenes, or never. Says how they went as soon as it is known.
    async fn perform(self, exit: &mut Exit) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let beside = |name: &str| program.parent().map(|folder| folder.join(name)).unwrap_or_default();
        let plugins = self.plugins.unwrap_or_else(|| beside("../plugins"));
        let plugins = plugins.canonicalize().with_context(|| {
            format!(
                "there is no folder {}; `make plugins` builds the plugins",
                plugins.display()
            )
        })?;
        if !plugins.join("docusign.wasm").exists() {
            bail!("{} has no docusign.wasm; `make plugins` builds it", plugins.display());
        }
        let folder = tempfile::tempdir().context("cannot make a folder for the demonstration")?;
        let simulator =
            Simulator::start(&self.simulator.unwrap_or_else(|| beside("docusign-sim")), folder.path()).await?;
        let file = files::write(folder.path(), &plugins, &simulator.addresses)?;
        let host = HostConfig::locate(None, &file)?;
        let tenant = Tenant::load(&file, &host)?;
        let source = source(&tenant, "hr")?;
        let connectors = connectors(&runtime(&host)?, &tenant, &source).await?;
        let mut stage = Stage {
            simulator,
            connectors,
            source,
            failures: Vec::new(),
        };
        stage.play().await?;
        *exit = stage.verdict()?;
        if !self.once {
            stage.invite(&file).await?;
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

impl Stage {
    async fn play(&mut self) -> anyhow::Result<()> {
        let ann = self.person("ann.english@acme.example", "Ann English").await?;
        let event = files::event("Ann.English@acme.example", "Ann English")?;
        title(
            1,
            "SailPoint says that Ann English left: her DocuSign account is closed, and proved closed",
        )?;
        self.scene(&event, &ann, false, Outcome::Closed, "Closed").await?;
        title(2, "the same event again: nothing left to do, and nothing is done")?;
        self.scene(&event, &ann, false, Outcome::AlreadyClosed, "Closed")
            .await?;

        let letty = self.person("letty.wilson@acme.example", "Letty Wilson").await?;
        let event = files::event("letty.wilson@acme.example", "Letty Wilson")?;
        title(3, "a dry run: what would be closed is shown, and nothing is touched")?;
        self.scene(&event, &letty, true, Outcome::Planned, "Active").await?;

        let ceo = self.person("ceo@acme.example", "Cecilia Ode").await?;
        let event = files::event("ceo@acme.example", "Cecilia Ode")?;
        title(4, "a protected person: refused by policy, whatever the event says")?;
        self.scene(&event, &ceo, false, Outcome::Refused, "Active").await?;

        let martin = self.person("martin.heath@acme.example", "Martin Heath").await?;
        let event = files::event("martin.heath@acme.example", "Martin Heath")?;
        self.simulator.refuse_close(&martin).await?;
        title(
            5,
            "a target that lies: 200 OK with an error inside. A workflow step would turn green here",
        )?;
        self.scene(&event, &martin, false, Outcome::Failed, "Active").await
    }

    async fn person(&self, email: &str, name: &str) -> anyhow::Result<String> {
        self.simulator.add_user(email, name).await
    }

    async fn scene(
        &mut self,
        event: &[u8],
        id: &str,
        dry_run: bool,
        wanted: Outcome,
        status: &str,
    ) -> anyhow::Result<()> {
        let before = self.simulator.status(id).await?;
        let report = handle(&self.connectors, &self.source, event, dry_run, SystemClock.now()).await;
        let after = self.simulator.status(id).await?;
        say(format_args!("docusign {before} (the simulator's own books, before)"))?;
        show(&timeline::report(&report))?;
        say(format_args!("docusign {after} (after)"))?;
        if outcome(&report) != Some(wanted) {
            self.failures
                .push(format!("expected {wanted:?}, got {:?}", outcome(&report)));
        }
        if after != status {
            self.failures
                .push(format!("expected the simulator to hold {status}, it holds {after}"));
        }
        Ok(())
    }

    fn verdict(&self) -> anyhow::Result<Exit> {
        if self.failures.is_empty() {
            return show("\nall five scenes went as they should\n");
        }
        say("")?;
        for failure in &self.failures {
            say(format_args!("NOT AS IT SHOULD BE: {failure}"))?;
        }
        Ok(Exit::Problem)
    }

    async fn invite(&self, file: &std::path::Path) -> anyhow::Result<()> {
        let folder = file
            .parent()
            .and_then(std::path::Path::parent)
            .context("the tenant file has no folder")?;
        let event = folder.join("event.json");
        let person = self.person("paula.norman@acme.example", "Paula Norman").await?;
        std::fs::write(&event, files::event("paula.norman@acme.example", "Paula Norman")?)
            .context("cannot write an event")?;
        say("\nThe simulator stays up until Ctrl-C. Try it yourself, in another terminal:")?;
        say(format_args!("  exeunt check --tenant {}", file.display()))?;
        say(format_args!(
            "  exeunt run --tenant {} --source hr --event {}",
            file.display(),
            event.display()
        ))?;
        say(format_args!(
            "  curl -s http://{}/_sim/users/{person}",
            self.simulator.addresses.control_addr
        ))
    }
}

fn outcome(report: &Report) -> Option<Outcome> {
    report.jobs.first().and_then(|job| job.outcome)
}

fn title(number: u32, text: &str) -> anyhow::Result<()> {
    say(format_args!("\n--- {number}. {text}"))
}
