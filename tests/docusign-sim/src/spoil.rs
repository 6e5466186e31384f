//! What a fault makes of an answer: bodies that lie, drip, never end or give secrets away.

use std::io::{self, Write as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt as _, stream};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::call::{Call, Reply};
use crate::faults::{Encoding, FaultKind};

/// A body as it is sent; an error in it closes the connection.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer with a body that may be more than bytes.
pub(crate) struct Spoiled {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// Bytes of one piece of an endless body.
const HUGE_PIECE: usize = 64 * 1024;

impl From<Reply> for Spoiled {
    fn from(reply: Reply) -> Self {
        Self {
            status: reply.status,
            headers: reply.headers,
            body: whole(reply.body),
        }
    }
}

/// What this fault makes of the true reply (an empty 200 where the request had no effect); none closes the connection.
pub(crate) fn spoil(kind: &FaultKind, reply: Reply, call: &Call) -> Option<Spoiled> {
    let spoiled = match kind {
        FaultKind::Drop => return None,
        // The server waits, and asks the limits, before it comes here.
        FaultKind::Latency { .. } | FaultKind::RateLimit { .. } => reply.into(),
        FaultKind::Status {
            status,
            error_code,
            message,
        } => Reply::error(*status, error_code, message).into(),
        FaultKind::Html { status } => Reply::html(*status).into(),
        FaultKind::Empty { status } => Reply::empty(*status).into(),
        FaultKind::CutJson => cut(reply).into(),
        FaultKind::ShortBody => short(reply),
        FaultKind::Drip { bytes, every_ms } => drip(reply, *bytes, *every_ms),
        FaultKind::Huge { bytes } => huge(*bytes),
        FaultKind::Redirect { status, location } => redirect(*status, location).into(),
        FaultKind::Echo { status, encodings } => echo(*status, encodings, call, &reply).into(),
        FaultKind::GzipBomb { bytes } => bomb(*bytes).into(),
        FaultKind::Answer { status, headers, body } => answer(*status, headers, body).into(),
    };
    Some(spoiled)
}

pub(crate) fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

fn cut(mut reply: Reply) -> Reply {
    reply.body.truncate(reply.body.len() / 2);
    reply
}

fn short(mut reply: Reply) -> Spoiled {
    let length = reply.body.len();
    reply.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    let half = reply.body.slice(..length / 2);
    let pieces = stream::unfold(Some(half), |half| async move {
        match half {
            Some(half) => Some((Ok(Frame::data(half)), None)),
            None => {
                // One turn of the connection, so that the half is on the wire before the connection goes.
                tokio::task::yield_now().await;
                Some((Err(io::Error::other("short body on demand")), None))
            }
        }
    });
    streamed(reply, StreamBody::new(pieces).boxed_unsync())
}

fn drip(mut reply: Reply, bytes: usize, every_ms: u64) -> Spoiled {
    reply
        .headers
        .insert(CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    let pieces = stream::unfold(reply.body.clone(), move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(every_ms)).await;
        let piece = rest.split_to(rest.len().min(bytes));
        Some((Ok(Frame::data(piece)), rest))
    });
    streamed(reply, StreamBody::new(pieces).boxed_unsync())
}

fn huge(bytes: Option<u64>) -> Spoiled {
    let piece = Bytes::from(vec![b'x'; HUGE_PIECE]);
    let start = stream::iter([Bytes::from_static(b"{\"users\":[{\"userName\":\"")]);
    let left = bytes.unwrap_or(u64::MAX);
    let pieces = start.chain(stream::repeat(piece)).scan(left, |left, mut piece| {
        let take = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
        piece.truncate(take);
        *left -= take as u64;
        std::future::ready((take > 0).then_some(Ok(Frame::data(piece))))
    });
    streamed(Reply::json(200, &Value::Null), StreamBody::new(pieces).boxed_unsync())
}

fn redirect(status: u16, location: &str) -> Reply {
    let mut reply = Reply::html(status);
    if let Ok(location) = HeaderValue::from_str(location) {
        reply.headers.insert(LOCATION, location);
    }
    reply
}

fn bomb(bytes: u64) -> Reply {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let blank = [b' '; HUGE_PIECE];
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while left > 0 {
        let take = left.min(blank.len());
        // Writing to a Vec cannot fail.
        let _ = encoder.write_all(&blank[..take]);
        left -= take;
    }
    let mut reply = Reply::json(200, &Value::Null);
    reply.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    reply.body = encoder.finish().unwrap_or_default().into();
    reply
}

fn answer(status: u16, headers: &[(String, String)], body: &str) -> Reply {
    let mut reply = Reply::empty(status);
    reply.body = Bytes::from(body.to_owned());
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            reply.headers.append(name, value);
        }
    }
    reply
}

/// Every secret of the exchange, in every asked-for writing, in body and headers.
fn echo(status: u16, encodings: &[Encoding], call: &Call, reply: &Reply) -> Reply {
    let all = [Encoding::Plain, Encoding::Base64, Encoding::Url];
    let encodings = if encodings.is_empty() { &all[..] } else { encodings };
    let echoes: Vec<String> = secrets(call, reply)
        .iter()
        .flat_map(|secret| encodings.iter().map(|encoding| write(secret, *encoding)))
        .collect();
    let mut echoed = Reply::json(
        status,
        &json!({ "errorCode": "ECHO", "message": format!("You sent {}", echoes.join(" and ")), "echoes": echoes }),
    );
    for echo in &echoes {
        if let Ok(value) = HeaderValue::from_str(echo) {
            echoed.headers.append(HeaderName::from_static("x-echo"), value);
        }
    }
    echoed
}

fn secrets(call: &Call, reply: &Reply) -> Vec<String> {
    let minted: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    [
        call.header(&http::header::AUTHORIZATION).map(str::to_owned),
        call.bearer().map(str::to_owned),
        call.assertion(),
        minted.get("access_token").and_then(Value::as_str).map(str::to_owned),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn write(secret: &str, encoding: Encoding) -> String {
    match encoding {
        Encoding::Plain => secret.to_owned(),
        Encoding::Base64 => STANDARD.encode(secret),
        Encoding::Url => utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
    }
}

fn streamed(reply: Reply, body: Body) -> Spoiled {
    let mut headers = reply.headers;
    headers
        .entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    Spoiled {
        status: reply.status,
        headers,
        body,
    }
}
