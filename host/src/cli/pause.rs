//! `exeunt pause`, `exeunt resume`: the kill switch.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use super::client::{Client, ServerArgs, read};
use super::table::show;
use crate::console::Resumed;
use crate::text::printable;

/// Stops closing accounts: everywhere, for a tenant or for a connector.
///
/// Takes effect at once, on all hosts; what runs is stopped before it closes anything. Events are still accepted, and
/// wait.
#[derive(Debug, Args)]
pub(super) struct Pause {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Why. Kept with the name of the token.
    #[arg(long)]
    reason: String,
}

/// Ends a pause, and lets a connector that is parked or waits try again.
///
/// Ends the pause of exactly this scope: one of everything stays in force when a tenant is resumed. With TENANT, also
/// lets its parked connectors try again; with CONNECTOR, also ends a wait that its target caused. Without TENANT, a
/// token of the host ends the pause of everything and nothing else; a tenant's token means its own tenant.
#[derive(Debug, Args)]
pub(super) struct Resume {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Why. Kept with the name of the token.
    #[arg(long)]
    reason: Option<String>,
}

/// What is meant.
#[derive(Debug, Args)]
struct ScopeArgs {
    /// Tenant. Default: everything that the token reaches.
    tenant: Option<String>,
    /// Connector. Default: all of the tenant's.
    connector: Option<String>,
}

impl ScopeArgs {
    fn body(&self) -> Value {
        let mut body = json!({});
        for (key, value) in [("tenant", &self.tenant), ("connector", &self.connector)] {
            if let Some(value) = value {
                body[key] = Value::from(value.as_str());
            }
        }
        body
    }

    fn words(&self) -> String {
        match (&self.tenant, &self.connector) {
            (Some(tenant), Some(connector)) => format!("{tenant}/{connector}"),
            (Some(tenant), None) => tenant.clone(),
            _ => "everything that this token reaches".to_owned(),
        }
    }
}

impl Pause {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        show(&self.text(&self.server.client()?).await?)
    }

    async fn text(&self, client: &Client) -> anyhow::Result<String> {
        let mut body = self.scope.body();
        body["reason"] = Value::from(self.reason.as_str());
        client.post(&["v1", "pause"], &body).await?;
        Ok(format!("paused: {}\n", self.scope.words()))
    }
}

impl Resume {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        show(&self.text(&self.server.client()?).await?)
    }

    async fn text(&self, client: &Client) -> anyhow::Result<String> {
        let mut body = self.scope.body();
        if let Some(reason) = &self.reason {
            body["reason"] = Value::from(reason.as_str());
        }
        let resumed: Resumed = read(client.post(&["v1", "resume"], &body).await?)?;
        let what = match (resumed.resumed, resumed.unparked) {
            (true, true) => "resumed, and tries again",
            (true, false) => "resumed",
            (false, true) => "was not paused, and tries again",
            (false, false) => "was not paused; `exeunt lanes` shows what is",
        };
        let mut text = format!("{}: {what}\n", self.scope.words());
        if let Some(scope) = &resumed.still_paused {
            let _ = writeln!(text, "it stays paused by the pause of {}", printable(scope));
        }
        Ok(text)
    }
}

#[cfg(test)]
#[path = "pause_tests.rs"]
mod tests;
