//! What `exeunt.toml` says of the service counts: its certificate, its limits, its logs and traces, its retention.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use docusign_sim::Status;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::client::Client;
use crate::house::{House, SOURCE_TOKEN};
use crate::process::Host;

/// Puts a new certificate and its key into place, and returns a client that trusts no other.
fn certify(house: &House) -> reqwest::Client {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    // A moment in which they do not fit together is no harm: the old pair stays.
    let key = made.signing_key.serialize_pem();
    drop(house.world.write_secret("server-key.pem", &key));
    house.replace("server.pem", &made.cert.pem());
    let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]);
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    client.build().expect("a client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_certificate_nothing_is_taken_in_the_clear_and_a_renewed_one_counts() {
    let house = House::sqlite().await;
    let user = house.world.user("ann@acme.example");
    let first = certify(&house);
    house.configure("tls = { certificate = \"file:server.pem\", key = \"file:server-key.pem\" }");
    let host = Host::start_unready(&house, 0, &[]).await;
    let ready = async |client: &reqwest::Client| {
        let answer = client.get(format!("https://{}/livez", host.address())).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    };
    crate::until("it speaks TLS", async || ready(&first).await).await;

    let event = end_to_end::event("ann@acme.example");
    let clear = Client::new(&house, &host).event("acme", &event).await;
    assert!(clear.is_err(), "a token was taken in the clear: {clear:?}");
    let url = format!("https://{}/v1/tenants/acme/sources/hr/events", host.address());
    let sent = first.post(url).bearer_auth(SOURCE_TOKEN).body(event).send().await;
    assert_eq!(sent.expect("an answer").status(), 200);
    crate::until("she is closed", async || house.world.status(&user) == Status::Closed).await;

    let second = certify(&house);
    crate::until("the new certificate is shown", async || ready(&second).await).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_configured_wait_for_one_to_end() {
    let house = House::sqlite().await;
    house.configure("limits = { connections = 2 }");
    let host = Host::start_unready(&house, 0, &[]).await;
    let open = async |text: &[u8]| {
        let mut stream = TcpStream::connect(host.address()).await.expect("a connection");
        stream.write_all(text).await.expect("it is written");
        stream
    };
    // Each has its head's time, which is far longer than what follows.
    let half = b"GET /livez HTTP/1.1\r\nX: ";
    let (first, _second) = (open(half).await, open(half).await);
    let mut third = open(b"GET /livez HTTP/1.1\r\nHost: e\r\n\r\n").await;
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(500), third.read(&mut byte)).await;
    assert!(early.is_err(), "there is no room for a third: {early:?}");
    drop(first);
    assert_eq!(third.read(&mut byte).await.expect("an answer"), 1);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_events_of_a_tenant_than_configured_are_refused_for_a_moment() {
    let house = House::sqlite().await;
    house.configure("limits = { events_per_second = 1 }");
    let host = house.start().await;
    let client = Client::new(&house, &host);
    let send = async |number: usize| {
        let event = end_to_end::event(&format!("p{number}@acme.example"));
        let url = format!("http://{}/v1/tenants/acme/sources/hr/events", host.address());
        let request = crate::client::http().post(url).bearer_auth(SOURCE_TOKEN).body(event);
        request.send().await.expect("an answer")
    };
    let answers = join_all((0..20).map(send)).await;
    let (refused, taken): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status() == 429);
    assert!(
        !taken.is_empty() && taken.iter().all(|answer| answer.status() == 200),
        "{taken:?}"
    );
    assert!(!refused.is_empty(), "twenty at once are more than two");
    for answer in refused {
        assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
    }
    client.idle().await;
    assert_eq!(client.jobs("").await.len(), taken.len());
    host.stop().await;
}

/// A collector that takes everything, and keeps it as it came: OTLP in protobuf.
async fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let keep = Arc::clone(&keep);
            tokio::spawn(async move {
                let (mut seen, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    seen.extend_from_slice(&buffer[..count]);
                    if let Some(whole) = whole_request(&seen) {
                        keep.lock()
                            .expect("no panic")
                            .append(&mut seen.drain(..whole).collect());
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        let _ = stream.write_all(answer).await;
                    }
                }
            });
        }
    });
    (format!("http://{address}"), kept)
}

/// Bytes of the request that `seen` begins with, once all of it is there.
fn whole_request(seen: &[u8]) -> Option<usize> {
    let head = seen.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&seen[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let whole = head + length.trim().parse::<usize>().expect("a number");
    (seen.len() >= whole).then_some(whole)
}

/// Names of the spans that a trace has. A span begins with its trace's id, and its name is before the next one's.
fn spans_of(trace: Uuid, sent: &[u8]) -> BTreeSet<&'static str> {
    let starts: Vec<_> = sent
        .windows(16)
        .enumerate()
        .filter(|(_, window)| *window == trace.as_bytes())
        .map(|(at, _)| at)
        .collect();
    let mut names = BTreeSet::new();
    for at in starts {
        let span = &sent[at..sent.len().min(at + 80)];
        for name in ["request", "attempt"] {
            if span.windows(name.len()).any(|piece| piece == name.as_bytes()) {
                names.insert(name);
            }
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_line_and_the_spans_of_a_leaver_have_the_events_id() {
    let house = House::sqlite().await;
    let _ = house.world.user("ann@acme.example");
    let (address, sent) = collector().await;
    house.configure(&format!("telemetry = {{ logs = \"json\", otlp = \"{address}\" }}"));
    let host = house.start_with(&[("EXEUNT_LOG", "info".to_owned())]).await;
    let client = Client::new(&house, &host);
    let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
    client.job_is(&event, "closed").await;
    let id: Uuid = event.parse().expect("an id");
    crate::until("both spans have come", async || {
        spans_of(id, &sent.lock().expect("no panic")) == BTreeSet::from(["attempt", "request"])
    })
    .await;
    let said = host.said();
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let of_event = lines.iter().filter(|line| line["span"]["event"] == json!(event));
    assert!(of_event.count() > 0, "{said}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transcripts_are_kept_for_as_long_as_configured_and_jobs_for_ever() {
    let house = House::sqlite().await;
    let _ = house.world.user("ann@acme.example");
    let host = house.start().await;
    let event = Client::new(&house, &host)
        .accepted("acme", &end_to_end::event("ann@acme.example"))
        .await;
    let job = Client::new(&house, &host).job_is(&event, "closed").await;
    let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
    let kept = async |host: &Host| {
        let seen = Client::new(&house, host).see(&path).await;
        assert_eq!(seen["outcome"], "closed");
        seen["transcripts"].as_array().expect("a list").len()
    };
    host.stop().await;
    let host = house.start().await;
    assert!(kept(&host).await > 0, "for a month");
    host.stop().await;
    house.configure("retention = { transcripts = \"1s\" }");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let host = house.start().await;
    crate::until("its start has deleted it", async || kept(&host).await == 0).await;
    host.stop().await;
}
