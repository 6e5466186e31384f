use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::poll;
use http_body_util::BodyExt as _;

use super::*;
use crate::console::testing::Stand;

async fn turn(turns: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(turns).acquire_owned().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_keeps_its_turn_until_it_was_read() {
    let turns = Arc::new(Semaphore::new(1));
    let bytes = Bytes::from(vec![7; 3 * PIECE + 1]);
    let mut body = held(Response::new(Body::from(bytes.clone())), turn(&turns).await)
        .await
        .into_body();
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        read.extend_from_slice(&frame.unwrap().into_data().unwrap());
        let is_whole = read.len() == bytes.len();
        assert_eq!(turns.available_permits(), usize::from(is_whole), "{}", read.len());
    }
    assert_eq!(read, bytes);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_reads_is_let_go_after_a_minute() {
    let turns = Arc::new(Semaphore::new(1));
    let long = || Response::new(Body::from(vec![7; PIECE + 1]));
    let mut body = held(long(), turn(&turns).await).await.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    tokio::time::sleep(READ_WITHIN - Duration::from_millis(1)).await;
    assert_eq!(turns.available_permits(), 0);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(turns.available_permits(), 1, "whether the connection asks or not");
    assert!(body.frame().await.unwrap().is_err(), "it does not look whole");
    // Who hangs up lets it go as well.
    drop(held(long(), turn(&turns).await).await);
    assert_eq!(turns.available_permits(), 1);
}

#[tokio::test]
async fn a_short_answer_gives_its_turn_back_at_once() {
    let turns = Arc::new(Semaphore::new(1));
    let short = Response::new(Body::from(vec![7; PIECE]));
    let body = held(short, turn(&turns).await).await.into_body();
    assert_eq!(turns.available_permits(), 1);
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), PIECE);
}

fn caller(stand: &Stand, token: &str) -> Caller {
    let (mut parts, ()) = axum::http::Request::new(()).into_parts();
    let secret = secrecy::ExposeSecret::expose_secret(stand.secret(token));
    parts
        .headers
        .insert("authorization", format!("Bearer {secret}").parse().unwrap());
    identify(&parts, &stand.tokens.load()).unwrap()
}

#[tokio::test]
async fn a_tenant_has_its_turns_whatever_others_do() {
    let stand = Stand::new().await;
    let turns = &stand.shared.turns;
    let acme = caller(&stand, "acme-all");
    let mut taken = Vec::new();
    for _ in 0..AT_WORK {
        taken.push(turns.take(&acme).await.unwrap());
    }
    let mut next = std::pin::pin!(turns.take(&acme));
    assert!(poll!(&mut next).is_pending(), "one too many");
    // Through the front door as well.
    let asked = stand.get("/v1/lanes", "acme-all");
    let mut asked = std::pin::pin!(asked);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), &mut asked)
            .await
            .is_err()
    );
    for other in ["ops", "other-all"] {
        assert_eq!(stand.get("/v1/lanes", other).await.0, 200, "{other}");
    }
    taken.pop();
    let taken_next = next.await.unwrap();
    drop((taken, taken_next));
    assert_eq!(asked.await.0, 200);
}

#[tokio::test]
async fn who_waits_too_long_or_with_too_many_is_told_to_come_back() {
    let stand = Stand::new().await;
    tokio::time::pause();
    let turns = &stand.shared.turns;
    let acme = caller(&stand, "acme-all");
    let mut taken = Vec::new();
    for _ in 0..AT_WORK {
        taken.push(turns.take(&acme).await.unwrap());
    }
    let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(turns.take(&acme))).collect();
    for wait in &mut waiting {
        assert!(poll!(wait).is_pending());
    }
    let one_more = turns.take(&acme).await;
    assert!(one_more.is_err(), "one past the limit");
    waiting.pop();
    let mut in_its_place = Box::pin(turns.take(&acme));
    assert!(poll!(&mut in_its_place).is_pending());
    assert!(in_its_place.await.is_err(), "it waits no longer than {WAIT:?}");
}

/// Its turn is given back when the journal has answered, and not when nobody listens any more.
#[tokio::test]
async fn who_hangs_up_keeps_its_turn_until_its_work_is_done() {
    let stand = Stand::new().await;
    let (goes_on, waits) = (
        Arc::new(tokio::sync::Notify::new()),
        Arc::new(tokio::sync::Notify::new()),
    );
    let handler = {
        let (goes_on, waits) = (Arc::clone(&goes_on), Arc::clone(&waits));
        async move || {
            waits.notify_one();
            goes_on.notified().await;
            "done"
        }
    };
    let app = axum::Router::new()
        .route("/", axum::routing::get(handler))
        .route_layer(axum::middleware::from_fn_with_state(Arc::clone(&stand.shared), in_turn));
    let secret = secrecy::ExposeSecret::expose_secret(stand.secret("acme-all"));
    let request = Request::get("/").header("authorization", format!("Bearer {secret}"));
    let asking = tokio::spawn(tower::ServiceExt::oneshot(app, request.body(Body::empty()).unwrap()));
    waits.notified().await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    let acme = caller(&stand, "acme-all");
    let mut others = Vec::new();
    for _ in 1..AT_WORK {
        others.push(stand.shared.turns.take(&acme).await.unwrap());
    }
    let mut next = std::pin::pin!(stand.shared.turns.take(&acme));
    assert!(poll!(&mut next).is_pending());
    goes_on.notify_one();
    assert!(next.await.is_ok());
}

#[tokio::test]
async fn who_sends_a_body_slowly_keeps_no_turn_from_others() {
    let stand = Stand::new().await;
    let secret = secrecy::ExposeSecret::expose_secret(stand.secret("acme-all"));
    let head = format!(
        "POST /v1/pause HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer {secret}\r\nContent-Length: 100\r\n\r\n{{"
    );
    let address = (stand.url.host_str().unwrap(), stand.url.port().unwrap());
    let mut slow = Vec::new();
    for _ in 0..=AT_WORK {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes())
            .await
            .unwrap();
        slow.push(stream);
    }
    // Less than a body may take.
    let answer = tokio::time::timeout(Duration::from_secs(5), stand.get("/v1/lanes", "acme-all")).await;
    assert_eq!(answer.expect("a turn").0, 200);
}
