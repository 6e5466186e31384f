//! The last durable step before an account is closed: the intent, the kill switch and the count breaker, together.
//!
//! An intent row is the reservation in the breaker's window as well. Two rows would say the same thing twice and cost a
//! second commit for each leaver. Counting happens under the lane's lock, so hosts cannot count past each other.
//!
//! It reserves the account as well: two events for one person make two jobs, and both may find the account open. The
//! second to come is told to wait while the first may be closing it, and to read again after that, so that no account is
//! closed twice. Holding one event back until the other's job has ended would need the account's id before anybody has
//! asked the target for it; reading after each reservation would cost every leaver a request for the sake of a few.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use sqlx::AnyConnection;
use uuid::Uuid;

use super::claim::nth_claim;
use super::database::Context;
use super::error::JournalError;
use super::finish::keep;
use super::open::Journal;
use super::sql::{Bind, Cells, bulk_select, fetch};
use super::types::{Fence, State, milliseconds};
use super::unit::{IntentRow, Unit};
use super::work::{Answer, WorkCommand, mixed_up};

/// Why jobs are held that [`Reservation::Tripped`] stopped; [`Journal::release_breaker`] lets these go.
pub const BREAKER_HOLD: &str = "breaker";

/// How many closures a connector may do in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosureLimit {
    /// Most closures in the window.
    pub closures: u32,
    /// The window, which slides.
    pub per: Duration,
}

/// Whether the account may be closed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reservation {
    /// Yes: the intent is on disk.
    Reserved,
    /// No: it would be one too many, or the breaker is open since one was. Nothing was recorded for this job; the
    /// breaker stays open until [`Journal::release_breaker`].
    Tripped {
        /// What opened it, in words.
        reason: String,
    },
    /// No: an operator paused the host, the tenant or the connector.
    Paused {
        /// The operator's words.
        reason: String,
    },
    /// No: another job that runs is closing this account. Look again shortly.
    Busy {
        /// Which, in words.
        reason: String,
    },
    /// No: other jobs set out to close this account, maybe after it was read. Read it again, then ask with this number.
    Stale {
        /// What others have done to this account, as a number that grows with each of their intents.
        others: i64,
    },
}

impl Journal {
    /// Journals that this account is about to be closed, if pauses, other jobs and the breaker allow it.
    ///
    /// `others` shows that the account was read after every other job's last intent for it: 0 at first, then the number
    /// that the last [`Reservation::Stale`] gave, once the account was read again. So whoever is told
    /// [`Reservation::Reserved`] has read it open after every other job was done with it.
    ///
    /// Accounts are told apart without case (ASCII). An account counts once for a job and window, however often the job
    /// is tried. `transcript` keeps the host calls so far, so that they survive a crash during the closing.
    ///
    /// # Errors
    /// [`JournalError::LeaseLost`] where the job is somebody else's now: do not close anything.
    pub async fn intend(
        &self,
        fence: &Fence,
        account: &str,
        others: i64,
        limit: ClosureLimit,
        transcript: Option<Vec<u8>>,
    ) -> Result<Reservation, JournalError> {
        let asked = Asked {
            fence: fence.clone(),
            account: account.replace('\0', "\u{fffd}"),
            others,
            limit,
        };
        match self.work.submit(WorkCommand::Intend { asked, transcript }).await? {
            Answer::Reservation(reservation) => Ok(reservation),
            _ => Err(mixed_up()),
        }
    }
}

/// An intent that is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) fence: Fence,
    /// As the target writes it.
    account: String,
    others: i64,
    limit: ClosureLimit,
}

impl Asked {
    /// The lane, and the account without case.
    fn place(&self) -> (String, String) {
        (self.fence.lane.key(), self.account.to_ascii_lowercase())
    }
}

/// A job that set out to close an account.
struct Closer {
    job: Uuid,
    /// The claim in which it last did.
    claim: i64,
    /// When it counted for the breaker.
    at: i64,
    /// Whether it is in that claim still, and may be closing the account at this moment.
    is_running: bool,
}

/// What a batch of intents has to know.
#[derive(Default)]
pub(super) struct Window {
    /// The batch's present. One reading for all of it: counts are kept by the time they begin at, and a clock that ticks
    /// between counting and asking would find none, and let one closure too many pass.
    now: i64,
    /// Who ever set out to close one of the batch's accounts, by [`Asked::place`].
    closers: HashMap<(String, String), Vec<Closer>>,
    /// Closures of a lane since a time, this batch's included.
    counts: HashMap<(String, i64), i64>,
    /// Scope and words of each pause.
    pauses: HashMap<String, String>,
}

impl Window {
    /// Reads what these intents need. The lanes are locked, so nobody adds to it meanwhile.
    pub(super) async fn load(
        tx: &mut AnyConnection,
        context: &Context,
        unit: &Unit,
        asked: &[&Asked],
    ) -> Result<Self, JournalError> {
        let mut window = Self {
            now: context.now(),
            ..Self::default()
        };
        if asked.is_empty() {
            return Ok(window);
        }
        window.load_closers(tx, asked).await?;
        for row in fetch(tx, "SELECT scope, reason FROM pause", Bind::new()).await? {
            let mut cells = Cells::of(&row);
            window.pauses.insert(cells.text()?, cells.text()?);
        }
        let keys = asked.iter().filter_map(|asked| window.key(unit, asked));
        let keys: Vec<_> = keys.collect::<BTreeSet<_>>().into_iter().collect();
        for row in bulk_select(tx, COUNT_CLOSURES, 2, &keys, |bind, (lane, since)| {
            bind.text(lane).int(*since)
        })
        .await?
        {
            let mut cells = Cells::of(&row);
            window.counts.insert((cells.text()?, cells.int()?), cells.int()?);
        }
        Ok(window)
    }

    async fn load_closers(&mut self, tx: &mut AnyConnection, asked: &[&Asked]) -> Result<(), JournalError> {
        let places: BTreeSet<_> = asked.iter().map(|asked| asked.place()).collect();
        let places: Vec<_> = places.into_iter().collect();
        for row in bulk_select(tx, SELECT_CLOSERS, 2, &places, |bind, (lane, account)| {
            bind.text(lane).text(account)
        })
        .await?
        {
            let mut cells = Cells::of(&row);
            let place = (cells.text()?, cells.text()?);
            let (job, claim, at) = (cells.id()?, cells.int()?, cells.int()?);
            let (state, fence) = (cells.int()?, cells.int()?);
            let is_running = state == State::Running.code() && fence == claim;
            self.closers.entry(place).or_default().push(Closer {
                job,
                claim,
                at,
                is_running,
            });
        }
        Ok(())
    }

    /// The job's own last intent for the account, and those of other jobs.
    fn closers(&self, asked: &Asked) -> (Option<&Closer>, Vec<&Closer>) {
        let closers = self.closers.get(&asked.place()).into_iter().flatten();
        let (own, others): (Vec<_>, Vec<_>) = closers.partition(|closer| closer.job == asked.fence.job.0);
        (own.first().copied(), others)
    }

    /// Adds an intent of this batch.
    fn add(&mut self, asked: &Asked, at: i64) {
        let closers = self.closers.entry(asked.place()).or_default();
        closers.retain(|closer| closer.job != asked.fence.job.0);
        closers.push(Closer {
            job: asked.fence.job.0,
            claim: asked.fence.token,
            at,
            is_running: true,
        });
    }

    /// The lane and the time since when its closures count.
    fn key(&self, unit: &Unit, asked: &Asked) -> Option<(String, i64)> {
        let lane = unit.lane(&asked.fence.lane.key())?;
        let window = self.now.saturating_sub(milliseconds(asked.limit.per)).saturating_add(1);
        let since = window.max(lane.breaker_since);
        Some((lane.id.clone(), since))
    }

    fn pause(&self, fence: &Fence) -> Option<&String> {
        let scopes = [String::new(), fence.lane.tenant().to_owned(), fence.lane.key()];
        scopes.iter().find_map(|scope| self.pauses.get(scope))
    }
}

/// Applies an intent to rows under lock.
pub(super) fn apply(
    unit: &mut Unit,
    window: &mut Window,
    context: &Context,
    asked: &Asked,
    transcript: Option<&[u8]>,
) -> Result<Reservation, JournalError> {
    let fence = &asked.fence;
    let lost = JournalError::LeaseLost(fence.job);
    match unit.job(fence.job.0) {
        Some(job) if job.fence == fence.token && job.state == State::Running => {}
        _ => return Err(lost),
    }
    if let Some(reason) = window.pause(fence) {
        return Ok(Reservation::Paused { reason: reason.clone() });
    }
    let (own, others) = window.closers(asked);
    if let Some(busy) = others.iter().find(|closer| is_closing(unit, closer)) {
        let reason = format!(
            "job {} is closing account {} at the moment",
            busy.job,
            asked.account.to_ascii_lowercase()
        );
        return Ok(Reservation::Busy { reason });
    }
    // Claims only grow, so the sum tells whether one of the others came in between.
    let claims = others.iter().map(|closer| i64::from(nth_claim(closer.claim)));
    let known = claims.fold(0, i64::saturating_add);
    if known != asked.others {
        return Ok(Reservation::Stale { others: known });
    }
    let key = window.key(unit, asked).ok_or(lost)?;
    // One that has left the window counts again: else whatever failed for hours could be closed at once.
    let counted = own.filter(|own| own.at >= key.1).map(|own| (own.claim, own.at));
    if counted.is_none()
        && let Some(reason) = trip(unit, window, &key, asked.limit)
    {
        return Ok(Reservation::Tripped { reason });
    }
    // Once for a claim: a statement must not write a row twice.
    if counted.is_none_or(|(claim, _)| claim != fence.token) {
        // Not before what counts begins: whose clock is behind that of whoever closed the breaker would count nothing.
        let at = counted.map_or(window.now.max(key.1), |(_, at)| at);
        window.add(asked, at);
        unit.intents.push(row(asked, at, window.now));
    }
    if let Some(data) = transcript {
        keep(unit, context, fence, data);
    }
    Ok(Reservation::Reserved)
}

/// Whether another job may be closing its account at this moment. One that this batch puts down is done.
fn is_closing(unit: &Unit, closer: &Closer) -> bool {
    let row = unit.job(closer.job);
    let is_over = row.is_some_and(|row| row.state != State::Running || row.fence != closer.claim);
    closer.is_running && !is_over
}

fn row(asked: &Asked, at: i64, said_at: i64) -> IntentRow {
    let (lane, account) = asked.place();
    IntentRow {
        job: asked.fence.job.0,
        spelled: (account != asked.account).then(|| asked.account.clone()),
        account,
        lane,
        fence: asked.fence.token,
        at,
        said_at,
    }
}

/// Counts one closure more, or opens the breaker and says why.
fn trip(unit: &mut Unit, window: &mut Window, key: &(String, i64), limit: ClosureLimit) -> Option<String> {
    if let Some(reason) = unit.lane(&key.0).and_then(|lane| lane.tripped.clone()) {
        return Some(reason);
    }
    let count = window.counts.entry(key.clone()).or_default();
    if *count < i64::from(limit.closures) {
        *count += 1;
        return None;
    }
    let (count, now) = (*count, window.now);
    let reason = format!(
        "{count} closures within {}, 1 more would exceed the limit of {}",
        words(limit.per),
        limit.closures
    );
    tracing::warn!(lane = key.0, reason, "the breaker opened");
    unit.change_lane(&key.0, |lane| {
        lane.tripped = Some(reason.clone());
        lane.tripped_at = Some(now);
    });
    Some(reason)
}

fn words(per: Duration) -> String {
    let seconds = per.as_secs();
    match seconds {
        0 => format!("{} ms", per.as_millis()),
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// How many closures each lane had since a time, counted up to one more than the highest limit: it is done in each batch,
/// while nobody else can write.
const COUNT_CLOSURES: (&str, &str) = (
    "WITH v (lane, since) AS (VALUES",
    ") SELECT lane, since, (SELECT count(*) FROM \
     (SELECT 1 FROM intent WHERE intent.lane = v.lane AND intent.at >= v.since LIMIT 100001) AS counted) FROM v",
);

/// Who ever set out to close these accounts. The joins are written as crosses so that SQLite starts at the accounts.
const SELECT_CLOSERS: (&str, &str) = (
    "WITH v (lane, account) AS (VALUES",
    ") SELECT v.lane, v.account, job.id, intent.fence, intent.at, job.state, job.fence \
     FROM v CROSS JOIN intent CROSS JOIN job \
     WHERE intent.lane = v.lane AND intent.account = v.account AND job.id = intent.job_id",
);

#[cfg(test)]
mod tests {
    use crate::tenant::MAX_BREAKER_CLOSURES;

    #[test]
    fn one_more_is_counted_than_any_breaker_allows() {
        let counted = format!(" LIMIT {})", MAX_BREAKER_CLOSURES + 1);
        assert!(super::COUNT_CLOSURES.1.contains(&counted), "{counted}");
    }
}
