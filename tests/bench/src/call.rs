//! One verb call in a fresh sandbox, against a bare embedding of wasmtime and against the same code compiled natively;
//! then find, close and read of a leaver, sandboxed against native, as throughput.
//!
//! Native code waits for its target in a thread, the sandbox without one. So against the simulator the sandbox is
//! driven both ways: in tasks, as the service does, and in threads, which is what native is compared with.
//!
//! All of them go through the very same capabilities (checks, scrubbing, records), so the difference is the sandbox.
//! They take turns, so that a machine that slows down slows all of them down. What counts are the ratios.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use docusign_sim::{Fault, FaultKind};
use exeunt::capability::{Call, Network, Token, Verb};
use exeunt::clock::SystemClock;
use exeunt::dispatch::{Connector, Runtime};
use exeunt::sandbox::{Person, Sandbox, SandboxLimits};
use exeunt::tenant::{HostConfig, Tenant};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::native::Native;
use crate::numbers::{Times, micros, rate};
use crate::target::{Leaver, hire};
use crate::world::{World, plugins, simulator};
use crate::{bare, heading, stub};

const ROUNDS: usize = 10;
const CALLS: usize = 1000;
/// Leavers of one round of the whole procedure against the simulator.
const LEAVERS: usize = 600;
/// A target's time for an answer, in milliseconds: DocuSign takes some hundred.
const LATENCY: u64 = 20;
/// Leavers of one round there.
const FEW_LEAVERS: usize = 80;
/// Leavers at a time there, as many as one lane runs.
const AT_ONCE: usize = 8;

pub(crate) async fn run() -> anyhow::Result<()> {
    let world = World::new(1, "sqlite:journal.db", None)?;
    let rig = Arc::new(Rig::new(&world, 0, Network::answered_by(Arc::new(stub::Stub))).await?);
    let component = std::fs::read(plugins()?.join("docusign.wasm"))?;
    let settings = rig.call(Verb::Read, None).settings().to_owned();
    let bare = bare::Bare::new(&component, settings).map_err(|error| anyhow!("{error:#}"))?;
    let in_turns = Arc::clone(&rig);
    tokio::task::spawn_blocking(move || verb(&in_turns, &bare)).await??;
    tokio::task::spawn_blocking(move || from_memory(&rig)).await??;

    let sim = simulator().await?;
    // A tenant each, as what one tenant's guests may use of the processors is limited.
    let world = World::new(AT_ONCE, "sqlite:journal.db", Some(&sim))?;
    let mut rigs = Vec::with_capacity(AT_ONCE);
    for tenant in 0..AT_ONCE {
        rigs.push(Arc::new(Rig::new(&world, tenant, Network::default()).await?));
    }
    tokio::task::spawn_blocking(move || {
        against_the_simulator(&rigs, &sim, (0, LEAVERS))?;
        sim.fault(Fault::new(FaultKind::Latency { ms: LATENCY }).forever());
        against_the_simulator(&rigs, &sim, (LATENCY, FEW_LEAVERS))
    })
    .await?
}

/// The contract's person, which host and connector each have as a type of their own.
macro_rules! person {
    ($type:path, $leaver:expr) => {{
        use $type as Person;
        Person {
            id: None,
            target_id: None,
            email: Some($leaver.email.clone()),
            name: None,
            attributes: Vec::new(),
        }
    }};
}

/// A connector with a token.
struct Rig {
    connector: Connector,
    token: Token,
    runtime: Handle,
}

impl Rig {
    async fn new(world: &World, tenant: usize, network: Network) -> anyhow::Result<Self> {
        let host = HostConfig::load(&world.path("exeunt.toml"))?;
        let tenant = Tenant::load(&world.path(&format!("tenants/t{tenant}.toml")), &host)?;
        let sandbox = Sandbox::new(SandboxLimits::default())?;
        let runtime = Runtime::new(sandbox, Arc::new(SystemClock)).with_network(network);
        let connector = runtime.connector(&tenant, &tenant.connectors["docusign"]).await?;
        let call = Call::new(Arc::clone(&connector.grant), Verb::Mint, None);
        let minted = connector.plugin.mint(call).await;
        let token = minted.result?.map_err(|failure| anyhow!("{failure:?}"))?;
        Ok(Self {
            connector,
            token,
            runtime: Handle::current(),
        })
    }

    fn call(&self, verb: Verb, account: Option<&str>) -> Call {
        Call::new(Arc::clone(&self.connector.grant), verb, account.map(str::to_owned))
    }

    /// Find, close and read, each in a fresh sandbox.
    async fn sandboxed(&self, leaver: &Leaver) -> anyhow::Result<()> {
        let plugin = &self.connector.plugin;
        let person = person!(Person, leaver);
        let found = plugin.find(self.call(Verb::Find, None), &person, &self.token).await;
        let found = found.result?.map_err(|failure| anyhow!("{failure:?}"))?;
        ensure!(found.len() == 1 && found[0].id == leaver.id, "found {found:?}");
        let closing = self.call(Verb::Close, Some(&leaver.id));
        let closed = plugin.close(closing, &self.token).await;
        closed.result?.map_err(|failure| anyhow!("{failure:?}"))?;
        let reading = self.call(Verb::Read, Some(&leaver.id));
        let read = plugin.read(reading, &self.token).await;
        let account = read.result?.map_err(|failure| anyhow!("{failure:?}"))?;
        let status = account.map(|account| account.native_status);
        ensure!(status.as_deref() == Some("Closed"), "read {status:?}");
        Ok(())
    }

    /// The same, the connector compiled natively.
    fn native(&self, leaver: &Leaver) -> anyhow::Result<()> {
        let host = |verb, account| Native::new(self.call(verb, account), &self.runtime);
        let person = person!(plugin_docusign::Person, leaver);
        let wrong = |failure| anyhow!("{failure:?}");
        let found = plugin_docusign::find(&host(Verb::Find, None), &person, &self.token).map_err(wrong)?;
        ensure!(found.len() == 1 && found[0].id == leaver.id, "found {found:?}");
        plugin_docusign::close(&host(Verb::Close, Some(&leaver.id)), &leaver.id, &self.token).map_err(wrong)?;
        let host = host(Verb::Read, Some(&leaver.id));
        let account = plugin_docusign::read(&host, &leaver.id, &self.token).map_err(wrong)?;
        let status = account.map(|account| account.native_status);
        ensure!(status.as_deref() == Some("Closed"), "read {status:?}");
        Ok(())
    }
}

/// One `read`, HTTP answered from memory.
fn verb(rig: &Rig, bare: &bare::Bare) -> anyhow::Result<()> {
    let plugin = &rig.connector.plugin;
    let (mut sandboxed, mut bared, mut natived) = (Times::default(), Times::default(), Times::default());
    for _ in 0..ROUNDS {
        timed(&mut sandboxed, || {
            let call = rig.call(Verb::Read, Some(stub::LEAVER));
            let ended = rig.runtime.block_on(plugin.read(call, &rig.token));
            let account = ended.result?.map_err(|failure| anyhow!("{failure:?}"))?;
            Ok(account.is_some())
        })?;
        timed(&mut bared, || {
            let read = rig.runtime.block_on(bare.read(stub::LEAVER));
            read.map_err(|error| anyhow!("{error:#}"))
        })?;
        timed(&mut natived, || {
            let host = Native::new(rig.call(Verb::Read, Some(stub::LEAVER)), &rig.runtime);
            let read = plugin_docusign::read(&host, stub::LEAVER, &rig.token);
            Ok(read.map_err(|failure| anyhow!("{failure:?}"))?.is_some())
        })?;
    }
    let (ours, bare, native) = (sandboxed.median(), bared.median(), natived.median());
    heading("one `read`, HTTP answered from memory, one thread");
    println!(
        "  in our sandbox, fresh for each call    {:>8.1} us median    (bar: 40)",
        micros(ours)
    );
    println!("  in a bare embedding of wasmtime        {:>8.1} us", micros(bare));
    println!("  compiled natively, same capabilities   {:>8.1} us", micros(native));
    println!(
        "  sandbox / bare embedding               {:>8.2}    (bar: at most 2)",
        micros(ours) / micros(bare)
    );
    println!(
        "  sandbox - native                       {:>8.1} us a call",
        micros(ours) - micros(native)
    );
    Ok(())
}

fn timed(times: &mut Times, read: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    for _ in 0..CALLS {
        let started = Instant::now();
        let is_there = read()?;
        times.push(started.elapsed());
        ensure!(is_there, "no account");
    }
    Ok(())
}

/// Find, close and read, answered from memory at no cost: all that is left is our side.
fn from_memory(rig: &Rig) -> anyhow::Result<()> {
    let leaver = Leaver {
        id: stub::LEAVER.to_owned(),
        email: stub::EMAIL.to_owned(),
    };
    let (mut sandboxed, mut natived) = (Times::default(), Times::default());
    for _ in 0..ROUNDS {
        timed(&mut sandboxed, || {
            rig.runtime.block_on(rig.sandboxed(&leaver)).map(|()| true)
        })?;
        timed(&mut natived, || rig.native(&leaver).map(|()| true))?;
    }
    let (ours, native) = (sandboxed.median(), natived.median());
    heading("find, close, read of one leaver, HTTP answered from memory, one thread");
    println!(
        "  sandboxed                              {:>8.1} us median",
        micros(ours)
    );
    println!("  native                                 {:>8.1} us", micros(native));
    println!(
        "  native / sandboxed, as throughput      {:>8.2}",
        micros(native) / micros(ours)
    );
    Ok(())
}

/// Find, close and read over TLS against the simulator on the same processors, which answers after `latency` ms.
fn against_the_simulator(
    rigs: &[Arc<Rig>],
    sim: &docusign_sim::Simulator,
    (latency, leavers): (u64, usize),
) -> anyhow::Result<()> {
    let (mut tasks, mut threads, mut natived) = (Times::default(), Times::default(), Times::default());
    for round in 0..ROUNDS {
        let hired = |how: &str| hire(sim, &format!("{how}{latency}-{round}-"), leavers);
        tasks.push(Handle::current().block_on(in_tasks(rigs, hired("tasks")))?);
        threads.push(in_threads(rigs, &hired("threads"), |rig, leaver| {
            rig.runtime.block_on(rig.sandboxed(leaver))
        })?);
        natived.push(in_threads(rigs, &hired("native"), Rig::native)?);
    }
    let (served, ours, native) = (tasks.median(), threads.median(), natived.median());
    heading(&format!(
        "find, close, read over TLS, simulator on the same processors that answers after {latency} ms, 8 leavers at a time"
    ));
    for (how, time) in [
        ("sandboxed, in tasks as in the service", served),
        ("sandboxed, in threads", ours),
        ("native, in threads", native),
    ] {
        println!("  {how:<39}{:>8.0} leavers/s", rate(leavers, time));
    }
    println!(
        "  sandboxed / native, both in threads    {:>8.2}    (bar: at least 0.95)",
        native.as_secs_f64() / ours.as_secs_f64()
    );
    Ok(())
}

/// The time for all of them, [`AT_ONCE`] tasks: the sandbox waits without a thread of its own, as in the service.
async fn in_tasks(rigs: &[Arc<Rig>], people: Vec<Leaver>) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let share = people.len().div_ceil(AT_ONCE);
    let mut tasks = JoinSet::new();
    for (share, rig) in people.chunks(share).zip(rigs) {
        let (rig, share) = (Arc::clone(rig), share.to_vec());
        tasks.spawn(async move {
            for leaver in &share {
                rig.sandboxed(leaver).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(started.elapsed())
}

/// The time for all of them, [`AT_ONCE`] threads that wait where they stand: compiled natively, the connector's code can
/// do nothing else.
fn in_threads(
    rigs: &[Arc<Rig>],
    people: &[Leaver],
    one: fn(&Rig, &Leaver) -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let share = people.len().div_ceil(AT_ONCE);
    std::thread::scope(|scope| {
        let threads: Vec<_> = people
            .chunks(share)
            .zip(rigs)
            .map(|(share, rig)| scope.spawn(move || share.iter().try_for_each(|leaver| one(rig, leaver))))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    Ok(started.elapsed())
}
