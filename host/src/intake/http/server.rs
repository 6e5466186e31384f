//! Accepts connections, up to a number, until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::connection::{Serving, serve};
use super::tls::Certificates;

/// Largest head of a request, its first line included: 16 KiB. A bearer token has at most 8.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Most headers of a request: 64. Proxies add a handful to the dozen that clients send.
pub const MAX_HEADERS: usize = 64;

/// How long an open connection may pause when nearly all of them are taken: 5 seconds.
const PRESSED_IDLE: Duration = Duration::from_secs(5);

/// The pause after an accept that failed for lack of something, such as file descriptors: 100 ms, so that the loop does
/// not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How much connections may take. The defaults are meant to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open at a time; more wait in the kernel's queue. Default 10,000: each takes about 20 KiB at rest and as many file
    /// descriptors as there are, so the process needs a limit above it.
    pub connections: usize,
    /// Pause between two requests. Default 75 seconds: longer than a load balancer keeps a connection that it does not
    /// use (60 by common default), or an event would meet a connection that we are just closing.
    pub idle: Duration,
    /// From the first byte of a request's head to its last, and from the connection to its first byte. Default 10 seconds.
    pub head: Duration,
    /// For the peer to read something of an answer. Default 10 seconds.
    pub write: Duration,
    /// For a TLS handshake. Default 10 seconds.
    pub handshake: Duration,
    /// For open requests to end when the server stops. Default 20 seconds; then they are cut off.
    pub grace: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            idle: Duration::from_secs(75),
            head: Duration::from_secs(10),
            write: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            grace: Duration::from_secs(20),
        }
    }
}

/// Serves a router over HTTP/1.1.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    router: Router,
    tls: Option<Certificates>,
    limits: ConnectionLimits,
}

impl Server {
    /// A server that does not run yet, without TLS.
    #[must_use]
    pub fn new(listener: TcpListener, router: Router) -> Self {
        Self {
            listener,
            router,
            tls: None,
            limits: ConnectionLimits::default(),
        }
    }

    /// Serves over TLS only.
    #[must_use]
    pub fn tls(self, certificates: &Certificates) -> Self {
        Self {
            tls: Some(certificates.clone()),
            ..self
        }
    }

    /// Replaces the default limits.
    #[must_use]
    pub fn limits(self, limits: ConnectionLimits) -> Self {
        Self { limits, ..self }
    }

    /// Serves until `stop` turns true (or nobody is left who could say so), then takes no more connections, lets open
    /// requests end within [`ConnectionLimits::grace`], and returns.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let Self {
            listener,
            router,
            tls,
            limits,
        } = self;
        let serving = Serving {
            router,
            tls: tls.map(|certificates| TlsAcceptor::from(certificates.config())),
            limits,
            room: Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS))),
            stop: stop.clone(),
        };
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(ended) = open.join_next() => report(ended),
                (stream, place) = accept(&listener, &serving.room) => {
                    let idle = if serving.is_pressed() { limits.idle.min(PRESSED_IDLE) } else { limits.idle };
                    let serving = serving.clone();
                    open.spawn(async move {
                        serve(stream, serving, idle).await;
                        drop(place);
                    });
                }
            }
        }
        // From here on the kernel refuses connections, and a load balancer takes another host.
        drop(listener);
        let drained = timeout(limits.grace, async { while open.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!(open = open.len(), "requests did not end in time and are cut off");
            open.shutdown().await;
        }
    }
}

/// Waits until the server shall stop, or nobody is left who could say so.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stopped| *stopped).await;
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(place) = Arc::clone(room).acquire_owned().await else {
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the connection was gone before it was accepted.
fn is_the_peers(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
