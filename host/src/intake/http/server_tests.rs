use std::net::SocketAddr;

use axum::routing::{get, post};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::super::testing::{read_reply, send, try_read_reply};
use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// Much more than the sockets between client and server hold.
const BIG: usize = 64 << 20;

/// Short times, so that tests that wait for one to be over do not take long.
const SHORT: Duration = Duration::from_millis(50);

fn limits() -> ConnectionLimits {
    ConnectionLimits::default()
}

/// A server of a page, a page that waits, one that is big, and one that reads nothing.
struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    entered: Arc<Notify>,
    leave: Arc<Notify>,
}

impl Running {
    async fn start(limits: ConnectionLimits) -> Self {
        Self::with(limits, |server| server).await
    }

    async fn with(limits: ConnectionLimits, change: impl FnOnce(Server) -> Server) -> Self {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (enter, wait) = (Arc::clone(&entered), Arc::clone(&leave));
        let waiting = async move || {
            enter.notify_one();
            wait.notified().await;
            "late"
        };
        let router = Router::new()
            .route("/", get(async || "hello"))
            .route("/wait", get(waiting))
            .route("/big", get(async || vec![0_u8; BIG]))
            .route(
                "/refuse",
                post(async || (axum::http::StatusCode::PAYLOAD_TOO_LARGE, "no")),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let server = change(Server::new(listener, router).limits(limits));
        Self {
            address,
            stop,
            server: tokio::spawn(server.run(stopped)),
            entered,
            leave,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn works(&self) {
        assert_eq!(send(self.address, GET).await.body, "hello");
    }
}

/// Waits until the other side has closed.
async fn end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut room = [0; 4096];
    while !matches!(stream.read(&mut room).await, Ok(0) | Err(_)) {}
}

async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(GET).await.unwrap();
    read_reply(stream).await.body
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let running = Running::start(limits()).await;
    let mut stream = running.connect().await;
    for _ in 0..3 {
        assert_eq!(ask(&mut stream).await, "hello");
    }
    stream.write_all(&GET.repeat(3)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(read_reply(&mut stream).await.body, "hello");
    }
}

#[tokio::test]
async fn pipelined_garbage_ends_its_connection_and_nothing_else() {
    let running = Running::start(limits()).await;
    let mut garbage = Vec::from(GET);
    garbage.extend((0..20_000_u32).flat_map(u32::to_le_bytes));
    let mut stream = running.connect().await;
    let _ = stream.write_all(&garbage).await;
    assert_eq!(read_reply(&mut stream).await.body, "hello");
    if let Some(reply) = try_read_reply(&mut stream).await {
        assert_eq!(reply.status, 400);
    }
    end(&mut stream).await;
    for first in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
    ] {
        let mut stream = running.connect().await;
        stream.write_all(first).await.unwrap();
        stream.shutdown().await.unwrap();
        end(&mut stream).await;
    }
    running.works().await;
}

#[tokio::test]
async fn a_head_may_have_its_limit_and_not_a_byte_more() {
    let running = Running::start(limits()).await;
    let head = |bytes: usize| {
        let empty = "GET / HTTP/1.1\r\nhost: x\r\nx: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(bytes - empty))
    };
    assert_eq!(send(running.address, head(MAX_HEAD_BYTES).as_bytes()).await.status, 200);
    assert_eq!(
        send(running.address, head(MAX_HEAD_BYTES + 1).as_bytes()).await.status,
        431
    );
    let address = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(MAX_HEAD_BYTES));
    assert_eq!(send(running.address, address.as_bytes()).await.status, 431);

    let many = |count: usize| {
        let headers: String = (1..count).map(|n| format!("x-{n}: y\r\n")).collect();
        format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n")
    };
    assert_eq!(send(running.address, many(MAX_HEADERS).as_bytes()).await.status, 200);
    assert_eq!(
        send(running.address, many(MAX_HEADERS + 1).as_bytes()).await.status,
        431
    );
}

#[tokio::test]
async fn who_sends_nothing_or_half_a_head_is_let_go() {
    let running = Running::start(ConnectionLimits {
        head: SHORT,
        ..limits()
    })
    .await;
    let mut silent = running.connect().await;
    end(&mut silent).await;
    let mut half = running.connect().await;
    half.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
    end(&mut half).await;
    // Kept while it is idle, not while it dawdles.
    let mut second = running.connect().await;
    assert_eq!(ask(&mut second).await, "hello");
    second.write_all(b"G").await.unwrap();
    end(&mut second).await;
    running.works().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let running = Running::start(ConnectionLimits {
        idle: SHORT,
        ..limits()
    })
    .await;
    let mut stream = running.connect().await;
    assert_eq!(ask(&mut stream).await, "hello");
    end(&mut stream).await;
}

#[tokio::test]
async fn who_has_a_place_gives_it_up_with_its_next_answer_where_places_are_short() {
    let running = Running::start(ConnectionLimits {
        connections: 10,
        ..limits()
    })
    .await;
    let mut kept = Vec::new();
    // The listener holds a place for whoever comes next.
    for _ in 0..8 {
        let mut stream = running.connect().await;
        assert_eq!(ask(&mut stream).await, "hello");
        assert_eq!(ask(&mut stream).await, "hello", "a place is free");
        kept.push(stream);
    }
    let mut last = running.connect().await;
    assert_eq!(ask(&mut last).await, "hello");
    end(&mut last).await;
    running.works().await;
}

#[tokio::test]
async fn a_request_that_takes_long_is_not_idle() {
    let running = Running::start(ConnectionLimits {
        idle: SHORT,
        head: SHORT,
        ..limits()
    })
    .await;
    let mut stream = running.connect().await;
    stream
        .write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    running.entered.notified().await;
    // Another connection lives and dies meanwhile.
    end(&mut running.connect().await).await;
    running.leave.notify_one();
    assert_eq!(read_reply(&mut stream).await.body, "late");
}

#[tokio::test]
async fn who_does_not_read_makes_room_for_others() {
    let running = Running::start(ConnectionLimits {
        connections: 1,
        write: SHORT,
        ..limits()
    })
    .await;
    let mut deaf = running.connect().await;
    deaf.write_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // There is room for one, so this is served once the other is given up.
    running.works().await;
    let mut rest = Vec::new();
    let _ = deaf.read_to_end(&mut rest).await;
    assert!(rest.len() < BIG);
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_one_to_end() {
    let running = Running::start(ConnectionLimits {
        connections: 2,
        ..limits()
    })
    .await;
    let (mut first, mut second) = (running.connect().await, running.connect().await);
    assert_eq!(ask(&mut first).await, "hello");
    assert_eq!(ask(&mut second).await, "hello");
    let mut third = running.connect().await;
    third.write_all(GET).await.unwrap();
    assert_eq!(ask(&mut first).await, "hello");
    let mut byte = [0];
    assert!(third.try_read(&mut byte).is_err(), "there is no room for a third");
    drop(first);
    assert_eq!(read_reply(&mut third).await.body, "hello");
    assert_eq!(ask(&mut second).await, "hello");
}

#[tokio::test]
async fn hundreds_that_only_connect_do_not_keep_anybody_out() {
    // The mechanism of 10,000; so many descriptors are not everywhere.
    let limits = ConnectionLimits {
        connections: 300,
        head: Duration::from_secs(1),
        ..limits()
    };
    let running = Running::start(limits).await;
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(running.connect().await);
    }
    running.works().await;
}

#[tokio::test]
async fn an_early_answer_is_not_lost_to_who_still_sends() {
    let running = Running::start(limits()).await;
    let mut stream = running.connect().await;
    let body = 200 * 1024;
    let head = format!("POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", BIG);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; body]).await.unwrap();
    let reply = read_reply(&mut stream).await;
    assert_eq!((reply.status, reply.body.as_str()), (413, "no"));
    end(&mut stream).await;
}

#[tokio::test]
async fn a_stop_lets_open_requests_end_and_takes_no_others() {
    let running = Running::start(limits()).await;
    let (mut idle, mut busy, mut silent) = (
        running.connect().await,
        running.connect().await,
        running.connect().await,
    );
    assert_eq!(ask(&mut idle).await, "hello");
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    running.entered.notified().await;
    running.stop.send(true).unwrap();
    end(&mut idle).await;
    end(&mut silent).await;
    assert!(TcpStream::connect(running.address).await.is_err());
    running.leave.notify_one();
    assert_eq!(read_reply(&mut busy).await.body, "late");
    running.server.await.unwrap();
}

#[tokio::test]
async fn a_stop_cuts_off_what_does_not_end() {
    let running = Running::start(ConnectionLimits {
        grace: SHORT,
        ..limits()
    })
    .await;
    let mut busy = running.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    running.entered.notified().await;
    running.stop.send(true).unwrap();
    running.server.await.unwrap();
    assert_eq!(try_read_reply(&mut busy).await, None);
}

/// A certificate for localhost, and a client that trusts it.
fn certificate() -> (Vec<u8>, SecretString, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let chain = made.cert.pem().into_bytes();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&chain).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A resumed session shows no certificate.
    client.resumption = rustls::client::Resumption::disabled();
    (
        chain,
        SecretString::from(made.signing_key.serialize_pem()),
        TlsConnector::from(Arc::new(client)),
    )
}

async fn ask_over_tls(running: &Running, client: &TlsConnector) -> std::io::Result<String> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = client.connect(name, running.connect().await).await?;
    stream.write_all(GET).await?;
    Ok(read_reply(&mut stream).await.body)
}

#[tokio::test]
async fn tls_is_served_and_its_certificate_can_be_replaced() {
    let (chain, key, client) = certificate();
    let certificates = Certificates::new(&chain, &key).unwrap();
    let running = Running::with(limits(), |server| server.tls(&certificates)).await;
    assert_eq!(ask_over_tls(&running, &client).await.unwrap(), "hello");

    let (renewed, renewed_key, new_client) = certificate();
    assert!(
        certificates
            .replace(&renewed, &key)
            .unwrap_err()
            .contains("cannot be used together")
    );
    assert_eq!(ask_over_tls(&running, &client).await.unwrap(), "hello");
    certificates.replace(&renewed, &renewed_key).unwrap();
    assert_eq!(ask_over_tls(&running, &new_client).await.unwrap(), "hello");
    assert!(ask_over_tls(&running, &client).await.is_err());

    for first in [GET, b"\x16\x03\x01\x02\x00\x01"] {
        let mut plain = running.connect().await;
        plain.write_all(first).await.unwrap();
        plain.shutdown().await.unwrap();
        end(&mut plain).await;
    }
    assert_eq!(ask_over_tls(&running, &new_client).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_given_up() {
    let (chain, key, _) = certificate();
    let certificates = Certificates::new(&chain, &key).unwrap();
    let running = Running::with(
        ConnectionLimits {
            handshake: SHORT,
            ..limits()
        },
        |server| server.tls(&certificates),
    )
    .await;
    let mut half = running.connect().await;
    half.write_all(b"\x16\x03\x01").await.unwrap();
    end(&mut half).await;
}

#[test]
fn a_certificate_that_cannot_be_used_says_why_and_nothing_of_the_key() {
    let (chain, key, _) = certificate();
    let error = |chain: &[u8], key: &str| Certificates::new(chain, &SecretString::from(key)).unwrap_err();
    use secrecy::ExposeSecret as _;
    assert!(error(b"", key.expose_secret()).contains("no BEGIN CERTIFICATE"));
    let shown = error(
        &chain,
        "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
    );
    assert!(
        shown.contains("cannot be used together") && !shown.contains("c2VjcmV0"),
        "{shown}"
    );
    assert!(error(&chain, "sesame").contains("not a private key in PEM"));
}
