//! Events over HTTP.
//!
//! A request is taken in this order: count it, look whether its sender is who it says, read its body, judge it, record
//! it, answer. The answer comes after the commit, because no sender that matters sends twice. What a stranger can cause
//! before the second step is bounded, and looks the same whether the address exists or not.
//!
//! [`router`] is plain axum. [`Server`] is our own loop over hyper's HTTP/1.1 connections instead of `axum::serve`, which
//! has no time-outs, no limit on connections and no TLS; and without HTTP/2, which would let one connection carry
//! thousands of requests past these limits, for senders that make one request a minute.

mod accept;
mod auth;
mod body;
mod connection;
mod events;
mod leaver;
mod leavers;
mod limits;
mod paced;
mod prefer;
mod problem;
mod replay;
mod router;
mod server;
mod shares;
mod signature;
mod source;
mod tls;
mod wait;

#[cfg(test)]
mod events_tests;
#[cfg(test)]
mod leavers_tests;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod shares_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod wait_tests;

pub use leavers::ON_DEMAND;
pub use limits::{IntakeLimits, MAX_IDEMPOTENCY_KEY_BYTES, MAX_LEAVER_BYTES, MAX_WAIT};
pub use router::{Intake, router};
pub use server::{ConnectionLimits, MAX_HEAD_BYTES, MAX_HEADERS, Server};
pub use signature::{MAX_SIGNATURES, MAX_WEBHOOK_ID_BYTES, SIGNATURE_TOLERANCE};
pub use source::{Directory, OpenSource};
pub use tls::Certificates;
