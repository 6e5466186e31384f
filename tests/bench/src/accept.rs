//! Durable accept over HTTP: the real server, 64 clients on kept connections, each event answered after its commit.
//!
//! Everything is paused, so the jobs that events make are queued and nothing else is done. At the end the server is
//! killed, and what it acknowledged is counted in the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use exeunt::journal::{Journal, Options, Scope};
use kit::PrivatePostgres;
use sqlx::{AnyConnection, Connection as _, Row as _};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Load, Until, load};
use crate::numbers::{Times, micros, millis, processor_time, rate};
use crate::scale::new_event;
use crate::world::{World, event};
use crate::{heading, raw};

const CLIENTS: usize = 64;
const TENANTS: usize = 4;
const UNTIL: Until = Until::Time {
    warm: Duration::from_secs(2),
    measured: Duration::from_secs(6),
};

pub(crate) async fn run() -> anyhow::Result<()> {
    heading("durable accept over HTTP, 64 clients, one event of 1.1 KB and one job each");
    let folder = tempfile::tempdir()?;
    let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    one(
        "SQLite, synchronous=FULL",
        &file("http.db"),
        &file("raw.db"),
        &file("own.db"),
    )
    .await?;
    println!(
        "  append + fsync of the same bytes       {:>8.0} events/s, {:.0} in groups of {}",
        raw::appended(folder.path(), 1)?,
        raw::appended(folder.path(), raw::GROUP)?,
        raw::GROUP
    );
    if !std::path::Path::new("/usr/lib/postgresql").is_dir() {
        println!("PostgreSQL: left out, there is no /usr/lib/postgresql (Debian's package `postgresql`)");
        return Ok(());
    }
    let server = PrivatePostgres::start();
    let urls = [server.database(), server.database(), server.database()];
    keep_promises(&urls[0]).await?;
    one(
        "PostgreSQL, fsync and synchronous_commit on",
        &urls[0],
        &urls[1],
        &urls[2],
    )
    .await
}

/// The tests' server does not sync, since they kill processes and never the machine. This one must.
async fn keep_promises(url: &str) -> anyhow::Result<()> {
    let mut connection = AnyConnection::connect(url).await?;
    for statement in ["ALTER SYSTEM SET fsync = on", "SELECT pg_reload_conf()"] {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    let is_on = "SELECT bool_and(setting = 'on') FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit')";
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        // A reload counts from a connection's next statement on, once the signal has arrived.
        let row = sqlx::query(is_on).fetch_one(&mut connection).await?;
        if row.try_get::<bool, _>(0)? {
            connection.close().await?;
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "PostgreSQL does not switch fsync on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn one(name: &str, http: &str, raw: &str, own: &str) -> anyhow::Result<()> {
    let inserted = raw::inserted(raw).await?;
    let mut called = without_http(own).await?;
    let (mut over, server) = over_http(http).await?;
    let (got, calls) = (
        rate(over.times.len(), over.elapsed),
        rate(called.times.len(), called.elapsed),
    );
    println!("{name}");
    println!(
        "  over HTTP                              {got:>8.0} events/s   p50 {:.2} ms, p99 {:.2} ms    (bar: 10,000, p99 20 ms)",
        millis(over.times.median()),
        millis(over.times.percentile(99))
    );
    println!(
        "  the journal alone, {CLIENTS} tasks           {calls:>8.0} events/s   p50 {:.2} ms, p99 {:.2} ms",
        millis(called.times.median()),
        millis(called.times.percentile(99))
    );
    println!(
        "  the same rows by sqlx, {} a commit     {inserted:>8.0} events/s",
        raw::GROUP
    );
    println!("  over HTTP / the same rows by sqlx      {:>8.2}", got / inserted);
    println!(
        "  the server's processor time            {:>8.0} us an event",
        micros(server)
    );
    println!("  acknowledged before SIGKILL: {}, none missing", over.answered);
    Ok(())
}

/// The load, and the server's processor time for an event.
async fn over_http(url: &str) -> anyhow::Result<(Load, Duration)> {
    let world = World::new(TENANTS, url, None)?;
    let journal = Journal::open(url, Options::default()).await?;
    journal.pause(&Scope::All, "bench", "accepting only", None).await?;
    journal.close().await;
    let server = world.serve().await?;
    let process = server.process().to_string();
    let before = processor_time(&process);
    let load = load(server.address, CLIENTS, UNTIL, |number| {
        event(number % TENANTS, &format!("leaver{number}@acme.example"))
    })
    .await?;
    let used = processor_time(&process) - before;
    server.kill().await?;
    let journal = Journal::open(url, Options::default()).await?;
    let kept: u64 = journal.lanes(None).await?.iter().map(|lane| lane.queued).sum();
    journal.close().await;
    let acknowledged = u64::try_from(load.answered)?;
    ensure!(
        kept >= acknowledged,
        "{acknowledged} were acknowledged, {kept} are there"
    );
    let each = used / u32::try_from(load.answered)?.max(1);
    Ok((load, each))
}

/// The same events given to the journal by a function call.
async fn without_http(url: &str) -> anyhow::Result<Load> {
    let journal = Journal::open(url, Options::default()).await?;
    let (next, end) = (Arc::new(AtomicUsize::new(0)), Instant::now() + Duration::from_secs(4));
    let (mut tasks, started) = (JoinSet::new(), Instant::now());
    for _ in 0..CLIENTS {
        let (journal, next) = (journal.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            let mut times = Times::default();
            while Instant::now() < end {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let event = new_event(number % TENANTS, number);
                let started = Instant::now();
                journal.accept(event).await?;
                times.push(started.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut load = Load::default();
    while let Some(ended) = tasks.join_next().await {
        load.times.append(ended??);
    }
    load.elapsed = started.elapsed();
    journal.close().await;
    Ok(load)
}
