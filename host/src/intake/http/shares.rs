//! What one tenant may have on its way into the journal, so that the others have the rest.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::REMEMBERED_TENANTS;
use super::problem::Problem;
use crate::per_tenant::PerTenant;

/// What the smallest event counts for: 16 KiB, so that as many of them as fill a tenant's default share are half of the
/// journal's queue, which has [4,096 places](crate::journal::Options::queue).
pub(super) const PLACE_BYTES: usize = 16 * 1024;

/// The shares of all tenants.
#[derive(Debug)]
pub(super) struct Shares {
    bytes: usize,
    waiters: usize,
    tenants: PerTenant<Share>,
}

/// The share of one tenant.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Semaphore>,
    /// One of a tenant's events waits to be judged among those of others, the next ones wait for it.
    pub(super) judge: Arc<Semaphore>,
    waiters: Arc<Semaphore>,
}

/// A request's place among those of its tenant that wait for an outcome.
#[derive(Debug)]
pub(super) struct Waiter {
    _share: Arc<Share>,
    _place: OwnedSemaphorePermit,
}

/// A request's part of its tenant's share, until its event is written.
#[derive(Debug)]
pub(super) struct Place {
    share: Arc<Share>,
    room: OwnedSemaphorePermit,
}

impl Shares {
    /// `bytes` for each tenant, of whose requests `waiters` may wait for an outcome.
    pub(super) fn new(bytes: usize, waiters: usize) -> Self {
        Self {
            bytes: bytes.clamp(PLACE_BYTES, u32::MAX as usize),
            waiters,
            tenants: PerTenant::new(REMEMBERED_TENANTS),
        }
    }

    /// The place of one more request, with nothing in it. Only for senders that may send for the tenant.
    pub(super) fn enter(&self, tenant: &str) -> Result<Place, Problem> {
        let share = self.of(tenant);
        Ok(Place {
            room: share.take(0)?,
            share,
        })
    }

    /// As [`Shares::enter`], for a body that was read already.
    pub(super) fn enter_with(&self, tenant: &str, bytes: usize) -> Result<Place, Problem> {
        let mut place = self.enter(tenant)?;
        place.grow(bytes)?;
        place.arrived()?;
        Ok(place)
    }

    /// The place of a request that waits for an outcome; none where the tenant has as many as it may.
    pub(super) fn wait(&self, tenant: &str) -> Option<Waiter> {
        let share = self.of(tenant);
        let place = Arc::clone(&share.waiters).try_acquire_owned().ok()?;
        Some(Waiter {
            _share: share,
            _place: place,
        })
    }

    fn of(&self, tenant: &str) -> Arc<Share> {
        self.tenants.of(tenant, || Share {
            room: Arc::new(Semaphore::new(self.bytes)),
            judge: Arc::new(Semaphore::new(1)),
            waiters: Arc::new(Semaphore::new(self.waiters)),
        })
    }
}

impl Share {
    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.room).try_acquire_many_owned(permits);
        taken.map_err(|_| Problem::busy("too many events of this tenant are on their way at the moment"))
    }
}

impl Place {
    /// Whose it is.
    pub(super) fn share(&self) -> &Share {
        &self.share
    }

    /// Counts some more bytes of the request's body.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        self.room.merge(self.share.take(bytes)?);
        Ok(())
    }

    /// Gives back what the body has taken, which is not kept.
    pub(super) fn leave(&mut self) {
        drop(self.room.split(self.room.num_permits()));
    }

    /// The body is whole, and from now on counts for [`PLACE_BYTES`] at least. Not before: thousands of requests whose
    /// bodies do not arrive must not keep out those that do.
    pub(super) fn arrived(&mut self) -> Result<(), Problem> {
        self.grow(PLACE_BYTES.saturating_sub(self.room.num_permits()))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn a_tenant_has_its_share_and_not_a_byte_more() {
        let shares = Shares::new(3 * PLACE_BYTES, 1);
        let mut first = shares.enter("a").unwrap();
        first.grow(1).unwrap();
        first.arrived().unwrap();
        let mut second = shares.enter_with("a", PLACE_BYTES).unwrap();
        second.grow(PLACE_BYTES).unwrap();
        let full = first.grow(1).unwrap_err();
        assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE);
        let mut third = shares.enter("a").unwrap();
        assert_eq!(third.arrived().unwrap_err(), full);
        shares.enter_with("b", 3 * PLACE_BYTES).unwrap();
        drop(first);
        third.arrived().unwrap();
        assert_eq!(third.grow(1).unwrap_err(), full);
        third.leave();
        third.grow(PLACE_BYTES).unwrap();
        drop((second, third));
        shares.enter_with("a", 3 * PLACE_BYTES).unwrap();
    }

    #[test]
    fn names_of_tenants_do_not_pile_up_and_who_has_something_on_its_way_is_remembered() {
        let shares = Shares::new(PLACE_BYTES, 1);
        let place = shares.enter_with("0", 1).unwrap();
        for number in 1..=REMEMBERED_TENANTS {
            shares.enter(&number.to_string()).unwrap();
        }
        assert!(shares.tenants.len() < 3);
        shares.enter_with("0", 1).unwrap_err();
        drop(place);
        shares.enter_with("0", 1).unwrap();
    }
}
