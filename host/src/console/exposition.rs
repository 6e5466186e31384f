//! What the journal says, in the text format of Prometheus.
//!
//! Written here and not with the `metrics` crate, whose recorder would go on showing a lane that is gone.
//! Source of the format: Prometheus, "Exposition formats", text format 0.0.4.

use std::fmt::{Display, Write as _};

use jiff::Timestamp;

use super::health::Snapshot;
use crate::journal::{LaneStatus, Scope};

/// Appends families of gauges to a text.
struct Exposition<'t>(&'t mut String);

impl Exposition<'_> {
    fn family(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// One gauge with a line for each lane that has a value.
    fn lanes<V: Display>(
        &mut self,
        (name, help): (&str, &str),
        lanes: &[LaneStatus],
        value: impl Fn(&LaneStatus) -> Option<V>,
    ) {
        self.family(name, help);
        for lane in lanes {
            if let Some(value) = value(lane) {
                self.line(name, &of_lane(lane.lane.tenant(), lane.lane.connector()), value);
            }
        }
    }
}

fn of_lane<'a>(tenant: &'a str, connector: &'a str) -> [(&'static str, &'a str); 2] {
    [("tenant", tenant), ("connector", connector)]
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Appends what the journal says at `now`, or that it says nothing.
pub(super) fn write(text: &mut String, snapshot: Option<&Snapshot>, problems: usize, now: Timestamp) {
    let mut out = Exposition(text);
    out.family(
        "exeunt_problems",
        "What does not run as its files say; /readyz names it.",
    );
    out.line("exeunt_problems", &[], problems);
    out.family(
        "exeunt_journal_up",
        "Whether the journal could be read for this scrape, and be written.",
    );
    let is_up = snapshot.is_some_and(|snapshot| snapshot.is_writable);
    out.line("exeunt_journal_up", &[], u8::from(is_up));
    let Some(snapshot) = snapshot else { return };
    write_lanes(&mut out, &snapshot.lanes, now);
    out.family(
        "exeunt_jobs",
        "Jobs that have an outcome. A job that is retried is taken out.",
    );
    for tally in &snapshot.tallies {
        let [tenant, connector] = of_lane(tally.lane.tenant(), tally.lane.connector());
        out.line(
            "exeunt_jobs",
            &[tenant, connector, ("outcome", tally.outcome.as_str())],
            tally.count,
        );
    }
    out.family(
        "exeunt_paused",
        "Pauses in force: of everything, a tenant or a connector.",
    );
    for pause in &snapshot.pauses {
        let (tenant, connector) = match &pause.scope {
            Scope::All => ("", ""),
            Scope::Tenant(tenant) => (tenant.as_str(), ""),
            Scope::Connector(lane) => (lane.tenant(), lane.connector()),
        };
        out.line("exeunt_paused", &of_lane(tenant, connector), 1);
    }
}

fn write_lanes(out: &mut Exposition<'_>, lanes: &[LaneStatus], now: Timestamp) {
    let depth = "exeunt_lane_jobs";
    out.family(depth, "Jobs without an outcome. Parked jobs are queued.");
    for lane in lanes {
        let [tenant, connector] = of_lane(lane.lane.tenant(), lane.lane.connector());
        for (state, count) in [("queued", lane.queued), ("running", lane.running), ("held", lane.held)] {
            out.line(depth, &[tenant, connector, ("state", state)], count);
        }
    }
    let age = (
        "exeunt_lane_oldest_seconds",
        "How long the first queued job could have run already.",
    );
    out.lanes(age, lanes, |lane| {
        let waited = lane.oldest_due.map_or(0.0, |due| now.duration_since(due).as_secs_f64());
        (lane.queued > 0).then_some(waited.max(0.0))
    });
    let cap = (
        "exeunt_lane_cap",
        "Most jobs of the lane that run at a time, over all hosts.",
    );
    out.lanes(cap, lanes, |lane| Some(lane.cap));
    let parked = (
        "exeunt_lane_parked",
        "Whether nothing runs until an operator has changed something.",
    );
    out.lanes(parked, lanes, |lane| Some(u8::from(lane.parked.is_some())));
    let resting = (
        "exeunt_lane_resting",
        "Whether the target wants nothing to be asked for now.",
    );
    let rests = |lane: &LaneStatus| lane.not_before.as_ref().is_some_and(|(until, _)| *until > now);
    out.lanes(resting, lanes, |lane| Some(u8::from(rests(lane))));
    let breaker = (
        "exeunt_lane_breaker_open",
        "Whether too many closures opened the breaker.",
    );
    out.lanes(breaker, lanes, |lane| Some(u8::from(lane.tripped.is_some())));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Lane;

    fn lane(queued: u64, oldest_due: Option<Timestamp>) -> LaneStatus {
        LaneStatus {
            lane: Lane::new("acme", "do\"cu\\sign").unwrap(),
            cap: 8,
            queued,
            running: 0,
            held: 1,
            oldest_due,
            not_before: None,
            parked: None,
            tripped: Some((Timestamp::UNIX_EPOCH, "26 closures".to_owned())),
        }
    }

    #[test]
    fn each_family_has_one_head_and_labels_are_escaped() {
        let now = Timestamp::from_second(100).unwrap();
        let due = Timestamp::from_second(70).unwrap();
        let snapshot = Snapshot {
            lanes: vec![lane(2, Some(due)), lane(0, None)],
            ..Snapshot::default()
        };
        let mut text = String::new();
        write(&mut text, Some(&snapshot), 0, now);
        let labels = r#"{tenant="acme",connector="do\"cu\\sign"}"#;
        assert_eq!(text.matches("# TYPE exeunt_lane_jobs gauge").count(), 1);
        assert!(
            text.contains(&format!("exeunt_lane_oldest_seconds{labels} 30\n")),
            "{text}"
        );
        assert!(
            text.contains(&format!("exeunt_lane_breaker_open{labels} 1\n")),
            "{text}"
        );
        assert_eq!(
            text.matches("exeunt_lane_oldest_seconds{").count(),
            1,
            "an empty lane has no age"
        );
    }

    #[test]
    fn a_journal_is_up_where_it_can_be_read_and_written() {
        let snapshot = |is_writable| Snapshot {
            is_writable,
            ..Snapshot::default()
        };
        for (snapshot, up) in [(Some(snapshot(true)), 1), (Some(snapshot(false)), 0), (None, 0)] {
            let mut text = String::new();
            write(&mut text, snapshot.as_ref(), 0, Timestamp::UNIX_EPOCH);
            assert!(text.contains(&format!("exeunt_journal_up {up}\n")), "{text}");
        }
    }

    #[test]
    fn an_age_is_never_negative() {
        let snapshot = Snapshot {
            lanes: vec![lane(1, Some(Timestamp::from_second(200).unwrap()))],
            ..Snapshot::default()
        };
        let mut text = String::new();
        write(&mut text, Some(&snapshot), 0, Timestamp::from_second(100).unwrap());
        assert!(text.contains("connector=\"do\\\"cu\\\\sign\"} 0\n"), "{text}");
    }
}
