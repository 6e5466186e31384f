//! `exeunt serve` as it runs: real processes, real sockets, both databases, and the simulator's books at the end.
//!
//! One test binary, since each links the whole host. `on_both!` makes of a test one for SQLite and one for PostgreSQL.
//! Nothing is asserted about time: a test waits until something is so, and gives up long after it should be.

mod books;
mod client;
mod commands;
mod disk;
mod fairness;
mod floods;
mod hosts;
mod house;
mod kill;
mod main_line;
mod moving;
mod process;
mod reload;
mod settings;
mod starting;
mod upgrades;
mod waiting;

/// Makes of each test one for SQLite and one for PostgreSQL.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($house:ident: House) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "not every test needs all of it")]
            use super::*;

            $(#[$meta])*
            async fn run($house: House) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                run(House::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                run(House::postgres().await).await;
            }
        }
    )*};
}
use on_both;

/// Polls until something is so, and gives up where it never will be.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(std::time::Duration::from_secs(180), async {
        while !is_so().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "never so: {what}");
}
