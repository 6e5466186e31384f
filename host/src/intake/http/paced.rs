//! A connection that does not wait for its peer for ever.
//!
//! hyper has one time for the head of a request and for the pause before it. A load balancer keeps connections open for
//! a minute between requests, so that time must be long, and then somebody who sends one byte after the other would be
//! borne with for as long. Here each is timed on its own, and so is a peer that does not read our answers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a closed connection may go on sending: 1 second or this many bytes, 256 KiB. An answer that comes before the
/// whole request was read would otherwise be lost to the reset that follows.
const LINGER_BYTES: usize = 256 * 1024;

/// See [`LINGER_BYTES`].
const LINGER: Duration = Duration::from_secs(1);

/// Nothing is asked, and nothing has begun to arrive.
const IDLE: u8 = 0;
/// A head has begun to arrive.
const HEAD: u8 = 1;
/// A request is being answered; its own limits hold.
const BUSY: u8 = 2;

/// What a connection is doing. The service says when a request begins and ends, the stream when a head begins.
#[derive(Debug, Default)]
pub(super) struct Phase(AtomicU8);

impl Phase {
    /// A request is complete but for its body.
    pub(super) fn begin(&self) {
        self.0.store(BUSY, Ordering::Relaxed);
    }

    /// Its answer is known.
    pub(super) fn end(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }
}

/// How long a peer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) idle: Duration,
    pub(super) head: Duration,
    pub(super) write: Duration,
}

/// A stream that ends with [`io::ErrorKind::TimedOut`] where its peer takes too long.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    phase: Arc<Phase>,
    times: Times,
    /// The phase at the last read, to see when a pause begins.
    last: u8,
    read: Deadline,
    write: Deadline,
    /// Bytes read since we closed.
    lingered: Option<usize>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, phase: Arc<Phase>, times: Times) -> Self {
        Self {
            stream,
            phase,
            times,
            last: BUSY,
            read: Deadline::default(),
            write: Deadline::default(),
            lingered: None,
        }
    }

    /// Whether the peer has taken too long to send.
    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let phase = self.phase.0.load(Ordering::Relaxed);
        if phase != self.last {
            self.last = phase;
            let limit = match phase {
                IDLE => Some(self.times.idle),
                HEAD => Some(self.times.head),
                _ => None,
            };
            self.read.at = limit.map(|limit| Instant::now() + limit);
        }
        self.read.poll(cx)
    }

    /// Passes an attempt to write on, unless the peer has not read for too long.
    fn paced_write<T>(&mut self, cx: &mut Context<'_>, tried: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if tried.is_ready() {
            self.write.at = None;
            return tried;
        }
        self.write.at.get_or_insert_with(|| Instant::now() + self.times.write);
        self.write.poll(cx).map(|()| Err(late()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buffer) {
            if buffer.filled().len() > before {
                let begins = this
                    .phase
                    .0
                    .compare_exchange(IDLE, HEAD, Ordering::Relaxed, Ordering::Relaxed);
                if begins.is_ok() {
                    this.last = HEAD;
                    this.read.at = Some(Instant::now() + this.times.head);
                }
            }
            return Poll::Ready(read);
        }
        this.poll_reading(cx).map(|()| Err(late()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let tried = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.paced_write(cx, tried)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let tried = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.paced_write(cx, tried)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let tried = Pin::new(&mut this.stream).poll_flush(cx);
        // hyper does not read again after an answer where its last read had nothing: it waits to be woken by the stream.
        // So a pause begins here, or nobody would wake it at the end of that. Its next read says that it is over.
        if tried.is_ready() {
            let _ = this.poll_reading(cx);
        }
        this.paced_write(cx, tried)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingered.is_none() {
            let tried = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.paced_write(cx, tried))?;
            this.lingered = Some(0);
            this.read.at = Some(Instant::now() + LINGER);
        }
        let mut room = [0; 4096];
        while this.lingered.is_some_and(|bytes| bytes < LINGER_BYTES) {
            let mut buffer = ReadBuf::new(&mut room);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    this.lingered = this.lingered.map(|bytes| bytes + buffer.filled().len());
                }
                Poll::Ready(_) => break,
                Poll::Pending => return this.read.poll(cx).map(|()| Ok(())),
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the peer took too long")
}

/// A time that something has to happen by.
///
/// Its timer is left alone while the time moves on, as it does with each request; it then wakes too early, once, and is
/// set anew. Setting it each time would cost more than all the rest here.
#[derive(Debug, Default)]
struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Ready when the time is over. Never where there is none.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
#[path = "paced_tests.rs"]
mod tests;
