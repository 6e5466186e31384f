//! What the process says of itself: log lines, and traces for a collector.
//!
//! A trace is what happened because of one event, so its id is the event's: requests, attempts on any host and tries
//! after a restart are found together, and a log line's `event` is the trace to look for. Spans go out as OTLP over
//! HTTP in JSON, which collectors take beside protobuf. The exporter crates lost: they bring a dozen dependencies and
//! a second notion of context, for a hundred lines.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};
use url::Url;

use crate::clock::{Clock as _, SystemClock};
use crate::tenant::ServerConfig;

/// The compiler of WebAssembly writes a gigabyte a plugin at `trace`, and nothing in it is about leavers.
const COMPILER: [&str; 5] = [
    "cranelift_codegen=warn",
    "cranelift_frontend=warn",
    "regalloc2=warn",
    "wasmtime_internal_cranelift=warn",
    "wasmtime_environ=warn",
];

/// Spans that wait for the collector: 4,096, some megabytes. More are dropped and counted: a collector that is away
/// must not cost memory, let alone a leaver.
const WAITING: usize = 4_096;
/// Spans sent at a time.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long the collector may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// For all commands but `serve`: plain lines on standard error, warnings and up.
pub(super) fn commands() -> anyhow::Result<()> {
    start(is_json_by_environment(), None)
}

/// For `serve`: what its file says. The exporter is one of the service's parts.
pub(super) fn serve(
    config: &ServerConfig,
    parts: &mut JoinSet<()>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let traces = config
        .otlp
        .as_ref()
        .map(|collector| Traces::to(collector, parts, stopped));
    start(config.json_logs || is_json_by_environment(), traces.transpose()?)
}

fn is_json_by_environment() -> bool {
    std::env::var_os("EXEUNT_LOG_FORMAT").is_some_and(|format| format == "json")
}

fn start(json: bool, traces: Option<Traces>) -> anyhow::Result<()> {
    // Standard output is for results.
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if json {
        Box::new(
            lines
                .json()
                .flatten_event(true)
                .with_span_list(false)
                .with_filter(filter()?),
        )
    } else {
        Box::new(lines.with_filter(filter()?))
    };
    tracing_subscriber::registry()
        .with(lines)
        // Only our own: the libraries' spans know of no event.
        .with(traces.map(|traces| traces.with_filter(Targets::new().with_target("exeunt", Level::INFO))))
        .try_init()
        .context("cannot set up the log")
}

fn filter() -> anyhow::Result<EnvFilter> {
    let mut filter = EnvFilter::try_from_env("EXEUNT_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    for compiler in COMPILER {
        filter = filter.add_directive(compiler.parse().context("a fixed directive")?);
    }
    Ok(filter)
}

/// Turns spans that belong to an event into those of OTLP.
struct Traces {
    spans: mpsc::Sender<Value>,
    next: AtomicU64,
}

/// What is known of a span while it is open.
struct Open {
    id: u64,
    began: i128,
    event: Option<String>,
    fields: Vec<Value>,
}

impl Traces {
    fn to(collector: &Url, parts: &mut JoinSet<()>, stopped: watch::Receiver<bool>) -> anyhow::Result<Self> {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build();
        let http = http.context("cannot prepare the connection to the collector of traces")?;
        let mut url = collector.clone();
        let path = format!("{}/v1/traces", collector.path().trim_end_matches('/'));
        url.set_path(&path);
        let (spans, waiting) = mpsc::channel(WAITING);
        parts.spawn(export(http, url, waiting, stopped));
        Ok(Self::new(spans))
    }

    /// Ids of spans count on from a random number: two hosts must not give the same.
    fn new(spans: mpsc::Sender<Value>) -> Self {
        let mut random = [0; 8];
        // Without randomness ids may meet, which costs a line in a picture.
        let _ = aws_lc_rs::rand::fill(&mut random);
        Self {
            spans,
            next: AtomicU64::new(u64::from_be_bytes(random)),
        }
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Traces {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut open = Open {
            // Zero is no id.
            id: self.next.fetch_add(1, Ordering::Relaxed).max(1),
            began: now(),
            event: None,
            fields: Vec::new(),
        };
        attributes.record(&mut open);
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(open);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let scope = span.scope().skip(1);
        let above = scope.filter_map(|span| {
            span.extensions()
                .get::<Open>()
                .map(|open| (open.id, open.event.clone()))
        });
        let above: Vec<(u64, Option<String>)> = above.collect();
        let Some(open) = span.extensions_mut().remove::<Open>() else {
            return;
        };
        let event = open.event.or_else(|| above.iter().find_map(|(_, event)| event.clone()));
        let Some(trace) = event.and_then(|event| event.parse::<uuid::Uuid>().ok()) else {
            return;
        };
        let span = json!({
            "traceId": trace.simple().to_string(),
            "spanId": format!("{:016x}", open.id),
            "parentSpanId": above.first().map(|(id, _)| format!("{id:016x}")).unwrap_or_default(),
            "name": span.name(),
            "kind": 1,
            "startTimeUnixNano": open.began.to_string(),
            "endTimeUnixNano": now().to_string(),
            "attributes": open.fields,
        });
        if self.spans.try_send(span).is_err() {
            metrics::counter!("exeunt_spans_dropped_total").increment(1);
        }
    }
}

fn now() -> i128 {
    SystemClock.now().as_nanosecond()
}

impl Open {
    fn keep(&mut self, field: &Field, value: &Value) {
        self.fields.push(json!({ "key": field.name(), "value": value }));
    }
}

impl Visit for Open {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            self.event = Some(value.to_owned());
        }
        self.keep(field, &json!({ "stringValue": value }));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, &json!({ "intValue": value.to_string() }));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, &json!({ "intValue": value.to_string() }));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, &json!({ "boolValue": value }));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Sends spans until the service stops, then what is left.
async fn export(
    http: reqwest::Client,
    url: Url,
    mut waiting: mpsc::Receiver<Value>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut reached = true;
    loop {
        let mut batch = Vec::new();
        let stops = tokio::select! {
            received = waiting.recv_many(&mut batch, BATCH) => received == 0,
            _ = stopped.wait_for(|stopped| *stopped) => true,
        };
        if stops {
            while let Ok(span) = waiting.try_recv() {
                batch.push(span);
            }
        } else {
            let gather = async { while batch.len() < BATCH && waiting.recv_many(&mut batch, BATCH).await > 0 {} };
            tokio::time::timeout(GATHER, gather).await.ok();
        }
        if let Err(error) = send(&http, &url, &batch).await {
            metrics::counter!("exeunt_spans_dropped_total").increment(batch.len() as u64);
            if std::mem::replace(&mut reached, false) {
                tracing::warn!("traces are not taken by {url}: {error:#}");
            }
        } else {
            reached = true;
        }
        if stops {
            return;
        }
    }
}

async fn send(http: &reqwest::Client, url: &Url, spans: &[Value]) -> anyhow::Result<()> {
    if spans.is_empty() {
        return Ok(());
    }
    let name = json!([{ "key": "service.name", "value": { "stringValue": "exeunt" } }]);
    let scope = json!({ "scope": { "name": "exeunt", "version": env!("CARGO_PKG_VERSION") }, "spans": spans });
    let body = json!({ "resourceSpans": [{ "resource": { "attributes": name }, "scopeSpans": [scope] }] });
    let request = http.post(url.clone()).header("content-type", "application/json");
    let answer = request.body(body.to_string()).send().await?;
    let status = answer.status();
    status
        .is_success()
        .then_some(())
        .ok_or_else(|| anyhow!("it answered {status}"))
}

#[cfg(test)]
#[path = "telemetry_tests.rs"]
mod tests;
