//! Memory and tables of one call, counted together, and its memory once more with that of its tenant's other calls.
//!
//! wasmtime's own `StoreLimits` looks at each memory alone: a component made of sixty modules would have sixty times
//! the limit. It also ends a call without saying which limit it was.

use wasmtime::ResourceLimiter;

use super::limits::SandboxLimits;
use crate::capability::{Held, LimitReached};

/// What one store has of memories and tables, and may have.
#[derive(Debug)]
pub(super) struct Limiter {
    tenant: Held,
    memory: Quota,
    table_elements: Quota,
    instances: usize,
}

#[derive(Debug)]
struct Quota {
    limit: &'static str,
    used: usize,
    allowed: usize,
}

impl Limiter {
    /// For a call of the tenant whose memory it is; of none while a plugin describes itself.
    pub(super) fn new(limits: &SandboxLimits, tenant: Held) -> Self {
        let quota = |limit, allowed| Quota {
            limit,
            used: 0,
            allowed,
        };
        Self {
            tenant,
            memory: quota("memory", limits.memory),
            table_elements: quota("table-elements", limits.table_elements),
            instances: limits.instances,
        }
    }

    /// Bytes of linear memory.
    pub(super) fn memory(&self) -> usize {
        self.memory.used
    }
}

impl Quota {
    /// False where the guest's own maximum is in the way: then it asked for too much of itself, and is told so.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool, LimitReached> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.allowed {
            return Err(LimitReached {
                limit: self.limit,
                allowed: self.allowed as u64,
            });
        }
        let grows = maximum.is_none_or(|maximum| desired <= maximum);
        if grows {
            self.used = used;
        }
        Ok(grows)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let before = self.memory.used;
        let grows = self.memory.grow(current, desired, maximum)?;
        if let Err(reached) = self.tenant.grow(self.memory.used - before) {
            self.memory.used = before;
            return Err(reached.into());
        }
        Ok(grows)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.table_elements.grow(current, desired, maximum)?)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.instances
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::TENANT_MEMORY;
    use crate::sandbox::pace::Pace;

    #[test]
    fn all_memories_of_a_call_share_one_limit() {
        let limits = SandboxLimits {
            memory: 100,
            ..SandboxLimits::default()
        };
        let mut limiter = Limiter::new(&limits, Held::default());
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(
            !limiter.memory_growing(0, 40, Some(39)).unwrap(),
            "past its own maximum"
        );
        assert!(limiter.memory_growing(0, 40, Some(40)).unwrap());
        let error = limiter.memory_growing(0, 1, None).unwrap_err();
        assert_eq!(error.downcast_ref::<LimitReached>().unwrap().limit, "memory");
    }

    #[tokio::test]
    async fn calls_of_one_tenant_share_its_memory_and_give_it_back() {
        let limits = SandboxLimits {
            memory: 100,
            ..SandboxLimits::default()
        };
        let pace = Pace::new(1, 150);
        let of = |tenant| Limiter::new(&limits, pace.budget(tenant).memory());
        let (mut first, mut second, mut other) = (of("a"), of("a"), of("b"));
        assert!(first.memory_growing(0, 100, None).unwrap());
        assert!(second.memory_growing(0, 50, None).unwrap(), "at the limit");
        let error = second.memory_growing(50, 51, None).unwrap_err();
        assert_eq!(error.downcast_ref::<LimitReached>().unwrap().limit, TENANT_MEMORY);
        assert!(
            other.memory_growing(0, 100, None).unwrap(),
            "another tenant has its own"
        );
        drop(first);
        assert!(second.memory_growing(50, 100, None).unwrap());
        drop(second);
        assert!(pace.budget("a").memory().grow(150).is_ok(), "nothing is left over");
    }
}
