//! Events that are judged again, once.
//!
//! The mark is taken before the new event is written, in the same transaction: two hosts that are asked at once wait for
//! each other at the old event's row, and the later one finds what the first has made.

use std::collections::HashMap;

use sqlx::AnyConnection;
use uuid::Uuid;

use super::accept::{AcceptCommand, Original};
use super::dedupe::vanished;
use super::error::JournalError;
use super::sql::{Bind, Cells, execute, fetch};
use super::types::{Decision, EventId};

/// Marks the events that these replay, and returns which of the new ones come too late, with the event that both are of.
pub(super) async fn begin(
    tx: &mut AnyConnection,
    commands: &[AcceptCommand],
) -> Result<HashMap<Uuid, Uuid>, JournalError> {
    let mut late = HashMap::new();
    for (new, old) in in_order(commands) {
        let sql = "UPDATE event SET decision = $1, replayed_as = $2 WHERE id = $3 AND replayed_as IS NULL";
        let bind = Bind::new().int(Decision::Replayed.code()).id(new).id(old);
        // One that was deleted after its retention is no longer there to be marked: the new one is accepted like any other.
        if execute(tx, sql, bind).await? == 0 && is_there(tx, old).await? {
            late.insert(new, old);
        }
    }
    Ok(late)
}

async fn is_there(tx: &mut AnyConnection, event: Uuid) -> Result<bool, JournalError> {
    let rows = fetch(tx, "SELECT id FROM event WHERE id = $1", Bind::new().id(event)).await?;
    Ok(!rows.is_empty())
}

/// Marks what repeats yet another event as replayed by that one, and adds those that came too late to the duplicates.
pub(super) async fn end(
    tx: &mut AnyConnection,
    commands: &[AcceptCommand],
    late: HashMap<Uuid, Uuid>,
    duplicates: &mut HashMap<Uuid, Original>,
) -> Result<(), JournalError> {
    for (new, old) in in_order(commands) {
        if let Some(repeated) = duplicates.get(&new) {
            let bind = Bind::new().id(repeated.event.0).id(old);
            execute(tx, "UPDATE event SET replayed_as = $1 WHERE id = $2", bind).await?;
        }
    }
    for (new, old) in late {
        duplicates.insert(new, made_of(tx, old).await?);
    }
    Ok(())
}

async fn made_of(tx: &mut AnyConnection, old: Uuid) -> Result<Original, JournalError> {
    let sql = "SELECT made.id, made.decision, made.reason FROM event JOIN event made ON made.id = event.replayed_as \
               WHERE event.id = $1";
    let rows = fetch(tx, sql, Bind::new().id(old)).await?;
    let mut cells = rows.first().map(Cells::of).ok_or_else(vanished)?;
    Ok(Original {
        event: EventId(cells.id()?),
        decision: Decision::from_code(cells.int()?)?,
        reason: cells.text()?,
    })
}

/// New events with the ones that they replay, in the order of the latter: two hosts lock them in the same one.
fn in_order(commands: &[AcceptCommand]) -> Vec<(Uuid, Uuid)> {
    let pairs = commands
        .iter()
        .filter_map(|command| Some((command.id, command.event.replays?.0)));
    let mut pairs: Vec<(Uuid, Uuid)> = pairs.collect();
    pairs.sort_by_key(|(_, old)| *old);
    pairs
}
