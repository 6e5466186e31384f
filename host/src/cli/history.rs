//! A job for people: where it stands, and how it came to that.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use super::jobs::pretty;
use super::table::{moment, or_dash, scope};
use super::timeline;
use crate::console::{JobDetail, JobView};
use crate::journal::BREAKER_HOLD;
use crate::text::printable;

/// A job with what was done about it, in the order of time.
pub(super) fn describe(detail: &JobDetail) -> anyhow::Result<String> {
    let job = &detail.job;
    let mut text = String::new();
    let lines = [
        ("job", job.id.to_string()),
        ("event", job.event.to_string()),
        ("connector", format!("{}/{}", job.tenant, job.connector)),
        ("source", job.source.clone()),
        ("received", job.received_at.to_string()),
        ("person", who(job.person.as_ref())),
        ("state", state(job)),
        ("reason", reason(job)),
        (
            "attempts",
            format!("{} used, and {} leases that ran out", job.attempts, job.lapses),
        ),
    ];
    for (what, value) in lines {
        let _ = writeln!(text, "{what:<10} {}", printable(&value));
    }
    if let Some(pause) = &detail.paused {
        let of = scope(pause.tenant.as_deref(), pause.connector.as_deref());
        let words = format!("{of} by {}: {}", pause.actor, pause.reason);
        let _ = writeln!(text, "paused     {} {}", pause.at, printable(&words));
    }
    if let Some(command) = to_go_on(job) {
        let _ = writeln!(text, "to go on   {command}");
    }
    for (at, what, words) in history(detail) {
        let _ = writeln!(text, "{what:<10} {at} {}", printable(&words));
    }
    if let Some(left) = detail.transcripts_left_out {
        let _ = writeln!(
            text,
            "left out   {left} older transcripts; `exeunt journal export` has them"
        );
    }
    if let Some(detail) = &detail.detail {
        let kept = timeline::kept(detail).map_or_else(|| pretty(detail), Ok)?;
        let _ = writeln!(text, "{}", kept.trim_end());
    }
    Ok(text)
}

/// What happened when: a try where it began, with how long it took; what it set out to close, and what people did.
fn history(detail: &JobDetail) -> Vec<(Timestamp, String, String)> {
    // By its claim: the number that counts begins anew with each retry, and what was given back has the next one's.
    let tries = detail.history.iter().map(|one| {
        let took = one.ended_at.duration_since(one.started_at).as_millis();
        let words = format!("{} on {} after {took} ms: {}", one.result, one.owner, one.reason);
        (one.started_at, format!("try {}", one.claim), words)
    });
    let intents = detail.intents.iter().map(|intent| {
        let words = format!("to close account {}", intent.account);
        (intent.at, "intent".to_owned(), words)
    });
    let actions = detail.actions.iter().map(|action| {
        let why = Some(&action.detail).filter(|detail| !detail.is_empty());
        let why = why.map_or_else(String::new, |detail| format!(": {detail}"));
        let words = format!("{} by {}{why}", action.verb, action.actor);
        (action.at, "action".to_owned(), words)
    });
    let ended = detail
        .job
        .ended_at
        .map(|at| (at, "ended".to_owned(), state(&detail.job)));
    let mut history: Vec<_> = tries.chain(intents).chain(actions).chain(ended).collect();
    // Stable: what has the same time stays in this order.
    history.sort_by_key(|(at, ..)| *at);
    history
}

/// Where it stands, in a word or two.
pub(super) fn state(job: &JobView) -> String {
    match (&job.outcome, &job.why, job.until) {
        (Some(outcome), ..) if job.dead => format!("{outcome} (given up)"),
        (Some(outcome), ..) => outcome.clone(),
        (None, _, Some(until)) if job.state == "parked" => format!("parked until {}", moment(until)),
        (None, Some(why), _) if job.state == "held" => format!("held ({why})"),
        (None, _, Some(until)) if job.state == "running" => {
            let owner = job.owner.as_deref().unwrap_or("-");
            format!("running on {owner}, its lease until {}", moment(until))
        }
        _ => job.state.clone(),
    }
}

/// Why it stands as it does: its own reason, or that of its connector, which rests or is parked.
pub(super) fn reason(job: &JobView) -> String {
    let of_connector = job.why.as_ref().filter(|_| job.state == "parked");
    or_dash(job.reason.as_ref().or(of_connector))
}

/// The command that lets a job go on which waits for somebody to decide.
fn to_go_on(job: &JobView) -> Option<String> {
    let (tenant, connector) = (&job.tenant, &job.connector);
    match (job.state.as_str(), job.why.as_deref()?) {
        ("held", BREAKER_HOLD) => Some(format!("exeunt breaker release {tenant} {connector} --reason …")),
        ("held", _) => Some(format!("exeunt jobs release {} --reason …", job.id)),
        ("parked", _) if job.until.is_none() => Some(format!(
            "exeunt resume {tenant} {connector} --reason …, once what it says is mended"
        )),
        _ => None,
    }
}

/// The best name for the person.
pub(super) fn who(person: Option<&Value>) -> String {
    let known = |key: &str| person.and_then(|person| person.get(key)).and_then(Value::as_str);
    or_dash(["email", "target_id", "id", "name"].into_iter().find_map(known))
}
