//! `exeunt leaver`: reports a leaver by hand.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::HeaderName;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Exit;
use super::client::{Client, ServerArgs, read};
use super::jobs::pretty;
use super::table::{moment, show, whole_table};
use crate::text::printable;

/// Reports a leaver to the server.
///
/// Exit code 0: accepted, or with --wait: every job is closed, already closed, without account or planned. 3: a job is
/// held, refused or cancelled. 4: a job failed, or is parked until somebody changes something. 1: not over yet, since the
/// wait was over first or a connector rests until a time, or the server does not answer or has no room at the moment.
/// 2: not accepted as it is.
#[derive(Debug, Args)]
pub(super) struct Leaver {
    #[command(flatten)]
    server: ServerArgs,
    /// Tenant.
    #[arg(long)]
    tenant: String,
    #[command(flatten)]
    person: PersonArgs,
    /// Display name.
    #[arg(long)]
    name: Option<String>,
    /// Only this connector; may be given several times. Default: all of the tenant's.
    #[arg(long = "connector", value_name = "NAME")]
    connectors: Vec<String>,
    /// Wait so many seconds for the outcome: 1 to 80, or 60 where none are given.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60",
          value_parser = clap::value_parser!(u32).range(1..=80))]
    wait: Option<u32>,
    /// Repeating the command with the same key reports the same leaver, not another one.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Print the server's JSON.
    #[arg(long)]
    json: bool,
}

/// Who left.
#[derive(Debug, Args)]
struct PersonArgs {
    /// E-mail address. This or the id in the target system, since accounts are found by either.
    #[arg(long, required_unless_present = "target_id")]
    email: Option<String>,
    /// Id in the target system.
    #[arg(long)]
    target_id: Option<String>,
    /// Id in the system that the person left.
    #[arg(long)]
    id: Option<String>,
}

/// The server's answer.
#[derive(Debug, Deserialize)]
struct Answer {
    event: String,
    #[serde(default)]
    decision: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    duplicate: bool,
    #[serde(default)]
    jobs: Vec<Job>,
}

#[derive(Debug, Deserialize)]
struct Job {
    id: String,
    connector: String,
    state: String,
    outcome: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    until: Option<Timestamp>,
}

impl Leaver {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let (text, exit) = self.report(&self.server.client()?).await?;
        if let Err(error) = show(&text) {
            eprintln!("error: the leaver was accepted, but {error:#}");
            return Ok(exit.max(Exit::Problem));
        }
        Ok(exit)
    }

    async fn report(&self, client: &Client) -> anyhow::Result<(String, Exit)> {
        let path = ["v1", "tenants", &self.tenant, "leavers"];
        let mut headers = Vec::new();
        if let Some(key) = &self.idempotency_key {
            headers.push((HeaderName::from_static("idempotency-key"), key.clone()));
        }
        let wait = u64::from(self.wait.unwrap_or(0));
        if wait > 0 {
            headers.push((HeaderName::from_static("prefer"), format!("wait={wait}")));
        }
        let (body, wait) = (self.body(), Duration::from_secs(wait));
        let (status, answer) = client.post_raw(&path, &body, &headers, wait).await?;
        // What did not end well has another status, and is an answer all the same.
        let answer = if answer.get("event").is_some() {
            answer
        } else {
            client.accept(status, answer)?
        };
        let shown = self.json.then(|| pretty(&answer)).transpose()?;
        let answer: Answer = read(answer)?;
        let exit = if self.wait.is_some() {
            waited(status, &answer)
        } else {
            Exit::Success
        };
        let shown = shown.unwrap_or_else(|| {
            let mut text = describe(&answer);
            if self.wait.is_some() && exit == Exit::Problem {
                text.push_str("the outcome is not known yet; `exeunt lanes` shows what is paused or waits\n");
            }
            text
        });
        Ok((shown, exit))
    }

    fn body(&self) -> Value {
        let mut body = json!({});
        let known = [
            ("email", &self.person.email),
            ("target_id", &self.person.target_id),
            ("id", &self.person.id),
            ("name", &self.name),
        ];
        for (key, value) in known {
            if let Some(value) = value {
                body[key] = Value::from(value.as_str());
            }
        }
        if !self.connectors.is_empty() {
            body["connectors"] = json!(self.connectors);
        }
        body
    }
}

/// The worst of the jobs decides.
fn waited(status: StatusCode, answer: &Answer) -> Exit {
    let of_job = |job: &Job| match (job.state.as_str(), job.outcome.as_deref()) {
        (_, Some("closed" | "already_closed" | "no_account" | "planned")) => Exit::Success,
        ("held", _) | (_, Some("refused" | "cancelled")) => Exit::Withheld,
        ("parked", None) if job.until.is_some() => Exit::Problem,
        ("parked", _) | (_, Some(_)) => Exit::Failed,
        _ => Exit::Problem,
    };
    let worst = answer.jobs.iter().map(of_job).max();
    worst.unwrap_or(match (answer.decision.as_deref(), status.is_success()) {
        (Some("refused"), _) => Exit::Withheld,
        // Taken, and nobody knows more yet: there were too many waiters, or the journal could not be asked.
        _ if status == StatusCode::ACCEPTED => Exit::Problem,
        (_, true) => Exit::Success,
        (_, false) => Exit::Failed,
    })
}

fn describe(answer: &Answer) -> String {
    let mut text = String::new();
    let again = if answer.duplicate { ", reported before" } else { "" };
    let _ = writeln!(text, "event  {}{again}", printable(&answer.event));
    if let Some(decision) = &answer.decision {
        let reason = answer.reason.as_deref().unwrap_or_default();
        let _ = writeln!(text, "       {}: {}", printable(decision), printable(reason));
    }
    if !answer.jobs.is_empty() {
        let rows = answer.jobs.iter().map(|job| {
            let state = match job.until {
                Some(until) => format!("parked until {}", moment(until)),
                None => job.outcome.as_ref().unwrap_or(&job.state).clone(),
            };
            let reason = job.reason.clone().unwrap_or_default();
            [job.connector.clone(), job.id.clone(), state, reason]
        });
        text.push_str(&whole_table(["CONNECTOR", "JOB", "STATE", "REASON"], rows));
    }
    text
}

#[cfg(test)]
#[path = "leaver_tests.rs"]
mod tests;
