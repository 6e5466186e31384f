//! How many connections were opened lately, and by whom: a pool has no limit for all of its hosts together, and a tenant
//! may name as many hosts as it likes.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long a connection waits in a pool for another request: 90 seconds, as reqwest has it. So what was opened before
/// that, and not used since, is closed.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(90);

/// Connections that all tenants open in that time before pools are emptied: 4096, an eighth of the files that are left to
/// targets where 65,536 may be open.
pub(super) const MAX_OPENED: usize = 4096;

/// Connections of one tenant in that time that are kept: 512, eight for each job that it may run at once. Further ones are
/// closed after their answer: a tenant whose targets keep none would have everybody's pools emptied, again and again.
pub(super) const MAX_TENANT_OPENED: usize = 512;

/// What a request finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    /// Whether its connection may be kept.
    pub(super) mine: bool,
    /// Whether there are too many, so that all have to go.
    pub(super) too_many: bool,
}

/// Counts connections that may be kept, for as long as one is.
#[derive(Debug)]
pub(super) struct Opened {
    since: Instant,
    all: usize,
    tenants: HashMap<String, usize>,
}

impl Opened {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            all: 0,
            tenants: HashMap::new(),
        }
    }

    /// One more of this tenant's.
    pub(super) fn count(&mut self, tenant: String) {
        self.all += 1;
        *self.tenants.entry(tenant).or_default() += 1;
    }

    /// What holds for a request of this tenant. Whoever is told that there are too many empties the pools.
    pub(super) fn ask(&mut self, tenant: &str, now: Instant) -> Kept {
        if now.duration_since(self.since) >= KEPT_FOR {
            *self = Self::new(now);
        }
        let too_many = self.all >= MAX_OPENED;
        if too_many {
            self.all = 0;
        }
        let mine = self.tenants.get(tenant).is_none_or(|count| *count < MAX_TENANT_OPENED);
        Kept { mine, too_many }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tenant_beyond_its_share_keeps_none_and_all_go_beyond_theirs() {
        let now = Instant::now();
        let mut opened = Opened::new(now);
        let (kept, mine, all) = ((true, false), (false, false), (true, true));
        let told = |opened: &mut Opened, tenant: &str, now| {
            let told = opened.ask(tenant, now);
            (told.mine, told.too_many)
        };
        for count in 0..MAX_TENANT_OPENED {
            assert_eq!(told(&mut opened, "a", now), kept, "{count}");
            opened.count("a".to_owned());
        }
        assert_eq!(told(&mut opened, "a", now), mine);
        for count in MAX_TENANT_OPENED..MAX_OPENED {
            let tenant = format!("b{}", count % 100);
            assert_eq!(told(&mut opened, &tenant, now), kept, "{count}");
            opened.count(tenant);
        }
        assert_eq!(told(&mut opened, "c", now), all);
        assert_eq!(told(&mut opened, "c", now), kept, "once");
        assert_eq!(told(&mut opened, "a", now), mine);
        tokio::time::advance(KEPT_FOR - Duration::from_millis(1)).await;
        assert_eq!(told(&mut opened, "a", Instant::now()), mine);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(told(&mut opened, "a", Instant::now()), kept);
    }
}
