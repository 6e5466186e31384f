//! What the suites of several crates need around them.
//!
//! Nothing here knows Exeunt, so that the host's own suites can use it, too.

mod postgres;
mod shim;

pub use postgres::PrivatePostgres;
pub use shim::{Fault, failing_disk};

use std::path::PathBuf;

/// The target folder that this test was built into.
fn target() -> PathBuf {
    // A test runs from target/debug/deps.
    let program = std::env::current_exe().expect("this program's path");
    program.ancestors().nth(3).expect("the target folder").to_owned()
}
