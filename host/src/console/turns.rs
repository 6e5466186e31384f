//! Turns: how many requests of whom are at work, from the whole request until its answer is handed over.
//!
//! Each of them may write to the journal, which has one writer for everybody's events, or hold an answer of megabytes for a
//! client that does not read. A rate for each token lost: it would refuse a script that releases a thousand jobs one by
//! one, and says nothing of what is held.

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
use crate::per_tenant::PerTenant;

/// Requests of one tenant, or of one token of the host, that are at work at a time: 4. Commands send one after the other.
/// The next ones wait.
const AT_WORK: usize = 4;

/// Requests of one tenant, or of one token of the host, that wait for their turn: 32. Each holds a connection, which
/// events need as well.
const WAITING: usize = 32;

/// How long a request waits for its turn: 20 seconds, less than commands wait for an answer.
const WAIT: Duration = Duration::from_secs(20);

/// How long an answer waits to be read: a minute, enough for the longest (16 MiB of transcripts) at 2 Mbit/s.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// Bytes of a piece of an answer: 64 KiB. What a client does not read is held here, and not in the connection's buffers.
const PIECE: usize = 64 * 1024;

/// Most tenants and tokens that are remembered without a request at work.
const REMEMBERED: usize = 1024;

/// The turns of all tenants and tokens.
#[derive(Debug)]
pub(super) struct Turns(PerTenant<Share>);

/// Those of one tenant or token.
#[derive(Debug)]
struct Share {
    at_work: Arc<Semaphore>,
    waiting: Semaphore,
}

/// A request's turn.
#[derive(Debug)]
pub(super) struct Turn {
    _share: Arc<Share>,
    _place: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self(PerTenant::new(REMEMBERED))
    }
}

impl Turns {
    async fn take(&self, caller: &Caller) -> Result<Turn, Problem> {
        // No tenant has a slash in its name.
        let of_token = || format!("/{}", caller.name());
        let share = self
            .0
            .of(&caller.tenant().map_or_else(of_token, str::to_owned), || Share {
                at_work: Arc::new(Semaphore::new(AT_WORK)),
                waiting: Semaphore::new(WAITING),
            });
        let busy = || {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many requests of this tenant or token are at work",
            )
        };
        let place = match Arc::clone(&share.at_work).try_acquire_owned() {
            Ok(free) => free,
            Err(_) => {
                let _waits = share.waiting.try_acquire().map_err(|_| busy())?;
                let taken = tokio::time::timeout(WAIT, Arc::clone(&share.at_work).acquire_owned()).await;
                taken.ok().and_then(Result::ok).ok_or_else(busy)?
            }
        };
        Ok(Turn {
            _share: share,
            _place: place,
        })
    }
}

/// Lets a request with a token in when it is its turn; without one it is refused here.
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
    let turn = match shared.turns.take(&caller).await {
        Ok(turn) => turn,
        Err(problem) => return problem.into_response(),
    };
    // Once more: while it waited, its token may have been revoked.
    let Some(caller) = identify(&parts, &shared.console.tokens.load()) else {
        return Problem::unauthorized().into_response();
    };
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
async fn held<T: Send + 'static>(response: Response, turn: T) -> Response {
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

type Held<T> = Mutex<Option<(Bytes, T)>>;

/// The next piece, and whether there are more.
fn next_piece<T>(held: &Held<T>) -> io::Result<(Bytes, bool)> {
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    let (rest, _) = held
        .as_mut()
        .ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "the answer was not read in time"))?;
    // Copied: a part of the same memory would keep all of it in the connection's buffers.
    let piece = Bytes::copy_from_slice(&rest.split_to(rest.len().min(PIECE)));
    let goes_on = !rest.is_empty();
    if !goes_on {
        *held = None;
    }
    Ok((piece, goes_on))
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
