//! `exeunt status`: whether a host may get work, what is wrong there, and what stands still.

use std::fmt::Write as _;

use clap::Args;
use serde::Deserialize;

use super::Exit;
use super::client::{Client, ServerArgs, TOKEN_VARIABLE, read};
use super::jobs::pretty;
use super::table::{moment, show, whole_table};
use crate::console::{HealthProblem, Since};
use crate::text::printable;

/// Shows whether the host is ready, what does not run as its files say, and what is parked.
///
/// Problems are those of the host that answers; what is parked, withheld or paused is so on every host. Counts are of
/// all tenants, names and reasons only of those that the token sees. Exit code 0: it is ready. 1: it is not, or there is
/// no answer. 2: usage, or what answers is no Exeunt.
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    server: ServerArgs,
    /// Print the server's JSON.
    #[arg(long)]
    json: bool,
}

/// The server's answer.
#[derive(Debug, Deserialize)]
struct Answer {
    ready: bool,
    phase: String,
    journal: String,
    tenants: usize,
    problems: usize,
    parked: usize,
    breakers_open: usize,
    pauses: usize,
    details: Option<Details>,
}

/// What holders of a token see.
#[derive(Debug, Deserialize)]
struct Details {
    problems: Vec<HealthProblem>,
    parked: Vec<Stuck>,
    breakers_open: Vec<Stuck>,
}

/// A connector that stands still.
#[derive(Debug, Deserialize)]
struct Stuck {
    tenant: String,
    connector: String,
    #[serde(flatten)]
    since: Since,
}

impl Status {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let (text, exit) = self.report(&self.server.client()?).await?;
        show(&text)?;
        Ok(exit)
    }

    async fn report(&self, client: &Client) -> anyhow::Result<(String, Exit)> {
        let (status, answer) = client.get_raw(&["readyz"]).await?;
        // A host that is not ready answers 503, and so does a balancer that has no host: the body tells them apart.
        let answer = if answer.get("ready").is_some() {
            answer
        } else {
            client.accept(status, answer)?
        };
        let shown = self.json.then(|| pretty(&answer)).transpose()?;
        let answer: Answer = read(answer)?;
        let exit = if answer.ready { Exit::Success } else { Exit::Problem };
        Ok((shown.unwrap_or_else(|| describe(&answer)), exit))
    }
}

fn describe(answer: &Answer) -> String {
    let mut text = counts(answer);
    let Some(details) = &answer.details else {
        // `/readyz` is for strangers, too, and refuses nobody: without this line nothing would seem to be wrong.
        let _ = writeln!(
            text,
            "\nno names and reasons: the server does not know the token; it came from --token-file, or else from \
             {TOKEN_VARIABLE}"
        );
        return text;
    };
    // A file with several mistakes has a line for each.
    let problems = details.problems.iter().flat_map(|problem| {
        let lines = problem.message.split('\n');
        lines.map(|line| [place(problem), line.to_owned()])
    });
    text.push_str(&titled(["PROBLEM AT", "WHAT IS WRONG"], problems));
    for (title, stuck) in [("PARKED", &details.parked), ("BREAKER OPEN", &details.breakers_open)] {
        let rows = stuck.iter().map(|lane| {
            let name = format!("{}/{}", lane.tenant, lane.connector);
            [name, moment(lane.since.since), lane.since.why.clone()]
        });
        text.push_str(&titled([title, "SINCE", "REASON"], rows));
    }
    text
}

fn counts(answer: &Answer) -> String {
    let details = answer.details.as_ref();
    let seen = |count: usize, list: fn(&Details) -> usize| match details.map(list) {
        Some(seen) if seen != count => format!("{count}, of which the token sees {seen}"),
        _ => count.to_string(),
    };
    // The server counts nothing there, and nobody should take that for nothing.
    let unless_unread = |count: String| match answer.journal.as_str() {
        "unreachable" => "unknown".to_owned(),
        _ => count,
    };
    let breakers = seen(answer.breakers_open, |details| details.breakers_open.len());
    let pauses = match answer.pauses {
        0 => "0".to_owned(),
        pauses => format!("{pauses}; `exeunt lanes` shows what is paused"),
    };
    let lines = [
        ("ready", if answer.ready { "yes" } else { "no" }.to_owned()),
        ("phase", printable(&answer.phase)),
        ("journal", printable(&answer.journal)),
        ("tenants", answer.tenants.to_string()),
        ("problems", seen(answer.problems, |details| details.problems.len())),
        (
            "parked",
            unless_unread(seen(answer.parked, |details| details.parked.len())),
        ),
        ("breakers open", unless_unread(breakers)),
        ("pauses", unless_unread(pauses)),
    ];
    lines.map(|(label, value)| format!("{label:<13}  {value}\n")).concat()
}

/// What a problem is of.
fn place(problem: &HealthProblem) -> String {
    match (&problem.tenant, &problem.connector) {
        (Some(tenant), Some(connector)) => format!("{tenant}/{connector}"),
        (Some(tenant), None) => tenant.clone(),
        (None, _) => "the host".to_owned(),
    }
}

/// A table under an empty line; nothing without rows.
fn titled<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut rows = rows.peekable();
    match rows.peek() {
        Some(_) => format!("\n{}", whole_table(head, rows)),
        None => String::new(),
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
