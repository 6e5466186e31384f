//! Leavers a second, time to verified and memory, from ten thousand to a million queued jobs and from one to ten
//! thousand tenants.
//!
//! The whole way on SQLite: the queue comes in over HTTP while everything is paused, then is let go. Time to verified is
//! that of further tenants, each with one leaver while the others' queue is worked off: for the queue itself it would say
//! how long the queue is. One tenant alone is held up by its share of the processors, not by the queue.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, ensure};
use docusign_sim::{Simulator, User};
use exeunt::journal::Outcome;
use sqlx::{AnyConnection, Connection as _, Row as _};
use tokio::process::Command;
use tokio::time::Instant;

use crate::client::{Connection, Until, load};
use crate::heading;
use crate::leavers::wait_until;
use crate::numbers::{Times, millis, rate};
use crate::world::{Server, World, beside, event, simulator};

const SENDERS: usize = 64;
/// Events at the end of a filling whose rate is shown.
const MEASURED: usize = 10_000;
/// Leavers that do not count, after a pause.
const WARM: u64 = 500;
/// Short enough that ten thousand are not all gone.
const WORKED_FOR: Duration = Duration::from_millis(1500);
/// Tenants with one leaver, at each depth.
const PROBES: usize = 75;
/// Until the last one's outcome is on disk.
const SETTLED: Duration = Duration::from_millis(500);
const WITHIN: Duration = Duration::from_secs(300);
/// What one tenant may have at a time, so that a single one is held up by that and not by its connector's cap.
const ONE_TENANT: &str = "mode = \"enforce\"\nconcurrency = 64";

/// What was measured at one depth.
struct Line {
    accepted: f64,
    closed: f64,
    resident: u64,
    verified: Times,
}

pub(crate) async fn run(most: usize) -> anyhow::Result<()> {
    heading("the whole way by depth and tenants, SQLite FULL, zero-latency simulator on the same processors");
    println!("  tenants     queued    accept, events/s   leavers/s   another tenant's p50, p99 in ms   resident, MiB");
    let depths = [10_000, most];
    for tenants in [1, 10_000] {
        let mut lines = measure(tenants, depths).await?;
        for (queued, line) in depths.iter().zip(&mut lines) {
            println!(
                "  {tenants:>7}  {queued:>9}    {:>16.0}   {:>9.0}   {:>24.0}, {:>5.0}   {:>13}",
                line.accepted,
                line.closed,
                millis(line.verified.median()),
                millis(line.verified.percentile(99)),
                line.resident
            );
        }
        let [first, last] = &mut lines;
        println!(
            "  second line / first line: accept {:.2}, leavers {:.2}, time to verified {:.2}",
            last.accepted / first.accepted,
            last.closed / first.closed,
            millis(last.verified.median()) / millis(first.verified.median())
        );
    }
    Ok(())
}

async fn measure(tenants: usize, depths: [usize; 2]) -> anyhow::Result<[Line; 2]> {
    let sim = simulator().await?;
    let probes = PROBES * depths.len();
    let world = World::new(probes + tenants, "sqlite:journal.db", Some(&sim))?;
    if tenants == 1 {
        world.edit(&format!("tenants/t{probes}.toml"), "mode = \"enforce\"", ONE_TENANT)?;
    }
    let token = command(&world, &["token", "new", "bench", "--role", "operate"], None).await?;
    let server = world.serve().await?;
    let bench = Bench {
        sim: &sim,
        world: &world,
        server: &server,
        token: token.trim(),
        queues: (probes, tenants),
    };
    // Every tenant mints its token once an hour, and its lane is made once; this is not that. The queues' tenants come last,
    // so that the others have not been served for longer.
    for numbers in [0..probes, probes..probes + tenants] {
        let all = u64::try_from(numbers.end)?;
        bench.send((0, probes + tenants), "first", numbers).await?;
        ensure!(
            wait_until(WITHIN, || sim.counters().closes >= all).await,
            "{:?}",
            sim.counters()
        );
    }
    let (mut sent, mut lines) = (0, Vec::new());
    for (number, depth) in depths.into_iter().enumerate() {
        lines.push(bench.line(number, depth, &mut sent).await?);
    }
    server.kill().await?;
    for (number, time) in verified(&world, probes).await? {
        lines[number / PROBES].verified.push(time);
    }
    lines.try_into().map_err(|_| anyhow::anyhow!("not two depths"))
}

/// One server at work.
struct Bench<'a> {
    sim: &'a Simulator,
    world: &'a World,
    server: &'a Server,
    token: &'a str,
    /// The first tenant whose leavers queue, and how many there are.
    queues: (usize, usize),
}

impl Bench<'_> {
    /// Fills the queue to a depth and works on it for a while. `sent` is the number of leavers so far.
    async fn line(&self, number: usize, depth: usize, sent: &mut usize) -> anyhow::Result<Line> {
        self.command(&["pause", "--reason", "bench"]).await?;
        // What was running has been put back or is done.
        tokio::time::sleep(SETTLED).await;
        let others = self.queues.0 + self.queues.1 + number * PROBES;
        let full = usize::try_from(self.sim.counters().closes)? - others + depth;
        let before = full.saturating_sub(MEASURED).max(*sent);
        self.send(self.queues, "leaver", *sent..before).await?;
        let took = self.send(self.queues, "leaver", before..full).await?;
        let accepted = rate(full - before, took);
        *sent = full;
        let (resident, _) = self.server.resident();
        self.command(&["resume"]).await?;
        let (probes, closed) = tokio::join!(self.probe(number), self.closed());
        probes?;
        Ok(Line {
            accepted,
            closed: closed?,
            resident,
            verified: Times::default(),
        })
    }

    async fn command(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let server = format!("http://{}", self.server.address);
        command(
            self.world,
            &[arguments, &["--server", &server]].concat(),
            Some(self.token),
        )
        .await
    }

    /// Sends the leavers of these numbers, in turn to each of so many tenants from one on; how long it took.
    async fn send(
        &self,
        (first, tenants): (usize, usize),
        prefix: &'static str,
        numbers: Range<usize>,
    ) -> anyhow::Result<Duration> {
        let address = move |number: usize| format!("{prefix}{number}@acme.example");
        for number in numbers.clone() {
            self.sim.add_user(User::new(&address(number)));
        }
        let started = Instant::now();
        load(self.server.address, SENDERS, Until::Count(numbers.len()), move |sent| {
            let number = numbers.start + sent;
            event(first + number % tenants, &address(number))
        })
        .await?;
        Ok(started.elapsed())
    }

    /// Leavers a second.
    async fn closed(&self) -> anyhow::Result<f64> {
        let before = self.sim.counters().closes + WARM;
        let warm = wait_until(WITHIN, || self.sim.counters().closes >= before).await;
        ensure!(warm, "{:?}", self.sim.counters());
        let (before, started) = (self.sim.counters().closes, Instant::now());
        tokio::time::sleep(WORKED_FOR).await;
        let closed = self.sim.counters().closes - before;
        Ok(rate(usize::try_from(closed)?, started.elapsed()))
    }

    /// Sends the other tenants' leavers, one by one.
    async fn probe(&self, line: usize) -> anyhow::Result<()> {
        let mut connection = Connection::open(self.server.address).await?;
        for tenant in line * PROBES..(line + 1) * PROBES {
            let address = format!("probe{tenant}@acme.example");
            self.sim.add_user(User::new(&address));
            let status = connection.send(&event(tenant, &address)).await?;
            ensure!(status == 200, "{status}");
            tokio::time::sleep(WORKED_FOR / u32::try_from(PROBES)?).await;
        }
        tokio::time::sleep(SETTLED).await;
        Ok(())
    }
}

/// Runs `exeunt` and returns what it prints.
async fn command(world: &World, arguments: &[&str], token: Option<&str>) -> anyhow::Result<String> {
    let mut command = Command::new(beside("exeunt")?);
    command.args(arguments).current_dir(world.path("."));
    if let Some(token) = token {
        command.env("EXEUNT_TOKEN", token);
    }
    let output = command.output().await.context("cannot start exeunt")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// From arrival to end of each probe, with its tenant's number, as the journal says.
async fn verified(world: &World, probes: usize) -> anyhow::Result<Vec<(usize, Duration)>> {
    let mut connection = AnyConnection::connect(&format!("sqlite://{}", world.path("journal.db").display())).await?;
    // The first leaver of a tenant is the one that minted its token.
    let sql = "SELECT job.ended_at - event.received_at, job.outcome FROM job JOIN event ON event.id = job.event_id \
               WHERE event.tenant = ? ORDER BY job.id LIMIT 1 OFFSET 1";
    let mut times = Vec::new();
    for tenant in 0..probes {
        let row = sqlx::query(sql).bind(format!("t{tenant}"));
        let row = row.fetch_one(&mut connection).await?;
        let outcome: Option<i64> = row.try_get(1)?;
        ensure!(
            outcome == Some(Outcome::Closed as i64),
            "a probe was not closed: {outcome:?}"
        );
        times.push((tenant, Duration::from_millis(u64::try_from(row.try_get::<i64, _>(0)?)?)));
    }
    connection.close().await?;
    Ok(times)
}
