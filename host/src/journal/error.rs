//! What can go wrong with the record, by what the caller does about it.

use std::sync::Arc;

use sqlx::sqlite::SqliteError;

use super::types::JobId;

/// Why the journal did not do what it was asked.
///
/// Nothing was recorded where this is returned, with one exception: after [`Unavailable`](Self::Unavailable) a commit
/// may have reached PostgreSQL although its answer did not come back. Every call is safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// More is waiting to be written than the queue holds. Answer 503 with `Retry-After`.
    #[error("the journal has more to write than it can hold; try again shortly")]
    Busy,
    /// The database cannot be reached at the moment. Answer 503; the journal reconnects by itself.
    #[error("the journal's database is unavailable: {0}")]
    Unavailable(Arc<str>),
    /// The database file failed. Nothing is accepted any more and the process has to stop: after a failed `fsync` the
    /// file's state is unknown until it is opened anew.
    #[error("the journal's file failed and is not trusted any more: {0}")]
    Broken(Arc<str>),
    /// The journal cannot be opened as configured.
    #[error("journal {url}: {reason}")]
    Open {
        /// The address, without password.
        url: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The database was written by a newer release.
    #[error(
        "the journal has schema version {found}, this release knows {known}; start the newer release, or restore \
             a backup from before the upgrade"
    )]
    NewerSchema {
        /// Version in the database.
        found: i64,
        /// Newest version that this release knows.
        known: i64,
    },
    /// An argument that cannot be stored.
    #[error("{0}")]
    Invalid(String),
    /// The job is not (any more) in the hands of the caller. Nothing was changed; drop the result.
    #[error("the lease on job {0} was lost; somebody else has it or had it")]
    LeaseLost(JobId),
    /// There is no such job.
    #[error("there is no job {0}")]
    NoSuchJob(JobId),
    /// The job is in a state where that cannot be done.
    #[error("job {job} is {state}, so it cannot be {wanted}")]
    WrongState {
        /// The job.
        job: JobId,
        /// Its state in words.
        state: String,
        /// What was asked, as a participle.
        wanted: &'static str,
    },
    /// An import that was refused; the target is as it was.
    #[error("import: line {line}: {reason}")]
    Import {
        /// Line of the input, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// Reading or writing the exported stream failed.
    #[error("{0}")]
    Stream(String),
    /// The database refused a statement. A bug of ours, or a database that somebody else changed.
    #[error("the journal's database refused a statement: {message}")]
    Database {
        /// Its words.
        message: String,
        /// SQLSTATE or SQLite's extended code.
        code: Option<String>,
    },
}

impl JournalError {
    /// True where the same transaction may simply be run again: another one was preferred to break a deadlock.
    pub(crate) fn is_contention(&self) -> bool {
        matches!(self, Self::Database { code: Some(code), .. } if code == "40001" || code == "40P01")
    }

    /// True where somebody else has a table or a row for longer than is waited for. For callers it is as if the database
    /// were away.
    pub(super) fn is_locked(&self) -> bool {
        matches!(self, Self::Unavailable(why) if why.ends_with(LOCK_NOT_AVAILABLE))
    }

    /// True where one command of a group may have spoilt it for the others.
    pub(super) fn is_about_content(&self) -> bool {
        matches!(self, Self::Database { .. } | Self::Invalid(_))
    }

    /// True where the connection must not be used again.
    pub(super) fn is_about_connection(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Broken(_))
    }

    pub(super) fn unavailable(why: impl Into<Arc<str>>) -> Self {
        Self::Unavailable(why.into())
    }
}

/// SQLite's primary result codes after which the file is not trusted: nomem, readonly, ioerr, corrupt, full, cantopen,
/// notadb. A full disk is among them because a service that cannot write must not look alive.
const FATAL_SQLITE: [i64; 7] = [7, 8, 10, 11, 13, 14, 26];

/// SQLite's `BUSY` and `LOCKED`: another process holds the file longer than the busy time-out.
const LOCKED_SQLITE: [i64; 2] = [5, 6];

impl From<sqlx::Error> for JournalError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) => {
                let code = inner.code().map(std::borrow::Cow::into_owned);
                if inner.try_downcast_ref::<SqliteError>().is_some() {
                    from_sqlite(code, inner.message())
                } else {
                    from_postgres(code, inner.message())
                }
            }
            sqlx::Error::WorkerCrashed => Self::Broken("SQLite's thread ended".into()),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::BeginFailed => Self::unavailable(error.to_string()),
            _ => Self::Database {
                message: error.to_string(),
                code: None,
            },
        }
    }
}

fn from_sqlite(code: Option<String>, message: &str) -> JournalError {
    let primary = code
        .as_deref()
        .and_then(|code| code.parse::<i64>().ok())
        .map_or(0, |code| code & 0xff);
    let message = format!("{message} (SQLite code {})", code.as_deref().unwrap_or("?"));
    if FATAL_SQLITE.contains(&primary) {
        JournalError::Broken(message.into())
    } else if LOCKED_SQLITE.contains(&primary) {
        JournalError::Unavailable(message.into())
    } else {
        JournalError::Database { message, code }
    }
}

/// How the message ends where a lock was not given in time. What is told callers needs no more than that it passes.
const LOCK_NOT_AVAILABLE: &str = "(SQLSTATE 55P03)";

/// Classes of SQLSTATE that pass: 08 connection, 53 resources (also disk full), 57 operator intervention, 58 system
/// error; 25006 is a server that became a standby, 55P03 and 55006 a lock that was not given in time, 28 and 3D a
/// server that is being set up anew.
fn from_postgres(code: Option<String>, message: &str) -> JournalError {
    let state = code.as_deref().unwrap_or_default();
    let passing = ["08", "53", "57", "58", "25006", "25P03", "55P03", "55006", "28", "3D"];
    if passing.iter().any(|prefix| state.starts_with(prefix)) {
        return JournalError::Unavailable(format!("{message} (SQLSTATE {state})").into());
    }
    JournalError::Database {
        message: format!("{message} (SQLSTATE {state})"),
        code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_database_says_is_told_apart_by_what_is_to_be_done() {
        let sqlite = |code: &str| from_sqlite(Some(code.to_owned()), "said");
        let postgres = |code: &str| from_postgres(Some(code.to_owned()), "said");
        // NOMEM, READONLY_DBMOVED, IOERR_FSYNC, CORRUPT, FULL, CANTOPEN, NOTADB: https://www.sqlite.org/rescode.html
        for fatal in ["7", "1032", "1034", "11", "13", "14", "26"] {
            assert!(matches!(sqlite(fatal), JournalError::Broken(_)), "{fatal}");
        }
        for locked in ["5", "6", "517"] {
            assert!(matches!(sqlite(locked), JournalError::Unavailable(_)), "{locked}");
        }
        // CONSTRAINT_PRIMARYKEY, ERROR.
        for refused in ["1555", "1"] {
            assert!(matches!(sqlite(refused), JournalError::Database { .. }), "{refused}");
        }
        // https://www.postgresql.org/docs/current/errcodes-appendix.html: connection failure, disk full, too many
        // connections, shutdown, crash, file that cannot be read, a standby, idle in transaction, lock not available,
        // object in use, password, database that is not there.
        for passing in [
            "08006", "53100", "53300", "57P01", "57P02", "58030", "25006", "25P03", "55P03", "55006", "28P01", "3D000",
        ] {
            assert!(matches!(postgres(passing), JournalError::Unavailable(_)), "{passing}");
        }
        for refused in ["23505", "42P01", "25001"] {
            assert!(matches!(postgres(refused), JournalError::Database { .. }), "{refused}");
        }
        assert!(postgres("55P03").is_locked() && !postgres("57P01").is_locked());
        assert!(postgres("40P01").is_contention() && postgres("40001").is_contention());
    }
}
