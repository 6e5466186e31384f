//! `exeunt check`: everything short of closing.

use std::path::PathBuf;

use clap::Args;

use super::timeline::clean;
use super::{Exit, runtime};
use crate::dispatch::{Stop, probe};
use crate::intake;
use crate::tenant::{HostConfig, Mode, Tenant};

/// Checks a tenant: everything short of closing.
///
/// Reads the files, loads the plugins, holds the settings against their schemas, mints a token and reads the first
/// page of accounts of each connector. Exit code 0: all is well. 1: a target said no. 2: the files are wrong.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Tenant file.
    #[arg(long, value_name = "FILE")]
    tenant: PathBuf,
    /// Host file. Default: exeunt.toml above the folder of the tenant file, where it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Check {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let host = HostConfig::locate(self.config.as_deref(), &self.tenant)?;
        let tenant = Tenant::load(&self.tenant, &host)?;
        println!("tenant     {}: {} reads well", tenant.name, tenant.file.display());
        for source in intake::sources(&tenant)?.values() {
            println!("source     {}: feeds {}", source.name(), source.connectors().join(", "));
        }
        let runtime = runtime()?;
        let mut exit = Exit::Success;
        for config in tenant.connectors.values() {
            let connector = runtime.connector(&tenant, config).await?;
            let identity = connector.identity();
            println!(
                "connector  {}: {} {}, {}",
                config.name, identity.name, identity.version, identity.digest
            );
            let probe = probe(&connector).await;
            for exchange in probe.transcript.iter().flat_map(|call| &call.exchanges) {
                let status = exchange
                    .status
                    .map_or_else(|| "no answer".to_owned(), |status| status.to_string());
                println!(
                    "           {} {} {}: {status}",
                    exchange.method,
                    exchange.endpoint,
                    clean(&exchange.path)
                );
            }
            match probe.first_page {
                Ok(count) => println!("           a token was minted, and the first page has {count} accounts"),
                Err(stop) => {
                    exit = Exit::Problem;
                    println!("           PROBLEM {}", clean(&advice(&stop)));
                }
            }
            if config.mode == Mode::DryRun {
                println!("           mode is dry-run: nothing will be closed until the file says mode = \"enforce\"");
            }
        }
        Ok(exit)
    }
}

fn advice(stop: &Stop) -> String {
    match stop {
        Stop::Limited { until, reason } => format!("the target asks to wait until {until}: {reason}"),
        other => other.reason().to_owned(),
    }
}
