//! Taking jobs to work on them: fair over lanes, within each lane's cap, on all hosts together.
//!
//! The least recently served lanes come first and share what was asked for, so a tenant with a million jobs gets its
//! turn and no more. What a tenant's jobs hold while they hang is bounded by the host that claims ([`Shares`]): only it
//! knows how many places it has.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::claimed::{ClaimedJob, describe, give_up};
use super::database::{Context, Step, Writer};
use super::error::JournalError;
use super::open::Journal;
use super::random::word;
use super::rows::{JOB_COLUMNS, JobRow, LaneRow, MOST_FAILURES, NEVER};
use super::sql::{Bind, Cells, fetch};
use super::types::{Lane, State, check_name, milliseconds};
use super::unit::{Unit, lock_free_jobs};

/// Most jobs of one claim. A claim holds its lanes; more would make other hosts wait.
pub const MAX_CLAIM: usize = 256;

/// For how long claims leave out what is locked, after one has waited for it: 30 seconds. Each that waits keeps all others'
/// jobs for as long; and a busy lane is locked by commits at many a moment, and would be left out too often.
const WITHOUT_LOCKED: Duration = Duration::from_secs(30);

/// Most lanes of one claim.
const MAX_LANES: i64 = 32;

/// What each tenant may hold at a time at the host that claims, and which lanes it leaves to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    /// Jobs of one tenant.
    pub most: usize,
    /// What tenants hold already.
    pub held: HashMap<String, usize>,
    /// Lanes that it takes nothing of.
    pub without: Vec<Lane>,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            most: usize::MAX,
            held: HashMap::new(),
            without: Vec::new(),
        }
    }
}

impl Shares {
    fn left(&self, tenant: &str) -> i64 {
        let held = self.held.get(tenant).copied().unwrap_or_default();
        i64::try_from(self.most.saturating_sub(held)).unwrap_or(i64::MAX)
    }

    /// Tenants that can be given nothing: fewer than there are jobs at the host.
    fn full(&self) -> Vec<&str> {
        let full = self.held.iter().filter(|(_, held)| **held >= self.most);
        full.map(|(tenant, _)| tenant.as_str()).collect()
    }
}

impl Journal {
    /// Takes up to `max` jobs that are due, at most [`MAX_CLAIM`], for `lease`. `owner` names the host to operators.
    ///
    /// Fewer come where fewer are due or lanes are at their caps; ask again until none come.
    ///
    /// # Errors
    /// [`JournalError::Invalid`] for an owner that is no name.
    pub async fn claim(&self, owner: &str, lease: Duration, max: usize) -> Result<Vec<ClaimedJob>, JournalError> {
        self.claim_within(owner, lease, max, Shares::default()).await
    }

    /// As [`Journal::claim`], no tenant getting more than its share.
    ///
    /// # Errors
    /// As [`Journal::claim`].
    pub async fn claim_within(
        &self,
        owner: &str,
        lease: Duration,
        max: usize,
        shares: Shares,
    ) -> Result<Vec<ClaimedJob>, JournalError> {
        check_name("owner", owner)?;
        let max = i64::try_from(max.min(MAX_CLAIM)).unwrap_or_default();
        if max == 0 {
            return Ok(Vec::new());
        }
        let shares = Arc::new(shares);
        let claim = |waits| Claim {
            shares: Arc::clone(&shares),
            owner: owner.to_owned(),
            lease: milliseconds(lease),
            max,
            waits,
        };
        let claimed = |claim| self.write_if(Writer::Claim, claim, run, |claimed: &Vec<_>| !claimed.is_empty());
        let database = &self.database;
        let now = || database.context.options.clock.steady().as_millisecond();
        if now() >= database.locked_until.load(Ordering::Relaxed) {
            match claimed(claim(true)).await {
                Err(error) if error.is_locked() => {
                    tracing::warn!("somebody keeps a lane locked; others' jobs are claimed without it: {error}");
                    let until = now().saturating_add(milliseconds(WITHOUT_LOCKED));
                    database.locked_until.store(until, Ordering::Relaxed);
                }
                claimed => return claimed,
            }
        }
        claimed(claim(false)).await
    }
}

#[derive(Debug)]
struct Claim {
    owner: String,
    lease: i64,
    max: i64,
    shares: Arc<Shares>,
    /// Whether to wait for lanes and jobs that somebody has locked.
    waits: bool,
}

fn run<'c>(tx: &'c mut AnyConnection, context: &'c Context, claim: &'c Claim) -> Step<'c, Vec<ClaimedJob>> {
    Box::pin(async move {
        let now = context.now();
        let (candidates, mut served) = candidates(tx, context, claim, now).await?;
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let mut unit = Unit::lock_or_pass(tx, context, claim.waits, candidates.iter().cloned()).await?;
        let shares = share(&candidates, &unit, context, claim, now);
        let mut found = due(tx, &unit, &shares).await?;
        if !claim.waits {
            let ids: Vec<Uuid> = found.values().flatten().map(|job| job.id).collect();
            let free = lock_free_jobs(tx, context, &ids).await?;
            found
                .values_mut()
                .for_each(|jobs| jobs.retain(|job| free.contains(&job.id)));
        }
        let lease_until = context
            .dialect
            .lease_time(tx, &*context.options.clock)
            .await?
            .saturating_add(claim.lease);
        let (mut taken, mut again) = (Vec::new(), Vec::new());
        for (lane, share) in &shares {
            let rows = found.get(lane).map(Vec::as_slice).unwrap_or_default();
            let ready = rows.iter().take_while(|job| job.run_at <= now).count().min(*share);
            served += 1;
            unit.change_lane(lane, |row| {
                // Where there are more than were found, they are looked for from the beginning.
                let is_all = row.queued <= i64::try_from(ready).unwrap_or(0);
                row.due_at = rows
                    .get(ready)
                    .map_or(if is_all { NEVER } else { 0 }, |next| next.run_at);
                row.served = if ready > 0 || !is_all { served } else { row.served };
            });
            for job in &rows[..ready] {
                unit.take(job.clone());
                unit.change(job.id, |job| start(job, context, claim, lease_until, now));
                taken.push(job.id);
                if job.fence > 0 {
                    again.push(job.id);
                }
            }
        }
        let (claimed, orphans) = describe(tx, &unit, &taken, &again).await?;
        give_up(tx, &mut unit, &orphans, now).await?;
        unit.store(tx).await?;
        Ok(claimed)
    })
}

fn start(job: &mut JobRow, context: &Context, claim: &Claim, lease_until: i64, now: i64) {
    job.state = State::Running;
    job.attempts += 1;
    job.fence = next_fence(job.fence, context);
    job.owner = Some(claim.owner.clone());
    job.claimed_at = Some(now);
    job.lease_until = Some(lease_until);
}

/// Low bits of a fence that are random; those above count the job's claims.
const RANDOM_BITS: u32 = 32;

/// The fence of the next claim.
///
/// The count alone lost: a standby that takes over without the last claims would hand out their fences a second time, to
/// a host that works beside the first.
fn next_fence(last: i64, context: &Context) -> i64 {
    let random = word(&*context.options.random) >> RANDOM_BITS;
    ((i64::from(nth_claim(last)) + 1) << RANDOM_BITS) | random.cast_signed()
}

/// Which claim of its job a fence is of. Older fences are the count alone.
pub(super) fn nth_claim(fence: i64) -> u32 {
    let count = if fence >> RANDOM_BITS == 0 {
        fence
    } else {
        fence >> RANDOM_BITS
    };
    u32::try_from(count).unwrap_or(0)
}

/// Lanes with something to do, the least recently served first, and the highest number of service so far.
async fn candidates(
    tx: &mut AnyConnection,
    context: &Context,
    claim: &Claim,
    now: i64,
) -> Result<(Vec<String>, i64), JournalError> {
    let mut bind = Bind::new()
        .int(i64::from(context.options.default_cap))
        .int(now)
        .int(MOST_FAILURES);
    // Left out here and not only when jobs are shared out: their lanes would fill the list and hide the others.
    let mut others = String::new();
    let full = claim
        .shares
        .full()
        .into_iter()
        .map(|tenant| ("tenant", tenant.to_owned()));
    let without = claim.shares.without.iter().map(|lane| ("id", lane.key()));
    for (number, (column, name)) in full.chain(without).enumerate() {
        let _ = write!(others, " AND {column} <> ${}", number + 4);
        bind = bind.text(&name);
    }
    // Left out here, too: locked lanes are never served, and would fill the list.
    let without_locked = match claim.waits {
        true => String::new(),
        false => format!(" {}", context.dialect.for_update_of_free()),
    };
    // The limit is written out: where it is a parameter, SQLite parses the statement anew each time.
    let sql = format!(
        "SELECT id, (SELECT max(served) FROM lane) FROM lane \
         WHERE ready = 1 AND running < COALESCE(cap, $1) AND (failures < $3 OR running = 0) \
         AND not_before <= $2 AND due_at <= $2{others} \
         AND NOT EXISTS (SELECT 1 FROM pause WHERE scope IN ('', lane.tenant, lane.id)) \
         ORDER BY served, id LIMIT {MAX_LANES}{without_locked}"
    );
    let (mut lanes, mut highest) = (Vec::new(), 0);
    for row in fetch(tx, AssertSqlSafe(sql), bind).await? {
        let mut cells = Cells::of(&row);
        lanes.push(cells.text()?);
        highest = cells.maybe_int()?.unwrap_or(0);
    }
    Ok((lanes, highest))
}

/// How many jobs each lane may give: an equal part of what is left, or what its cap and its tenant's share leave free.
///
/// The rows are looked at again, since another host may have served a lane before we had its lock.
fn share(candidates: &[String], unit: &Unit, context: &Context, claim: &Claim, now: i64) -> Vec<(String, usize)> {
    let default_cap = i64::from(context.options.default_cap);
    let ready = |lane: &&LaneRow| {
        lane.queued > 0
            && lane.parked.is_none()
            && lane.not_before <= now
            && lane.due_at <= now
            && lane.free(default_cap) > 0
    };
    let lanes: Vec<&LaneRow> = candidates
        .iter()
        .filter_map(|key| unit.lane(key))
        .filter(ready)
        .collect();
    let mut left = claim.max;
    let mut of_tenant: HashMap<&str, i64> = HashMap::new();
    let mut shares = Vec::with_capacity(lanes.len());
    for (index, lane) in lanes.iter().enumerate() {
        let waiting = i64::try_from(lanes.len() - index).unwrap_or(1);
        let part = (left + waiting - 1) / waiting;
        let tenant = lane.id.split('/').next().unwrap_or_default();
        let free = of_tenant.entry(tenant).or_insert_with(|| claim.shares.left(tenant));
        let share = part.min(lane.free(default_cap)).min(lane.queued).min(*free);
        left -= share;
        *free -= share;
        if share > 0 {
            shares.push((lane.id.clone(), usize::try_from(share).unwrap_or(0)));
        }
    }
    shares
}

/// The heads of the lanes' queues: at least one more than each may give, which tells when the lane is due next.
///
/// Each begins where the lane's row says that its first job is. From the index's own beginning PostgreSQL would walk over
/// all that were claimed since somebody began a long dump, since their entries stay until it ends.
async fn due(
    tx: &mut AnyConnection,
    unit: &Unit,
    shares: &[(String, usize)],
) -> Result<HashMap<String, Vec<JobRow>>, JournalError> {
    let mut found: HashMap<String, Vec<JobRow>> = HashMap::new();
    // Both numbers are powers of two, and the lanes filled up with none, so that few texts fill the statement cache. Lanes
    // that give many have a statement of their own, or as many rows would be read of each.
    let mut by_limit: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (lane, share) in shares {
        by_limit.entry((share + 1).next_power_of_two()).or_default().push(lane);
    }
    for (limit, lanes) in by_limit {
        let (mut selects, mut bind) = (Vec::new(), Bind::new());
        for index in 0..lanes.len().next_power_of_two() {
            let lane = lanes.get(index).copied().unwrap_or_default();
            bind = bind.text(lane).int(unit.lane(lane).map_or(NEVER, |row| row.due_at));
            let (lane, from) = (2 * index + 1, 2 * index + 2);
            selects.push(format!(
                "SELECT * FROM (SELECT {JOB_COLUMNS} FROM job WHERE lane = ${lane} AND state = 0 AND run_at >= ${from} \
                 ORDER BY run_at, id LIMIT {limit}) AS l{index}"
            ));
        }
        for row in fetch(tx, AssertSqlSafe(selects.join(" UNION ALL ")), bind).await? {
            let job = JobRow::read(&row)?;
            found.entry(job.lane.clone()).or_default().push(job);
        }
    }
    // A union keeps no order by its words, whatever the databases do.
    for jobs in found.values_mut() {
        jobs.sort_by_key(|job| (job.run_at, job.id));
    }
    Ok(found)
}
