//! What a hostile tenant costs its neighbours: one whose guests spin, eat memory and flood the host, beside a hundred
//! that lose a few people a second.
//!
//! Undisturbed and disturbed take turns, each on a server of its own. A neighbour's time runs from when its event was due
//! to be sent until its job's end, as the journal says, so that a slow answer counts as well. The target takes 20 ms an
//! answer, as one does that is far away; once more without, where nothing hides what the host adds.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use docusign_sim::{Fault, FaultKind, Limits, Options, Simulator};
use exeunt::clock::{Clock as _, SystemClock};
use exeunt::journal::Outcome;
use sqlx::{AnyConnection, Connection as _, Row as _};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::Connection;
use crate::heading;
use crate::leavers::wait_until;
use crate::numbers::{Times, millis};
use crate::target::hire;
use crate::world::{Server, World, event, event_of};

const NEIGHBOURS: usize = 100;
const ROUNDS: usize = 3;
/// Leavers of one round that count, and before them those that warm it up.
const LEAVERS: usize = 400;
const WARM: usize = 100;
/// Between two leavers of all neighbours together: 50 a second, a tenth of what the machine does.
const EACH: Duration = Duration::from_millis(20);
/// Connections that events come in on.
const SENDERS: usize = 8;
/// What the hostile tenant does, in as many connectors; twice that fills all places that it gets.
const ATTACKS: [(&str, &str); 8] = [
    ("Spin", ""),
    ("SpinBetweenCalls", ""),
    ("GrowMemory", "amount = 1000000000"),
    ("FloodCalls", "amount = 1000000"),
    ("FloodLog", "amount = 1000000"),
    ("HoardHandles", "amount = 1000000"),
    ("Recurse", "amount = 100000000"),
    ("LogFields", "amount = 100000"),
];
const OF_EACH: usize = 2;
/// Events of the hostile tenant: each is a job for each of its connectors, more than it gets done.
const HOSTILE_EACH: Duration = Duration::from_millis(50);

pub(crate) async fn run() -> anyhow::Result<()> {
    heading("one hostile tenant beside 100 good ones: from when an event is due to verified");
    for latency in [20, 0] {
        let (mut quiet, mut disturbed) = (Times::default(), Times::default());
        let mut attacks = 0;
        for _ in 0..ROUNDS {
            quiet.append(round(latency, false).await?.0);
            let (times, count) = round(latency, true).await?;
            disturbed.append(times);
            attacks += count;
        }
        let (before, after) = (quiet.percentile(99), disturbed.percentile(99));
        println!("  target answers after {latency} ms");
        for (what, times) in [("undisturbed", &mut quiet), ("disturbed  ", &mut disturbed)] {
            println!(
                "    {what}    p50 {:>6.0} ms   p99 {:>6.0} ms   of {}",
                millis(times.median()),
                millis(times.percentile(99)),
                times.len()
            );
        }
        println!(
            "    p99 disturbed / undisturbed {:>8.2}    (bar: at most 1.5); {attacks} attacks ended",
            millis(after) / millis(before)
        );
    }
    Ok(())
}

/// The neighbours' times, and how many attacks ended meanwhile.
async fn round(latency: u64, is_disturbed: bool) -> anyhow::Result<(Times, usize)> {
    let sim = Simulator::start(Options {
        limits: Limits::none(),
        log_capacity: 0,
        ..Options::default()
    })
    .await?;
    if latency > 0 {
        sim.fault(Fault::new(FaultKind::Latency { ms: latency }).forever());
    }
    let world = World::new(NEIGHBOURS, "sqlite:journal.db", Some(&sim))?;
    add_hostile(&world, &sim)?;
    let server = world.serve().await?;
    let mut attacker = JoinSet::new();
    if is_disturbed {
        let address = server.address;
        attacker.spawn(async move {
            let mut connection = Connection::open(address).await?;
            for number in 0.. {
                connection
                    .send(&event_of("hostile", &format!("victim{number}@acme.example")))
                    .await?;
                tokio::time::sleep(HOSTILE_EACH).await;
            }
            anyhow::Ok(())
        });
    }
    let due = send(&sim, &server).await?;
    attacker.abort_all();
    if let Some(Ok(ended)) = attacker.join_next().await {
        ended.context("the attacker gave up")?;
    }
    server.kill().await?;
    recorded(&world, &due).await
}

/// Sends everybody's events when they are due, and waits until all are closed; when each was due, by its address.
async fn send(sim: &Simulator, server: &Server) -> anyhow::Result<HashMap<String, i64>> {
    let people = hire(sim, "leaver", WARM + LEAVERS);
    let (begin, now) = (Instant::now(), SystemClock.now().as_millisecond());
    let mut due = HashMap::new();
    let mut shares: Vec<Vec<(usize, Instant, String)>> = vec![Vec::new(); SENDERS];
    for (number, leaver) in people.iter().enumerate() {
        let after = EACH * u32::try_from(number)?;
        due.insert(leaver.email.clone(), now + i64::try_from(after.as_millis())?);
        shares[number % SENDERS].push((number, begin + after, leaver.email.clone()));
    }
    let mut senders = JoinSet::new();
    for share in shares {
        let address = server.address;
        senders.spawn(async move {
            let mut connection = Connection::open(address).await?;
            for (number, at, email) in share {
                tokio::time::sleep_until(at).await;
                let status = connection.send(&event(number % NEIGHBOURS, &email)).await?;
                ensure!(status == 200, "{status}");
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    let wanted = u64::try_from(people.len())?;
    let done = || sim.counters().closes >= wanted;
    ensure!(
        wait_until(Duration::from_secs(60), done).await,
        "only {:?} in time",
        sim.counters()
    );
    // The last ones are read and written down.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(due)
}

async fn recorded(world: &World, due: &HashMap<String, i64>) -> anyhow::Result<(Times, usize)> {
    let mut connection = AnyConnection::connect(&format!("sqlite://{}", world.path("journal.db").display())).await?;
    let sql = "SELECT job.ended_at, job.outcome, event.tenant, event.person FROM job JOIN event ON event.id = job.event_id \
               WHERE job.state = 3 ORDER BY event.received_at";
    let rows = sqlx::query(sql).fetch_all(&mut connection).await?;
    connection.close().await?;
    let (mut times, mut attacks, mut seen) = (Times::default(), 0, 0);
    for row in &rows {
        if row.try_get::<String, _>(2)? == "hostile" {
            attacks += 1;
            continue;
        }
        let outcome: i64 = row.try_get(1)?;
        ensure!(
            outcome == Outcome::Closed as i64,
            "a neighbour's leaver was not closed: {outcome}"
        );
        let person: serde_json::Value = serde_json::from_str(&row.try_get::<String, _>(3)?)?;
        let due = due
            .get(person["email"].as_str().unwrap_or_default())
            .context("nobody's event")?;
        seen += 1;
        if seen > WARM {
            let took = row.try_get::<i64, _>(0)? - due;
            times.push(Duration::from_millis(u64::try_from(took).unwrap_or(0)));
        }
    }
    ensure!(seen == WARM + LEAVERS, "{seen} of {} are recorded", WARM + LEAVERS);
    Ok((times, attacks))
}

/// A tenant with a connector for each attack.
fn add_hostile(world: &World, sim: &Simulator) -> anyhow::Result<()> {
    let mut tenant = "[sources.hr]\nkind = \"sailpoint\"\nauth = { bearer = \"file:hr.token\" }\n\
                      leaver = { attribute = \"userStatus\", becomes = [\"inactive\"] }\n"
        .to_owned();
    for number in 0..OF_EACH {
        for (attack, amount) in ATTACKS {
            let name = format!("{}{number}", attack.to_lowercase());
            let comma = if amount.is_empty() { "" } else { ", " };
            tenant.push_str(&format!(
                "[connectors.{name}]\nplugin = \"hostile.wasm\"\n\
                 settings = {{ issuer = \"i\", subject = \"s\", attack = \"{attack}\"{comma}{amount} }}\n\
                 keys = {{ static = \"file:hr.token\", client = \"file:hr.token\", signing = \"file:docusign.pem\" }}\n\
                 endpoints = {{ api = \"https://account-d.docusign.com\", other = \"https://demo.docusign.net\" }}\n"
            ));
        }
    }
    std::fs::write(world.path("tenants/hostile.toml"), tenant)?;
    copy_secrets(&world.path("tenants/t0"), &world.path("tenants/hostile"))?;
    let mut host = std::fs::read_to_string(world.path("exeunt.toml"))?;
    host.push_str(&format!(
        "[tenants.hostile]\nca = \"file:ca.pem\"\nconnect_to = {{ \"account-d.docusign.com\" = \"{}\" }}\n",
        sim.account_addr()
    ));
    std::fs::write(world.path("exeunt.toml"), host)?;
    Ok(())
}

fn copy_secrets(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for name in ["hr.token", "docusign.pem"] {
        std::fs::copy(from.join(name), to.join(name))?;
    }
    Ok(())
}
