//! `GET /metrics`: what this process counted, and what the journal says of all hosts.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, header};
use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::access::Anyone;
use super::exposition;
use super::problem::Problem;
use super::router::Shared;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// From a quick target to the times that rules ask for: five minutes, an hour, a day.
const JOB_SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0,
];

/// From an empty sandbox to the longest verb call.
const CALL_SECONDS: &[f64] = &[
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Commits take milliseconds.
const ACCEPT_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0];

/// What other rooms count, with what to say about it.
const COUNTERS: &[(&str, &str)] = &[
    ("exeunt_events_total", "Events that were accepted."),
    (
        "exeunt_requests_refused_total",
        "Requests to the intake that were not taken, by reason.",
    ),
    (
        "exeunt_jobs_ended_total",
        "Jobs that this process brought to their outcome.",
    ),
    ("exeunt_attempts_total", "Tries at jobs, by how they ended."),
    (
        "exeunt_tokens_minted_total",
        "Access tokens asked of targets, by result.",
    ),
    (
        "exeunt_plugins_loaded_total",
        "Plugins made ready to run, from the cache or by the compiler.",
    ),
    (
        "exeunt_spans_dropped_total",
        "Spans of traces that the collector did not take.",
    ),
];

/// What other rooms time, in seconds.
const HISTOGRAMS: &[(&str, &str, &[f64])] = &[
    (
        "exeunt_accept_seconds",
        "From a request to its commit; waiting for an outcome is not included.",
        ACCEPT_SECONDS,
    ),
    (
        "exeunt_accept_to_verified_seconds",
        "From an event's arrival to its job's outcome.",
        JOB_SECONDS,
    ),
    (
        "exeunt_verb_seconds",
        "One verb call in its sandbox, the target's time included.",
        CALL_SECONDS,
    ),
    (
        "exeunt_sandbox_seconds",
        "One verb call without the time that its target took, to a millisecond for each exchange.",
        CALL_SECONDS,
    ),
];

/// How often values are put into their buckets. Until then a histogram keeps each of them, also where nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the recorder of this process, with help texts and buckets, and starts its upkeep on the current runtime.
/// Once a process.
///
/// # Errors
/// Another recorder is installed already.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    for (name, help) in COUNTERS {
        metrics::describe_counter!(*name, *help);
    }
    for (name, help, _) in HISTOGRAMS {
        metrics::describe_histogram!(*name, Unit::Seconds, *help);
    }
    Ok(handle)
}

pub(super) fn builder() -> Result<PrometheusBuilder, BuildError> {
    HISTOGRAMS
        .iter()
        .try_fold(PrometheusBuilder::new(), |builder, (name, _, buckets)| {
            builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)
        })
}

/// Needs a token of the host, unless `metrics = "open"` is configured: it holds names of tenants.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Anyone(caller): Anyone,
) -> Result<([(HeaderName, &'static str); 1], String), Problem> {
    if shared.console.metrics_token {
        caller.ok_or_else(Problem::unauthorized)?.require_host()?;
    }
    let handle = &shared.console.metrics;
    let mut text = handle.render();
    let snapshot = shared.snapshot().await;
    let problems = shared.report(&snapshot).await.problems.len();
    let snapshot = snapshot.as_ref().as_ref().ok();
    exposition::write(&mut text, snapshot, problems, shared.console.clock.now());
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}
