//! A SQLite journal belongs to one process.

use anyhow::{Context as _, bail};

use crate::tenant::JournalAddress;

/// Takes a SQLite journal for this process alone: two would take each other's jobs back. A file beside it is locked, since
/// closing one of SQLite's own would let go of SQLite's locks. PostgreSQL is there for many, so nothing is held.
pub(super) fn own(journal: &JournalAddress) -> anyhow::Result<Option<std::fs::File>> {
    let JournalAddress::Sqlite(path) = journal else {
        return Ok(None);
    };
    if path.is_symlink() && !path.exists() {
        bail!("{journal} is a link to nothing; write where the file is to be");
    }
    // By its own name: whoever comes by a link must find the same lock.
    let mut name = path.canonicalize().unwrap_or_else(|_| path.clone()).into_os_string();
    name.push(".lock");
    let cannot = || format!("cannot lock {}", name.display());
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir());
    if let Some(folder) = folder {
        bail!(
            "{journal}: there is no folder {}; make it, for the user of this process",
            folder.display()
        );
    }
    let file = std::fs::File::create(&name).with_context(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!("another `exeunt serve` has {journal}; stop it, or use PostgreSQL, which is there for many hosts")
        }
        Err(std::fs::TryLockError::Error(error)) => Err(error).with_context(cannot),
    }
}
