//! What one verb call may use of the machine, by name.

use std::time::Duration;

/// How often the epoch moves: the grain of CPU time. Finer costs more wake-ups (500 a second are half a percent of a
/// processor), coarser delays the neighbours: whoever is behind a guest on its thread waits that long.
pub const TICK: Duration = Duration::from_millis(2);

/// Limits of a sandbox. Each ends that call alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxLimits {
    /// Bytes of a component file. A Rust guest has 0.2 MB, a JavaScript guest 12, a Python guest 19.
    pub component: usize,
    /// Linear memory of one call, all memories together. A Rust guest needs 2 MiB (DocuSign's sets 13 aside), a Python
    /// guest about 40.
    pub memory: usize,
    /// Memory of all calls of one tenant together, that of the guests and the answers of targets: 1 GiB, eight calls at
    /// their limit, 25 of a Python guest, or the 64 of the DocuSign connector that may run at once. Without this limit its
    /// guests could take 8 GiB and answers 2 GiB, and with them the process.
    pub tenant_memory: usize,
    /// Entries of all tables of one call, for indirect calls.
    pub table_elements: usize,
    /// Core instances, memories and tables of one call, each. Interpreters come as a handful of modules.
    pub instances: usize,
    /// CPU time of one call, in ticks of the epoch. A verb takes well under a millisecond of it.
    pub cpu: Duration,
    /// Wall clock of one call, waiting for the target included: below the 90 s that a workflow step has.
    pub wall_clock: Duration,
    /// Wasm stack of one call, in bytes.
    pub stack: usize,
    /// Bytes that a guest may hand to the host in one host call or as a result.
    pub handed_over: usize,
    /// Handles that a guest may hold.
    pub handles: usize,
    /// Calls at once. Those above wait; the pool is sized for this many: 256 for a host's jobs, and 64 left for
    /// `describe`, so that loading a plugin never waits for slow targets.
    pub concurrency: u32,
    /// Accounts in one answer of `find`.
    pub accounts_found: usize,
    /// Accounts in one answer of `page`.
    pub accounts_paged: usize,
    /// Bytes of an account id. Targets use GUIDs, numbers or addresses.
    pub account_id: usize,
    /// Bytes of each other text of an account. An address has 254 at most, a display name a few dozen.
    pub account_field: usize,
    /// Further facts of one account.
    pub account_attributes: usize,
    /// Bytes of a cursor.
    pub cursor: usize,
    /// Bytes of a failure's text; more is cut, not refused.
    pub failure_text: usize,
}

impl Default for SandboxLimits {
    fn default() -> Self {
        Self {
            component: 32 * 1024 * 1024,
            memory: 128 * 1024 * 1024,
            tenant_memory: 1024 * 1024 * 1024,
            table_elements: 50_000,
            instances: 64,
            cpu: Duration::from_secs(2),
            wall_clock: Duration::from_secs(75),
            stack: 512 * 1024,
            handed_over: 4 * 1024 * 1024,
            handles: 64,
            concurrency: 320,
            accounts_found: 100,
            accounts_paged: 1000,
            account_id: 256,
            account_field: 1024,
            account_attributes: 32,
            cursor: 1024,
            failure_text: 4096,
        }
    }
}
