//! The human form of a report: a short timeline.

use std::fmt::Write;

use super::run::Report;
use crate::evidence::{JobRecord, JobState};
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

fn write_job(text: &mut String, job: &JobRecord) {
    let plugin = &job.plugin;
    let digest = plugin.digest.chars().take(19).collect::<String>();
    let _ = writeln!(
        text,
        "job      {} with {} {} ({digest}…)",
        job.connector, plugin.name, plugin.version
    );
    for (verb, exchange) in job.exchanges() {
        let status = exchange
            .status
            .map_or_else(|| "---".to_owned(), |status| status.to_string());
        let _ = write!(
            text,
            "  {:<6} {:<6} {} {}  {status}  {} ms",
            verb.to_string(),
            exchange.method,
            exchange.endpoint,
            printable(&exchange.path),
            exchange.ms
        );
        if let Some(trace) = &exchange.trace_token {
            let _ = write!(text, "  trace {}", printable(trace));
        }
        if let Some(error) = &exchange.error {
            let _ = write!(text, "  {}", printable(error));
        }
        text.push('\n');
    }
    for account in &job.accounts {
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
        let _ = writeln!(
            text,
            "  account {}: {} -> {}{note}",
            printable(&account.id),
            printable(&account.before),
            printable(after)
        );
    }
    let end = match (job.state, job.outcome) {
        (JobState::Held, _) => "held".to_owned(),
        (JobState::Parked, _) => job
            .until
            .map_or_else(|| "parked".to_owned(), |until| format!("parked until {until}")),
        (JobState::Done, outcome) => outcome
            .and_then(|outcome| serde_json::to_value(outcome).ok())
            .and_then(|outcome| outcome.as_str().map(str::to_owned))
            .unwrap_or_default(),
    };
    let _ = writeln!(
        text,
        "outcome  {end}: {} ({} ms)",
        printable(&job.reason),
        job.elapsed_ms
    );
}
