use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;

use super::*;

const EVENT: &str = "01932f6e-0000-7000-8000-000000000001";

/// A collector on this machine that keeps what it is sent, after it has turned the first so many requests away.
async fn collector(refused: usize) -> (Url, mpsc::Receiver<ExportTraceServiceRequest>) {
    type Kept = (Arc<Mutex<usize>>, mpsc::Sender<ExportTraceServiceRequest>);
    async fn take(State((refused, sender)): State<Kept>, body: Bytes) -> StatusCode {
        {
            let mut refused = refused.lock().unwrap();
            if let Some(left) = refused.checked_sub(1) {
                *refused = left;
                return StatusCode::SERVICE_UNAVAILABLE;
            }
        }
        sender
            .send(ExportTraceServiceRequest::decode(body).unwrap())
            .await
            .unwrap();
        StatusCode::OK
    }
    let (sender, received) = mpsc::channel(8);
    let kept: Kept = (Arc::new(Mutex::new(refused)), sender);
    let routes = Router::new().route("/base/v1/traces", post(take)).with_state(kept);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url.parse().unwrap(), received)
}

/// What a collector has received of what is `said` until the service has stopped.
async fn sent(refused: usize, said: impl FnOnce()) -> Vec<Span> {
    let (url, mut received) = collector(refused).await;
    let (stop, stopped) = watch::channel(false);
    let mut parts = JoinSet::new();
    let traces = Traces::to(&url, &mut parts, stopped).unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(traces), said);
    stop.send_replace(true);
    while parts.join_next().await.is_some() {}
    let mut spans = Vec::new();
    while let Ok(request) = received.try_recv() {
        for resource in request.resource_spans {
            let names = &resource.resource.unwrap().attributes;
            let name = names.iter().find(|attribute| attribute.key == "service.name").unwrap();
            let name = name.value.clone().unwrap().value;
            assert_eq!(name, Some(Value::StringValue("exeunt".to_owned())));
            spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    spans
}

#[tokio::test]
async fn a_collector_receives_the_spans_of_an_event_in_one_trace() {
    let spans = sent(0, || {
        let request = tracing::info_span!("event", tenant = "acme", event = tracing::field::Empty);
        request.record("event", EVENT);
        drop(request);
        let attempt = tracing::info_span!("attempt", event = %EVENT, attempt = 2);
        attempt.in_scope(|| drop(tracing::info_span!("verb", verb = "find")));
        drop(attempt);
        drop(tracing::info_span!("of no event"));
    })
    .await;
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["event", "verb", "attempt"]);
    let trace = EVENT.parse::<uuid::Uuid>().unwrap();
    assert!(spans.iter().all(|span| span.trace_id == trace.as_bytes()), "{spans:?}");
    assert!(
        spans
            .iter()
            .all(|span| 0 < span.start_time_unix_nano && span.start_time_unix_nano <= span.end_time_unix_nano),
        "{spans:?}"
    );
    assert_eq!(spans[1].parent_span_id, spans[2].span_id);
    assert!(spans[2].parent_span_id.is_empty());
    let field = spans[2].attributes.iter().find(|attribute| attribute.key == "attempt");
    let value = field
        .and_then(|field| field.value.clone())
        .and_then(|value| value.value);
    assert_eq!(value, Some(Value::IntValue(2)));
}

#[tokio::test]
async fn a_collector_that_is_away_for_a_moment_is_asked_again() {
    let spans = sent(1, || drop(tracing::info_span!("attempt", event = EVENT))).await;
    assert_eq!(spans.len(), 1);
}

/// Time is paused and stands for the wait: nothing else here would end it.
#[tokio::test(start_paused = true)]
async fn a_collector_that_never_answers_does_not_hold_up_the_end() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
    let (stop, stopped) = watch::channel(false);
    let mut parts = JoinSet::new();
    let traces = Traces::to(&url, &mut parts, stopped).unwrap();
    let began = tokio::time::Instant::now();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(traces), || {
        drop(tracing::info_span!("attempt", event = EVENT));
    });
    stop.send_replace(true);
    while parts.join_next().await.is_some() {}
    let waited = began.elapsed();
    assert!((ANSWER_WITHIN..ANSWER_WITHIN * 2).contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn more_spans_than_may_wait_are_dropped() {
    let (spans, mut waiting) = mpsc::channel(1);
    let subscriber = tracing_subscriber::registry().with(Traces::new(spans));
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..3 {
            drop(tracing::info_span!("attempt", event = EVENT));
        }
    });
    assert!(waiting.recv().await.is_some());
    assert!(waiting.recv().await.is_none());
}

#[test]
fn a_line_in_json_holds_the_spans_fields() {
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let kept = Kept::default();
    let writer = kept.clone();
    let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
    let subscriber = tracing_subscriber::registry().with(lines.json().flatten_event(true).with_span_list(false));
    tracing::subscriber::with_default(subscriber, || {
        let _attempt = tracing::info_span!("attempt", event = %EVENT).entered();
        tracing::info!("put down");
    });
    let line: serde_json::Value = serde_json::from_slice(&kept.0.lock().unwrap()).unwrap();
    assert_eq!(
        (&line["message"], &line["span"]["event"]),
        (&json!("put down"), &json!(EVENT))
    );
}

#[test]
fn a_collectors_key_is_not_in_what_is_said_of_it() {
    let url = Url::parse("https://collector.example/v1/traces?api-key=hunter2").unwrap();
    let said = not_taken(&url, &format!("error sending request for url ({url})"));
    assert!(
        said.contains("collector.example") && !said.contains("hunter2"),
        "{said}"
    );
    let plain = Url::parse("http://127.0.0.1:4318/v1/traces").unwrap();
    assert_eq!(
        not_taken(&plain, "away"),
        "traces are not taken by http://127.0.0.1:4318/v1/traces: away"
    );
}
