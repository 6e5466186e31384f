//! What all calls of a tenant hold of the machine's memory: their guests, and the answers on the way to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::call::LimitReached;

/// Name of the limit on the memory of all calls of a tenant. It passes when others of them have ended; any other limit
/// would end the same call again.
pub const TENANT_MEMORY: &str = "tenant-memory";

/// The memory of one tenant's calls together.
#[derive(Debug)]
pub struct TenantMemory {
    held: AtomicUsize,
    allowed: usize,
}

impl TenantMemory {
    /// `allowed` bytes.
    #[must_use]
    pub fn new(allowed: usize) -> Self {
        Self {
            held: AtomicUsize::new(0),
            allowed,
        }
    }
}

/// A part of a tenant's memory, which goes back when it is dropped. By default of no tenant: then it may be any size.
#[derive(Debug, Default)]
pub struct Held {
    tenant: Option<Arc<TenantMemory>>,
    bytes: usize,
}

impl Held {
    /// Nothing yet, of a tenant's memory.
    #[must_use]
    pub fn of(tenant: Arc<TenantMemory>) -> Self {
        Self {
            tenant: Some(tenant),
            bytes: 0,
        }
    }

    /// Takes so many bytes more.
    ///
    /// # Errors
    ///
    /// All of the tenant's calls would have more than it is allowed. Nothing is taken.
    pub fn grow(&mut self, bytes: usize) -> Result<(), LimitReached> {
        let Some(tenant) = &self.tenant else {
            return Ok(());
        };
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= tenant.allowed);
        if tenant
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_err()
        {
            return Err(LimitReached {
                limit: TENANT_MEMORY,
                allowed: tenant.allowed as u64,
            });
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(tenant) = &self.tenant {
            tenant.held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}
