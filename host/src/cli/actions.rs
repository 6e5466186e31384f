//! `exeunt actions`: who did what, and why.

use clap::Args;

use super::Exit;
use super::client::{Client, ServerArgs, read};
use super::jobs::pretty;
use super::page::{PageArgs, more};
use super::table::{moment, or_dash, scope, show, table};
use crate::console::ActionPage;

/// Shows what people did, newest first: leavers that they reported, events that they replayed, and what they did to jobs,
/// pauses, parked connectors and breakers. What is done by `reload` is the host's own, when files changed.
#[derive(Debug, Args)]
pub(super) struct Actions {
    #[command(flatten)]
    server: ServerArgs,
    /// Only what concerns this tenant, as does what is done to everything.
    #[arg(long)]
    tenant: Option<String>,
    /// Only what was done with this token.
    #[arg(long, value_name = "TOKEN'S NAME")]
    by: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

impl Actions {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        show(&self.text(&self.server.client()?).await?)
    }

    async fn text(&self, client: &Client) -> anyhow::Result<String> {
        let answer = self
            .page
            .get(
                client,
                "actions",
                &[("tenant", self.tenant.as_deref()), ("actor", self.by.as_deref())],
            )
            .await?;
        if self.page.json {
            return pretty(&answer);
        }
        let page: ActionPage = read(answer)?;
        let rows = page.actions.iter().map(|done| {
            [
                moment(done.action.at),
                done.action.actor.clone(),
                done.action.verb.clone(),
                scope(done.tenant.as_deref(), done.connector.as_deref()),
                or_dash(done.job),
                or_dash(Some(&done.action.detail).filter(|detail| !detail.is_empty())),
            ]
        });
        let text = table(["AT", "BY", "ACTION", "ON", "JOB", "WHY"], rows);
        Ok(text + &more(page.next.as_deref()))
    }
}

#[cfg(test)]
#[path = "actions_tests.rs"]
mod tests;
