//! A DocuSign to test against: the account server, the part of eSignature that a leaver needs, and faults on demand.
//!
//! One decision shapes it: every answer is a plain function from (state, request) to reply, under one lock, and only
//! [`server`] knows sockets. So the whole of DocuSign's behaviour is readable without HTTP, faults are put on top of a
//! finished reply in one place, and two requests never interleave. A web framework with handlers and extractors lost:
//! it cannot drop a connection after the effect, lie about a length or drip a body without being worked around.
//!
//! What is known about the real service is written in `README.md`; every item that nobody has verified is a field of
//! [`Switches`] and defaults to the answer that is harder on a client.

mod account;
mod call;
mod clock;
mod control;
mod directory;
mod esign;
mod faults;
mod grant;
mod ids;
mod keys;
mod limits;
mod log;
pub mod openapi;
mod options;
mod seed;
mod server;
mod simulator;
mod spoil;
mod state;
mod switches;
mod tls;

pub use call::Origin;
pub use clock::Clock;
pub use directory::{Account, Delegation, Group, PermissionProfile, SigningGroup, Status, User};
pub use faults::{Encoding, Fault, FaultKind, LimitKind};
pub use limits::Limits;
pub use log::{Counters, Record};
pub use options::Options;
pub use simulator::Simulator;
pub use state::State;
pub use switches::{
    AlreadyClosed, CodeCase, EmailFilter, ErrorDetails, LongAssertion, NoMatch, ReadClosed, ReadOthers, SelfClose,
    Switches, UnknownUser,
};
