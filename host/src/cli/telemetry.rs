//! What the process says of itself: log lines, and traces for a collector.
//!
//! A trace is what happened because of one event, so its id is the event's: requests, attempts on any host and tries
//! after a restart are found together, and a log line's `event` is the trace to look for. OpenTelemetry's exporter sends
//! them. Its bridge to `tracing` lost: it gives a trace its id when the first span begins, and a request learns which
//! event it is when it has been read.

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};
use url::Url;

use crate::clock::{Clock as _, SystemClock, system_time};
use crate::tenant::ServerConfig;

/// The compiler of WebAssembly writes a gigabyte a plugin at `trace`, and nothing in it is about leavers.
const COMPILER: [&str; 5] = [
    "cranelift_codegen=warn",
    "cranelift_frontend=warn",
    "regalloc2=warn",
    "wasmtime_internal_cranelift=warn",
    "wasmtime_environ=warn",
];

/// It logs at `error` what it also returns, and that is shown with what to write.
const TOLD_ELSEWHERE: &str = "rustls_platform_verifier=off";

/// Spans that wait for the collector: 4,096, some megabytes. More are dropped and counted: a collector that is away
/// must not cost memory, let alone a leaver.
const WAITING: usize = 4_096;
/// Spans sent at a time.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long the collector may take, tries after a failure included.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// For all commands but `serve`: plain lines on standard error, warnings and up.
pub(super) fn commands() -> anyhow::Result<()> {
    start(is_json_by_environment()?, None)
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
    start(config.json_logs || is_json_by_environment()?, traces.transpose()?)
}

fn is_json_by_environment() -> anyhow::Result<bool> {
    match std::env::var("EXEUNT_LOG_FORMAT").unwrap_or_default().trim() {
        "" | "text" => Ok(false),
        "json" => Ok(true),
        other => bail!("EXEUNT_LOG_FORMAT is `{other}`; write json, or text"),
    }
}

fn start(json: bool, traces: Option<Traces>) -> anyhow::Result<()> {
    // Standard output is for results.
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
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
    // Empty as from a line of a file that says nothing: not what is meant by silence.
    let wanted = std::env::var("EXEUNT_LOG").unwrap_or_default();
    let wanted = if wanted.trim().is_empty() {
        "warn".to_owned()
    } else {
        wanted
    };
    let wrong = || {
        format!(
            "EXEUNT_LOG is `{wanted}`; write error, warn, info, debug, trace or off, or levels by target, such as \
             info,sqlx=warn"
        )
    };
    // A word that is no level would count as a target, and nothing would be logged of anything else.
    let is_word = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let is_level = |part: &str| match part.rsplit_once('=') {
        _ if part.contains(['[', '{', '}', ']']) => true,
        Some((_, level)) => is_word(level),
        None => is_word(part),
    };
    let mut parts = wanted.split(',').map(str::trim).filter(|part| !part.is_empty());
    if !parts.all(is_level) {
        bail!(wrong());
    }
    let mut filter = EnvFilter::try_new(&wanted).with_context(wrong)?;
    for fixed in COMPILER.into_iter().chain([TOLD_ELSEWHERE]) {
        filter = filter.add_directive(fixed.parse().context("a fixed directive")?);
    }
    Ok(filter)
}

/// Turns spans that belong to an event into OpenTelemetry's.
struct Traces {
    spans: mpsc::Sender<SpanData>,
    next: AtomicU64,
    scope: InstrumentationScope,
}

/// What is known of a span while it is open.
struct Open {
    id: u64,
    began: SystemTime,
    event: Option<String>,
    fields: Vec<KeyValue>,
}

impl Traces {
    fn to(collector: &Url, parts: &mut JoinSet<()>, stopped: watch::Receiver<bool>) -> anyhow::Result<Self> {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let http = reqwest::Client::builder().no_proxy().build();
        let http = http.context("cannot prepare the connection to the collector of traces")?;
        let mut url = collector.clone();
        let path = format!("{}/v1/traces", collector.path().trim_end_matches('/'));
        url.set_path(&path);
        let exporter = SpanExporter::builder().with_http().with_http_client(http);
        let exporter = exporter.with_endpoint(url.as_str()).with_timeout(ANSWER_WITHIN).build();
        let mut exporter = exporter.context("cannot prepare the exporter of traces")?;
        exporter.set_resource(&Resource::builder_empty().with_service_name("exeunt").build());
        let (spans, waiting) = mpsc::channel(WAITING);
        parts.spawn(export(exporter, url, waiting, stopped));
        Ok(Self::new(spans))
    }

    /// Ids of spans count on from a random number: two hosts must not give the same.
    fn new(spans: mpsc::Sender<SpanData>) -> Self {
        let mut random = [0; 8];
        // Without randomness ids may meet, which costs a line in a picture.
        let _ = aws_lc_rs::rand::fill(&mut random);
        Self {
            spans,
            next: AtomicU64::new(u64::from_be_bytes(random)),
            scope: InstrumentationScope::builder("exeunt")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
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
        let id = |id: u64| SpanId::from_bytes(id.to_be_bytes());
        let span = SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(trace.into_bytes()),
                id(open.id),
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: above.first().map_or(SpanId::INVALID, |(above, _)| id(*above)),
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: span.name().into(),
            start_time: open.began,
            end_time: now(),
            attributes: open.fields,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        };
        if self.spans.try_send(span).is_err() {
            metrics::counter!("exeunt_spans_dropped_total").increment(1);
        }
    }
}

fn now() -> SystemTime {
    system_time(SystemClock.now())
}

impl Open {
    fn keep(&mut self, field: &Field, value: impl Into<opentelemetry::Value>) {
        self.fields.push(KeyValue::new(field.name(), value));
    }
}

impl Visit for Open {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            self.event = Some(value.to_owned());
        }
        self.keep(field, value.to_owned());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.keep(field, value),
            // OpenTelemetry knows no larger integers.
            Err(_) => self.keep(field, value.to_string()),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Sends spans until the service stops, then what is left.
async fn export(
    exporter: SpanExporter,
    url: Url,
    mut waiting: mpsc::Receiver<SpanData>,
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
        let spans = batch.len() as u64;
        if spans > 0 {
            // The exporter begins no other try after this time, but lets the one under way go on.
            let sent = tokio::time::timeout(ANSWER_WITHIN, exporter.export(batch)).await;
            let sent = sent.unwrap_or(Err(OTelSdkError::Timeout(ANSWER_WITHIN)));
            let had_been_reached = std::mem::replace(&mut reached, sent.is_ok());
            if let Err(error) = sent {
                metrics::counter!("exeunt_spans_dropped_total").increment(spans);
                if had_been_reached {
                    tracing::warn!("{}", not_taken(&url, &error.to_string()));
                }
            }
        }
        if stops {
            return;
        }
    }
}

/// What to say of a collector that does not answer. Some take their key in the query, and errors name the address.
fn not_taken(url: &Url, error: &str) -> String {
    let text = format!("traces are not taken by {url}: {error}");
    match url.query() {
        Some(query) if !query.is_empty() => text.replace(query, "…"),
        _ => text,
    }
}

#[cfg(test)]
#[path = "telemetry_tests.rs"]
mod tests;
