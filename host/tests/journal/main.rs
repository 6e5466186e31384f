//! The journal through its public door, on both databases.
//!
//! `on_both!` makes each test twice. PostgreSQL is Debian's package (`postgresql`), started for the process from a
//! prepared folder; there is nothing to set up.

mod accept;
mod breaker;
mod checkpoint;
mod claim;
mod export;
mod faults;
mod finish;
mod hosts;
mod kill;
mod lanes;
mod lists;
mod locked;
mod model;
mod open;
mod operator;
mod reclaim;
mod replay;
mod retention;
mod rig;

/// Makes of each test one for SQLite and one for PostgreSQL.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($rig:ident: Rig) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "not every test needs all of it")]
            use super::*;

            $(#[$meta])*
            async fn run($rig: Rig) $body

            #[test]
            fn sqlite() {
                crate::rig::block_on(async { run(Rig::sqlite().await).await });
            }

            #[test]
            fn postgres() {
                crate::rig::block_on(async { run(Rig::postgres().await).await });
            }
        }
    )*};
}
use on_both;
