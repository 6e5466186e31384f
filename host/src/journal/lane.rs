//! Lanes: caps, pauses, parking, and what operators see of them.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use sqlx::AnyConnection;

use super::accept::ensure_lanes;
use super::database::{Context, Step, Writer};
use super::error::JournalError;
use super::open::Journal;
use super::rows::{LANE_COLUMNS, LaneRow};
use super::sql::{Bind, Cells, execute, fetch};
use super::types::{Lane, Outcome, check_name, date};
use super::unit::Unit;

/// Most lanes whose caps are set in one transaction, which holds them all.
const MOST_CAPS: usize = 256;

/// What a pause stops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything, on all hosts.
    All,
    /// One tenant.
    Tenant(String),
    /// One connector of a tenant.
    Connector(Lane),
}

impl Scope {
    /// Its key; also what actions on it are filed under.
    pub(super) fn key(&self) -> Result<String, JournalError> {
        match self {
            Self::All => Ok(String::new()),
            Self::Tenant(tenant) => check_name("tenant", tenant).map(|()| tenant.clone()),
            Self::Connector(lane) => Ok(lane.key()),
        }
    }

    /// Its tenant and its connector, where it is of one.
    #[must_use]
    pub fn names(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::All => (None, None),
            Self::Tenant(tenant) => (Some(tenant), None),
            Self::Connector(lane) => (Some(lane.tenant()), Some(lane.connector())),
        }
    }

    pub(super) fn from_key(key: String) -> Self {
        match key.as_str() {
            "" => Self::All,
            _ if key.contains('/') => Self::Connector(Lane::from_key(&key)),
            _ => Self::Tenant(key),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("everything"),
            Self::Tenant(tenant) => f.write_str(tenant),
            Self::Connector(lane) => lane.fmt(f),
        }
    }
}

/// A pause in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// What it stops.
    pub scope: Scope,
    /// Who said so.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// A lane as operators and metrics see it. Read from its row: the cost does not depend on its depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStatus {
    /// Which.
    pub lane: Lane,
    /// Most jobs that run at a time, over all hosts.
    pub cap: u32,
    /// Jobs that wait for their turn, also while the lane is parked.
    pub queued: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that wait for an operator.
    pub held: u64,
    /// Since when the first of the queued jobs could have run; later than now where it waits for its next try.
    pub oldest_due: Option<Timestamp>,
    /// Until when the target wants nothing to be asked, and what it said. May be past.
    pub not_before: Option<(Timestamp, String)>,
    /// Since when nothing runs, and what an operator has to change.
    pub parked: Option<(Timestamp, String)>,
    /// Since when the breaker is open, and why.
    pub tripped: Option<(Timestamp, String)>,
}

/// How many jobs of a lane have an outcome now. A replayed job is taken out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Which lane.
    pub lane: Lane,
    /// Which outcome.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
}

impl Journal {
    /// Sets how many jobs of a lane may run at a time, over all hosts. `None` is the host's default; 0 stops it.
    ///
    /// # Errors
    /// None of its own.
    pub async fn set_cap(&self, lane: &Lane, cap: Option<u32>) -> Result<(), JournalError> {
        self.set_caps(&[(lane.clone(), cap)]).await
    }

    /// The same for many lanes: a thousand cost a few statements, and nothing is written of those that have their cap.
    ///
    /// # Errors
    /// None of its own. What was set before an error stays set.
    pub async fn set_caps(&self, caps: &[(Lane, Option<u32>)]) -> Result<(), JournalError> {
        for some in caps.chunks(MOST_CAPS) {
            let caps: BTreeMap<String, Option<i64>> = some
                .iter()
                .map(|(lane, cap)| (lane.key(), cap.map(i64::from)))
                .collect();
            self.write_if(Writer::Operator, caps, set_caps, |changed| *changed)
                .await?;
        }
        Ok(())
    }

    /// Lets a lane run again that [`Finish::Park`](super::Finish::Park) stopped, and forgets a rate limit. False where
    /// it was not parked. Without a reason, what had stopped it is kept as one.
    ///
    /// # Errors
    /// None of its own.
    pub async fn unpark(&self, lane: &Lane, actor: &str, reason: &str) -> Result<bool, JournalError> {
        self.let_go(lane, actor, reason, false).await
    }

    /// As [`Journal::unpark`], and ends a wait that a rate limit or an outage of the target caused. For an operator who knows
    /// better: the target may have named a day.
    ///
    /// # Errors
    /// None of its own.
    pub async fn wake(&self, lane: &Lane, actor: &str, reason: &str) -> Result<bool, JournalError> {
        self.let_go(lane, actor, reason, true).await
    }

    async fn let_go(&self, lane: &Lane, actor: &str, reason: &str, from_rest: bool) -> Result<bool, JournalError> {
        let unparking = Unpark {
            lane: lane.key(),
            actor: actor.to_owned(),
            reason: reason.to_owned(),
            from_rest,
        };
        self.write(Writer::Operator, unparking, unpark).await
    }

    /// Stops claims and closures of a scope at once, on all hosts. What runs is stopped before it closes anything.
    ///
    /// It takes the place of a pause that is in force, of this `by` where one is given. False where somebody else's is,
    /// which stays: asked in advance, it could still come in between.
    ///
    /// # Errors
    /// [`JournalError::Invalid`] for a tenant that is no name.
    pub async fn pause(
        &self,
        scope: &Scope,
        actor: &str,
        reason: &str,
        by: Option<&str>,
    ) -> Result<bool, JournalError> {
        self.set_pause(scope, actor, (true, reason), by).await
    }

    /// Ends a pause, of this `by` where one is given. False where there was none. Pauses of other scopes stay in force.
    ///
    /// # Errors
    /// [`JournalError::Invalid`] for a tenant that is no name.
    pub async fn resume(
        &self,
        scope: &Scope,
        actor: &str,
        reason: &str,
        by: Option<&str>,
    ) -> Result<bool, JournalError> {
        self.set_pause(scope, actor, (false, reason), by).await
    }

    async fn set_pause(
        &self,
        scope: &Scope,
        actor: &str,
        (is_on, reason): (bool, &str),
        by: Option<&str>,
    ) -> Result<bool, JournalError> {
        let change = PauseChange {
            scope: scope.key()?,
            actor: actor.to_owned(),
            is_on,
            reason: reason.to_owned(),
            by: by.map(str::to_owned),
        };
        self.write(Writer::Operator, change, set_pause).await
    }

    /// The pauses in force.
    ///
    /// # Errors
    /// None of its own.
    pub async fn pauses(&self) -> Result<Vec<Pause>, JournalError> {
        self.read((), pauses).await
    }

    /// All lanes, or a tenant's, by name.
    ///
    /// # Errors
    /// None of its own.
    pub async fn lanes(&self, tenant: Option<&str>) -> Result<Vec<LaneStatus>, JournalError> {
        self.read(tenant.map(str::to_owned), lanes).await
    }

    /// How many jobs of each lane have each outcome.
    ///
    /// # Errors
    /// None of its own.
    pub async fn tallies(&self) -> Result<Vec<Tally>, JournalError> {
        self.read((), tallies).await
    }
}

fn set_caps<'c>(
    tx: &'c mut AnyConnection,
    context: &'c Context,
    caps: &'c BTreeMap<String, Option<i64>>,
) -> Step<'c, bool> {
    Box::pin(async move {
        let capped = caps.iter().filter(|(_, cap)| cap.is_some());
        ensure_lanes(tx, &capped.map(|(key, _)| key.clone()).collect::<Vec<_>>()).await?;
        let mut unit = Unit::lock(tx, context, caps.keys().cloned()).await?;
        let mut has_changed = false;
        for (key, cap) in caps {
            if unit.lane(key).is_some_and(|lane| lane.cap != *cap) {
                unit.change_lane(key, |lane| lane.cap = *cap);
                has_changed = true;
            }
        }
        unit.store(tx).await?;
        Ok(has_changed)
    })
}

/// Which lane, who lets it go on and why, and whether from a rest as well.
#[derive(Debug)]
struct Unpark {
    lane: String,
    actor: String,
    reason: String,
    from_rest: bool,
}

fn unpark<'c>(tx: &'c mut AnyConnection, context: &'c Context, unparking: &'c Unpark) -> Step<'c, bool> {
    Box::pin(async move {
        let Unpark {
            lane: key,
            actor,
            reason,
            from_rest,
        } = unparking;
        let mut unit = Unit::lock(tx, context, [key.clone()]).await?;
        let Some(lane) = unit.lane(key) else { return Ok(false) };
        let rests = *from_rest && lane.not_before > context.now();
        let why = lane.parked.as_ref().or(lane.not_before_why.as_ref().filter(|_| rests));
        let Some(why) = why else {
            return Ok(false);
        };
        let detail = match reason.is_empty() {
            true => why.clone(),
            false => format!("{reason}; what had stopped it: {why}"),
        };
        unit.change_lane(key, |lane| {
            lane.parked = None;
            lane.parked_at = None;
            lane.not_before = 0;
            lane.not_before_why = None;
            lane.failures = 0;
        });
        unit.act(context, actor, "unpark", (key, None), &detail);
        unit.store(tx).await?;
        Ok(true)
    })
}

/// A pause to set, or to end.
struct PauseChange {
    scope: String,
    actor: String,
    is_on: bool,
    reason: String,
    /// Whose pause it may touch; none for anybody's.
    by: Option<String>,
}

fn set_pause<'c>(tx: &'c mut AnyConnection, context: &'c Context, change: &'c PauseChange) -> Step<'c, bool> {
    Box::pin(async move {
        let PauseChange {
            scope,
            actor,
            is_on,
            reason,
            by,
        } = change;
        let (verb, changed) = match is_on {
            true => {
                let sql = "INSERT INTO pause (scope, actor, reason, at) VALUES ($1, $2, $3, $4) ON CONFLICT (scope) \
                           DO UPDATE SET actor = excluded.actor, reason = excluded.reason, at = excluded.at \
                           WHERE pause.actor = COALESCE($5, pause.actor)";
                let bind = Bind::new().text(scope).text(actor).text(reason).int(context.now());
                ("pause", execute(tx, sql, bind.maybe_text(by.as_deref())).await?)
            }
            false => {
                let sql = "DELETE FROM pause WHERE scope = $1 AND actor = COALESCE($2, actor)";
                let bind = Bind::new().text(scope).maybe_text(by.as_deref());
                ("resume", execute(tx, sql, bind).await?)
            }
        };
        if changed > 0 {
            let mut unit = Unit::default();
            unit.act(context, actor, verb, (scope, None), reason);
            unit.store(tx).await?;
        }
        Ok(changed > 0)
    })
}

fn pauses<'c>(tx: &'c mut AnyConnection, _: &'c Context, (): &'c ()) -> Step<'c, Vec<Pause>> {
    Box::pin(async move {
        let rows = fetch(
            tx,
            "SELECT scope, actor, reason, at FROM pause ORDER BY scope",
            Bind::new(),
        )
        .await?;
        let read = |row| {
            let mut cells = Cells::of(row);
            Ok(Pause {
                scope: Scope::from_key(cells.text()?),
                actor: cells.text()?,
                reason: cells.text()?,
                at: date(cells.int()?),
            })
        };
        rows.iter().map(read).collect()
    })
}

fn lanes<'c>(tx: &'c mut AnyConnection, context: &'c Context, tenant: &'c Option<String>) -> Step<'c, Vec<LaneStatus>> {
    Box::pin(async move {
        // The head of the partial index on queued jobs: one step down the tree for each lane. It is not before `due_at`,
        // where old entries may be that nobody can take away while somebody's dump goes on.
        let sql = format!(
            "SELECT {LANE_COLUMNS}, (SELECT min(job.run_at) FROM job WHERE job.lane = lane.id AND job.state = 0 \
             AND job.run_at >= lane.due_at) FROM lane WHERE tenant = COALESCE($1, tenant) ORDER BY id"
        );
        let bind = Bind::new().maybe_text(tenant.as_deref());
        let rows = fetch(tx, sqlx::AssertSqlSafe(sql), bind).await?;
        rows.iter().map(|row| status(&mut Cells::of(row), context)).collect()
    })
}

fn status(cells: &mut Cells<'_>, context: &Context) -> Result<LaneStatus, JournalError> {
    let row = LaneRow::from_cells(cells)?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let cap = row.cap.unwrap_or(i64::from(context.options.default_cap));
    let since = |at: Option<i64>, why: Option<String>| why.map(|why| (date(at.unwrap_or(0)), why));
    Ok(LaneStatus {
        lane: Lane::from_key(&row.id),
        cap: u32::try_from(cap).unwrap_or(0),
        queued: count(row.queued),
        running: count(row.running),
        held: count(row.held),
        oldest_due: cells.maybe_int()?.map(date),
        not_before: since(Some(row.not_before), row.not_before_why),
        parked: since(row.parked_at, row.parked),
        tripped: since(row.tripped_at, row.tripped),
    })
}

fn tallies<'c>(tx: &'c mut AnyConnection, _: &'c Context, (): &'c ()) -> Step<'c, Vec<Tally>> {
    Box::pin(async move {
        let sql = "SELECT lane, outcome, n FROM tally WHERE n > 0 ORDER BY lane, outcome";
        let read = |row| {
            let mut cells = Cells::of(row);
            Ok(Tally {
                lane: Lane::from_key(&cells.text()?),
                outcome: Outcome::from_code(cells.int()?)?,
                count: u64::try_from(cells.int()?).unwrap_or(0),
            })
        };
        fetch(tx, sql, Bind::new()).await?.iter().map(read).collect()
    })
}
