//! `exeunt plugin test`: a script against a plugin, no network.

use std::path::PathBuf;

use clap::Args;

use super::admit;
use crate::author::{Coverage, Played, Script, play};
use crate::cli::Exit;
use crate::cli::table::say;
use crate::text::printable;

/// Runs a plugin's verbs against a scripted target: requests expected, answers given, no network and no real key.
///
/// All that production checks is checked: reach, headers, scrubbing, limits. Exit code 0: all cases are as expected. 1:
/// one is not. 2: the plugin cannot be loaded, or the script has a mistake.
#[derive(Debug, Args)]
pub(in crate::cli) struct Test {
    /// Component.
    file: PathBuf,
    /// Script: see docs/connector-guide.md.
    #[arg(long, value_name = "FILE")]
    script: PathBuf,
    /// Only the cases whose name holds this.
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
}

impl Test {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let mut script = Script::load(&self.script)?;
        if let Some(part) = &self.case {
            script.cases.retain(|case| case.name.contains(part));
            anyhow::ensure!(
                !script.cases.is_empty(),
                "no case of {} is named so",
                self.script.display()
            );
        }
        let plugin = admit(&crate::cli::sandbox()?, &self.file).await?;
        let played = play(&plugin, &script).await?;
        let mut coverage = Coverage::default();
        for played in &played {
            report(played)?;
            if played.differences.is_empty() {
                coverage.count(played.case.question.verb(), &played.answer);
            }
        }
        let failed = played.iter().filter(|played| !played.differences.is_empty()).count();
        say(format_args!(
            "\n{} cases, {failed} not as expected\n\n{coverage}",
            played.len()
        ))?;
        Ok(if failed == 0 { Exit::Success } else { Exit::Problem })
    }
}

fn report(played: &Played<'_>) -> anyhow::Result<()> {
    let verb = played.case.question.verb().as_str();
    if played.differences.is_empty() {
        return say(format_args!("ok      {verb:<5} {}", played.case.name));
    }
    say(format_args!("FAILED  {verb:<5} {}", played.case.name))?;
    for difference in &played.differences {
        for line in difference.to_string().lines() {
            say(format_args!("          {line}"))?;
        }
    }
    let came = crate::author::describe(&played.answer);
    say(format_args!("          it answered {}", printable(&came)))
}
