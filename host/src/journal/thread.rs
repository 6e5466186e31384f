//! SQLite's threads go before this process's others, where that is allowed: the one that writes, and the one that makes
//! checkpoints, for which writers wait too.
//!
//! Each job waits for the writer three times, and SQLite works for less than a millisecond at a time. Behind threads that
//! are always busy it comes late each time, and then all jobs wait: 7 % fewer leavers a second on two processors. To lower
//! all others' priority instead needs no right, and lets everything else on the machine go before them: that lost as much.

use rustix::process::nice;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions as _};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How far before the others. Ten steps are nine times as much of a processor when all want one (sched(7)), and it wants a
/// quarter of one. Who has `CAP_SYS_NICE` may ask for it, and whom `LimitNICE=` in a unit of systemd allows it; for others
/// nothing changes.
const BEFORE: i32 = -10;

/// Opens SQLite's file. sqlx starts a thread for it, which takes over the priority of the one that asks: on Linux that is
/// each thread's own (sched(7)).
pub(super) async fn connect(options: &AnyConnectOptions) -> Result<AnyConnection, sqlx::Error> {
    let (options, runtime) = (options.clone(), Handle::current());
    let (sender, receiver) = oneshot::channel();
    let open = move || {
        if let Err(error) = nice(BEFORE) {
            tracing::debug!("SQLite's threads are among the others: {error}");
        }
        // Who waited too long for it has gone.
        let _ = sender.send(runtime.block_on(options.connect()));
    };
    std::thread::Builder::new().name("sqlite-open".to_owned()).spawn(open)?;
    receiver.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}
