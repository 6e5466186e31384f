//! The human form of a report: a short timeline.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::Value;

use super::run::Report;
use crate::evidence::{AccountChange, CallLine, JobReport, JobState, Outcome, PluginIdentity};
use crate::text::printable;

/// One block for the event, one for each job.
pub(super) fn report(report: &Report) -> String {
    let mut text = String::new();
    let event = &report.event;
    let _ = writeln!(text, "event    {}: {}", event.decision, printable(&event.reason));
    if let Some(person) = &event.person {
        let known = [
            ("name", &person.name),
            ("email", &person.email),
            ("target id", &person.target_id),
            ("id", &person.id),
        ];
        let known: Vec<String> = known
            .into_iter()
            .filter_map(|(what, value)| value.as_ref().map(|value| format!("{what} {}", printable(value))))
            .collect();
        let _ = writeln!(text, "person   {}", known.join(", "));
    }
    for job in &report.jobs {
        write_job(&mut text, job);
    }
    text
}

fn write_job(text: &mut String, job: &JobReport) {
    let plugin = identity(&job.plugin);
    let _ = writeln!(text, "job      {} with {plugin}", job.connector);
    write_calls(text, &job.calls());
    write_accounts(text, &job.accounts);
    let end = match (job.state, job.outcome) {
        (JobState::Held, _) => "held".to_owned(),
        (JobState::Parked, _) => job
            .until
            .map_or_else(|| "parked".to_owned(), |until| format!("parked until {until}")),
        (JobState::Ended, outcome) => outcome.map_or("", Outcome::as_str).to_owned(),
    };
    let _ = writeln!(
        text,
        "outcome  {end}: {} ({} ms)",
        printable(&job.reason),
        job.elapsed_ms
    );
}

/// What the server keeps of a job's last attempt, in the same form; none where it is of another version.
pub(super) fn kept(detail: &Value) -> Option<String> {
    #[derive(Deserialize)]
    struct Kept {
        plugin: PluginIdentity,
        calls: Vec<CallLine<'static>>,
        accounts: Vec<AccountChange>,
    }
    let kept = Kept::deserialize(detail).ok()?;
    let mut text = format!("with       {}\n", identity(&kept.plugin));
    write_calls(&mut text, &kept.calls);
    write_accounts(&mut text, &kept.accounts);
    Some(text)
}

fn identity(plugin: &PluginIdentity) -> String {
    let digest = plugin.digest.chars().take(19).collect::<String>();
    printable(&format!("{} {} ({digest}…)", plugin.name, plugin.version))
}

fn write_calls(text: &mut String, calls: &[CallLine<'_>]) {
    for call in calls {
        let status = call
            .status
            .map_or_else(|| "---".to_owned(), |status| status.to_string());
        let _ = write!(
            text,
            "  {:<6} {:<6} {} {}  {status}  {} ms",
            call.verb.to_string(),
            printable(&call.method),
            printable(&call.endpoint),
            printable(&call.path),
            call.ms
        );
        if let Some(trace) = &call.trace_token {
            let _ = write!(text, "  trace {}", printable(trace));
        }
        if let Some(error) = &call.error {
            let _ = write!(text, "  {}", printable(error));
        }
        text.push('\n');
    }
}

fn write_accounts(text: &mut String, accounts: &[AccountChange]) {
    for account in accounts {
        let after = match (account.after.as_deref(), account.unverified) {
            (_, true) => "not known: a closure was sent, and no read has been answered since",
            (Some(after), false) => after,
            (None, false) => "not touched",
        };
        let note = if account.externally_managed {
            ", managed by an identity provider"
        } else {
            ""
        };
        let email = account
            .email
            .as_ref()
            .map_or_else(String::new, |email| format!(" ({email})"));
        let _ = writeln!(
            text,
            "  account {}{}: {} -> {}{note}",
            printable(&account.id),
            printable(&email),
            printable(&account.before),
            printable(after)
        );
    }
}
