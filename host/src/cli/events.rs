//! `exeunt events`: what came, what was decided about it, and judging it again.

use std::cell::Cell;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Exit;
use super::client::{Client, ServerArgs, read};
use super::each::each;
use super::history::who;
use super::jobs::pretty;
use super::page::{PageArgs, all_ids, more};
use super::table::{moment, show, table};
use crate::console::{EventPage, EventView};
use crate::text::printable;

/// Lists events, and judges refused ones again, through the server.
#[derive(Debug, Subcommand)]
pub(super) enum Events {
    /// Lists a tenant's events, newest first.
    List(List),
    /// Shows one event; with a token for audit, what was received.
    Show(Show),
    /// Judges events again that made no job, by their source as it is now, and accepts them if they are leavers.
    Replay(Replay),
}

/// Lists a tenant's events, newest first.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    server: ServerArgs,
    /// Tenant; a tenant's token means its own.
    #[arg(long)]
    tenant: Option<String>,
    /// Only these: leaver, not_a_leaver, refused, or replayed (which made no job when it came).
    #[arg(long)]
    decision: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

/// Shows one event; with a token for audit, what was received.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    server: ServerArgs,
    /// Event.
    id: String,
}

/// Judges events again that made no job.
///
/// Exit code 0: none of them is refused any more. 1: one still is.
#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    server: ServerArgs,
    /// Events.
    #[arg(required_unless_present = "refused", conflicts_with = "refused")]
    ids: Vec<String>,
    /// All of a tenant's that are refused.
    #[arg(long, requires = "tenant")]
    refused: bool,
    /// Tenant, with --refused.
    #[arg(long, requires = "refused")]
    tenant: Option<String>,
    /// Only this source's, with --refused.
    #[arg(long, requires = "refused")]
    source: Option<String>,
}

impl Events {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let (text, exit) = match &self {
            Self::List(list) => (list.text(&list.server.client()?).await?, Exit::Success),
            Self::Show(event) => (event.text(&event.server.client()?).await?, Exit::Success),
            Self::Replay(replay) => replay.text(&replay.server.client()?).await?,
        };
        show(&text)?;
        Ok(exit)
    }
}

impl List {
    async fn text(&self, client: &Client) -> anyhow::Result<String> {
        let filters = [
            ("tenant", self.tenant.as_deref()),
            ("decision", self.decision.as_deref()),
        ];
        let answer = self.page.get(client, "events", &filters).await?;
        if self.page.json {
            return pretty(&answer);
        }
        let page: EventPage = read(answer)?;
        let rows = page.events.iter().map(|event| {
            [
                event.id.to_string(),
                moment(event.received_at),
                format!("{}/{}", event.tenant, event.source),
                event.decision.clone(),
                who(event.person.as_ref()),
                event.reason.clone(),
            ]
        });
        let text = table(["EVENT", "RECEIVED", "SOURCE", "DECISION", "PERSON", "REASON"], rows);
        Ok(text + &more(page.next.as_deref()))
    }
}

impl Show {
    async fn text(&self, client: &Client) -> anyhow::Result<String> {
        pretty(&client.get(&["v1", "events", &self.id], &[]).await?)
    }
}

impl Replay {
    async fn text(&self, client: &Client) -> anyhow::Result<(String, Exit)> {
        let all = match &self.tenant {
            Some(tenant) => refused(client, tenant, self.source.as_deref()).await?,
            None => self.ids.clone(),
        };
        if all.is_empty() {
            let of = self
                .source
                .as_ref()
                .map_or_else(String::new, |source| format!(" of the source `{source}`"));
            return Ok((format!("no events{of} are refused\n"), Exit::Success));
        }
        let still_refused = Cell::new(false);
        let lost = |_: &str| "may have been accepted or not; replay it again, it is accepted once".to_owned();
        let text = each(&all, "event", lost, async |id| {
            let answer = client.post(&["v1", "events", id, "replay"], &json!({})).await?;
            let said = |key: &str| printable(answer.get(key).and_then(Value::as_str).unwrap_or("-"));
            let again = answer.get("duplicate") == Some(&Value::Bool(true));
            let again = if again { ", replayed before" } else { "" };
            let decision = said("decision");
            if decision == "refused" {
                still_refused.set(true);
            }
            Ok(format!("{}  {decision}{again}: {}\n", said("event"), said("reason")))
        });
        let text = text.await?;
        let exit = if still_refused.get() {
            Exit::Problem
        } else {
            Exit::Success
        };
        Ok((text, exit))
    }
}

/// The ids of all events of a tenant that are refused, the oldest first.
async fn refused(client: &Client, tenant: &str, source: Option<&str>) -> anyhow::Result<Vec<String>> {
    let filters = [("tenant", Some(tenant)), ("decision", Some("refused"))];
    let ids = |page: EventPage| {
        let is_meant = |event: &&EventView| source.is_none_or(|source| event.source == source);
        let meant = page.events.iter().filter(is_meant);
        (meant.map(|event| event.id.to_string()).collect(), page.next)
    };
    let mut all = all_ids(client, "events", &filters, ids).await?;
    all.reverse();
    Ok(all)
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
