//! A client that costs little: requests are bytes made before, answers are looked at for their status and length only.
//!
//! A real HTTP client would take as much of the two processors as the server that is measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::numbers::Times;

/// A connection that is kept alive.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl Connection<TcpStream> {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::with_capacity(8192),
        }
    }

    /// Sends a request and returns its answer's status, when the whole answer is there.
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(head) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break head + 4;
            }
            self.more().await?;
        };
        let text = std::str::from_utf8(&self.buffer[..head]).context("the head is not text")?;
        let status = text.get(9..12).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no status in {text:?}"))?;
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        let end = head + length.with_context(|| format!("no length in {text:?}"))?;
        while self.buffer.len() < end {
            self.more().await?;
        }
        Ok(status)
    }

    /// The body of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        let head = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
        head.map_or(&[], |head| &self.buffer[head + 4..])
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server hung up");
        }
        Ok(())
    }
}

/// What a load came to.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Answers counted: all but those of the first moments.
    pub(crate) times: Times,
    /// Answers in all.
    pub(crate) answered: usize,
    /// From the end of the first moments to the last answer.
    pub(crate) elapsed: Duration,
}

/// How long a load lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// So many requests; all of them count.
    Count(usize),
    /// A while, after a while that does not count.
    Time { warm: Duration, measured: Duration },
}

/// `clients` connections, each of which sends one request after the other. `request` makes the request of a number.
pub(crate) async fn load(
    address: SocketAddr,
    clients: usize,
    until: Until,
    request: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static,
) -> anyhow::Result<Load> {
    let (next, request) = (Arc::new(AtomicUsize::new(0)), Arc::new(request));
    let (mut tasks, begin) = (JoinSet::new(), Instant::now());
    let (most, counted_from, end) = match until {
        Until::Count(count) => (count, begin, begin + Duration::from_secs(600)),
        Until::Time { warm, measured } => (usize::MAX, begin + warm, begin + warm + measured),
    };
    for _ in 0..clients {
        let (next, request) = (Arc::clone(&next), Arc::clone(&request));
        tasks.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let (mut times, mut answered) = (Times::default(), 0);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= most || Instant::now() >= end {
                    return anyhow::Ok((times, answered));
                }
                let bytes = request(number);
                let started = Instant::now();
                let status = connection.send(&bytes).await?;
                ensure!(
                    matches!(status, 200 | 202),
                    "{status}: {}",
                    String::from_utf8_lossy(connection.body())
                );
                answered += 1;
                if started >= counted_from {
                    times.push(started.elapsed());
                }
            }
        });
    }
    let mut load = Load::default();
    while let Some(ended) = tasks.join_next().await {
        let (times, answered) = ended??;
        load.times.append(times);
        load.answered += answered;
    }
    load.elapsed = counted_from.elapsed();
    Ok(load)
}
