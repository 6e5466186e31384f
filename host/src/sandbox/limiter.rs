//! Memory and tables of one call, counted together.
//!
//! wasmtime's own `StoreLimits` looks at each memory alone: a component made of sixty modules would have sixty times
//! the limit. It also ends a call without saying which limit it was.

use wasmtime::ResourceLimiter;

use super::limits::SandboxLimits;
use crate::capability::LimitReached;

/// What one store has of memories and tables, and may have.
#[derive(Debug)]
pub(super) struct Limiter {
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
    pub(super) fn new(limits: &SandboxLimits) -> Self {
        let quota = |limit, allowed| Quota {
            limit,
            used: 0,
            allowed,
        };
        Self {
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
        Ok(self.memory.grow(current, desired, maximum)?)
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

    #[test]
    fn all_memories_of_a_call_share_one_limit() {
        let mut limiter = Limiter::new(&SandboxLimits {
            memory: 100,
            ..SandboxLimits::default()
        });
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(
            !limiter.memory_growing(0, 40, Some(39)).unwrap(),
            "past its own maximum"
        );
        assert!(limiter.memory_growing(0, 40, Some(40)).unwrap());
        let error = limiter.memory_growing(0, 1, None).unwrap_err();
        assert_eq!(error.downcast_ref::<LimitReached>().unwrap().limit, "memory");
    }
}
