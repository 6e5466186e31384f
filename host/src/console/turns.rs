//! Turns: how many requests of whom are at work, from the token to the last byte of the answer.
//!
//! Each of them may write to the journal, which has one writer for everybody's events, or hold an answer of megabytes for a
//! client that does not read. A rate for each token lost: it would refuse a script that releases a thousand jobs one by
//! one, and says nothing of what is held.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::access::{Caller, identify};
use super::body::whole;
use super::problem::Problem;
use super::router::Shared;

/// Requests of one tenant, or of one token of the host, that are at work at a time: 4. Commands send one after the other.
/// The next ones wait.
const AT_WORK: usize = 4;

/// How long an answer waits to be read: a minute, enough for the longest (16 MiB of transcripts) at 2 Mbit/s.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// Bytes of a piece of an answer: 64 KiB. What a client does not read is held here, and not in the connection's buffers.
const PIECE: usize = 64 * 1024;

/// Most tenants and tokens that are remembered without a request at work.
const REMEMBERED: usize = 1024;

/// The turns of all tenants and tokens.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<Semaphore>>>);

impl Turns {
    async fn take(&self, caller: &Caller) -> Option<OwnedSemaphorePermit> {
        // No tenant has a slash in its name.
        let whose = caller
            .tenant()
            .map_or_else(|| format!("/{}", caller.name()), str::to_owned);
        let turns = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= REMEMBERED {
                known.retain(|_, turns| Arc::strong_count(turns) > 1);
            }
            let turns = known.entry(whose).or_insert_with(|| Arc::new(Semaphore::new(AT_WORK)));
            Arc::clone(turns)
        };
        // Nobody closes it.
        turns.acquire_owned().await.ok()
    }
}

/// Lets a request with a token in when it is its turn. Without one it is refused by whoever handles it.
///
/// In a task of its own, since a client that hangs up must not give its turn away while the journal still works.
pub(super) async fn in_turn(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(caller) = identify(&parts, &shared.console.tokens.load()) else {
        return Problem::unauthorized().into_response();
    };
    // Before the turn: who sends a body slowly must not keep it from the others.
    let body = match whole(Request::from_parts(parts.clone(), body), &shared).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let turn = shared.turns.take(&caller).await;
    parts.extensions.insert(caller);
    let work = tokio::spawn(async move {
        let response = next.run(Request::from_parts(parts, Body::from(body))).await;
        (response, turn)
    });
    match work.await {
        Ok((response, turn)) => held(response, turn).await,
        Err(error) => {
            tracing::error!(%error, "a request of the console ended without an answer");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the server's log says why").into_response()
        }
    }
}

/// An answer that keeps its turn until it was read; a short one gives it back at once.
async fn held(response: Response, turn: Option<OwnedSemaphorePermit>) -> Response {
    let (parts, body) = response.into_parts();
    let Ok(whole) = body.collect().await else {
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer broke off").into_response();
    };
    let bytes = whole.to_bytes();
    if bytes.len() <= PIECE {
        return Response::from_parts(parts, Body::from(bytes));
    }
    let held = Arc::new(Mutex::new(Some((bytes, turn))));
    // The connection may never ask for the next piece, so the time is not its to tell.
    let left = Arc::downgrade(&held);
    tokio::spawn(async move {
        tokio::time::sleep(READ_WITHIN).await;
        if let Some(held) = left.upgrade() {
            *held.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    });
    let pieces = stream::unfold(Some(held), async |held| {
        let held = held?;
        let piece = next_piece(&held);
        let goes_on = matches!(&piece, Ok((_, true)));
        Some((piece.map(|(bytes, _)| bytes), goes_on.then_some(held)))
    });
    Response::from_parts(parts, Body::from_stream(pieces))
}

type Held = Mutex<Option<(Bytes, Option<OwnedSemaphorePermit>)>>;

/// The next piece, and whether there are more.
fn next_piece(held: &Held) -> io::Result<(Bytes, bool)> {
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    let (rest, _) = held
        .as_mut()
        .ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "the answer was not read in time"))?;
    let piece = rest.split_to(rest.len().min(PIECE));
    let goes_on = !rest.is_empty();
    if !goes_on {
        *held = None;
    }
    Ok((piece, goes_on))
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
