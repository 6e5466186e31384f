//! What a simulator can be started with.

use std::net::{Ipv4Addr, SocketAddr};

use crate::{Clock, Limits, Switches};

/// Records that the request log keeps by default: enough for a test, little for a benchmark that runs all night.
const LOG_CAPACITY: usize = 10_000;

/// How a simulator starts. The default takes free ports and fresh identifiers, and behaves like DocuSign's demo
/// environment.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the account server listens; loopback only, port 0 takes a free one.
    pub account_addr: SocketAddr,
    /// Where the eSignature server listens; loopback only, port 0 takes a free one.
    pub esign_addr: SocketAddr,
    /// Where `/_sim/…` is served over plain HTTP; loopback only, port 0 takes a free one.
    pub control_addr: SocketAddr,
    /// Also serves the shapes of the article: JSON token requests, long assertions, and
    /// `DELETE …/users/{userId}` on the account server.
    pub article: bool,
    /// The simulator's clock.
    pub clock: Clock,
    /// The API client's RSA private key (PEM, PKCS#8 or PKCS#1); a fresh one when absent. Making one takes a tenth of a
    /// second, so suites that start many simulators share theirs.
    pub private_key: Option<String>,
    /// The integration key's GUID; a fresh one when absent.
    pub integration_key: Option<String>,
    /// The API user's GUID; a fresh one when absent.
    pub user_id: Option<String>,
    /// The account's GUID; a fresh one when absent.
    pub account_id: Option<String>,
    /// Hourly and burst limits of every account.
    pub limits: Limits,
    /// Answers nobody has verified, and deliberate lies.
    pub switches: Switches,
    /// Puts a small company into the account, with leavers in every status; else only the API user is there.
    pub sample: bool,
    /// How many requests the log keeps; older ones are dropped and counted.
    pub log_capacity: usize,
    /// Keeps every eSignature exchange whole, for [`crate::openapi::check`]. It grows without bound: for tests.
    pub record_exchanges: bool,
    /// Keeps every assertion and access token in plain, for [`crate::Simulator::secrets`]. For tests that look for leaks:
    /// nothing else shows them, and no control path does.
    pub record_secrets: bool,
}

impl Default for Options {
    fn default() -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            account_addr: free,
            esign_addr: free,
            control_addr: free,
            article: false,
            clock: Clock::system(),
            private_key: None,
            integration_key: None,
            user_id: None,
            account_id: None,
            limits: Limits::default(),
            switches: Switches::default(),
            sample: false,
            log_capacity: LOG_CAPACITY,
            record_exchanges: false,
            record_secrets: false,
        }
    }
}
