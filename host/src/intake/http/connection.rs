//! One connection: handshake, requests, end.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::paced::{Paced, Phase, Times};
use super::server::{ConnectionLimits, MAX_HEAD_BYTES, MAX_HEADERS, stopped};

/// What a connection is served with.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) router: Router,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) limits: ConnectionLimits,
    /// Places for connections.
    pub(super) room: Arc<Semaphore>,
    pub(super) stop: watch::Receiver<bool>,
}

impl Serving {
    /// Whether places are so short that whoever is idle has to give way.
    pub(super) fn is_pressed(&self) -> bool {
        self.room.available_permits() < self.limits.connections / 10
    }
}

/// Serves a connection until it ends, one of its times is over, or the server stops and its last request is answered.
/// Its errors are its peer's: they are nobody's to act on.
pub(super) async fn serve(stream: TcpStream, serving: Serving, idle: std::time::Duration) {
    // Answers are one small write each.
    let _ = stream.set_nodelay(true);
    let mut stop = serving.stop.clone();
    // Nothing is allocated for a peer that sends nothing.
    let first = tokio::select! {
        first = timeout(serving.limits.head, stream.readable()) => first,
        () = stopped(&mut stop) => return,
    };
    if !matches!(first, Ok(Ok(()))) {
        return;
    }
    match &serving.tls {
        None => http(stream, serving, idle).await,
        Some(tls) => {
            let shaken = timeout(serving.limits.handshake, tls.accept(stream)).await;
            match shaken {
                Ok(Ok(stream)) => http(stream, serving, idle).await,
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        }
    }
}

async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    serving: Serving,
    idle: std::time::Duration,
) {
    let (limits, mut stop) = (serving.limits, serving.stop.clone());
    let serving = Arc::new(serving);
    let phase = Arc::new(Phase::default());
    let times = Times {
        idle,
        head: limits.head,
        write: limits.write,
    };
    let stream = TokioIo::new(Paced::new(stream, Arc::clone(&phase), times));
    let service = service_fn(move |request: Request<Incoming>| {
        phase.begin();
        let (serving, phase) = (Arc::clone(&serving), Arc::clone(&phase));
        async move {
            let mut answer = serving.router.clone().oneshot(request.map(Body::new)).await;
            phase.end();
            // Each answer begins a new idle time: whoever asks for something now and then would have its place for ever.
            if serving.is_pressed()
                && let Ok(answer) = &mut answer
            {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            answer
        }
    });
    let mut builder = http1::Builder::new();
    // The stream has its own times.
    builder
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    let connection = builder.serve_connection(stream, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
