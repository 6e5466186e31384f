//! `exeunt jobs`: what became of leavers, and what to do about it.

use std::fmt::Write as _;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use super::Exit;
use super::client::{Client, ServerArgs, read};
use super::each::each;
use super::history::{describe, reason, state, who};
use super::page::{PageArgs, all_ids, more};
use super::table::{moment, show, table};
use crate::console::{JobDetail, JobPage, JobView, Released};
use crate::text::is_odd;

/// Lists jobs and acts on them, through the server.
#[derive(Debug, Subcommand)]
pub(super) enum Jobs {
    /// Lists jobs, newest first.
    List(List),
    /// Shows one job with its history.
    Show(Show),
    /// Runs jobs once more that ended without closing anything: some by id, or all that were given up.
    Retry(Retry),
    /// Ends jobs as cancelled: some by id, or all of a tenant's that wait.
    Cancel(Cancel),
    /// Lets held jobs go on: some by id, or all that fit.
    Release(Release),
}

/// Lists jobs, newest first.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    server: ServerArgs,
    /// Only this tenant's.
    #[arg(long)]
    tenant: Option<String>,
    /// Only this connector's; needs --tenant with a token of the host.
    #[arg(long)]
    connector: Option<String>,
    /// Only in this state: queued, parked, running, held or ended.
    #[arg(long)]
    state: Option<String>,
    /// Only with this outcome, such as failed.
    #[arg(long)]
    outcome: Option<String>,
    /// Only held for this reason, such as breaker.
    #[arg(long)]
    why: Option<String>,
    /// Only of this person, by the e-mail address of the event, or by an id where the event had no address; needs
    /// --tenant with a token of the host.
    #[arg(long, value_name = "ADDRESS OR ID")]
    person: Option<String>,
    /// Only of this event.
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Only those that were given up after too many tries.
    #[arg(long)]
    dead: bool,
    /// Only those whose account may be open: all but closed, already_closed and no_account.
    #[arg(long)]
    not_closed: bool,
    /// Only those whose event came on this day (UTC) or later, such as 2026-07-01, or at this time or later, such as
    /// 2026-07-01T09:00:00Z.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only those whose event came before this day (UTC) or time.
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

/// Shows one job with its history.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    server: ServerArgs,
    /// Job.
    id: String,
    /// Print the server's JSON; with a token for audit it holds the latest 16 MiB of transcripts.
    #[arg(long)]
    json: bool,
}

/// Ends jobs as cancelled: some by id, or all of a tenant's that wait.
#[derive(Debug, Args)]
pub(super) struct Cancel {
    #[command(flatten)]
    server: ServerArgs,
    /// Jobs.
    #[arg(required_unless_present = "waiting", conflicts_with = "waiting")]
    ids: Vec<String>,
    /// All of a tenant's that are queued, parked or held.
    #[arg(long, requires = "tenant")]
    waiting: bool,
    /// Tenant, with --waiting.
    #[arg(long, requires = "waiting")]
    tenant: Option<String>,
    /// Only this connector's, with --waiting.
    #[arg(long, requires = "waiting")]
    connector: Option<String>,
    /// Why. Kept with the name of the token.
    #[arg(long)]
    reason: String,
}

/// Runs jobs once more that ended without closing anything: some by id, or all that were given up.
#[derive(Debug, Args)]
pub(super) struct Retry {
    #[command(flatten)]
    server: ServerArgs,
    /// Jobs.
    #[arg(required_unless_present = "dead", conflicts_with = "dead")]
    ids: Vec<String>,
    /// All of a tenant's that were given up after too many tries.
    #[arg(long, requires = "tenant")]
    dead: bool,
    /// Tenant, with --dead.
    #[arg(long, requires = "dead")]
    tenant: Option<String>,
    /// Only this connector's, with --dead.
    #[arg(long, requires = "dead")]
    connector: Option<String>,
    /// Why. Kept with the name of the token.
    #[arg(long)]
    reason: String,
}

/// Lets held jobs go on: some by id, or all that fit.
#[derive(Debug, Args)]
pub(super) struct Release {
    #[command(flatten)]
    server: ServerArgs,
    /// Jobs. Without any, all held ones that fit the following.
    #[arg(conflicts_with_all = ["tenant", "connector", "why"])]
    ids: Vec<String>,
    /// All held jobs of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// All held jobs of this connector.
    #[arg(long)]
    connector: Option<String>,
    /// All jobs held for this reason, such as old-event.
    #[arg(long)]
    why: Option<String>,
    /// Why they may go on. Kept with the name of the token.
    #[arg(long)]
    reason: String,
}

impl Jobs {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let text = match &self {
            Self::List(list) => list.text(&list.server.client()?).await?,
            Self::Show(job) => job.text(&job.server.client()?).await?,
            Self::Retry(retry) => retry.text(&retry.server.client()?).await?,
            Self::Cancel(cancel) => cancel.text(&cancel.server.client()?).await?,
            Self::Release(release) => release.text(&release.server.client()?).await?,
        };
        show(&text)
    }
}

impl List {
    async fn text(&self, client: &Client) -> anyhow::Result<String> {
        let filters = [
            ("tenant", self.tenant.as_deref()),
            ("connector", self.connector.as_deref()),
            ("state", self.state.as_deref()),
            ("outcome", self.outcome.as_deref()),
            ("why", self.why.as_deref()),
            ("person", self.person.as_deref()),
            ("event", self.event.as_deref()),
            ("dead", self.dead.then_some("true")),
            ("not_closed", self.not_closed.then_some("true")),
            ("since", self.since.as_deref()),
            ("until", self.until.as_deref()),
        ];
        let answer = self.page.get(client, "jobs", &filters).await?;
        if self.page.json {
            return pretty(&answer);
        }
        let page: JobPage = read(answer)?;
        let rows = page.jobs.iter().map(|job| {
            let lane = format!("{}/{}", job.tenant, job.connector);
            [
                job.id.to_string(),
                moment(job.received_at),
                lane,
                who(job.person.as_ref()),
                state(job),
                reason(job),
            ]
        });
        let text = table(["JOB", "RECEIVED", "CONNECTOR", "PERSON", "STATE", "REASON"], rows);
        Ok(text + &more(page.next.as_deref()))
    }
}

impl Show {
    async fn text(&self, client: &Client) -> anyhow::Result<String> {
        let answer = client.get(&["v1", "jobs", &self.id], &[]).await?;
        if self.json {
            return pretty(&answer);
        }
        describe(&read(answer)?)
    }
}

impl Cancel {
    async fn text(&self, client: &Client) -> anyhow::Result<String> {
        if !self.waiting {
            return act(client, "cancel", &self.ids, &self.reason).await;
        }
        let of = (self.tenant.as_deref(), self.connector.as_deref());
        // One list and not one for each state: it goes by ids, however much waits, and no job comes from one to the next.
        let waits = |job: &JobView| ["held", "parked", "queued"].contains(&job.state.as_str());
        let waiting = all(client, ("not_closed", "true"), of, waits).await?;
        if waiting.is_empty() {
            return Ok("no jobs wait\n".to_owned());
        }
        act(client, "cancel", &waiting, &self.reason).await
    }
}

impl Retry {
    async fn text(&self, client: &Client) -> anyhow::Result<String> {
        if !self.dead {
            return act(client, "retry", &self.ids, &self.reason).await;
        }
        let of = (self.tenant.as_deref(), self.connector.as_deref());
        let dead = all(client, ("dead", "true"), of, |_| true).await?;
        if dead.is_empty() {
            return Ok("no jobs were given up\n".to_owned());
        }
        act(client, "retry", &dead, &self.reason).await
    }
}

/// The ids of all jobs of a tenant, or of one connector of it, that fit.
async fn all(
    client: &Client,
    (key, value): (&str, &str),
    (tenant, connector): (Option<&str>, Option<&str>),
    is_meant: impl Fn(&JobView) -> bool,
) -> anyhow::Result<Vec<String>> {
    let filters = [(key, Some(value)), ("tenant", tenant), ("connector", connector)];
    let ids = |page: JobPage| {
        let meant = page.jobs.iter().filter(|job| is_meant(job));
        (meant.map(|job| job.id.to_string()).collect(), page.next)
    };
    all_ids(client, "jobs", &filters, ids).await
}

impl Release {
    async fn text(&self, client: &Client) -> anyhow::Result<String> {
        if !self.ids.is_empty() {
            return act(client, "release", &self.ids, &self.reason).await;
        }
        if self.tenant.is_none() && self.connector.is_none() && self.why.is_none() {
            bail!("say which held jobs: name their ids, or give --tenant, --connector or --why");
        }
        let mut body = json!({ "reason": self.reason });
        for (key, value) in [
            ("tenant", &self.tenant),
            ("connector", &self.connector),
            ("why", &self.why),
        ] {
            if let Some(value) = value {
                body[key] = Value::from(value.as_str());
            }
        }
        let released: Released = read(client.post(&["v1", "jobs", "release"], &body).await?)?;
        let none = match released.released {
            0 => "; `exeunt jobs list --state held` shows what is held, and why",
            _ => "",
        };
        Ok(format!("{} jobs released{none}\n", released.released))
    }
}

async fn act(client: &Client, verb: &str, ids: &[String], reason: &str) -> anyhow::Result<String> {
    let lost = |id: &str| format!("may have been changed or not; see `exeunt jobs show {id}`");
    each(ids, "job", lost, async |id| {
        let path = ["v1", "jobs", id, verb];
        let job: JobDetail = read(client.post(&path, &json!({ "reason": reason })).await?)?;
        Ok(format!("{}  {}\n", job.job.id, state(&job.job)))
    })
    .await
}

/// JSON for people and `jq`. What could drive a terminal is escaped, as JSON's own form does below U+0020 only.
pub(super) fn pretty(value: &impl Serialize) -> anyhow::Result<String> {
    let mut text = String::new();
    for c in serde_json::to_string_pretty(value)?.chars() {
        // Line ends are the form's; in strings there are none. All others are below U+10000.
        match c != '\n' && is_odd(c) {
            true => write!(text, "\\u{:04x}", u32::from(c))?,
            false => text.push(c),
        }
    }
    Ok(text + "\n")
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
