//! Attacks on the machine. Each limit is tried at its value and past it where that can be done exactly.

use std::time::Duration;

use exeunt::capability::{CallLimits, Verb};
use exeunt::sandbox::{Failure, Fault, SandboxLimits};

use crate::attacks::Attack;
use crate::house::{House, Report, limits};

/// Small enough for a quick test, large enough for an honest call on a busy machine.
const CPU: Duration = Duration::from_millis(300);

async fn sandbox(change: impl FnOnce(&mut SandboxLimits)) -> House {
    let mut limits = limits();
    change(&mut limits);
    House::with(limits, CallLimits::default()).await
}

async fn calls(change: impl FnOnce(&mut CallLimits)) -> House {
    let mut limits = CallLimits::default();
    change(&mut limits);
    House::with(crate::house::limits(), limits).await
}

#[tokio::test]
pub(crate) async fn an_endless_loop_ends_at_its_cpu_limit() {
    let house = sandbox(|limits| limits.cpu = CPU).await;
    for verb in [Verb::Mint, Verb::Find, Verb::Read, Verb::Close, Verb::Page] {
        let report = house.attack(Attack::Spin).during(verb).run().await;
        assert_eq!(report.limit(), "cpu-milliseconds", "{verb}");
    }
}

#[tokio::test]
pub(crate) async fn an_endless_loop_between_host_calls_ends_at_its_cpu_limit() {
    let mut few = limits();
    few.cpu = CPU;
    let many = CallLimits {
        host_calls: u32::MAX,
        ..CallLimits::default()
    };
    let house = House::with(few, many).await;
    let report = house.attack(Attack::SpinBetweenCalls).run().await;
    assert_eq!(report.limit(), "cpu-milliseconds");
}

#[tokio::test]
pub(crate) async fn waiting_by_host_calls_ends_at_the_wall_clock() {
    let mut short = limits();
    short.wall_clock = Duration::from_secs(2);
    let patient = CallLimits {
        requests: u32::MAX,
        exchange: Duration::from_millis(50),
        ..CallLimits::default()
    };
    let house = House::with(short, patient).await;
    let report = house.attack(Attack::SleepByCalls).run().await;
    assert!(matches!(report.end, Err(Fault::WallClock(_))), "{report:?}");
    assert!(report.record.exchanges.len() > 1, "it waited more than once");
    let last = report.record.exchanges.last().unwrap();
    assert!(
        last.status.is_none() && last.error.is_some(),
        "what was under way is in the record"
    );
}

#[tokio::test]
pub(crate) async fn memory_grows_to_its_limit_and_no_further() {
    const MIB: usize = 1024 * 1024;
    let house = sandbox(|limits| limits.memory = 16 * MIB).await;
    let below = house.attack(Attack::GrowMemory).amount(8 * MIB).run().await;
    assert!(below.told().contains("8388608 bytes"), "{below:?}");
    let past = house.attack(Attack::GrowMemory).amount(17 * MIB).run().await;
    assert_eq!(past.limit(), "memory");
    let endless = house.attack(Attack::GrowMemory).amount(usize::MAX >> 33).run().await;
    assert_eq!(endless.limit(), "memory");
}

#[tokio::test]
pub(crate) async fn calls_of_a_tenant_share_a_limit_on_memory() {
    const MIB: usize = 1024 * 1024;
    let house = sandbox(|limits| limits.tenant_memory = 48 * MIB).await;
    let grow = async |calls| {
        house
            .attack(Attack::GrowTogether)
            .amount(40 * MIB)
            .together(calls)
            .await
    };
    let is_over =
        |end: &Result<_, Fault>| matches!(end, Err(Fault::Limit(reached)) if reached.limit == "tenant-memory");
    assert!(grow(1).await[0].is_ok(), "alone it is below the limit");
    let four = grow(4).await;
    assert!(four.iter().any(is_over), "{four:?}");
    assert!(grow(1).await[0].is_ok(), "what they held is back");
}

#[tokio::test]
pub(crate) async fn deep_recursion_ends_at_the_stack_limit() {
    let house = House::new().await;
    let shallow = house.attack(Attack::Recurse).amount(100).run().await;
    assert!(shallow.told().contains("end"), "{shallow:?}");
    let deep = house.attack(Attack::Recurse).amount(1_000_000).run().await;
    assert_eq!(deep.limit(), "stack");
}

#[tokio::test]
pub(crate) async fn a_list_of_four_gigabytes_is_not_believed() {
    let house = House::new().await;
    for kind in ["text", "fields"] {
        let report = house.attack(Attack::ClaimList).kind(kind).run().await;
        assert!(report.trap().contains("out of bounds"), "{kind}: {report:?}");
    }
}

#[tokio::test]
pub(crate) async fn what_a_call_hands_over_has_a_limit() {
    const MOST: usize = 64 * 1024;
    let house = sandbox(|limits| limits.handed_over = MOST).await;
    for kind in ["call", "answer"] {
        let most = house.attack(Attack::HandOver).kind(kind).amount(MOST).run().await;
        assert!(!most.told().is_empty(), "{kind}");
        let more = house.attack(Attack::HandOver).kind(kind).amount(MOST + 1).run().await;
        assert_eq!(more.limit(), "handed-over", "{kind}");
    }
}

#[tokio::test]
pub(crate) async fn endless_pages_end_at_the_request_limit() {
    let house = calls(|limits| limits.requests = 10).await;
    let most = house.attack(Attack::EndlessPages).amount(10).run().await;
    assert!(most.told().contains("10 requests"), "{most:?}");
    let endless = house.attack(Attack::EndlessPages).amount(1_000_000).run().await;
    assert_eq!(endless.limit(), "requests");
    assert_eq!(endless.arrived, 10);
}

/// The guest's first host call reads its settings.
#[tokio::test]
pub(crate) async fn host_calls_have_a_limit() {
    let house = calls(|limits| limits.host_calls = 50).await;
    let most = house.attack(Attack::FloodCalls).amount(49).run().await;
    assert!(most.told().contains("49 calls"), "{most:?}");
    let more = house.attack(Attack::FloodCalls).amount(50).run().await;
    assert_eq!(more.limit(), "host-calls");
}

fn lines(report: &Report) -> Vec<&str> {
    report.record.log.iter().map(|line| line.message.as_str()).collect()
}

#[tokio::test]
pub(crate) async fn log_lines_have_a_limit() {
    let house = calls(|limits| limits.log_lines = 5).await;
    let most = house.attack(Attack::FloodLog).amount(5).run().await;
    assert_eq!(lines(&most), ["line 0", "line 1", "line 2", "line 3", "line 4"]);
    let more = house.attack(Attack::FloodLog).amount(500).run().await;
    assert_eq!(lines(&more)[..5], lines(&most));
    assert_eq!(lines(&more)[5..], ["more than 5 log lines; the rest is dropped"]);
    assert!(!more.log.contains("line 5"));
}

#[tokio::test]
pub(crate) async fn a_log_line_has_a_limit() {
    let house = calls(|limits| limits.log_line = 1000).await;
    let most = house.attack(Attack::LongLogLine).amount(1000).run().await;
    assert_eq!(lines(&most), ["x".repeat(1000)]);
    let more = house.attack(Attack::LongLogLine).amount(1001).run().await;
    assert_eq!(
        lines(&more),
        ["a log line of 1001 bytes is dropped; at most 1000 are allowed"]
    );
    assert!(!more.log.contains("xxx"));
}

#[tokio::test]
pub(crate) async fn empty_log_fields_are_not_free() {
    let house = House::new().await;
    let few = house.attack(Attack::LogFields).amount(100).run().await;
    assert_eq!(few.record.log[0].fields.len(), 100);
    let many = house.attack(Attack::LogFields).amount(20_000).run().await;
    assert!(lines(&many)[0].contains("dropped"), "{:?}", lines(&many));
    assert!(many.record.log.iter().all(|line| line.fields.is_empty()));
}

#[tokio::test]
pub(crate) async fn a_log_line_cannot_forge_another() {
    let house = House::new().await;
    let report = house.attack(Attack::ForgeLogLine).run().await;
    let line = &report.record.log[0];
    let (name, value) = &line.fields[0];
    for text in [&line.message, name, value] {
        assert!(text.contains("forged") && !text.contains(char::is_control), "{text:?}");
    }
    assert!(
        !report.log.lines().any(|line| line.starts_with("2026-01-01 ERROR")),
        "{}",
        report.log
    );
}

#[tokio::test]
pub(crate) async fn handles_have_a_limit() {
    let mut few = limits();
    few.handles = 8;
    let generous = CallLimits {
        grants: 100,
        ..CallLimits::default()
    };
    let house = House::with(few, generous).await;
    let most = house
        .attack(Attack::HoardHandles)
        .during(Verb::Mint)
        .amount(8)
        .run()
        .await;
    assert!(most.told().contains("8 handles"), "{most:?}");
    let more = house
        .attack(Attack::HoardHandles)
        .during(Verb::Mint)
        .amount(9)
        .run()
        .await;
    assert_eq!(more.limit(), "handles");
}

#[tokio::test]
pub(crate) async fn nothing_stays_in_memory_between_calls() {
    let house = House::new().await;
    for _ in 0..3 {
        let report = house.attack(Attack::LeaveMemory).run().await;
        assert!(report.told().contains("visit 0"), "{report:?}");
    }
}

#[tokio::test]
pub(crate) async fn a_request_has_limits() {
    let house = House::new().await;
    let limits = CallLimits::default();
    let cases = [
        (Verb::Find, "head", limits.request_head, "bytes"),
        (Verb::Find, "fields", limits.request_fields, "fields"),
        (Verb::Find, "path", exeunt::capability::MAX_PATH_BYTES, "bytes"),
        (Verb::Close, "body", limits.request_body, "bytes"),
    ];
    for (verb, kind, most, what) in cases {
        let big = |amount| {
            house
                .attack(Attack::BigRequest)
                .during(verb)
                .kind(kind)
                .amount(amount)
                .run()
        };
        let fits = big(most).await;
        assert!(
            matches!(fits.end, Ok(Err(Failure::Unexpected(_)))) && fits.arrived == 1,
            "{kind}: {fits:?}"
        );
        let past = big(most + 1).await;
        assert!(past.denied().contains(what), "{kind}: {past:?}");
        assert_eq!(past.arrived, 0, "{kind}");
    }
}
