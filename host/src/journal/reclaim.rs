//! Taking jobs back from hosts that stopped answering.

use std::time::Duration;

use sqlx::AnyConnection;
use uuid::Uuid;

use super::database::{Context, Step, Writer};
use super::error::JournalError;
use super::finish::{Finished, is_last};
use super::open::Journal;
use super::random::word;
use super::rows::JobRow;
use super::sql::{Bind, Cells, execute, fetch};
use super::types::{JobId, Lane, State, milliseconds};
use super::unit::{Unit, lock_free_jobs};

/// Most jobs of one call. A dead host leaves as many as it had running.
const MAX_RECLAIM: i64 = 256;

/// A job whose lease ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reclaimed {
    /// The job.
    pub job: JobId,
    /// Its lane.
    pub lane: Lane,
    /// Who had it.
    pub owner: String,
    /// What became of it: queued, or, where it was lost once too often, a dead letter; or held
    /// ([`UNSETTLED_HOLD`](super::UNSETTLED_HOLD)) where it set out to close something.
    pub became: Finished,
}

impl Journal {
    /// Puts jobs with expired leases back to their lanes, or gives those up that were lost too often. Any host may do
    /// it; call it every few seconds.
    ///
    /// # Errors
    /// None of its own.
    pub async fn reclaim(&self) -> Result<Vec<Reclaimed>, JournalError> {
        self.take(None).await
    }

    /// Puts running jobs back although their leases go on: for a host that has just started and has a journal for
    /// itself. Call it before the first claim.
    ///
    /// Jobs with an intent stay where they are until their leases end: the dead process's closure may be on its way to
    /// the target still, and a look before it has arrived would lead to a second one. None lasts longer than `lease` from
    /// now: what the dead process measured by may have been the date of another day.
    ///
    /// # Errors
    /// None of its own.
    pub async fn reclaim_all(&self, lease: Duration) -> Result<Vec<Reclaimed>, JournalError> {
        let mut all = Vec::new();
        loop {
            let some = self.take(Some(i64::MAX)).await?;
            if some.is_empty() {
                break;
            }
            all.extend(some);
        }
        self.write(Writer::Operator, milliseconds(lease), shorten).await?;
        Ok(all)
    }

    async fn take(&self, time: Option<i64>) -> Result<Vec<Reclaimed>, JournalError> {
        let taken = |waits| self.write_if(Writer::Operator, (time, waits), run, |taken: &Vec<_>| !taken.is_empty());
        match taken(true).await {
            // What somebody has locked is taken back later: it must not keep all others where they are.
            Err(error) if error.is_locked() => taken(false).await,
            taken => taken,
        }
    }
}

/// Ends the leases of jobs that run within this time.
fn shorten<'c>(tx: &'c mut AnyConnection, context: &'c Context, lease: &'c i64) -> Step<'c, ()> {
    Box::pin(async move {
        let now = context.dialect.lease_time(tx, &*context.options.clock).await?;
        let sql = "UPDATE job SET lease_until = $1 WHERE state = 1 AND lease_until > $1";
        execute(tx, sql, Bind::new().int(now.saturating_add(*lease))).await?;
        Ok(())
    })
}

/// `time` is what leases are measured by; the present where it is absent. `waits` is for lanes and jobs that somebody has
/// locked.
fn run<'c>(
    tx: &'c mut AnyConnection,
    context: &'c Context,
    (time, waits): &'c (Option<i64>, bool),
) -> Step<'c, Vec<Reclaimed>> {
    Box::pin(async move {
        let now = match time {
            Some(time) => *time,
            None => context.dialect.lease_time(tx, &*context.options.clock).await?,
        };
        let sql = "SELECT id, lane FROM job WHERE state = 1 AND lease_until < $1 ORDER BY lease_until LIMIT $2";
        let (mut ids, mut lanes) = (Vec::new(), Vec::new());
        for row in fetch(tx, sql, Bind::new().int(now).int(MAX_RECLAIM)).await? {
            let mut cells = Cells::of(&row);
            ids.push(cells.id()?);
            lanes.push(cells.text()?);
        }
        let mut unit = Unit::lock_or_pass(tx, context, *waits, lanes).await?;
        if !waits {
            let free = lock_free_jobs(tx, context, &ids).await?;
            ids.retain(|id| free.contains(id));
        }
        unit.load(tx, ids.iter().copied()).await?;
        unit.load_intents(tx, &ids).await?;
        if time.is_some() {
            ids.retain(|id| !unit.intended.contains_key(id));
        }
        let reclaimed = ids
            .into_iter()
            .filter_map(|id| take_back(&mut unit, context, id, now))
            .collect();
        unit.store(tx).await?;
        Ok(reclaimed)
    })
}

fn take_back(unit: &mut Unit, context: &Context, id: Uuid, lease_time: i64) -> Option<Reclaimed> {
    // Its owner may have been quicker than our lock.
    let is_over =
        |job: &&JobRow| job.state == State::Running && job.lease_until.is_some_and(|until| until < lease_time);
    let job = unit.job(id).filter(is_over)?;
    let (owner, lane) = (job.owner.clone().unwrap_or_default(), Lane::from_key(&job.lane));
    let (lapses, attempts) = (job.lapses + 1, job.attempts);
    let options = &context.options;
    let is_last = lapses >= i64::from(options.max_lapses) || is_last(job, context);
    let now = context.now();
    unit.end_attempt(id, "lease_expired", "the host that worked on it stopped answering", now);
    unit.change(id, |job| {
        job.fence += 1;
        job.lapses = lapses;
        let attempt = u32::try_from(lapses).unwrap_or(u32::MAX);
        let wait = options.backoff.delay(attempt, word(&*options.random));
        job.reason = Some(format!("its lease expired, {lapses} times so far; {owner} had it"));
        job.queue(now.saturating_add(milliseconds(wait)));
    });
    if is_last {
        let reason = format!("its lease expired {lapses} times in {attempts} attempts");
        unit.give_up(id, &reason, now);
    }
    Some(Reclaimed {
        job: JobId(id),
        lane,
        owner,
        became: Finished::of(unit.job(id)?),
    })
}
