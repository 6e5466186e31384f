//! `exeunt lanes`: what waits where, and what stands still.

use clap::Args;

use super::Exit;
use super::client::{Client, ServerArgs, read};
use super::jobs::pretty;
use super::table::{moment, scope, show, table, whole_table};
use crate::console::{LaneView, Lanes as Answer};

/// Shows what waits at each connector, and what is paused, parked or withheld.
#[derive(Debug, Args)]
pub(super) struct Lanes {
    #[command(flatten)]
    server: ServerArgs,
    /// Only this tenant's.
    #[arg(long)]
    tenant: Option<String>,
    /// Print the server's JSON.
    #[arg(long)]
    json: bool,
}

impl Lanes {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        show(&self.text(&self.server.client()?).await?)
    }

    async fn text(&self, client: &Client) -> anyhow::Result<String> {
        let query: Vec<(&str, &str)> = self.tenant.iter().map(|tenant| ("tenant", tenant.as_str())).collect();
        let answer = client.get(&["v1", "lanes"], &query).await?;
        if self.json {
            return pretty(&answer);
        }
        let Answer { lanes, pauses } = read(answer)?;
        let rows = lanes.iter().map(|lane| {
            let name = format!("{}/{}", lane.tenant, lane.connector);
            let running = format!("{} of {}", lane.running, lane.cap);
            [
                name,
                lane.queued.to_string(),
                running,
                lane.held.to_string(),
                note(lane),
            ]
        });
        let mut text = whole_table(["CONNECTOR", "QUEUED", "RUNNING", "HELD", "NOTE"], rows);
        if !pauses.is_empty() {
            let rows = pauses.into_iter().map(|pause| {
                let scope = scope(pause.tenant.as_deref(), pause.connector.as_deref());
                [scope, moment(pause.at), pause.actor, pause.reason]
            });
            text = format!("{text}\n{}", table(["PAUSED", "SINCE", "BY", "REASON"], rows));
        }
        Ok(text)
    }
}

fn note(lane: &LaneView) -> String {
    let parked = lane.parked.as_ref().map(|parked| format!("parked: {}", parked.why));
    let (tenant, connector) = (&lane.tenant, &lane.connector);
    let breaker = lane.breaker.as_ref().map(|breaker| {
        format!(
            "breaker open: {}; `exeunt breaker release {tenant} {connector} --reason …` lets the withheld jobs go on",
            breaker.why
        )
    });
    let resting = lane
        .resting
        .as_ref()
        .map(|rest| format!("rests until {}: {}", moment(rest.until), rest.why));
    let notes: Vec<_> = [parked, breaker, resting].into_iter().flatten().collect();
    match lane.next_try {
        // What stands still tries nothing.
        Some(at) if notes.is_empty() => format!("next try at {}", moment(at)),
        _ => notes.join("; "),
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
