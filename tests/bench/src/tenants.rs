//! Many tenants, with one plugin or with one each: from start to ready, and resident memory.

use std::time::Duration;

use crate::client::{Until, load};
use crate::heading;
use crate::numbers::{millis, processor_time};
use crate::world::{World, event, simulator};

/// A leaver for each tenant, so that each has its token, its grant and its lane in use.
const WORKED_WITHIN: Duration = Duration::from_secs(120);

pub(crate) async fn run(counts: &[usize], is_each: bool) -> anyhow::Result<()> {
    let plugins = if is_each { "a plugin each" } else { "one plugin" };
    heading(&format!("tenants of one host with {plugins}, SQLite"));
    for &tenants in counts {
        let sim = simulator().await?;
        let world = World::new(tenants, "sqlite:journal.db", Some(&sim))?;
        if is_each {
            world.give_plugins(tenants)?;
        }
        // The first start fills the cache of compiled plugins.
        let first = world.serve().await?;
        let first_ready = first.ready_after;
        first.kill().await?;
        let server = world.serve().await?;
        let used = processor_time(&server.process().to_string());
        let (idle, _) = server.resident();
        println!("{tenants} tenants");
        println!(
            "  first start to ready                   {:>8.0} ms",
            millis(first_ready)
        );
        println!(
            "  start to ready with a compiled plugin  {:>8.0} ms    (bar: 2000 with 1,000 tenants)",
            millis(server.ready_after)
        );
        println!("  processor time for that                {:>8.0} ms", millis(used));
        println!("  resident when ready                    {idle:>8} MiB   (bar: 300 with 10,000 tenants)");
        for number in 0..tenants {
            sim.add_user(docusign_sim::User::new(&format!("leaver{number}@acme.example")));
        }
        load(server.address, 16, Until::Count(tenants), |number| {
            event(number, &format!("leaver{number}@acme.example"))
        })
        .await?;
        let closed = || u64::try_from(tenants).is_ok_and(|tenants| sim.counters().closes >= tenants);
        let done = crate::leavers::wait_until(WORKED_WITHIN, closed).await;
        let (now, highest) = server.resident();
        let closes = sim.counters().closes;
        println!("  resident after {tenants:>5} leavers' jobs      {now:>8} MiB, at most {highest} ({closes} closed)");
        anyhow::ensure!(done, "only {closes} of {tenants} leavers were closed in time");
        server.kill().await?;
    }
    Ok(())
}
