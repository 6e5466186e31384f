//! What a guest may ask of the host: requests, tokens, settings, time, log lines.
//!
//! The rules of the contract are enforced here, in plain Rust that knows nothing of WebAssembly: secrets stay on this
//! side, reading verbs cannot write, endpoints are names, every size has a limit, a token is minted once. So they are
//! tested without a sandbox, and a plugin that is compiled natively (for a benchmark) meets the very same rules.
//! Enforcing them in the generated traits lost: a rule would then be spread over conversions.

mod address;
mod body;
mod call;
mod check;
mod credentials;
mod descriptor;
mod descriptor_check;
mod finder;
mod grant;
mod headers;
mod http;
mod limits;
mod log;
mod memory;
mod names;
mod needs;
mod network;
mod opened;
mod path;
mod redeem;
mod schema;
mod scrub;
mod token;

pub use address::forbidden;
pub use body::{BodyTemplate, MAX_BODY_TEMPLATE};
pub use call::{Call, CallRecord, Effect, Exchange, LimitReached, LogLine, Unanswered};
pub use credentials::{Encoding, GrantError, JwtGrant};
pub use descriptor::{
    Descriptor, EndpointDeclaration, Exchange as KeyExchange, KeyDeclaration, KeyKind, Method, Placement, Reach, Verb,
};
pub use grant::{Binding, DEFAULT_MAX_ASSERTION, Grant, KeyMaterial, Problem};
pub use http::{HttpError, Request, Response, STRAY_SECRETS};
pub use limits::CallLimits;
pub use log::Level;
pub use memory::{Held, TENANT_MEMORY, TenantMemory};
pub use names::Names;
pub use needs::Needs;
pub use network::{Network, Outgoing, Transport};
pub use path::{MAX_PATH_BYTES, PathTemplate, RequestPath};
pub use scrub::{BLANK, Scrubber};
pub use token::{Token, TokenCell};
