//! Sockets: three listeners, each request read whole, answered by a plain function, and spoiled where a fault says so.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::call::{Call, Origin, Reply};
use crate::faults::{Fault, FaultKind};
use crate::log::Record;
use crate::openapi::Exchange;
use crate::seed::Seed;
use crate::spoil::{self, Body, Spoiled};
use crate::state::State;
use crate::{account, control, esign, ids, limits};

/// Largest request body at DocuSign's origins: far above any list of users that a client sends.
const MAX_BODY: usize = 1024 * 1024;

/// Largest request body at `/_sim/…`: a hundred thousand users at once.
const MAX_CONTROL_BODY: usize = 64 * 1024 * 1024;

/// Pause after a failed accept, which is a full table of open files more often than not.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

const TRACE_TOKEN: HeaderName = HeaderName::from_static("x-docusign-tracetoken");

/// What all connections share.
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) seed: Seed,
}

impl Shared {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            state: Mutex::new(seed.state()),
            seed,
        }
    }

    /// The state. A panic elsewhere does not make it unreadable: a test's own failure is the news then.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts until it is dropped; its connections go with it.
pub(crate) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, origin: Origin, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => { connections.spawn(connection(socket, tls.clone(), origin, Arc::clone(&shared))); }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(socket: TcpStream, tls: Option<TlsAcceptor>, origin: Origin, shared: Arc<Shared>) {
    // Failures here are the client's: it hung up, or does not trust the authority.
    let _ = socket.set_nodelay(true);
    match tls {
        Some(tls) => {
            if let Ok(socket) = tls.accept(socket).await {
                serve(socket, origin, shared).await;
            }
        }
        None => serve(socket, origin, shared).await,
    }
}

async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin, origin: Origin, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { handle(&shared, origin, request).await }
    });
    let mut http = http1::Builder::new();
    http.header_read_timeout(None);
    // An error is a connection closed on purpose, or a client that hung up.
    let _ = http.serve_connection(TokioIo::new(socket), service).await;
}

async fn handle(shared: &Arc<Shared>, origin: Origin, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
    let Some(call) = read(origin, request).await else {
        let mut too_large = Reply::html(413);
        too_large.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(response(too_large.into()));
    };
    if origin == Origin::Control {
        return Ok(response(control::answer(shared, &call).into()));
    }
    let faults = {
        let mut state = shared.lock();
        state.witness(&call);
        let faults = state.faults.take(&call);
        if faults.is_empty() {
            return Ok(response(plain(&mut state, &call).into()));
        }
        faults
    };
    // A task of its own: DocuSign finishes what it was asked, even for a client that has gone.
    let shared = Arc::clone(shared);
    let spoiled = tokio::spawn(async move { faulty(&shared, &call, &faults).await }).await;
    spoiled.ok().flatten().map(response).ok_or(Dropped)
}

async fn read(origin: Origin, request: Request<Incoming>) -> Option<Call> {
    let (parts, body) = request.into_parts();
    let limit = if origin == Origin::Control {
        MAX_CONTROL_BODY
    } else {
        MAX_BODY
    };
    let body: Bytes = Limited::new(body, limit).collect().await.ok()?.to_bytes();
    Some(Call {
        origin,
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body,
    })
}

/// An answer without faults: effect, log and exchange under one lock.
fn plain(state: &mut State, call: &Call) -> Reply {
    let mut record = Record::of(call, state.clock.now_ms());
    let mut reply = answer(state, call);
    record.trace_token = trace(&mut reply.headers);
    record.status = Some(reply.status);
    if call.origin == Origin::Esign && state.exchanges.is_some() {
        let exchange = Exchange::of(call, &reply);
        state.exchanges.get_or_insert_default().push(exchange);
    }
    log(state, record);
    reply
}

fn answer(state: &mut State, call: &Call) -> Reply {
    match call.origin {
        Origin::Account => account::answer(state, call),
        _ => esign::answer(state, call),
    }
}

async fn faulty(shared: &Shared, call: &Call, faults: &[Fault]) -> Option<Spoiled> {
    let spoiling = faults
        .iter()
        .find(|fault| !matches!(fault.kind, FaultKind::Latency { .. }));
    let has_effect = spoiling.is_none_or(Fault::takes_effect);
    wait(faults, false).await;
    let (mut record, reply) = {
        let mut state = shared.lock();
        let record = Record::of(call, state.clock.now_ms());
        let reply = if has_effect {
            answer(&mut state, call)
        } else {
            Reply::empty(200)
        };
        (record, limited(&state, spoiling, reply))
    };
    wait(faults, true).await;
    let mut spoiled = match spoiling {
        Some(fault) => spoil::spoil(&fault.kind, reply, call),
        None => Some(reply.into()),
    };
    match &mut spoiled {
        Some(spoiled) => {
            record.trace_token = trace(&mut spoiled.headers);
            record.status = Some(spoiled.status);
        }
        None => record.status = None,
    }
    record.effect = has_effect;
    record.faults = faults.iter().map(Fault::name).collect();
    log(&mut shared.lock(), record);
    spoiled
}

/// Latencies: the ones after the effect, or the others.
async fn wait(faults: &[Fault], after: bool) {
    for fault in faults.iter().filter(|fault| (fault.effect == Some(true)) == after) {
        if let FaultKind::Latency { ms } = fault.kind {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }
}

/// The error of a limit that a fault says is broken; every account is said to have used all of it.
fn limited(state: &State, spoiling: Option<&Fault>, reply: Reply) -> Reply {
    match spoiling.map(|fault| &fault.kind) {
        Some(FaultKind::RateLimit { which }) => {
            let mut reply = limits::exceeded(*which, &state.limits, &state.switches);
            limits::Meter::exhausted(*which).write(&crate::Limits::default(), state.clock.now_ms(), &mut reply);
            reply
        }
        _ => reply,
    }
}

fn log(state: &mut State, record: Record) {
    state.counters.requests += 1;
    state.counters.dropped += u64::from(record.status.is_none());
    state.counters.forgotten += u64::from(state.log.push(record));
}

fn trace(headers: &mut http::HeaderMap) -> String {
    let token = ids::guid();
    // A GUID is always a header value.
    if let Ok(value) = HeaderValue::from_str(&token) {
        headers.insert(TRACE_TOKEN, value);
    }
    token
}

fn response(spoiled: Spoiled) -> Response<Body> {
    let mut response = Response::new(spoiled.body);
    *response.status_mut() = StatusCode::from_u16(spoiled.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = spoiled.headers;
    response
}

/// Makes hyper close the connection without an answer.
#[derive(Debug)]
struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed on demand")
    }
}

impl std::error::Error for Dropped {}
