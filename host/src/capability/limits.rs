//! What one verb call may use of the host, by name.

use std::time::Duration;

/// Budgets of one verb call. Each ends that call alone, with a typed error for the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLimits {
    /// Requests that one call may send. A lookup needs a handful; 64 leaves room to page through 6,400 matches.
    pub requests: u32,
    /// Requests with an unsafe method that one `close` may send. One: a second could hit somebody else.
    pub unsafe_requests: u32,
    /// Grants that one `mint` may ask for. One, so that a token is never swapped for another.
    pub grants: u32,
    /// All host calls of one call, so that a guest cannot keep the host busy with clocks and logs.
    pub host_calls: u32,
    /// Query and header bytes of one request. 16 KiB is what servers commonly accept for a whole head.
    pub request_head: usize,
    /// Fields of one request head (query pairs and headers together).
    pub request_fields: usize,
    /// Body bytes of one request. A closure names one account; 256 KiB is generous.
    pub request_body: usize,
    /// Body bytes of one response, decompressed. DocuSign's largest page of 100 users is below 200 KiB.
    pub response_body: usize,
    /// Header bytes of one response.
    pub response_head: usize,
    /// Bytes of all responses of one call together.
    pub received: usize,
    /// Log lines of one call.
    pub log_lines: u32,
    /// Bytes of one log line with its fields.
    pub log_line: usize,
    /// Time for one exchange, from connecting to the last byte. A workflow step gives us 90 s for everything.
    pub exchange: Duration,
    /// Time to connect, TLS included.
    pub connect: Duration,
    /// Body bytes of a request or response that the transcript keeps.
    pub transcript_body: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            requests: 64,
            unsafe_requests: 1,
            grants: 1,
            host_calls: 1000,
            request_head: 16 * 1024,
            request_fields: 64,
            request_body: 256 * 1024,
            response_body: 8 * 1024 * 1024,
            response_head: 64 * 1024,
            received: 32 * 1024 * 1024,
            log_lines: 100,
            log_line: 8 * 1024,
            exchange: Duration::from_secs(30),
            connect: Duration::from_secs(10),
            transcript_body: 64 * 1024,
        }
    }
}
