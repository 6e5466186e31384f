//! Faults on demand, each seen from the client's side.

use std::io::Read as _;
use std::pin::Pin;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docusign_sim::{Encoding, Fault, FaultKind, Origin, Status};
use flate2::read::GzDecoder;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Rig, answer, sign, user_list};

const USERS: &str = "/restapi/*/users";

/// Drives a request, which must not be answered yet.
async fn still_waits<T>(pending: Pin<&mut impl Future<Output = T>>) {
    tokio::select! {
        biased;
        _ = pending => panic!("answered too early"),
        () = std::future::ready(()) => {}
    }
}

struct Leaver {
    rig: Rig,
    token: String,
    id: String,
}

impl Leaver {
    async fn start() -> Self {
        let rig = Rig::start().await;
        let id = rig.add("ann@acme.example");
        let token = rig.token().await;
        Self { rig, token, id }
    }

    /// A close under this fault.
    async fn close(&self, fault: Fault) -> reqwest::Result<reqwest::Response> {
        self.rig.sim.fault(fault.method("DELETE").path(USERS));
        self.rig
            .send(&self.token, Method::DELETE, "/users", Some(user_list(&[&self.id])))
            .await
    }

    /// Requests that the first fault has met; none before there is one.
    async fn hits(&self) -> u64 {
        let faults = self.rig.control(Method::GET, "faults", None).await.json();
        faults["faults"][0]["hits"].as_u64().unwrap_or_default()
    }

    fn status(&self) -> Status {
        self.rig.sim.user(&self.id).expect("the leaver").status
    }
}

#[tokio::test]
async fn a_connection_can_be_dropped_before_or_after_the_effect() {
    for (fault, status, effect) in [
        (Fault::new(FaultKind::Drop), Status::Active, false),
        (Fault::new(FaultKind::Drop).after_effect(), Status::Closed, true),
    ] {
        let leaver = Leaver::start().await;
        let error = leaver.close(fault).await.expect_err("no answer");
        assert!(!error.is_connect() && !error.is_timeout(), "{error:?}");
        assert_eq!(leaver.status(), status);
        let record = leaver.rig.sim.requests().pop().expect("a record");
        assert_eq!(
            (record.status, record.effect, record.faults),
            (None, effect, vec!["drop".to_owned()])
        );
        assert_eq!(leaver.rig.sim.counters().dropped, 1);
    }
}

#[tokio::test]
async fn errors_pages_and_empty_bodies_replace_the_answer() {
    let error = |status| FaultKind::Status {
        status,
        error_code: "UNSPECIFIED_ERROR".to_owned(),
        message: "Try again.".to_owned(),
    };
    for (kind, status, text) in [
        (
            error(500),
            500,
            r#"{"errorCode":"UNSPECIFIED_ERROR","message":"Try again."}"#,
        ),
        (
            error(503),
            503,
            r#"{"errorCode":"UNSPECIFIED_ERROR","message":"Try again."}"#,
        ),
        (
            error(408),
            408,
            r#"{"errorCode":"UNSPECIFIED_ERROR","message":"Try again."}"#,
        ),
        (FaultKind::Html { status: 502 }, 502, "<!DOCTYPE html>"),
        (FaultKind::Html { status: 200 }, 200, "<!DOCTYPE html>"),
        (FaultKind::Empty { status: 444 }, 444, ""),
    ] {
        let leaver = Leaver::start().await;
        let got = answer(leaver.close(Fault::new(kind.clone())).await.expect("an answer")).await;
        assert_eq!(got.status, status);
        assert!(
            got.text.starts_with(text) && got.text.is_empty() == text.is_empty(),
            "{kind:?}: {}",
            got.text
        );
        assert!(got.header("x-docusign-tracetoken").is_some());
        assert_eq!(leaver.status(), Status::Active);
        let late = leaver.close(Fault::new(kind).after_effect()).await.expect("an answer");
        assert_eq!(late.status(), status);
        assert_eq!(leaver.status(), Status::Closed);
    }
}

#[tokio::test]
async fn an_answer_can_be_cut_with_an_honest_length_or_a_false_one() {
    let leaver = Leaver::start().await;
    let cut = answer(leaver.close(Fault::new(FaultKind::CutJson)).await.expect("an answer")).await;
    assert_eq!(cut.status, 200);
    assert!(
        serde_json::from_str::<Value>(&cut.text).is_err() && cut.text.starts_with('{'),
        "{}",
        cut.text
    );
    assert_eq!(leaver.status(), Status::Closed);
    let leaver = Leaver::start().await;
    let mut short = leaver
        .close(Fault::new(FaultKind::ShortBody))
        .await
        .expect("a status line");
    let length = short.content_length().expect("a length");
    let mut got = 0;
    let error = loop {
        match short.chunk().await {
            Ok(Some(chunk)) => got += chunk.len() as u64,
            Ok(None) => panic!("the body ended well"),
            Err(error) => break error,
        }
    };
    assert!(got > 0 && got < length, "{got} of {length}: {error}");
    assert_eq!(leaver.status(), Status::Closed);
}

#[tokio::test]
async fn an_answer_can_drip() {
    let leaver = Leaver::start().await;
    let fault = Fault::new(FaultKind::Drip { bytes: 10, every_ms: 1 });
    let mut response = leaver.close(fault).await.expect("an answer");
    let (mut pieces, mut text) = (0, Vec::new());
    while let Some(piece) = response.chunk().await.expect("a piece") {
        pieces += 1;
        text.extend_from_slice(&piece);
    }
    let body: Value = serde_json::from_slice(&text).expect("the true answer");
    assert_eq!(body["users"][0]["userStatus"], "closed");
    assert!(pieces > 1, "{pieces} pieces of {} bytes", text.len());
}

#[tokio::test]
async fn latency_holds_an_answer_back_before_or_after_the_effect() {
    // Nothing is measured: an hour of latency never ends within this test.
    let hour = FaultKind::Latency { ms: 3_600_000 };
    for (fault, status) in [
        (Fault::new(hour.clone()), Status::Active),
        (Fault::new(hour).after_effect(), Status::Closed),
    ] {
        let leaver = Leaver::start().await;
        let mut pending = std::pin::pin!(leaver.close(fault));
        // Once the fault has met it, the request had its chance to take effect while the other ones were served.
        while leaver.hits().await != 1 {
            still_waits(pending.as_mut()).await;
        }
        for _ in 0..3 {
            assert_eq!(leaver.rig.get(&leaver.token, "/users").await.status, 200);
            still_waits(pending.as_mut()).await;
        }
        assert_eq!(leaver.status(), status);
    }
    let leaver = Leaver::start().await;
    leaver.rig.sim.fault(Fault::new(FaultKind::Latency { ms: 1 }));
    let got = leaver
        .close(Fault::new(FaultKind::Html { status: 500 }))
        .await
        .expect("an answer");
    assert_eq!(got.status(), 500, "latency goes together with another fault");
    assert_eq!(leaver.rig.sim.requests().pop().unwrap().faults, ["latency", "html"]);
}

#[tokio::test]
async fn a_request_takes_effect_although_its_client_hung_up() {
    let leaver = Leaver::start().await;
    leaver
        .rig
        .sim
        .fault(Fault::new(FaultKind::Latency { ms: 500 }).method("DELETE"));
    let body = user_list(&[&leaver.id]);
    {
        let mut pending = std::pin::pin!(leaver.rig.send(&leaver.token, Method::DELETE, "/users", Some(body)));
        // Wait until the fault has met the request, then hang up.
        while leaver.hits().await != 1 {
            still_waits(pending.as_mut()).await;
        }
    }
    // The connection is gone long before the latency is over. A way out, not a measure: it would never close otherwise.
    let closed = async {
        while leaver.status() != Status::Closed {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), closed)
        .await
        .expect("the request takes effect");
}

#[tokio::test]
async fn a_body_can_be_long_or_never_end() {
    let leaver = Leaver::start().await;
    let fault = Fault::new(FaultKind::Huge { bytes: Some(3_000_000) });
    let long = answer(leaver.close(fault).await.expect("an answer")).await;
    assert_eq!(long.text.len(), 3_000_000);
    let mut endless = leaver
        .close(Fault::new(FaultKind::Huge { bytes: None }))
        .await
        .expect("an answer");
    let mut got = 0;
    while got < 20_000_000 {
        got += endless.chunk().await.expect("a piece").expect("more").len();
    }
}

#[tokio::test]
async fn a_gzip_bomb_inflates_to_what_was_asked_for() {
    let leaver = Leaver::start().await;
    let plain = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(leaver.rig.sim.ca_pem().as_bytes()).unwrap()])
        .no_gzip()
        .no_proxy()
        .resolve("demo.docusign.net", leaver.rig.sim.esign_addr())
        .build()
        .unwrap();
    leaver
        .rig
        .sim
        .fault(Fault::new(FaultKind::GzipBomb { bytes: 50_000_000 }));
    let url = format!("https://demo.docusign.net{}/users", leaver.rig.account_path());
    let response = plain
        .get(url)
        .bearer_auth(&leaver.token)
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let packed = response.bytes().await.expect("a body");
    let mut inflated = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut inflated).expect("gzip");
    assert_eq!(inflated.len(), 50_000_000);
    assert!(packed.len() < 1_000_000, "{} bytes", packed.len());
}

#[tokio::test]
async fn a_redirect_points_elsewhere() {
    let leaver = Leaver::start().await;
    let location = "https://evil.example/restapi".to_owned();
    let kind = FaultKind::Redirect {
        status: 307,
        location: location.clone(),
    };
    let got = answer(leaver.close(Fault::new(kind)).await.expect("an answer")).await;
    assert_eq!((got.status, got.header("location")), (307, Some(location.as_str())));
}

#[tokio::test]
async fn secrets_can_be_echoed_in_every_writing_in_body_and_headers() {
    let leaver = Leaver::start().await;
    let echo = |encodings| FaultKind::Echo { status: 400, encodings };
    let got = answer(leaver.close(Fault::new(echo(vec![]))).await.expect("an answer")).await;
    let header = format!("Bearer {}", leaver.token);
    let headers: Vec<&str> = got
        .headers
        .get_all("x-echo")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    for written in [
        header.clone(),
        STANDARD.encode(&header),
        STANDARD.encode(&leaver.token),
        header
            .replace(' ', "%20")
            .replace('.', "%2E")
            .replace('-', "%2D")
            .replace('_', "%5F"),
    ] {
        assert!(got.text.contains(&written), "{written} is not in the body");
        assert!(headers.contains(&written.as_str()), "{written} is in no header");
    }
    leaver.rig.sim.fault(
        Fault::new(echo(vec![Encoding::Plain]))
            .on(Origin::Account)
            .after_effect(),
    );
    let assertion = sign(leaver.rig.sim.private_key_pem(), &leaver.rig.claims());
    let got = leaver.rig.mint(&assertion).await;
    let echoes = got.json()["echoes"].clone();
    assert_eq!(echoes[0], assertion);
    assert!(
        echoes[1]
            .as_str()
            .is_some_and(|token| token.starts_with("eyJ0eXAiOiJNVCI")),
        "the token that was minted"
    );
}

#[tokio::test]
async fn any_answer_can_be_given() {
    let leaver = Leaver::start().await;
    let kind = FaultKind::Answer {
        status: 401,
        headers: vec![
            ("content-type".to_owned(), "text/plain".to_owned()),
            ("x-odd".to_owned(), "1".to_owned()),
        ],
        body: "no".to_owned(),
    };
    let got = answer(leaver.close(Fault::new(kind)).await.expect("an answer")).await;
    assert_eq!(
        (got.status, got.header("x-odd"), got.text.as_str()),
        (401, Some("1"), "no")
    );
}

#[tokio::test]
async fn faults_strike_the_nth_fitting_request_as_often_as_they_should() {
    let leaver = Leaver::start().await;
    let html = FaultKind::Html { status: 500 };
    let fault = Fault::new(html.clone())
        .on(Origin::Esign)
        .method("get")
        .path("/restapi/*/users*");
    leaver.rig.sim.fault(fault.containing("ann").skip(1).times(2));
    let mut statuses = Vec::new();
    for path in [
        "/users",
        "/users?email=ann",
        "/groups",
        "/users?email=ann",
        "/users?email=ann",
        "/users?email=ann",
    ] {
        statuses.push(leaver.rig.get(&leaver.token, path).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 500, 500, 200]);
    leaver.rig.sim.fault(Fault::new(html).forever());
    for _ in 0..3 {
        assert_eq!(leaver.rig.get(&leaver.token, "/users").await.status, 500);
    }
    leaver.rig.sim.clear_faults();
    assert_eq!(leaver.rig.get(&leaver.token, "/users").await.status, 200);
}

#[tokio::test]
async fn two_faults_for_one_request_take_turns() {
    let leaver = Leaver::start().await;
    for status in [500, 503] {
        leaver.rig.sim.fault(Fault::new(FaultKind::Html { status }));
    }
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(leaver.rig.get(&leaver.token, "/users").await.status);
    }
    assert_eq!(statuses, [500, 503, 200]);
}

#[tokio::test]
async fn faults_meet_the_account_server_too() {
    let leaver = Leaver::start().await;
    leaver
        .rig
        .sim
        .fault(Fault::new(FaultKind::Html { status: 503 }).path("/oauth/token"));
    assert_eq!(leaver.rig.mint_claims(&json!({})).await.status, 503);
    assert_eq!(leaver.rig.mint_claims(&json!({})).await.status, 200);
}
