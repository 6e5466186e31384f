//! Brings the tables to the present version, at start.

use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;

use super::database::{Context, Step};
use super::error::JournalError;
use super::schema::{MIGRATIONS, SCHEMA_VERSION, statements};
use super::sql::{Bind, Cells, execute, fetch};

/// Runs the missing steps, all in one transaction; hosts that start at once do it one after the other.
pub(super) fn migrate<'c>(tx: &'c mut AnyConnection, context: &'c Context, (): &'c ()) -> Step<'c, ()> {
    Box::pin(async move {
        context.dialect.lock_schema(tx).await?;
        execute(
            tx,
            "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)",
            Bind::new(),
        )
        .await?;
        let rows = fetch(tx, "SELECT version FROM schema_version", Bind::new()).await?;
        let found = rows.first().map_or(Ok(0), |row| Cells::of(row).int())?;
        if found > SCHEMA_VERSION {
            return Err(JournalError::NewerSchema {
                found,
                known: SCHEMA_VERSION,
            });
        }
        if found == SCHEMA_VERSION {
            return Ok(());
        }
        let done = usize::try_from(found).unwrap_or(0);
        for step in &MIGRATIONS[done..] {
            for statement in statements(step, context.dialect) {
                execute(tx, AssertSqlSafe(statement), Bind::new()).await?;
            }
        }
        let write = if rows.is_empty() {
            "INSERT INTO schema_version (version) VALUES ($1)"
        } else {
            "UPDATE schema_version SET version = $1"
        };
        execute(tx, write, Bind::new().int(SCHEMA_VERSION)).await?;
        Ok(())
    })
}
