//! Places between two steps where a test may end the process.
//!
//! They exist in builds with debug assertions only. A feature of cargo lost: one crate of a workspace turns it on for
//! all, and nobody would see that a release has it.

/// Reads from the variable `FAILPOINTS` where this process is to end: `claimed=3*off->return` at the fourth pass of that
/// place. Once a process.
pub fn arm() {
    #[cfg(debug_assertions)]
    std::mem::forget(fail::FailScenario::setup());
}

/// Passes a place; the process ends here, at once and without a word, where a test wants it.
#[cfg(debug_assertions)]
pub(crate) fn passed(name: &str) {
    fail::fail_point!(name, |_| std::process::abort());
}

/// Nothing, in a release.
#[cfg(not(debug_assertions))]
pub(crate) const fn passed(_name: &str) {}
