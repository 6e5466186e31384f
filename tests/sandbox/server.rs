//! The target: a handful of users, and pages that no decent target has.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::{Compression, write::GzEncoder};
use futures_util::{StreamExt, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The token that the token endpoint gives out. With characters that encoders change, and the header of our assertions.
pub(crate) const ACCESS_TOKEN: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.Token+/0123456789.abc~DEF_ghi=";

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) body: String,
}

/// How the token endpoint behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TokenPage {
    /// Gives the token, and in a header too.
    #[default]
    Gives,
    /// Refuses, and shows what it was sent.
    Echoes,
}

/// A target on a loopback port.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    inside: Arc<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    users: Mutex<BTreeMap<String, bool>>,
    arrived: Mutex<Vec<Arrived>>,
    /// Secrets that were shown to the target, in order.
    remembered: Mutex<Vec<String>>,
    token_page: Mutex<TokenPage>,
    elsewhere: Mutex<Option<SocketAddr>>,
    /// Whether all users have the leaver's address.
    is_shared: AtomicBool,
    /// Whether its search has not heard of closures yet.
    is_late: AtomicBool,
    /// Whether it closes nobody.
    refuses: AtomicBool,
}

impl Inside {
    fn address(&self, id: &str) -> String {
        let user = if self.is_shared.load(Ordering::SeqCst) {
            "leaver"
        } else {
            id
        };
        format!("{user}@acme.example")
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inside = Arc::<Inside>::default();
        let app = Router::new().fallback(answer).with_state(Arc::clone(&inside));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let server = Self { address, inside };
        server.reset();
        server
    }

    /// The users as they were: `leaver` and `bystander`, both open.
    pub(crate) fn reset(&self) {
        let users = [("leaver".to_owned(), true), ("bystander".to_owned(), true)];
        *self.inside.users.lock().unwrap() = users.into();
        self.inside.arrived.lock().unwrap().clear();
    }

    /// Both users have the leaver's address from here on.
    pub(crate) fn share_address(&self) {
        self.inside.is_shared.store(true, Ordering::SeqCst);
    }

    /// Its search shows closed users as open from here on.
    pub(crate) fn search_lags(&self) {
        self.inside.is_late.store(true, Ordering::SeqCst);
    }

    /// A further user, whose id it shows.
    pub(crate) fn add(&self, id: &str) {
        self.inside.users.lock().unwrap().insert(id.to_owned(), true);
    }

    /// It refuses to close anybody from here on.
    pub(crate) fn refuse_closures(&self) {
        self.inside.refuses.store(true, Ordering::SeqCst);
    }

    /// Somebody else closes an account.
    pub(crate) fn close(&self, id: &str) {
        close(&self.inside, id);
    }

    pub(crate) fn is_open(&self, id: &str) -> bool {
        self.inside.users.lock().unwrap()[id]
    }

    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.inside.arrived.lock().unwrap().clone()
    }

    /// How many requests asked for a closure.
    pub(crate) fn closures(&self) -> usize {
        let arrived = self.inside.arrived.lock().unwrap();
        arrived.iter().filter(|request| request.method == "DELETE").count()
    }

    pub(crate) fn remembered(&self) -> Vec<String> {
        self.inside.remembered.lock().unwrap().clone()
    }

    /// How the token endpoint behaves from here on; what was shown before is forgotten.
    pub(crate) fn token_page(&self, page: TokenPage) {
        self.inside.remembered.lock().unwrap().clear();
        *self.inside.token_page.lock().unwrap() = page;
    }

    /// Where the redirect leads.
    pub(crate) fn redirects_to(&self, elsewhere: SocketAddr) {
        *self.inside.elsewhere.lock().unwrap() = Some(elsewhere);
    }
}

/// A target that writes a response head without end. Gives its address.
pub(crate) async fn endless_head() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                socket.read_exact(&mut [0; 16]).await?;
                socket.write_all(b"HTTP/1.1 200 OK\r\nx-long: ").await?;
                loop {
                    socket.write_all(&[b'x'; 1024]).await?;
                }
                #[expect(unreachable_code, reason = "names the error type")]
                std::io::Result::Ok(())
            });
        }
    });
    address
}

/// The forms in which targets show what they were sent.
pub(crate) fn forms(secret: &str) -> Vec<String> {
    vec![
        secret.to_owned(),
        secret.to_uppercase(),
        STANDARD.encode(secret),
        STANDARD.encode(format!("Bearer {secret}")),
        STANDARD.encode(format!("{{\"sent\":\"{secret}\"}}")),
        URL_SAFE_NO_PAD.encode(format!("a {secret} b")),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
        secret.replace('/', "\\/"),
        secret.replace('+', "\\u002b").replace('=', "\\u003d"),
        secret.replace('+', "&#43;").replace('/', "&#47;").replace('=', "&#61;"),
        secret
            .replace('+', "&#x2B;")
            .replace('/', "&#x2F;")
            .replace('=', "&#x3D;"),
    ]
}

async fn answer(
    State(inside): State<Arc<Inside>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    inside.arrived.lock().unwrap().push(Arrived {
        method: method.clone(),
        uri: uri.clone(),
        // Token requests carry what no test should print.
        body: if uri.path() == "/token" {
            String::new()
        } else {
            body.clone()
        },
    });
    let path: Vec<&str> = uri.path().split('/').skip(1).collect();
    match (method.as_str(), path.as_slice()) {
        ("GET", ["users"]) => users(&inside, uri.query().unwrap_or_default()),
        ("GET", ["users", id]) => user(&inside, id),
        ("DELETE", ["users", _]) if inside.refuses.load(Ordering::SeqCst) => StatusCode::FORBIDDEN.into_response(),
        ("DELETE", ["users", id]) => close(&inside, id),
        ("POST", ["close"]) => {
            let id = serde_json::from_str::<Value>(&body).unwrap_or_default();
            close(&inside, id["id"].as_str().unwrap_or_default())
        }
        ("POST", ["token"]) => token(&inside, &headers, &body),
        ("GET" | "HEAD", ["hostile", page]) => hostile(&inside, page, &headers).await,
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn shown(inside: &Inside, id: &str, open: bool) -> Value {
    let status = if open { "open" } else { "closed" };
    json!({"id": id, "email": inside.address(id), "status": status})
}

fn users(inside: &Inside, query: &str) -> Response {
    let users = inside.users.lock().unwrap();
    let wanted = query.strip_prefix("email=").unwrap_or_default().replace("%40", "@");
    let is_late = inside.is_late.load(Ordering::SeqCst);
    let fits = |id: &str| wanted.is_empty() || wanted == inside.address(id);
    let found: Vec<Value> = users
        .iter()
        .filter(|(id, _)| fits(id))
        .map(|(id, open)| shown(inside, id, *open || is_late))
        .collect();
    axum::Json(found).into_response()
}

fn user(inside: &Inside, id: &str) -> Response {
    match inside.users.lock().unwrap().get(id) {
        Some(open) => axum::Json(shown(inside, id, *open)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn close(inside: &Inside, id: &str) -> Response {
    match inside.users.lock().unwrap().get_mut(id) {
        Some(open) => {
            *open = false;
            axum::Json(shown(inside, id, false)).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn token(inside: &Inside, headers: &HeaderMap, body: &str) -> Response {
    let assertion = body.split("assertion=").nth(1).unwrap_or_default().to_owned();
    let mut remembered = inside.remembered.lock().unwrap();
    remembered.extend(
        [assertion, authorization(headers)]
            .into_iter()
            .filter(|secret| !secret.is_empty()),
    );
    match *inside.token_page.lock().unwrap() {
        TokenPage::Gives => {
            remembered.push(ACCESS_TOKEN.to_owned());
            let given = json!({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 3600});
            let heads = [("x-token", ACCESS_TOKEN), ("x-trace", ACCESS_TOKEN)];
            (heads, axum::Json(given)).into_response()
        }
        TokenPage::Echoes => (StatusCode::BAD_REQUEST, echo(&remembered)).into_response(),
    }
}

fn authorization(headers: &HeaderMap) -> String {
    let value = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value.split(' ').next_back().unwrap_or_default().to_owned()
}

/// Secrets in all forms, in headers and in the body.
fn echo(secrets: &[String]) -> Response {
    let all: Vec<String> = secrets.iter().flat_map(|secret| forms(secret)).collect();
    let mut response = all.join("\n").into_response();
    for form in all.iter().rev().take(16) {
        response.headers_mut().append("x-echo", form.parse().unwrap());
    }
    response
}

/// A secret in all forms, each cut off near its end, and each in lines.
fn pieces(secret: &str) -> Response {
    let lines = |form: &str| -> Vec<String> {
        let lines = form.as_bytes().chunks(64);
        lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    };
    let shown = forms(secret).into_iter().flat_map(|form| {
        let cut = format!("{}...", &form[..form.len() - 5]);
        [cut, lines(&form).join("\r\n")]
    });
    shown.collect::<Vec<_>>().join("\n").into_response()
}

async fn hostile(inside: &Inside, page: &str, headers: &HeaderMap) -> Response {
    match page {
        "ok" | "next" => page.to_owned().into_response(),
        "hang" => std::future::pending().await,
        "redirect" => {
            let elsewhere = inside.elsewhere.lock().unwrap().expect("the test says where");
            (StatusCode::FOUND, [("location", format!("http://{elsewhere}/users"))]).into_response()
        }
        "bomb" => ([("content-encoding", "gzip")], bomb()).into_response(),
        "endless" => {
            let chunks = stream::repeat_with(|| std::io::Result::Ok(Bytes::from_static(&[b'x'; 16 * 1024])));
            Body::from_stream(chunks).into_response()
        }
        "broken" => {
            let most = stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 16 * 1024]))).take(63);
            let end = stream::once(async { Err(std::io::Error::other("it breaks off")) });
            Body::from_stream(most.chain(end)).into_response()
        }
        "slow" => {
            let first = stream::once(async { std::io::Result::Ok(Bytes::from_static(b"x")) });
            Body::from_stream(first.chain(stream::pending())).into_response()
        }
        "big-head" => ([("x-big", "x".repeat(100 * 1024))], "big").into_response(),
        "many-heads" => {
            let mut response = "many".into_response();
            for _ in 0..200 {
                response.headers_mut().append("x-one", "1".parse().unwrap());
            }
            response
        }
        "echo" => echo(&[authorization(headers)]),
        "pieces" => pieces(&authorization(headers)),
        "reversed" => authorization(headers).chars().rev().collect::<String>().into_response(),
        "remember" => {
            inside.remembered.lock().unwrap().push(authorization(headers));
            "remembered".into_response()
        }
        "recall" => echo(&inside.remembered.lock().unwrap()),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// 64 MiB of zeros, some 300 KiB on the wire.
fn bomb() -> Body {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![0; 1024 * 1024];
    (0..64).for_each(|_| encoder.write_all(&zeros).unwrap());
    Body::from(encoder.finish().unwrap())
}
