//! Takes a body in, within limits.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
use super::shares::Place;

/// A body in memory, and its room there.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Received {
    /// A body that the journal had.
    pub(super) fn kept(bytes: Bytes) -> Self {
        Self { bytes, _room: None }
    }
}

/// Room for the bodies of many requests.
#[derive(Debug)]
pub(super) struct Buffers {
    room: Arc<Semaphore>,
    /// One body may have one part in so many of the room that is left.
    parts: usize,
    /// Bytes of each body that take no room.
    free: usize,
    time: Duration,
}

/// Of the room for senders whom nobody knows. The more of it is taken, the smaller is what still finds some: whoever
/// holds megabytes there keeps out others with megabytes.
const PARTS_FOR_STRANGERS: usize = 16;

/// How much of each body of theirs takes none of that room: 8 KiB, twice an event of usual size, which finds its way
/// beside any number of larger ones. There are no more of them than connections: 80 MiB.
const FREE_FOR_STRANGERS: usize = 8 * 1024;

impl Buffers {
    /// `bytes` for all, `time` for each.
    pub(super) fn new(bytes: usize, time: Duration) -> Self {
        Self {
            room: Arc::new(Semaphore::new(bytes.clamp(1, u32::MAX as usize))),
            parts: 1,
            free: 0,
            time,
        }
    }

    /// The same for senders whom nobody knows: none of them can fill it.
    pub(super) fn of_strangers(bytes: usize, time: Duration) -> Self {
        Self {
            parts: PARTS_FOR_STRANGERS,
            free: FREE_FOR_STRANGERS,
            ..Self::new(bytes, time)
        }
    }

    /// Reads a JSON body of at most `most` bytes, which count for its sender's `place` where that is known.
    pub(super) async fn receive(
        &self,
        headers: &HeaderMap,
        body: Body,
        most: usize,
        place: Option<&mut Place>,
    ) -> Result<Received, Problem> {
        check_headers(headers, most)?;
        let late = |_| {
            let detail = format!("the body did not arrive within {} seconds", self.time.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
        };
        tokio::time::timeout(self.time, self.collect(body, most, place))
            .await
            .map_err(late)?
    }

    // Room is taken for what has arrived, not for what was announced: otherwise a few senders that announce much and
    // send nothing would keep everybody out. Where there is none left nobody waits, since all might wait for each other.
    // The rest of a body that finds none is read and dropped: an answer before it would be lost to the reset that ends a
    // connection with something unread.
    async fn collect(&self, mut body: Body, most: usize, mut place: Option<&mut Place>) -> Result<Received, Problem> {
        let mut length = 0;
        // Copied: a piece keeps the connection's whole buffer, so many small ones would hold far more than they are.
        let mut kept = self.take(0, 0, None).map(|room| (room, BytesMut::new()));
        while let Some(frame) = body.frame().await {
            let broken = |_| Problem::new(StatusCode::BAD_REQUEST, "the body ended early");
            let Ok(piece) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            length += piece.len();
            if length > most {
                return Err(too_large(most));
            }
            let Ok((room, bytes)) = &mut kept else { continue };
            match self.take(piece.len(), length, place.as_deref_mut()) {
                Ok(more) => {
                    room.merge(more);
                    bytes.extend_from_slice(&piece);
                }
                Err(problem) => {
                    kept = Err(problem);
                    place.iter_mut().for_each(|place| place.leave());
                }
            }
        }
        let (room, bytes) = kept?;
        if let Some(place) = place {
            place.arrived()?;
        }
        Ok(Received {
            bytes: bytes.freeze(),
            _room: Some(room),
        })
    }

    /// Room for some more bytes of a body that then has `length`, of the sender's share too.
    fn take(&self, bytes: usize, length: usize, place: Option<&mut Place>) -> Result<OwnedSemaphorePermit, Problem> {
        if let Some(place) = place {
            place.grow(bytes)?;
        }
        let busy = || Problem::busy("too many large bodies at the moment");
        let taken = (length - bytes).saturating_sub(self.free);
        let wanted = length.saturating_sub(self.free);
        if wanted > (self.room.available_permits() + taken) / self.parts {
            return Err(busy());
        }
        let permits = u32::try_from(wanted - taken).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(permits);
        room.map_err(|_| busy())
    }
}

fn check_headers(headers: &HeaderMap, most: usize) -> Result<(), Problem> {
    if let Some(kind) = headers.get(header::CONTENT_TYPE)
        && !kind.to_str().is_ok_and(is_json)
    {
        let detail = "the body must be JSON; send Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let coded = |value: &axum::http::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get(header::CONTENT_ENCODING).is_some_and(coded) {
        let detail = "the body must not be compressed; send it without Content-Encoding";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match announced {
        Some(length) if length > most as u64 => Err(too_large(most)),
        _ => Ok(()),
    }
}

/// `application/json`, or another type in JSON's form (RFC 6839).
fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn too_large(most: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is over {most} bytes, the limit"),
    )
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[test]
    fn json_is_told_by_its_type() {
        for kind in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/cloudevents+json",
        ] {
            assert!(is_json(kind), "{kind}");
        }
        for kind in [
            "",
            "text/json",
            "text/plain",
            "application/jsonx",
            "application/x-www-form-urlencoded",
            "+json",
        ] {
            assert!(!is_json(kind), "{kind}");
        }
    }

    #[tokio::test]
    async fn room_is_given_back_with_the_body() {
        let buffers = Buffers::new(10, Duration::from_secs(1));
        let none = HeaderMap::new();
        let take = |text: &'static str| buffers.receive(&none, Body::from(text), 8, None);
        let first = take("12345678").await.unwrap();
        assert_eq!(take("123").await.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            take("123456789").await.unwrap_err().status,
            StatusCode::PAYLOAD_TOO_LARGE
        );
        drop(first);
        assert_eq!(take("12345678").await.unwrap().bytes, "12345678");
    }

    #[tokio::test]
    async fn a_body_without_room_is_read_to_its_end_and_takes_none_meanwhile() {
        let buffers = Buffers::new(10, Duration::from_secs(1));
        let none = HeaderMap::new();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let pieces = futures_util::stream::unfold(receiver, |mut receiver| async {
            let piece: Bytes = receiver.recv().await?;
            Some((Ok::<_, std::io::Error>(piece), receiver))
        });
        let mut refused = Box::pin(buffers.receive(&none, Body::from_stream(pieces), 20, None));
        for piece in ["12345678", "123"] {
            sender.send(Bytes::from(piece)).await.unwrap();
            assert!(futures_util::poll!(&mut refused).is_pending());
        }
        let other = buffers.receive(&none, Body::from("1234567890"), 20, None).await;
        assert_eq!(other.unwrap().bytes.len(), 10);
        sender.send(Bytes::from("1")).await.unwrap();
        assert!(futures_util::poll!(&mut refused).is_pending());
        drop(sender);
        assert_eq!(refused.await.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
    }

    /// Body after body that never ends, until none finds room any more.
    #[tokio::test]
    async fn whoever_holds_most_of_the_room_for_strangers_leaves_some_for_small_bodies() {
        let buffers = Buffers::of_strangers(64 * 1024, Duration::from_secs(1));
        let none = HeaderMap::new();
        // What each has beyond what is free.
        let endless = |length: usize| {
            let piece = Ok::<_, std::io::Error>(Bytes::from(vec![b'1'; FREE_FOR_STRANGERS + length]));
            let body = futures_util::stream::iter([piece]).chain(futures_util::stream::pending());
            Box::pin(buffers.receive(&none, Body::from_stream(body), 1 << 20, None))
        };
        let take = async |length: usize| {
            let body = Body::from("1".repeat(FREE_FOR_STRANGERS + length));
            let taken = buffers.receive(&none, body, 1 << 20, None).await;
            taken.map(|received| received.bytes.len() - FREE_FOR_STRANGERS)
        };
        assert_eq!(take(4096).await.unwrap(), 4096);
        assert_eq!(take(4097).await.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
        let mut held: Vec<_> = (0..100).map(|_| endless(4096)).collect();
        held.extend((0..100).map(|_| endless(2048)));
        for body in &mut held {
            assert!(futures_util::poll!(body).is_pending());
        }
        assert!(take(4096).await.is_err() && take(2048).await.is_err());
        assert_eq!(take(1024).await.unwrap(), 1024);
        // Whoever takes as much as there is, again and again, leaves no more than what is free.
        for length in (1..4096).rev() {
            let mut greedy = endless(length);
            if futures_util::poll!(&mut greedy).is_pending() {
                held.push(greedy);
            }
        }
        assert!(take(16).await.is_err());
        assert_eq!(take(0).await.unwrap(), 0);
        drop(held);
        assert_eq!(take(4096).await.unwrap(), 4096);
    }

    #[tokio::test]
    async fn pieces_are_joined_in_their_order() {
        let pieces = ["{\"a\"", ":", "1}"].map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        let received = Buffers::new(100, Duration::from_secs(1))
            .receive(&HeaderMap::new(), body, 7, None)
            .await;
        assert_eq!(received.unwrap().bytes, "{\"a\":1}");
    }
}
