//! `exeunt plugin run`: one verb by hand.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};

use crate::author::describe;
use crate::cli::jobs::pretty;
use crate::cli::table::show;
use crate::cli::{Exit, runtime, tenant_here};
use crate::dispatch::{Asked, by_hand};
use crate::evidence::{Answer, Question};
use crate::intake::Person;
use crate::tenant::{ConnectorConfig, Mode, PluginSource, did_you_mean};
use crate::text::printable;

/// Calls one verb of a plugin by hand, at the target of a tenant's connector.
///
/// Settings, keys, endpoints and limits are those of the tenant file; the plugin is FILE. A token is minted first.
/// Nothing is changed at the target, except by `close` with --close-for-real. Exit code 0: the verb answered. 1: it
/// failed. 2: usage or configuration. 3: the guard stands in the way of a closure, or there is no such account.
#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    /// Component.
    file: PathBuf,
    /// Which verb.
    verb: Verb,
    /// Tenant file, or the name of a tenant of the host file in this folder.
    #[arg(long, value_name = "FILE OR NAME")]
    tenant: PathBuf,
    /// Which of its connectors.
    #[arg(long, value_name = "NAME")]
    connector: String,
    /// Host file. Default: exeunt.toml above the folder of the tenant file, where it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// `find`: the person's e-mail address.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// `find`: the person's id in the target.
    #[arg(long, value_name = "ID")]
    target_id: Option<String>,
    /// `read` and `close`: the account's id.
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// `page`: where the page begins.
    #[arg(long)]
    cursor: Option<String>,
    /// Close the account at the target. It is not verified and no job's record says so: `exeunt leaver` does it well.
    #[arg(long)]
    close_for_real: bool,
}

/// The verbs of the contract.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Verb {
    Mint,
    Find,
    Read,
    Close,
    Page,
}

impl Run {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let question = self.question()?;
        let (host, tenant) = tenant_here(self.config.as_deref(), &self.tenant)?;
        let Some(config) = tenant.connectors.get(&self.connector) else {
            let known = tenant.connectors.keys().map(String::as_str);
            bail!(
                "{} has no [connectors.{}]; {}",
                tenant.file.display(),
                self.connector,
                did_you_mean(&self.connector, known)
            );
        };
        if matches!(question, Question::Close(_)) && config.mode == Mode::DryRun {
            return Err(config
                .at("mode")
                .error("is dry-run, so nothing is closed; write mode = \"enforce\"")
                .into());
        }
        let mut config = ConnectorConfig::clone(config);
        config.plugin = PluginSource::File(self.file.clone());
        // The file that is named here is meant, whatever the connector is pinned to. All else holds: what it may need,
        // and who must have signed it.
        config.digest = None;
        let connector = runtime(&host)?.connector(&tenant, &config).await?;
        let asked = match by_hand(&connector, question).await {
            Ok(asked) => asked,
            Err(stop) => {
                show(&format!("not closed: {}\n", printable(stop.reason())))?;
                return Ok(Exit::Withheld);
            }
        };
        asked.iter().for_each(print);
        let last = asked.last().ok_or_else(|| anyhow!("nothing was asked"))?;
        show(&pretty(&last.answer)?)?;
        Ok(match last.answer {
            Answer::Failure(_) | Answer::Fault(_) => Exit::Problem,
            _ => Exit::Success,
        })
    }

    fn question(&self) -> anyhow::Result<Question> {
        let account = || {
            let id = self.account.clone();
            id.ok_or_else(|| anyhow!("which account? write --account ID, as `find` shows it"))
        };
        Ok(match self.verb {
            Verb::Mint => Question::Mint,
            Verb::Find if self.email.is_none() && self.target_id.is_none() => {
                bail!("who? write --email ADDRESS or --target-id ID")
            }
            Verb::Find => Question::Find(Person {
                email: self.email.clone(),
                target_id: self.target_id.clone(),
                ..Person::default()
            }),
            Verb::Read => Question::Read(account()?),
            Verb::Close if !self.close_for_real => {
                bail!("this closes the account at the target; write --close-for-real if that is meant")
            }
            Verb::Close => Question::Close(account()?),
            Verb::Page => Question::Page(self.cursor.clone()),
        })
    }
}

fn print(asked: &Asked) {
    eprintln!(
        "{:<5} {}",
        asked.question.verb().as_str(),
        printable(&describe(&asked.answer))
    );
    for exchange in &asked.record.exchanges {
        let status = exchange.status.map(|status| status.to_string());
        let end = status.or_else(|| exchange.error.clone()).unwrap_or_default();
        eprintln!(
            "      {} {} {}: {} ({} ms)",
            exchange.method,
            exchange.endpoint,
            printable(&exchange.path),
            printable(&end),
            exchange.ms
        );
    }
    for line in &asked.record.log {
        eprintln!("      {} {}", line.level, printable(&line.message));
    }
}
