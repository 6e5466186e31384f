//! One tenant's events beside those of others.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::IntakeLimits;
use super::events::judge;
use super::limits::INLINE_BYTES;
use super::router;
use super::testing::{
    ACME, House, NEW, SIGN_NEW, events, native_change, open_source, read_reply, request, seconds_from_now, send_signed,
};

/// A source whose filter compares each value with each other.
const LABORIOUS: &str = "kind = 'webhook'\nauth = { bearer = 'file:new' }\nfilter = '$.a[?count($.a[?@ == 1]) > 0]'\n\
                         person = { email = '$.email' }";

#[tokio::test]
async fn a_tenant_whose_events_are_all_on_their_way_waits_and_those_are_taken() {
    let limits = IntakeLimits {
        event_bytes: 4096,
        tenant_bytes: 16 * 1024,
        ..IntakeLimits::default()
    };
    let house = House::with(limits).await;
    let bearer = format!("Bearer {NEW}");
    let body = native_change("ann").to_string();
    let bytes = request(&events("hr"), &[("authorization", &bearer)], body.as_bytes());
    let mut first = TcpStream::connect(house.address).await.unwrap();
    first.write_all(&bytes[..bytes.len() - 1]).await.unwrap();
    // The first one is there once another finds no room.
    let refused = loop {
        let reply = house.event("hr", &native_change("bob")).await;
        if reply.status != 200 {
            break reply;
        }
    };
    assert!(refused.problem(503).contains("too many events of this tenant"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    first.write_all(&bytes[bytes.len() - 1..]).await.unwrap();
    assert_eq!(read_reply(&mut first).await.status, 200);
    assert_eq!(house.event("hr", &native_change("cid")).await.status, 200);
}

#[tokio::test]
async fn who_waits_to_be_judged_waits_behind_its_own_and_not_for_ever() {
    let house = House::open().await;
    let limits = IntakeLimits {
        judges: 2,
        ..IntakeLimits::default()
    };
    let shared = router::shared(house.intake(ACME, limits, house.stop.subscribe()));
    let laborious = Arc::new(open_source(LABORIOUS).unwrap());
    let plain = shared.intake.directory.source("acme", "shop").unwrap();
    let body = async |bytes: usize| {
        let text = format!(
            r#"{{"a":[1],"email":"a@acme.example","pad":"{}"}}"#,
            "x".repeat(bytes - 43)
        );
        assert_eq!(text.len(), bytes);
        let (headers, body) = (HeaderMap::new(), Body::from(Bytes::from(text)));
        shared.buffers.receive(&headers, body, bytes, None).await.unwrap()
    };
    let place = |tenant: &str| shared.shares.enter(tenant).unwrap();
    let (busy, other) = (place("busy"), place("other"));
    let own = Arc::clone(&busy.share().judge).acquire_owned().await.unwrap();
    tokio::time::pause();
    let over = INLINE_BYTES + 1;
    judge(&shared, &busy, &plain, body(INLINE_BYTES).await).await.unwrap();
    for (source, bytes) in [(&plain, over), (&laborious, 100)] {
        judge(&shared, &other, source, body(bytes).await).await.unwrap();
        let late = judge(&shared, &busy, source, body(bytes).await).await.unwrap_err();
        assert_eq!(late.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    drop(own);
    judge(&shared, &busy, &laborious, body(over).await).await.unwrap();
    let _all = Arc::clone(&shared.judges).acquire_many_owned(2).await.unwrap();
    let late = judge(&shared, &other, &plain, body(over).await).await.unwrap_err();
    assert_eq!(late.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn bodies_of_all_tenants_have_their_room_together() {
    let (ann, bob) = (native_change("ann"), native_change("bob"));
    let limits = IntakeLimits {
        // Of the first nearly all has come when the second comes, which then has a byte too little.
        buffered_bytes: ann.to_string().len() - 1 + bob.to_string().len() - 1,
        ..IntakeLimits::default()
    };
    let house = House::with(limits).await;
    let bearer = format!("Bearer {NEW}");
    let bytes = request(&events("hr"), &[("authorization", &bearer)], ann.to_string().as_bytes());
    let mut first = TcpStream::connect(house.address).await.unwrap();
    first.write_all(&bytes[..bytes.len() - 1]).await.unwrap();
    let refused = loop {
        let reply = house.event("hr", &bob).await;
        if reply.status != 200 {
            break reply;
        }
    };
    assert!(refused.problem(503).contains("too many large bodies"), "{refused:?}");
    first.write_all(&bytes[bytes.len() - 1..]).await.unwrap();
    assert_eq!(read_reply(&mut first).await.status, 200);
    assert_eq!(house.event("hr", &bob).await.status, 200);
}

/// A sixteenth of the room is one stranger's, beyond what is free.
#[tokio::test]
async fn bodies_that_claim_to_be_signed_have_a_smaller_room() {
    const BEYOND: usize = 100;
    let mut leaver = serde_json::json!({"type": "left", "email": "ann@acme.example", "pad": ""});
    leaver["pad"] = "x".repeat(8 * 1024 + BEYOND - leaver.to_string().len()).into();
    let whole = 16 * BEYOND;
    for (unproven_bytes, status) in [(whole - 1, 503), (whole, 202)] {
        let house = House::with(IntakeLimits {
            unproven_bytes,
            ..IntakeLimits::default()
        })
        .await;
        let reply = send_signed(&house, SIGN_NEW, "msg_1", seconds_from_now(0), &leaver).await;
        assert_eq!(reply.status, status, "{reply:?}");
    }
}
