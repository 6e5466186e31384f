use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;

use super::*;

const EVENT: &str = "01932f6e-0000-7000-8000-000000000001";

/// A collector on this machine that keeps what it is sent.
async fn collector() -> (Url, mpsc::Receiver<Value>) {
    async fn take(State(sender): State<mpsc::Sender<Value>>, body: String) -> &'static str {
        sender.send(serde_json::from_str(&body).unwrap()).await.unwrap();
        "{}"
    }
    let (sender, received) = mpsc::channel(8);
    let routes = Router::new().route("/base/v1/traces", post(take)).with_state(sender);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url.parse().unwrap(), received)
}

#[tokio::test]
async fn a_collector_receives_the_spans_of_an_event_in_one_trace() {
    let (url, mut received) = collector().await;
    let (stop, stopped) = watch::channel(false);
    let mut parts = JoinSet::new();
    let traces = Traces::to(&url, &mut parts, stopped).unwrap();
    let subscriber = tracing_subscriber::registry().with(traces);
    tracing::subscriber::with_default(subscriber, || {
        let request = tracing::info_span!("event", tenant = "acme", event = tracing::field::Empty);
        request.record("event", EVENT);
        drop(request);
        let attempt = tracing::info_span!("attempt", event = %EVENT, attempt = 2);
        attempt.in_scope(|| drop(tracing::info_span!("verb", verb = "find")));
        drop(attempt);
        drop(tracing::info_span!("of no event"));
    });
    stop.send_replace(true);
    while parts.join_next().await.is_some() {}
    let mut spans = Vec::new();
    while let Ok(body) = received.try_recv() {
        let sent = body["resourceSpans"][0]["scopeSpans"][0]["spans"]
            .as_array()
            .unwrap()
            .clone();
        spans.extend(sent);
    }
    let names: Vec<&str> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["event", "verb", "attempt"]);
    let trace = EVENT.replace('-', "");
    assert!(spans.iter().all(|span| span["traceId"] == trace.as_str()), "{spans:?}");
    assert_eq!(spans[1]["parentSpanId"], spans[2]["spanId"]);
    assert_eq!(spans[2]["parentSpanId"], "");
    let field = json!({"key": "attempt", "value": {"intValue": "2"}});
    assert!(spans[2]["attributes"].as_array().unwrap().contains(&field), "{spans:?}");
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
    let line: Value = serde_json::from_slice(&kept.0.lock().unwrap()).unwrap();
    assert_eq!(
        (&line["message"], &line["span"]["event"]),
        (&json!("put down"), &json!(EVENT))
    );
}
