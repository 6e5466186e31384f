//! No core dumps: they would put every secret in memory on a disk, or into the hands of a crash reporter.

use anyhow::Context;
use rlimit::Resource;

/// Less than the smallest core file, so none is written. Not zero: a kernel that hands dumps to a program instead of
/// writing files does so whatever the limit is, except for one byte, which it takes as "never".
const BYTES: u64 = 1;

/// Turns them off for this process, for good.
///
/// Marking the process as not dumpable (`PR_SET_DUMPABLE`) lost: it also takes `/proc/self/pagemap` from a process
/// without privileges, and the sandbox looks there to clear a guest's memory in half the time.
pub(super) fn off() -> anyhow::Result<()> {
    let (_, hard) = Resource::CORE
        .get()
        .context("cannot read the limit of core dumps (getrlimit)")?;
    // Where none at all is allowed, only root may raise the limit again: then no file is written.
    let set = Resource::CORE.set(BYTES, BYTES);
    set.or_else(|error| if hard < BYTES { Ok(()) } else { Err(error) })
        .context("cannot turn core dumps off; allow the process to lower its own limits (setrlimit)")
}
