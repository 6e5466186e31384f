//! What people do to jobs: cancel, retry, release. Each act is kept with the name of who did it.

use serde_json::Value;
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::breaker::BREAKER_HOLD;
use super::database::{Body, Context, Step, Writer};
use super::error::JournalError;
use super::evidence;
use super::filter::tenant_of;
use super::finish::UNSETTLED_HOLD;
use super::open::Journal;
use super::rows::JobRow;
use super::sql::{Bind, Cells, fetch};
use super::types::{JobId, Lane, Outcome, State, check_name};
use super::unit::Unit;

/// Held jobs that are released in one transaction. Accepts wait meanwhile on SQLite.
const STEP: i64 = 200;

/// Which held jobs are meant. Nothing set means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldFilter {
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only this lane's.
    pub lane: Option<Lane>,
    /// Only those that are held for this reason.
    pub why: Option<String>,
}

impl Journal {
    /// Ends a job that waits, as cancelled.
    ///
    /// # Errors
    /// [`JournalError::NoSuchJob`]; [`JournalError::WrongState`] for one that has ended, or that runs: it may be
    /// closing the account at this moment, so its outcome has to be waited for.
    pub async fn cancel(&self, job: JobId, actor: &str, reason: &str) -> Result<(), JournalError> {
        self.act(job, actor, reason, cancel).await
    }

    /// Runs a job once more that ended without closing anything, with all its attempts. One that was held when it was
    /// cancelled is held again.
    ///
    /// # Errors
    /// [`JournalError::NoSuchJob`]; [`JournalError::WrongState`] unless it ended otherwise than closed.
    pub async fn retry(&self, job: JobId, actor: &str, reason: &str) -> Result<(), JournalError> {
        self.act(job, actor, reason, retry).await
    }

    /// Lets a held job go on.
    ///
    /// # Errors
    /// [`JournalError::NoSuchJob`]; [`JournalError::WrongState`] unless it is held.
    pub async fn release(&self, job: JobId, actor: &str, reason: &str) -> Result<(), JournalError> {
        self.act(job, actor, reason, release).await
    }

    /// Lets all held jobs go on that fit, in small steps, and returns how many. Jobs that are held meanwhile may stay.
    ///
    /// # Errors
    /// [`JournalError::Invalid`] for a tenant that is no name. What was released before an error stays released.
    pub async fn release_held(&self, filter: &HeldFilter, actor: &str, reason: &str) -> Result<u64, JournalError> {
        filter
            .tenant
            .as_deref()
            .map_or(Ok(()), |tenant| check_name("tenant", tenant))?;
        let (mut released, mut after) = (0, Some(Uuid::nil()));
        while let Some(last) = after {
            let arguments = (filter.clone(), last, actor.to_owned(), reason.to_owned());
            let step = self.write(Writer::Operator, arguments, release_some).await?;
            released += step.released;
            after = step.last;
        }
        Ok(released)
    }

    /// Closes an open breaker: its window starts anew, and what it withheld goes on, until the limit is reached again.
    /// Returns how many jobs were let go. Of one that is not open the window goes on as it is.
    ///
    /// # Errors
    /// None of its own.
    pub async fn release_breaker(&self, lane: &Lane, actor: &str, reason: &str) -> Result<u64, JournalError> {
        let arguments = (lane.key(), actor.to_owned(), reason.to_owned());
        self.write(Writer::Operator, arguments, reset_breaker).await?;
        let withheld = HeldFilter {
            lane: Some(lane.clone()),
            why: Some(BREAKER_HOLD.to_owned()),
            ..HeldFilter::default()
        };
        self.release_held(&withheld, actor, reason).await
    }

    async fn act(&self, job: JobId, actor: &str, reason: &str, act: Body<Act, ()>) -> Result<(), JournalError> {
        let arguments = Act {
            job,
            actor: actor.to_owned(),
            reason: reason.to_owned(),
        };
        self.write(Writer::Operator, arguments, act).await
    }
}

/// Who wants something done to one job.
#[derive(Debug)]
struct Act {
    job: JobId,
    actor: String,
    reason: String,
}

/// Locks one job's lane and loads it.
async fn lock_job(tx: &mut AnyConnection, context: &Context, job: JobId) -> Result<(Unit, JobRow), JournalError> {
    // A job never changes its lane, so this may be read before the lock.
    let rows = fetch(tx, "SELECT lane FROM job WHERE id = $1", Bind::new().id(job.0)).await?;
    let lanes = rows
        .iter()
        .map(|row| Cells::of(row).text())
        .collect::<Result<Vec<_>, _>>()?;
    let mut unit = Unit::lock(tx, context, lanes).await?;
    unit.load(tx, [job.0]).await?;
    let row = unit.job(job.0).cloned().ok_or(JournalError::NoSuchJob(job))?;
    Ok((unit, row))
}

fn refuse(row: &JobRow, wanted: &'static str) -> JournalError {
    let state = row.outcome.map_or(row.state.as_str(), Outcome::as_str).to_owned();
    JournalError::WrongState {
        job: row.job_id(),
        state,
        wanted,
    }
}

fn cancel<'c>(tx: &'c mut AnyConnection, context: &'c Context, act: &'c Act) -> Step<'c, ()> {
    Box::pin(async move {
        let (mut unit, row) = lock_job(tx, context, act.job).await?;
        if !matches!(row.state, State::Queued | State::Held) {
            return Err(refuse(&row, "cancelled"));
        }
        unit.load_intents(tx, &[row.id]).await?;
        let reason = match unit.intended.get(&row.id) {
            None => act.reason.clone(),
            Some(accounts) => format!(
                "{}; it had set out to close {}, which may be closed: nobody has looked since",
                act.reason,
                accounts.join(", ")
            ),
        };
        unit.change(row.id, |job| {
            job.end(Outcome::Cancelled, &reason, context.now());
            // Remembered for a retry.
            job.why = row.why;
        });
        unit.act(context, &act.actor, "cancel", (&row.lane, Some(row.id)), &act.reason);
        unit.store(tx).await
    })
}

fn retry<'c>(tx: &'c mut AnyConnection, context: &'c Context, act: &'c Act) -> Step<'c, ()> {
    Box::pin(async move {
        let (mut unit, row) = lock_job(tx, context, act.job).await?;
        let closed = matches!(row.outcome, Some(Outcome::Closed | Outcome::AlreadyClosed));
        if row.state != State::Ended || closed {
            return Err(refuse(&row, "retried"));
        }
        // What was held when it was cancelled is held again: otherwise the two would let go what nobody has approved.
        let hold = row.why.clone().filter(|why| !row.released_holds().contains(why));
        unit.change(row.id, |job| {
            job.renew(context.now());
            if let Some(why) = hold {
                job.hold(&why, "it was held when it was cancelled", None);
            }
        });
        unit.act(context, &act.actor, "retry", (&row.lane, Some(row.id)), &act.reason);
        unit.store(tx).await
    })
}

fn release<'c>(tx: &'c mut AnyConnection, context: &'c Context, act: &'c Act) -> Step<'c, ()> {
    Box::pin(async move {
        let (mut unit, row) = lock_job(tx, context, act.job).await?;
        if row.state != State::Held {
            return Err(refuse(&row, "released"));
        }
        let shown = evidence::of(tx, &[row.id]).await?;
        let_go(
            &mut unit,
            context,
            (&row, shown.get(&row.id)),
            (&act.actor, &act.reason),
        );
        unit.store(tx).await
    })
}

/// Lets a held job go that has shown this evidence.
fn let_go(unit: &mut Unit, context: &Context, (row, shown): (&JobRow, Option<&String>), (actor, reason): (&str, &str)) {
    let why = row.why.clone().unwrap_or_default();
    unit.change(row.id, |job| {
        job.approve(&why);
        shown_accounts(shown).for_each(|account| job.approve(&approval(&account)));
        if why == UNSETTLED_HOLD {
            (job.attempts, job.lapses) = (0, 0);
        }
        // Its place in the lane is that of its arrival; it has waited long enough.
        job.queue(job.run_at);
    });
    let detail = if reason.is_empty() {
        why
    } else {
        format!("{why}: {reason}")
    };
    unit.act(context, actor, "release", (&row.lane, Some(row.id)), &detail);
}

/// The accounts that a held job shows to whoever decides about it.
fn shown_accounts(evidence: Option<&String>) -> impl Iterator<Item = String> {
    let shown: Option<Value> = evidence.and_then(|evidence| serde_json::from_str(evidence).ok());
    let accounts = shown.and_then(|shown| shown.get("accounts").and_then(Value::as_array).cloned());
    let id = |account: Value| account.get("id").and_then(Value::as_str).map(str::to_owned);
    accounts.into_iter().flatten().filter_map(id)
}

/// How [`ClaimedJob::released`](super::ClaimedJob::released) says that an account was shown to whoever released a job.
#[must_use]
pub fn approval(account: &str) -> String {
    // A comma ends an entry.
    let account = account.to_ascii_lowercase().replace('%', "%25").replace(',', "%2C");
    format!("account={account}")
}

/// Which jobs, those after which id, who lets them go and why.
type ReleaseHeld = (HeldFilter, Uuid, String, String);

/// What came of one step.
#[derive(Debug)]
struct Released {
    released: u64,
    /// The last job of a full step. Not by how many were released: of those another operator may have taken some.
    last: Option<Uuid>,
}

fn release_some<'c>(
    tx: &'c mut AnyConnection,
    context: &'c Context,
    (filter, after, actor, reason): &'c ReleaseHeld,
) -> Step<'c, Released> {
    Box::pin(async move {
        let held = held(tx, filter, *after).await?;
        let is_full = i64::try_from(held.len()).is_ok_and(|found| found == STEP);
        let last = held.last().map(|(id, _)| *id).filter(|_| is_full);
        let mut unit = Unit::lock(tx, context, held.iter().map(|(_, lane)| lane.clone())).await?;
        let ids: Vec<Uuid> = held.iter().map(|(id, _)| *id).collect();
        unit.load(tx, ids.iter().copied()).await?;
        let shown = evidence::of(tx, &ids).await?;
        let mut released = 0;
        for id in ids {
            let Some(row) = unit.job(id).filter(|job| job.state == State::Held).cloned() else {
                continue;
            };
            let_go(&mut unit, context, (&row, shown.get(&id)), (actor, reason));
            released += 1;
        }
        unit.store(tx).await?;
        Ok(Released { released, last })
    })
}

async fn held(tx: &mut AnyConnection, filter: &HeldFilter, after: Uuid) -> Result<Vec<(Uuid, String)>, JournalError> {
    let (sql, bind) = select_held(filter, after);
    let rows = fetch(tx, AssertSqlSafe(sql), bind).await?;
    rows.iter().map(id_and_lane).collect()
}

/// The statement of [`held`], for the test that looks at its plan too.
pub(super) fn select_held(filter: &HeldFilter, after: Uuid) -> (String, Bind) {
    let lane = filter.lane.as_ref().map(Lane::key);
    let tenant = tenant_of(filter.tenant.as_deref(), filter.lane.as_ref());
    // Looked for among what the tenant has held: by a bare lane, SQLite would walk all jobs that it ever had.
    let wanted = [("tenant", &tenant), ("lane || ''", &lane), ("why", &filter.why)];
    let mut sql = "SELECT id, lane FROM job WHERE state = 2 AND id > $1".to_owned();
    let (mut bind, mut number) = (Bind::new().id(after), 1);
    for (column, value) in wanted {
        let Some(value) = value else { continue };
        number += 1;
        sql = format!("{sql} AND {column} = ${number}");
        bind = bind.text(value);
    }
    (format!("{sql} ORDER BY id LIMIT ${}", number + 1), bind.int(STEP))
}

fn id_and_lane(row: &AnyRow) -> Result<(Uuid, String), JournalError> {
    let mut cells = Cells::of(row);
    Ok((cells.id()?, cells.text()?))
}

type ResetBreaker = (String, String, String);

fn reset_breaker<'c>(
    tx: &'c mut AnyConnection,
    context: &'c Context,
    (key, actor, reason): &'c ResetBreaker,
) -> Step<'c, ()> {
    Box::pin(async move {
        let mut unit = Unit::lock(tx, context, [key.clone()]).await?;
        if unit.lane(key).is_some_and(|lane| lane.tripped.is_some()) {
            // After the last closure that counts, also where that was dated by a clock that has been set back since.
            let last = "SELECT max(at) FROM intent WHERE lane = $1";
            let rows = fetch(tx, last, Bind::new().text(key)).await?;
            let last = rows.first().map_or(Ok(None), |row| Cells::of(row).maybe_int())?;
            let since = last.map_or(0, |last| last.saturating_add(1)).max(context.now());
            unit.change_lane(key, |lane| {
                lane.tripped = None;
                lane.tripped_at = None;
                lane.breaker_since = since;
            });
        }
        unit.act(context, actor, "release_breaker", (key, None), reason);
        unit.store(tx).await
    })
}
