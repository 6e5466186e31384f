use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::poll;
use http_body_util::BodyExt as _;

use super::*;
use crate::console::testing::Stand;

async fn turn(turns: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(turns).acquire_owned().await.ok()
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

#[tokio::test]
async fn a_tenant_has_its_turns_whatever_others_do() {
    let stand = Stand::new().await;
    let caller = |token: &str| {
        let tokens = stand.tokens.load_full();
        let (mut parts, ()) = axum::http::Request::new(()).into_parts();
        let secret = secrecy::ExposeSecret::expose_secret(stand.secret(token));
        let bearer = format!("Bearer {secret}").parse().unwrap();
        parts.headers.insert("authorization", bearer);
        identify(&parts, &tokens).unwrap()
    };
    let turns = Turns::default();
    let mut taken = Vec::new();
    for _ in 0..AT_WORK {
        taken.push(turns.take(&caller("acme-all")).await);
    }
    let of_acme = caller("acme-all");
    let mut next = std::pin::pin!(turns.take(&of_acme));
    assert!(poll!(&mut next).is_pending(), "one too many");
    for other in ["ops", "other-all"] {
        assert!(poll!(std::pin::pin!(turns.take(&caller(other)))).is_ready(), "{other}");
    }
    taken.pop();
    assert!(poll!(&mut next).is_ready());
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
