//! `exeunt check`: everything short of closing.

use std::path::{Path, PathBuf};

use clap::Args;

use super::table::say;
use super::{Exit, runtime, tenant_here};
use crate::dispatch::{Connector, Stop, probe};
use crate::intake::Source;
use crate::intake::http::OpenSource;
use crate::tenant::{ConfigError, Mode, SourceConfig};
use crate::text::printable;

/// Checks a tenant: everything short of closing.
///
/// Reads the files, resolves the secrets, loads the plugins, holds the settings against their schemas, mints a token and
/// reads the first page of accounts of each connector that loads. Exit code 0: all is well. 1: a target said no. 2: the
/// files are wrong.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Tenant file, or the name of a tenant of the host file in this folder.
    #[arg(long, value_name = "FILE OR NAME")]
    tenant: PathBuf,
    /// Host file. Default: exeunt.toml above the folder of the tenant file, where it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Check {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let (host, tenant) = tenant_here(self.config.as_deref(), &self.tenant)?;
        say(format_args!("tenant     {}: {}", tenant.name, tenant.file.display()))?;
        for (granted, file) in host
            .granted_to_nobody(Path::exists)
            .filter(|(granted, _)| *granted != tenant.name)
        {
            let file = file.display();
            eprintln!("note: [tenants.{granted}] in the host's file grants something to nobody: there is no {file}");
        }
        // One mistake must not hide the next: errors are gathered, and what is well is tried all the same.
        let mut errors = Vec::new();
        for config in tenant.sources.values() {
            match check_source(config) {
                Ok(text) => say(text)?,
                Err(error) => errors.push(error),
            }
        }
        let runtime = runtime(&host)?;
        let mut exit = Exit::Success;
        for config in tenant.connectors.values() {
            match runtime.connector(&tenant, config).await {
                Ok(connector) => exit = exit.max(check_connector(&connector).await?),
                Err(error) => errors.push(error),
            }
        }
        ConfigError::collect(errors)?;
        Ok(exit)
    }
}

fn check_source(config: &SourceConfig) -> Result<String, ConfigError> {
    let source = match &config.auth {
        Some(_) => OpenSource::open(config)?.source().clone(),
        None => Source::new(config)?,
    };
    let mut text = format!("source     {}: feeds {}", source.name(), source.connectors().join(", "));
    if config.auth.is_none() {
        text.push_str("\n           it has no `auth`: `exeunt run` takes its events, `exeunt serve` does not");
    }
    Ok(text)
}

/// Asks the target, and prints what it says.
async fn check_connector(connector: &Connector) -> anyhow::Result<Exit> {
    let identity = connector.identity();
    say(format_args!(
        "connector  {}: {} {}, {}",
        connector.name, identity.name, identity.version, identity.digest
    ))?;
    let probe = probe(connector).await;
    for exchange in probe.transcript.iter().flat_map(|call| &call.exchanges) {
        let status = exchange
            .status
            .map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        say(format_args!(
            "           {} {} {}: {status}",
            exchange.method,
            exchange.endpoint,
            printable(&exchange.path)
        ))?;
    }
    let exit = match probe.first_page {
        Ok(count) => {
            say(format_args!(
                "           a token was minted, and the first page has {count} accounts"
            ))?;
            Exit::Success
        }
        Err(stop) => {
            say(format_args!("           PROBLEM {}", printable(&advice(&stop))))?;
            Exit::Problem
        }
    };
    if connector.mode == Mode::DryRun {
        say("           mode is dry-run: nothing will be closed until the file says mode = \"enforce\"")?;
    } else {
        say("           mode is enforce: leavers' accounts are closed")?;
    }
    Ok(exit)
}

fn advice(stop: &Stop) -> String {
    match stop {
        Stop::Limited { until, reason } => format!("the target asks to wait until {until}: {reason}"),
        other => other.reason().to_owned(),
    }
}
