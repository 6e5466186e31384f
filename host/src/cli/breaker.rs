//! `exeunt breaker`: what the count breaker withheld.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Exit;
use super::client::{ServerArgs, read};
use super::table::show;
use crate::console::Released;

/// Lets closures go on that the limit (breaker) has stopped.
#[derive(Debug, Subcommand)]
pub(super) enum Breaker {
    /// Starts the window anew and lets go what was withheld, until the limit is reached again.
    ///
    /// Look at `exeunt jobs list --why breaker` first: the breaker opens where more accounts are about to be closed
    /// than is usual.
    Release(Release),
}

/// Starts the window anew and lets go what was withheld, until the limit is reached again.
#[derive(Debug, Args)]
pub(super) struct Release {
    #[command(flatten)]
    server: ServerArgs,
    /// Tenant.
    tenant: String,
    /// Connector.
    connector: String,
    /// Why they may be closed. Kept with the name of the token.
    #[arg(long)]
    reason: String,
}

impl Breaker {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let Self::Release(release) = self;
        let body = json!({ "tenant": release.tenant, "connector": release.connector, "reason": release.reason });
        let answer = release
            .server
            .client()?
            .post(&["v1", "breaker", "release"], &body)
            .await?;
        let released: Released = read(answer)?;
        show(&format!(
            "the breaker is closed; {} jobs go on, until its limit is reached again\n",
            released.released
        ))
    }
}
