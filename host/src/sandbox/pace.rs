//! Who computes next: a tenant whose guests burn processor time waits for its turn, so that the others do not.
//!
//! Every limit of a call ends that call, and leaves the question what sixty calls of one tenant do together, each below
//! its limits. So each tenant has an allowance of time, which refills slowly; honest guests need microseconds of it. A
//! tenant that has used it up waits for turns, in rotation with others of its kind, and one tick in sixteen is given
//! out. What the others feel is not the share but how often somebody is in their way: at one in four it doubled the
//! 99th percentile of a neighbour's leaver, at one in sixteen it adds less than half.
//!
//! Counting per call lost: many short calls do the same harm as one long. Fewer calls at a time lost: a guest that waits
//! for its target takes nothing from anybody. A thread of lower priority lost: calls would move between threads at
//! each host call, which costs as much as the call. Handing the worker's other tasks to a new thread meanwhile lost: then
//! more threads than processors compute, and the kernel's time slices are longer than a tick.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::ready;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::limits::TICK;
use crate::capability::{Held, TenantMemory};
use crate::per_tenant::PerTenant;

/// Time that a tenant's guests may use at once. A verb of a Rust guest takes 20 microseconds, the first one of an
/// interpreter some milliseconds.
const ALLOWANCE: Duration = Duration::from_millis(50);

/// One part in so many of real time comes back to a tenant: with a tenth of a processor a Rust guest does a thousand
/// leavers a second.
const REFILL: u32 = 10;

/// A turn is a tick on one processor, and one in so many is given out. On two processors that is 125 milliseconds a
/// second, some fifty verbs of an interpreter, beside what each tenant's allowance gives.
const PARTS: usize = 16;

/// Gives out turns, and knows what each tenant has used.
#[derive(Debug)]
pub(super) struct Pace {
    /// Turns that may be taken now. The epoch's thread fills them up at each tick.
    turns: Semaphore,
    processors: usize,
    /// Parts of a turn that are not given out yet.
    parts: AtomicUsize,
    /// One entry for each tenant whose guest ever ran: some hundred bytes.
    tenants: PerTenant<Budget>,
    /// Bytes that all calls of a tenant may hold.
    tenant_memory: usize,
    now: fn() -> Instant,
}

/// Not tokio's time: what is measured is work, which goes on where a test holds that still.
#[expect(clippy::disallowed_methods, reason = "measures work, and waits for nothing")]
fn real() -> Instant {
    Instant::now()
}

/// What one tenant has used of the processors, and holds of the memory.
pub(super) struct Budget {
    memory: Arc<TenantMemory>,
    debt: Mutex<Debt>,
    /// One of a tenant's guests waits for the next turn, the others wait for that: so tenants take turns, not guests.
    queue: Semaphore,
    now: fn() -> Instant,
}

struct Debt {
    used: Duration,
    at: Instant,
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").finish_non_exhaustive()
    }
}

impl Pace {
    /// `processors` of the machine; a part of their time goes out in turns. `tenant_memory` bytes for each tenant.
    pub(super) fn new(processors: usize, tenant_memory: usize) -> Self {
        Self::timed_by(processors, tenant_memory, real)
    }

    fn timed_by(processors: usize, tenant_memory: usize, now: fn() -> Instant) -> Self {
        Self {
            tenant_memory,
            now,
            turns: Semaphore::new(0),
            processors,
            parts: AtomicUsize::new(0),
            tenants: PerTenant::new(usize::MAX),
        }
    }

    /// The epoch has moved: turns that were not taken are not saved up.
    pub(super) fn tick(&self) {
        // One thread ticks, so nothing is lost between the two.
        let parts = self.parts.load(Ordering::Relaxed) + self.processors;
        self.parts.store(parts % PARTS, Ordering::Relaxed);
        let due = parts / PARTS;
        self.turns
            .add_permits(due.saturating_sub(self.turns.available_permits()));
    }

    /// The budget of a tenant.
    pub(super) fn budget(&self, tenant: &str) -> Arc<Budget> {
        self.tenants.of(tenant, || Budget {
            memory: Arc::new(TenantMemory::new(self.tenant_memory)),
            debt: Mutex::new(Debt {
                used: Duration::ZERO,
                at: (self.now)(),
            }),
            queue: Semaphore::new(1),
            now: self.now,
        })
    }

    /// Waits for the next turn.
    async fn turn(self: Arc<Self>, budget: Arc<Budget>) {
        // Nobody closes these semaphores. A turn is used up and not given back.
        let Ok(_first) = budget.queue.acquire().await else {
            return;
        };
        // Another guest of the tenant may have taken the turn that was needed.
        if budget.owes() {
            if let Ok(turn) = self.turns.acquire().await {
                turn.forget();
            }
            budget.credit(TICK);
        }
    }
}

impl Budget {
    fn debt(&self) -> MutexGuard<'_, Debt> {
        let mut debt = self.debt.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.now)();
        debt.used = debt.used.saturating_sub(now.duration_since(debt.at) / REFILL);
        debt.at = now;
        debt
    }

    fn owes(&self) -> bool {
        self.debt().used > ALLOWANCE
    }

    /// A part of the tenant's memory, with nothing in it.
    pub(super) fn memory(&self) -> Held {
        Held::of(Arc::clone(&self.memory))
    }

    /// Does work for the tenant, at its expense.
    pub(super) fn charged<T>(&self, work: impl FnOnce() -> T) -> T {
        let started = (self.now)();
        let done = work();
        self.debt().used += (self.now)().duration_since(started);
        done
    }

    fn credit(&self, time: Duration) {
        let mut debt = self.debt();
        debt.used = debt.used.saturating_sub(time);
    }
}

/// Runs a guest's verb within its tenant's allowance. Each poll is timed: a guest is polled until it waits for the host,
/// or for a tick at most.
pub(super) async fn paced<F: Future>(pace: &Arc<Pace>, budget: &Arc<Budget>, verb: F) -> F::Output {
    let mut verb = pin!(verb);
    let mut waits: Option<BoxFuture<'static, ()>> = None;
    poll_fn(|context| {
        loop {
            if let Some(turn) = &mut waits {
                ready!(turn.as_mut().poll(context));
                waits = None;
            }
            if !budget.owes() {
                break;
            }
            waits = Some(Box::pin(Arc::clone(pace).turn(Arc::clone(budget))));
        }
        budget.charged(|| verb.as_mut().poll(context))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Arc<Pace> {
        Arc::new(Pace::timed_by(4, usize::MAX, || tokio::time::Instant::now().into_std()))
    }

    /// Takes `each` of processor time with each poll, for ever.
    async fn burn(polls: &AtomicUsize, each: Duration) {
        loop {
            polls.fetch_add(1, Ordering::SeqCst);
            // The first poll moves the clock; what is left of it is a yield.
            futures_util::FutureExt::now_or_never(tokio::time::advance(each));
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_the_allowance_waits_for_turns_and_tenants_take_them_in_rotation() {
        let pace = pace();
        let polls: [AtomicUsize; 3] = Default::default();
        let guests = [("a", &polls[0]), ("a", &polls[1]), ("b", &polls[2])];
        let guests = guests.map(|(tenant, polls)| (pace.budget(tenant), polls));
        let all = guests
            .each_ref()
            .map(|(budget, polls)| paced(&pace, budget, burn(polls, TICK)));
        let mut all = Box::pin(futures_util::future::join_all(all));
        let counts = || [0, 1, 2].map(|number| polls[number].load(Ordering::SeqCst));
        let mut rest = async || {
            for _ in 0..200 {
                assert!(futures_util::poll!(all.as_mut()).is_pending());
            }
        };
        rest().await;
        let before = counts();
        let allowed = usize::try_from(ALLOWANCE.as_millis() / TICK.as_millis()).unwrap();
        // What comes back meanwhile is a few polls more.
        let (a, b) = (before[0] + before[1], before[2]);
        assert!(
            (allowed..allowed * 2).contains(&a) && (allowed..allowed * 2).contains(&b),
            "{before:?}"
        );
        for _ in 0..40 * PARTS / 4 {
            pace.tick();
            rest().await;
        }
        let now = counts();
        let (a, b) = (now[0] + now[1] - a, now[2] - b);
        assert!(
            (15..=30).contains(&a) && (15..=30).contains(&b),
            "{now:?} after {before:?}"
        );
        assert!(
            now[0] > before[0] && now[1] > before[1],
            "guests of one tenant take turns, too: {now:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_honest_guest_never_waits() {
        let pace = pace();
        let budget = pace.budget("a");
        for _ in 0..10_000 {
            let verb = async { tokio::time::advance(Duration::from_micros(50)).await };
            assert!(
                futures_util::FutureExt::now_or_never(paced(&pace, &budget, verb)).is_none(),
                "one yield"
            );
            tokio::time::advance(Duration::from_micros(950)).await;
        }
        assert!(!budget.owes());
    }
}
