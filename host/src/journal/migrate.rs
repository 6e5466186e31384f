//! Brings the tables to the present version, at start.

use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;

use super::database::{Context, Step};
use super::error::JournalError;
use super::schema::{MIGRATIONS, SCHEMA_VERSION, statements};
use super::sql::{Bind, Cells, execute, fetch};

/// Runs the next missing step, and returns whether there are more; hosts that start at once do it one after the other.
///
/// Each is a transaction of its own: all in one would hold the tables of the first while it waits for those of the last,
/// and the hosts that run would wait behind it.
pub(super) fn migrate<'c>(tx: &'c mut AnyConnection, context: &'c Context, (): &'c ()) -> Step<'c, bool> {
    Box::pin(async move {
        context.dialect.lock_schema(tx).await?;
        execute(
            tx,
            "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)",
            Bind::new(),
        )
        .await?;
        let version = version(tx).await?;
        let found = version.unwrap_or(0);
        let missing = MIGRATIONS.get(usize::try_from(found).unwrap_or(0)..);
        let Some([step, rest @ ..]) = missing else {
            return Ok(false);
        };
        for statement in statements(step, context.dialect) {
            execute(tx, AssertSqlSafe(statement), Bind::new()).await?;
        }
        let write = if version.is_none() {
            "INSERT INTO schema_version (version) VALUES ($1)"
        } else {
            "UPDATE schema_version SET version = $1"
        };
        execute(tx, write, Bind::new().int(found + 1)).await?;
        Ok(!rest.is_empty())
    })
}

/// Refuses tables of another release, and changes nothing: there is never more to do.
pub(super) fn check_schema<'c>(tx: &'c mut AnyConnection, _: &'c Context, (): &'c ()) -> Step<'c, bool> {
    Box::pin(async move {
        match version(tx).await {
            Ok(Some(SCHEMA_VERSION)) => Ok(false),
            Ok(Some(found)) => Err(JournalError::Invalid(format!(
                "its tables are of schema version {found} and this release's of {SCHEMA_VERSION}; use the release that \
                 runs on it, or start this one's `exeunt serve` first"
            ))),
            Ok(None) | Err(JournalError::Database { .. }) => {
                Err(JournalError::Invalid("there is no journal in it".to_owned()))
            }
            Err(error) => Err(error),
        }
    })
}

/// Which version the tables have; none where they are not there yet.
async fn version(tx: &mut AnyConnection) -> Result<Option<i64>, JournalError> {
    let rows = fetch(tx, "SELECT version FROM schema_version", Bind::new()).await?;
    let found = rows.first().map(|row| Cells::of(row).int()).transpose()?;
    match found {
        Some(found) if found > SCHEMA_VERSION => Err(JournalError::NewerSchema {
            found,
            known: SCHEMA_VERSION,
        }),
        found => Ok(found),
    }
}
