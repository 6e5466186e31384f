//! Time from accept to verified at low load: one leaver at a time.
//!
//! The journal's own two times are compared: when the event came in, and when its job ended. The target's own latency is
//! what the three requests take a raw client on one kept connection.

use std::time::Duration;

use anyhow::Context;
use docusign_sim::{Fault, FaultKind, Limits, Options, Simulator};
use exeunt::journal::Outcome;
use sqlx::{AnyConnection, Connection as _, Row as _};

use crate::client::Connection;
use crate::heading;
use crate::leavers::wait_until;
use crate::numbers::{Times, millis};
use crate::target::{Target, hire, token};
use crate::world::{World, event};

const LEAVERS: usize = 150;
const WARM: usize = 10;

pub(crate) async fn run() -> anyhow::Result<()> {
    heading("accept to verified, one leaver at a time, SQLite FULL");
    for latency in [0, 20] {
        one(latency).await?;
    }
    Ok(())
}

/// With this latency of each answer, in milliseconds.
async fn one(latency: u64) -> anyhow::Result<()> {
    let sim = Simulator::start(Options {
        limits: Limits::none(),
        record_secrets: true,
        ..Options::default()
    })
    .await?;
    if latency > 0 {
        sim.fault(Fault::new(FaultKind::Latency { ms: latency }).forever());
    }
    let world = World::new(1, "sqlite:journal.db", Some(&sim))?;
    let server = world.serve().await?;
    let people = hire(&sim, "leaver", LEAVERS);
    let mut connection = Connection::open(server.address).await?;
    for (number, leaver) in people.iter().enumerate() {
        connection.send(&event(0, &leaver.email)).await?;
        let wanted = u64::try_from(number + 1)?;
        let done = || sim.counters().requests >= 3 * wanted && sim.counters().closes >= wanted;
        anyhow::ensure!(
            wait_until(Duration::from_secs(20), done).await,
            "a leaver was not closed"
        );
        // Until its outcome is on disk and the host is idle again.
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    server.kill().await?;
    let mut ours = recorded(&world).await?;
    let target = Target::new(&sim, &token(&sim)?)?;
    let (_, mut own) = target.leavers(hire(&sim, "own", 50), 1).await?;
    let (p50, own) = (ours.median(), own.median());
    println!("  target answers after {latency} ms");
    println!(
        "    accept to verified, p50 {:.0} ms, p99 {:.0} ms of {}; the target's own three answers {:.1} ms",
        millis(p50),
        millis(ours.percentile(99)),
        ours.len(),
        millis(own)
    );
    println!(
        "    ours                {:>6.1} ms    (bar: 10)",
        millis(p50) - millis(own)
    );
    Ok(())
}

/// From the event's arrival to the job's end, for each, as the journal says.
async fn recorded(world: &World) -> anyhow::Result<Times> {
    let mut connection = AnyConnection::connect(&format!("sqlite://{}", world.path("journal.db").display())).await?;
    let sql = "SELECT job.ended_at - event.received_at, job.outcome FROM job JOIN event ON event.id = job.event_id \
               WHERE job.state = 3 ORDER BY job.id";
    let rows = sqlx::query(sql).fetch_all(&mut connection).await?;
    connection.close().await?;
    let mut times = Times::default();
    for row in rows.iter().skip(WARM) {
        let outcome: i64 = row.try_get(1)?;
        anyhow::ensure!(outcome == Outcome::Closed as i64, "a leaver was not closed: {outcome}");
        let took = u64::try_from(row.try_get::<i64, _>(0)?).context("time went backwards")?;
        times.push(Duration::from_millis(took));
    }
    Ok(times)
}
