//! Clients that mean no good, or are only slow: the host goes on serving the others, and its memory stays bounded.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::Client;
use crate::house::{House, SOURCE_TOKEN};
use crate::process::Host;

/// What the host may grow by in each of these tests: 400 MiB. It buffers at most 240 MiB of bodies, and 10,000
/// connections take 20 KiB each.
const MOST_GROWTH_KIB: u64 = 400 * 1024;

/// What it may grow by with many large bodies: 600 MiB. It keeps 128 MiB of them, 64 MiB wait for the journal and some are
/// written, and each of 600 connections has what was read of it so far.
const MOST_WITH_BODIES_KIB: u64 = 600 * 1024;

async fn begin() -> (House, Host, Client) {
    let house = House::sqlite().await;
    let _ = house.world.user("ann@acme.example");
    let host = house.start().await;
    let client = Client::new(&house, &host);
    (house, host, client)
}

/// The host takes an event and closes its account.
async fn still_serves(house: &House, client: &Client, name: &str) {
    let email = format!("{name}@acme.example");
    let _ = house.world.user(&email);
    let event = client.accepted("acme", &end_to_end::event(&email)).await;
    client.job_is(&event, "closed").await;
}

/// How many files this process and its children may open, once its soft limit is its hard one.
fn open_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("a soft limit may be as high as the hard one");
    let most = limit.maximum.unwrap_or(u64::MAX);
    usize::try_from(most).expect("64 bits")
}

/// Opens connections, each with the beginning of a request.
async fn open(address: SocketAddr, count: usize, beginning: &[u8]) -> Vec<TcpStream> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let some = (0..(count - all.len()).min(100)).map(|_| async {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(beginning).await.expect("it takes the beginning");
            stream
        });
        all.extend(join_all(some).await);
    }
    all
}

/// Reads until the other side closes, and returns how much came.
async fn drained(stream: &mut TcpStream) -> usize {
    let (mut all, mut buffer) = (0, vec![0; 64 * 1024]);
    let reading = async {
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => all += count,
            }
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(120), reading).await.is_ok(),
        "the host keeps a connection that says nothing"
    );
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_silent_and_half_open_connections_leave_room_for_events_and_are_closed() {
    let (house, host, client) = begin().await;
    still_serves(&house, &client, "before").await;
    let before = host.resident();
    // With the fifty below, all but some of the 10,000 that a host takes.
    let count = open_files().saturating_sub(500).min(9_900) / 3;
    assert!(
        count >= 1_000,
        "{count} connections of each kind are no flood; raise the hard limit on open files, `ulimit -Hn`, to 4096"
    );
    let silent = open(host.address(), count, b"").await;
    let half = open(
        host.address(),
        count,
        b"POST /v1/tenants/acme/sources/hr/events HTTP/1.1\r\nHost: e\r\nX: ",
    )
    .await;
    let head = format!(
        "POST /v1/tenants/acme/sources/hr/events HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer {SOURCE_TOKEN}\r\n\
         Content-Length: 4096\r\n\r\n{{"
    );
    let mut bodies = open(host.address(), count, head.as_bytes()).await;
    still_serves(&house, &client, "during").await;
    let during = host.resident();
    // Whoever has a token is no better: what people send is as small as a reason, and has its time.
    let acts = format!(
        "POST /v1/pause HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer {}\r\nContent-Length: 100\r\n\r\n{{",
        house.token
    );
    let mut acts = open(host.address(), 50, acts.as_bytes()).await;
    let mut all = silent;
    all.extend(half);
    all.append(&mut bodies);
    all.append(&mut acts);
    let said: usize = join_all(all.iter_mut().map(drained)).await.into_iter().sum();
    still_serves(&house, &client, "after").await;
    println!(
        "{} connections: resident {before} KiB before, {during} during, {} after; {said} bytes of answers",
        all.len(),
        host.resident()
    );
    assert!(
        during.saturating_sub(before) < MOST_GROWTH_KIB,
        "{before} KiB to {during} KiB"
    );
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_there_is_room_for_wait_their_turn() {
    let (house, host, _) = begin().await;
    host.stop().await;
    house.configure("limits = { connections = 50 }");
    let host = house.start().await;
    let client = Client::new(&house, &host);
    // They are in the kernel's queue, ahead of the event; the first fifty must end before it is seen.
    let mut all = open(host.address(), 100, b"GET /livez HTTP/1.1\r\nX: ").await;
    still_serves(&house, &client, "during").await;
    join_all(all.iter_mut().map(drained)).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cannot_use_up_the_files_that_a_host_may_open() {
    let mut house = House::sqlite().await;
    house.under = ["sh", "-c", "ulimit -n 256; exec \"$0\" \"$@\""]
        .map(str::to_owned)
        .to_vec();
    let host = house.start().await;
    end_to_end::says(&host.said(), &["128 connections at a time and not 10000"]);
    let client = Client::new(&house, &host);
    still_serves(&house, &client, "before").await;
    // As many as are let in are silent then, and the journal goes on opening files. Our connection may be closed after an
    // answer, since others wait; the next one waits with these, until the first of them have been silent for too long.
    let silent = open(host.address(), 200, b"").await;
    for number in 0..40 {
        client
            .accepted("acme", &end_to_end::event(&format!("p{number}@acme.example")))
            .await;
    }
    client.idle().await;
    drop(silent);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_garbage_is_answered_with_an_end() {
    let (house, host, client) = begin().await;
    let before = host.resident();
    let garbage: [Vec<u8>; 6] = [
        vec![0; 1 << 20],
        vec![b'A'; 1 << 20],
        b"\r\n".repeat(1 << 18),
        b"GET / HTTP/1.1\r\nHost: e\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".repeat(1000),
        b"POST /v1/tenants/acme/sources/hr/events HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n"
            .repeat(1000),
        [
            b"GET /livez HTTP/1.1\r\nHost: e\r\n".as_slice(),
            &b"X-Y: z\r\n".repeat(100_000),
            b"\r\n",
        ]
        .concat(),
    ];
    for piece in &garbage {
        for _ in 0..10 {
            let mut stream = TcpStream::connect(host.address()).await.expect("a connection");
            // It may be closed before everything is written, which is the point.
            let _ = stream.write_all(piece).await;
            drained(&mut stream).await;
        }
    }
    still_serves(&house, &client, "after").await;
    println!("garbage: resident {before} KiB before, {} after", host.resident());
    assert!(host.resident().saturating_sub(before) < MOST_GROWTH_KIB);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_and_never_reads_is_let_go() {
    let (house, host, client) = begin().await;
    let before = host.resident();
    let one = format!(
        "GET /metrics HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer {}\r\n\r\n",
        house.token.as_str()
    );
    let many = one.repeat(2000);
    let mut all = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(host.address()).await.expect("a connection");
        let writing = stream.write_all(many.as_bytes());
        // What does not fit waits for a reader that never comes.
        let _ = tokio::time::timeout(Duration::from_secs(1), writing).await;
        all.push(stream);
    }
    still_serves(&house, &client, "during").await;
    let during = host.resident();
    println!("50 that never read: resident {before} KiB before, {during} during");
    assert!(
        during.saturating_sub(before) < MOST_GROWTH_KIB,
        "{before} KiB to {during} KiB"
    );
    // Longer than a request waits for its turn among those of one token, 20 s, and then a host for a client to take
    // something, 10 s: by then each was let go, or one of its requests was refused.
    tokio::time::sleep(Duration::from_secs(35)).await;
    let one = client.see("/metrics").await.as_str().expect("text").len();
    for came in join_all(all.iter_mut().map(drained)).await {
        assert!(came < 2000 * one, "it was given all of {came} bytes");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_of_many_clients_are_taken_within_a_bound_or_refused() {
    let (house, host, client) = begin().await;
    let tenants: Vec<String> = (0..8).map(|number| format!("tenant{number}")).collect();
    for tenant in &tenants {
        house.add_tenant(tenant);
    }
    crate::until("all tenants take events", async || {
        let answers = tenants.iter().map(|tenant| client.event(tenant, b"{}"));
        join_all(answers)
            .await
            .iter()
            .all(|answer| matches!(answer, Ok((200, _))))
    })
    .await;
    let before = host.resident();
    // 600 MiB, and more than their 32 MiB of each tenant.
    let large = vec![b' '; exeunt::intake::MAX_EVENT_BYTES];
    let mut refused = 0;
    let sent = (0..600).map(|number| client.event(&tenants[number % tenants.len()], &large));
    for answer in join_all(sent).await {
        match answer.expect("an answer") {
            (200, said) => assert_eq!(said["decision"], "refused", "it names nobody, and is recorded"),
            (status, said) => {
                assert_eq!(status, 503, "{said:#}");
                refused += 1;
            }
        }
    }
    let over = vec![b' '; exeunt::intake::MAX_EVENT_BYTES + 1];
    assert_eq!(client.event("acme", &over).await.expect("an answer").0, 413);
    still_serves(&house, &client, "after").await;
    let most = host.most_resident();
    assert!(refused > 0, "all found room");
    println!("600 large bodies: resident {before} KiB before, {most} at most; {refused} refused");
    assert!(
        most.saturating_sub(before) < MOST_WITH_BODIES_KIB,
        "{before} KiB to {most} KiB"
    );
    host.stop().await;
}
