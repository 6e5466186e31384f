//! `exeunt replay`: last week's verb calls, through a plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use uuid::Uuid;

use super::Exit;
use super::client::{ServerArgs, read};
use super::plugin::admit;
use super::table::say;
use crate::author::{Replayed, asked, read_calls, replay};
use crate::console::{JobDetail, TranscriptView};
use crate::evidence::CallTranscript;
use crate::sandbox::{Plugin, Sandbox};
use crate::text::printable;

/// Largest transcript file: 64 MiB, some thousand jobs.
const MAX_TRANSCRIPT: u64 = 64 * 1024 * 1024;

/// Runs recorded verb calls through a plugin, without a network, and shows what differs in requests and results.
///
/// Nothing is signed, minted or sent. Exit code 0: nothing differs. 1: something does. 2: usage, or nothing can be
/// replayed.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Id of a job of the server (with a token for audit), or a file that `exeunt run --transcript` wrote.
    #[arg(value_name = "JOB|FILE")]
    what: String,
    /// The plugin to run for all of them. Default: for each call the one that was recorded, from the folder of plugins.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Folder in which recorded plugins are looked for by their digests.
    #[arg(long, value_name = "FOLDER", default_value = "plugins")]
    plugins: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

impl Replay {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let calls = self.calls().await?;
        let sandbox = super::sandbox()?;
        let named = match &self.plugin {
            Some(file) => Some(admit(&sandbox, file).await?),
            None => None,
        };
        let mut recorded = BTreeMap::new();
        if named.is_none() {
            for digest in digests(&calls)? {
                recorded.insert(digest, find(&sandbox, &self.plugins, digest).await?);
            }
        }
        for plugin in named.iter().chain(recorded.values()) {
            say(format_args!("plugin  {}", plugin.digest))?;
        }
        let (mut ran, mut differing) = (0, 0);
        for (number, call) in calls.iter().enumerate() {
            let what = format!("{:<5} {}", call.verb.as_str(), printable(&asked(call)));
            // A job may have run before and after an upgrade, and a run at several connectors.
            let own = call.plugin.as_deref().and_then(|digest| recorded.get(digest));
            let Some(plugin) = named.as_ref().or(own) else {
                say(format_args!("skipped {what}: which plugin ran it was not kept"))?;
                continue;
            };
            match replay(plugin, number + 1, call).await? {
                Replayed::Skipped(why) => say(format_args!("skipped {what}: {why}"))?,
                Replayed::Ran(_, differences) if differences.is_empty() => {
                    ran += 1;
                    say(format_args!("same    {what}"))?;
                }
                Replayed::Ran(_, differences) => {
                    (ran, differing) = (ran + 1, differing + 1);
                    say(format_args!("DIFFERS {what}"))?;
                    for difference in &differences {
                        for line in difference.to_string().lines() {
                            say(format_args!("          {line}"))?;
                        }
                    }
                }
            }
        }
        if ran == 0 {
            bail!("none of the {} calls can be replayed", calls.len());
        }
        say(format_args!("\n{ran} calls replayed, {differing} differ"))?;
        Ok(if differing == 0 { Exit::Success } else { Exit::Problem })
    }

    async fn calls(&self) -> anyhow::Result<Vec<CallTranscript>> {
        let file = Path::new(&self.what);
        if !file.exists() && self.what.parse::<Uuid>().is_ok() {
            return self.calls_of_job().await;
        }
        let shown = file.display();
        let size = std::fs::metadata(file).with_context(|| format!("{shown} is neither a job's id nor a file"))?;
        if size.len() > MAX_TRANSCRIPT {
            bail!("{shown} has more than {MAX_TRANSCRIPT} bytes, the limit for a transcript");
        }
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
        read_calls(&text).with_context(|| format!("{shown} is no transcript"))
    }

    async fn calls_of_job(&self) -> anyhow::Result<Vec<CallTranscript>> {
        let answer = self.server.client()?.get(&["v1", "jobs", &self.what], &[]).await?;
        let job: JobDetail = read(answer)?;
        if let Some(left) = job.transcripts_left_out {
            eprintln!("note: {left} older transcripts are not replayed; `exeunt journal export` has them");
        }
        let Some(transcripts) = job.transcripts else {
            bail!("the token may not read transcripts; use one with the role `audit`");
        };
        let calls = transcripts.into_iter().map(|TranscriptView { calls, .. }| {
            serde_json::from_value::<Vec<CallTranscript>>(calls).context("the server's transcript cannot be read")
        });
        let calls = calls.collect::<anyhow::Result<Vec<_>>>()?.concat();
        if calls.is_empty() {
            bail!(
                "job {} has no transcript: it has not run, or the transcript is past its retention",
                self.what
            );
        }
        Ok(calls)
    }
}

/// The plugins that ran these calls.
fn digests(calls: &[CallTranscript]) -> anyhow::Result<BTreeSet<&str>> {
    let digests: BTreeSet<&str> = calls.iter().filter_map(|call| call.plugin.as_deref()).collect();
    if digests.is_empty() {
        bail!(
            "the transcript was written by a version that did not keep what verbs were called with; only newer \
             transcripts can be replayed"
        );
    }
    Ok(digests)
}

/// A plugin in a folder, by its digest.
async fn find(sandbox: &Sandbox, folder: &Path, wanted: &str) -> anyhow::Result<Plugin> {
    let shown = folder.display();
    let entries = std::fs::read_dir(folder).with_context(|| {
        format!("cannot look for plugin {wanted} in {shown}; name its file with --plugin, or the folder with --plugins")
    })?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        // Another file that cannot be read is no reason not to look further.
        let Ok(bytes) = sandbox.read(&path).await else { continue };
        if Plugin::digest_of(&bytes) == wanted {
            return admit(sandbox, &path).await;
        }
    }
    bail!("no file in {shown} is plugin {wanted}; name one with --plugin")
}
