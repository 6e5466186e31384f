//! Leavers closed and verified a second, durable: events over HTTP, SQLite with `synchronous=FULL`, the real component
//! in its sandbox, and a simulator without latency on the same processors.
//!
//! The clock runs from the first event's request until the last leaver's read was answered; accepting is part of it.
//! Baselines in the same run: the simulator asked by a client that costs next to nothing, which nobody can beat on this
//! machine; a Node service that makes the same three calls with DocuSign's own SDK, and a Node-RED flow of the same three
//! calls. Both are asked over HTTP by the same senders, are as warm as ours, and keep nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, ensure};
use docusign_sim::{Limits, Options, Simulator};
use exeunt::journal::{Journal, Outcome};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::Instant;

use crate::client::{Until, load};
use crate::heading;
use crate::npm::Program;
use crate::numbers::{micros, processor_time, rate};
use crate::target::{Target, hire, token};
use crate::world::{Server, World, event};

/// A lane runs 8 jobs at a time, so 32 tenants fill the service's 256 places.
const TENANTS: usize = 32;
const WARM: usize = 500;
/// As many as the bar for accepting has.
const SENDERS: usize = 64;
const WITHIN: Duration = Duration::from_secs(120);

pub(crate) async fn run(count: usize) -> anyhow::Result<()> {
    heading("leavers closed and verified, durable, zero-latency simulator on the same processors");
    let sim = simulator().await?;
    let world = World::new(TENANTS, "sqlite:journal.db", Some(&sim))?;
    let server = world.serve().await?;
    send(&sim, &server, "warm", WARM).await?;
    let process = server.process().to_string();
    let (host, other) = (processor_time(&process), processor_time("self"));
    let elapsed = send(&sim, &server, "leaver", count).await?;
    let host = (processor_time(&process) - host) / u32::try_from(count)?;
    let other = (processor_time("self") - other) / u32::try_from(count)?;
    server.kill().await?;
    let closed = closed(&world).await?;
    let ours = rate(count, elapsed);
    println!("  exeunt, from the first event to the last proof     {ours:>8.0} leavers/s    (bar: 2,500)");
    println!(
        "    its processor time                               {:>8.0} us a leaver",
        micros(host)
    );
    println!(
        "    the simulator's and the senders'                 {:>8.0} us a leaver",
        micros(other)
    );
    println!(
        "    recorded as closed when it was killed            {closed:>8} of {}",
        count + WARM
    );

    let target = Target::new(&sim, &token(&sim)?)?;
    let people = hire(&sim, "ceiling", count);
    let before = processor_time("self");
    let (elapsed, _) = target.leavers(people, 32).await?;
    let used = (processor_time("self") - before) / u32::try_from(count)?;
    let most = rate(count, elapsed);
    println!("  the simulator alone, raw client                    {most:>8.0} leavers/s");
    println!(
        "    processor time of both                           {:>8.0} us a leaver",
        micros(used)
    );
    println!(
        "  exeunt / the simulator alone                       {:>8.2}",
        ours / most
    );
    for other in [NODE, NODE_RED] {
        other.compare(&sim, ours, count / 4).await;
    }
    Ok(())
}

/// Closes so many leavers' accounts, and lets the server end by itself, since one that is killed says nothing of its run.
pub(crate) async fn train(count: usize) -> anyhow::Result<()> {
    let sim = simulator().await?;
    let world = World::new(TENANTS, "sqlite:journal.db", Some(&sim))?;
    let server = world.serve().await?;
    send(&sim, &server, "trained", count).await?;
    server.stop().await
}

async fn simulator() -> anyhow::Result<Simulator> {
    let options = Options {
        limits: Limits::none(),
        log_capacity: 0,
        record_secrets: true,
        ..Options::default()
    };
    Simulator::start(options).await
}

/// Sends these people's events, and waits until the last of them was read for proof.
async fn send(sim: &Simulator, server: &Server, prefix: &'static str, count: usize) -> anyhow::Result<Duration> {
    hire(sim, prefix, count);
    let before = sim.counters();
    let started = Instant::now();
    load(server.address, SENDERS, Until::Count(count), move |number| {
        event(number % TENANTS, &format!("{prefix}{number}@acme.example"))
    })
    .await?;
    let wanted = u64::try_from(count)?;
    // Three requests a leaver; tokens come on top, so the closures are counted too.
    let is_done = || {
        let now = sim.counters();
        now.closes - before.closes >= wanted && now.requests - before.requests >= 3 * wanted
    };
    let done = wait_until(WITHIN, is_done).await;
    let elapsed = started.elapsed();
    ensure!(done, "{:?} of {count} in time, before: {before:?}", sim.counters());
    // The last outcomes are on their way to disk.
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(elapsed)
}

/// Jobs that ended as closed, as the journal says after the server was killed.
async fn closed(world: &World) -> anyhow::Result<u64> {
    let url = format!("sqlite:{}", world.path("journal.db").display());
    let journal = Journal::open(&url, exeunt::journal::Options::default()).await?;
    let tallies = journal.tallies().await?;
    journal.close().await;
    let closed = tallies.iter().filter(|tally| tally.outcome == Outcome::Closed);
    Ok(closed.map(|tally| tally.count).sum())
}

/// Looks every five milliseconds, which costs nothing and is 0.1 % of what is measured.
pub(crate) async fn wait_until(within: Duration, is_done: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        if is_done() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

/// Somebody else's service, which does the same three calls for the leaver of each request.
struct Other {
    who: &'static str,
    bar: u32,
    package: &'static str,
    program: &'static str,
    prefix: &'static str,
}

const NODE: Other = Other {
    who: "a Node service with the official SDK",
    bar: 4,
    package: "docusign-esign@10.0.0",
    program: include_str!("../node/sdk.js"),
    prefix: "node",
};

const NODE_RED: Other = Other {
    who: "a Node-RED flow",
    bar: 10,
    package: "node-red@4.1.15",
    program: include_str!("../node/node-red.js"),
    prefix: "red",
};

impl Other {
    /// Prints what it does a second, and how many times that is ours.
    async fn compare(&self, sim: &Simulator, ours: f64, count: usize) {
        let (who, bar) = (self.who, self.bar);
        match self.measure(sim, count).await {
            Ok(theirs) => {
                let (what, ratio) = (format!("{who}, keeps nothing"), format!("exeunt / {who}"));
                println!("  {what:<52} {theirs:>6.0} leavers/s");
                println!("  {ratio:<52} {:>6.2}    (bar: at least {bar})", ours / theirs);
            }
            Err(error) => println!("  {who}: left out: {error:#}"),
        }
    }

    /// Leavers a second, when as many as ours had before its measurement were closed.
    async fn measure(&self, sim: &Simulator, count: usize) -> anyhow::Result<f64> {
        let program = Program::with(self.package, sim)?;
        let folder = tempfile::tempdir()?;
        let task = json!({
            "esign_port": sim.esign_addr().port(), "account_id": sim.account_id(), "token": token(sim)?,
            "folder": folder.path(),
        });
        let mut child = tokio::process::Command::from(program.run(self.program))
            .kill_on_drop(true)
            .spawn()
            .context("cannot start node")?;
        let mut stdin = child.stdin.take().context("no input")?;
        stdin.write_all(format!("{task}\n").as_bytes()).await?;
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().context("no output")?);
        tokio::time::timeout(WITHIN, stdout.read_line(&mut line)).await??;
        let said: Value = serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))?;
        let port = said["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let address = (Ipv4Addr::LOCALHOST, port.context("no port")?).into();
        self.close(sim, address, "warm", WARM).await?;
        let elapsed = self.close(sim, address, "leaver", count).await?;
        Ok(rate(count, elapsed))
    }

    async fn close(&self, sim: &Simulator, address: SocketAddr, kind: &str, count: usize) -> anyhow::Result<Duration> {
        let prefix = format!("{}-{kind}", self.prefix);
        hire(sim, &prefix, count);
        let before = sim.counters().closes;
        let load = load(address, SENDERS, Until::Count(count), move |number| {
            let body = json!({ "email": format!("{prefix}{number}@acme.example") }).to_string();
            let head = "POST /leaver HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json";
            format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
        })
        .await?;
        let closed = sim.counters().closes - before;
        ensure!(closed == u64::try_from(count)?, "it closed {closed} of {count}");
        Ok(load.elapsed)
    }
}
