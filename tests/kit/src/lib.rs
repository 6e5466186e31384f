//! What the suites of several crates need around them.
//!
//! Nothing here knows Exeunt, so that the host's own suites can use it, too.

mod postgres;
mod proxy;
mod shim;

pub use postgres::PrivatePostgres;
pub use proxy::{Proxy, Proxying};
pub use shim::{Fault, failing_disk};

use std::path::PathBuf;

/// The target folder that this program was built into.
///
/// # Panics
///
/// When it is in none.
#[must_use]
pub fn target() -> PathBuf {
    // A test runs from target/debug/deps, a program from target/debug.
    let program = std::env::current_exe().expect("this program's path");
    let mut folders = program
        .ancestors()
        .skip(1)
        .skip_while(|folder| folder.ends_with("deps"));
    folders.nth(1).expect("the target folder").to_owned()
}

/// Another file of the same plugin: a section that says nothing stands at its end.
#[must_use]
pub fn noted(component: &[u8]) -> Vec<u8> {
    [component, b"\x00\x05\x04note"].concat()
}
