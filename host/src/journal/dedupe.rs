//! When two messages are the same event.
//!
//! A key is a digest, so that it has one size, one index, and no text of anybody's in it. An event holds its key by a
//! unique index; a content event that is too old to be meant gives its key up to the new one.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sqlx::AnyConnection;
use uuid::Uuid;

use super::accept::{AcceptCommand, Accepted, Dedupe, Original};
use super::database::Context;
use super::error::JournalError;
use super::replay;
use super::sql::{Bind, Cells, bulk, execute, select_in};
use super::types::{Decision, EventId, milliseconds};

/// How long the same content is a repetition while nothing has come of the first: a day. Somebody who leaves, comes back
/// and leaves again takes longer, and a queue that stands for days must not swallow that.
const AT_WORK_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// The key of an event, or none where each message is one.
pub(super) fn key(tenant: &str, source: &str, dedupe: &Dedupe) -> Option<[u8; 32]> {
    let (kind, value, about): (u8, &[u8], Option<&String>) = match dedupe {
        Dedupe::SourceId(id) => (1, id.as_bytes(), None),
        Dedupe::Content(digest) => (2, digest, None),
        Dedupe::Message { id, about } => (3, id.as_bytes(), Some(about)),
        Dedupe::Named(_) | Dedupe::None => return None,
    };
    let mut digest = Sha256::new();
    digest.update([kind]);
    let about = about.map(String::as_bytes);
    for part in [tenant.as_bytes(), source.as_bytes(), value].into_iter().chain(about) {
        // With lengths, so that no two of them run together into the same bytes.
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    Some(digest.finalize().into())
}

/// The event that holds a key.
#[derive(Debug)]
pub(super) struct Holder {
    id: Uuid,
    received_at: i64,
    decision: Decision,
    reason: String,
    /// It has jobs, and each of them is still queued or running.
    at_work: bool,
}

impl Holder {
    /// True where a later message with the same content is a new event.
    ///
    /// In doubt it is: a job too many finds the account closed, and a leaver taken for a repetition keeps it. So one job
    /// that has ended is enough, whatever the others wait for (she left, came back and left again), and one that is held,
    /// which may be cancelled. A clock that was set back counts as time gone by.
    pub(super) fn is_over(&self, command: &AcceptCommand, context: &Context) -> bool {
        let window = match self.at_work {
            true => AT_WORK_WINDOW,
            false => context.options.content_window,
        };
        let age = command.received_at().abs_diff(self.received_at);
        matches!(command.event.dedupe, Dedupe::Content(_)) && age > milliseconds(window).unsigned_abs()
    }

    pub(super) fn original(&self) -> Original {
        Original {
            event: EventId(self.id),
            decision: self.decision,
            reason: self.reason.clone(),
        }
    }

    /// Gives the key up. If another host was quicker, it gives up nothing, and the insert that follows loses too.
    pub(super) async fn give_up(&self, tx: &mut AnyConnection) -> Result<(), JournalError> {
        let sql = "UPDATE event SET dedupe = NULL WHERE id = $1 AND dedupe IS NOT NULL";
        execute(tx, sql, Bind::new().id(self.id)).await?;
        Ok(())
    }
}

/// Finds who holds these keys.
pub(super) async fn holders(
    tx: &mut AnyConnection,
    keys: &[[u8; 32]],
) -> Result<HashMap<Vec<u8>, Holder>, JournalError> {
    let before = "SELECT dedupe, id, received_at, decision, reason, \
                  CASE WHEN EXISTS (SELECT 1 FROM job WHERE event_id = event.id AND state < 2) AND NOT EXISTS \
                  (SELECT 1 FROM job WHERE event_id = event.id AND state >= 2) THEN 1 ELSE 0 END \
                  FROM event WHERE dedupe IN";
    let rows = select_in(tx, (before, ""), keys, |bind, key| bind.bytes(key)).await?;
    let read = |row| {
        let mut cells = Cells::of(row);
        let key = cells.bytes()?;
        let holder = Holder {
            id: cells.id()?,
            received_at: cells.int()?,
            decision: Decision::from_code(cells.int()?)?,
            reason: cells.text()?,
            at_work: cells.int()? != 0,
        };
        Ok((key, holder))
    };
    rows.iter().map(read).collect()
}

/// What the events of a batch turned out to repeat.
#[derive(Default)]
pub(super) struct Duplicates(HashMap<Uuid, Original>);

impl Duplicates {
    pub(super) fn of(&self, command: &AcceptCommand) -> Option<&Original> {
        self.0.get(&command.id)
    }

    pub(super) fn answer(&self, command: &AcceptCommand) -> Accepted {
        match self.of(command) {
            None => command.accepted(),
            Some(original) => Accepted {
                event: original.event,
                jobs: Vec::new(),
                duplicate: Some(original.clone()),
            },
        }
    }
}

/// Writes the events of a batch, and returns which of them repeat another.
pub(super) async fn insert_events(
    tx: &mut AnyConnection,
    context: &Context,
    commands: &[AcceptCommand],
) -> Result<Duplicates, JournalError> {
    let replayed = replay::begin(tx, commands).await?;
    let mut sorted: Vec<&AcceptCommand> = commands
        .iter()
        .filter(|command| !replayed.contains_key(&command.id))
        .collect();
    // Stable: of two with the same key, the one that was handed in first wins.
    sorted.sort_by_key(|command| command.key);
    let inserted = insert(tx, &sorted).await?;
    let losers: Vec<&AcceptCommand> = sorted
        .into_iter()
        .filter(|command| !inserted.contains(&command.id))
        .collect();
    let mut duplicates = Duplicates::default();
    let keys: Vec<[u8; 32]> = losers.iter().filter_map(|command| command.key).collect();
    let mut found = holders(tx, &keys).await?;
    for command in losers {
        let Some(key) = command.key else { continue };
        // None: the one that stood in the way gave its key up in the meantime.
        if found
            .get(key.as_slice())
            .is_none_or(|holder| holder.is_over(command, context))
        {
            let replaced = replace(tx, found.get(key.as_slice()), command).await?;
            // Later ones in this batch repeat whoever has the key now.
            found.extend(holders(tx, &[key]).await?);
            if replaced {
                continue;
            }
        }
        let holder = found.get(key.as_slice()).ok_or_else(vanished)?;
        duplicates.0.insert(command.id, holder.original());
    }
    replay::end(tx, commands, replayed, &mut duplicates.0).await?;
    Ok(duplicates)
}

/// Takes the key over from an event that is over. False where another host did.
async fn replace(tx: &mut AnyConnection, over: Option<&Holder>, command: &AcceptCommand) -> Result<bool, JournalError> {
    if let Some(holder) = over {
        holder.give_up(tx).await?;
    }
    Ok(!insert(tx, &[command]).await?.is_empty())
}

async fn insert(tx: &mut AnyConnection, commands: &[&AcceptCommand]) -> Result<BTreeSet<Uuid>, JournalError> {
    let ids: Vec<Uuid> = commands.iter().map(|command| command.id).collect();
    let inserted = bulk(tx, INSERT_EVENT, 12, commands, |bind, command| command.bind(bind)).await?;
    // The usual case; `RETURNING` would send each id back through the channels for nothing.
    if inserted == ids.len() as u64 {
        return Ok(ids.into_iter().collect());
    }
    let select = ("SELECT id FROM event WHERE id IN", "");
    let rows = select_in(tx, select, &ids, |bind, id| bind.id(*id)).await?;
    rows.iter().map(|row| Cells::of(row).id()).collect()
}

/// Events with a key are never deleted, so one that stood in the way has a holder.
pub(super) fn vanished() -> JournalError {
    JournalError::Database {
        message: "an event disappeared while it was compared".to_owned(),
        code: None,
    }
}

const INSERT_EVENT: (&str, &str) = (
    "INSERT INTO event (id, tenant, source, source_id, dedupe, received_at, occurred_at, decision, reason, person, \
     person_key, body) VALUES",
    "ON CONFLICT (dedupe) DO NOTHING",
);

#[cfg(test)]
mod tests {
    use super::{Dedupe, key};

    #[test]
    fn keys_differ_by_tenant_source_kind_and_value() {
        let id = |text: &str| Dedupe::SourceId(text.to_owned());
        let message = |id: &str, about: &str| Dedupe::Message {
            id: id.to_owned(),
            about: about.to_owned(),
        };
        let keys = [
            key("acme", "hr", &message("1", "ann")),
            key("acme", "hr", &message("1", "bob")),
            key("acme", "hr", &message("1a", "nn")),
            key("acme", "hr", &id("1")),
            key("acme", "hr", &id("2")),
            key("acme", "it", &id("1")),
            key("acmeh", "r", &id("1")),
            key("acme", "hr", &Dedupe::Content([b'1'; 32])),
            key("acme", "hr", &id(&"1".repeat(32))),
        ];
        for (index, one) in keys.iter().enumerate() {
            assert!(one.is_some());
            assert!(!keys[..index].contains(one), "key {index} repeats an earlier one");
        }
        assert_eq!(key("acme", "hr", &Dedupe::None), None);
        assert_eq!(key("acme", "hr", &Dedupe::Named("1".to_owned())), None);
    }
}
