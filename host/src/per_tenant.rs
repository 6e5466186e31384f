//! What each tenant has a share of: made when it is first asked for, and forgotten when there are many that nobody holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One thing for each tenant that asks.
#[derive(Debug)]
pub(crate) struct PerTenant<T> {
    most: usize,
    known: Mutex<HashMap<String, Arc<T>>>,
}

impl<T> PerTenant<T> {
    /// Forgets those that nobody holds once there are so many in all; `usize::MAX` for never.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            known: Mutex::default(),
        }
    }

    /// The tenant's, or a new one. Whoever has taken something of it holds it, so that it is not forgotten.
    pub(crate) fn of(&self, tenant: &str, new: impl FnOnce() -> T) -> Arc<T> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = known.get(tenant) {
            return Arc::clone(own);
        }
        if known.len() >= self.most {
            known.retain(|_, own| Arc::strong_count(own) > 1);
        }
        let own = Arc::new(new());
        known.insert(tenant.to_owned(), Arc::clone(&own));
        own
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
