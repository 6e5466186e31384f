//! What a hostile target sends.

use std::time::Duration;

use exeunt::capability::{CallLimits, TENANT_MEMORY};
use exeunt::sandbox::SandboxLimits;

use crate::attacks::Attack;
use crate::house::{House, limits};

async fn with_body_limit() -> House {
    let calls = CallLimits {
        response_body: 1024 * 1024,
        received: 3 * 1024 * 1024,
        ..CallLimits::default()
    };
    House::with(limits(), calls).await
}

#[tokio::test]
pub(crate) async fn a_compressed_bomb_ends_at_the_body_limit() {
    let house = with_body_limit().await;
    let report = house.attack(Attack::CompressedBomb).run().await;
    assert!(
        report
            .told()
            .contains("too large: the answer's body is over 1048576 bytes"),
        "{report:?}"
    );
}

/// Answers that are cut off count: three of a megabyte are allowed here, the fourth ends the call.
#[tokio::test]
pub(crate) async fn an_endless_body_ends_at_the_body_limit() {
    let house = with_body_limit().await;
    let report = house.attack(Attack::EndlessBody).amount(3).run().await;
    assert!(report.told().contains("too large"), "{report:?}");
    let report = house.attack(Attack::EndlessBody).amount(4).run().await;
    assert_eq!(report.limit(), "received");
}

/// Each is just below the body limit, and is lost: three of them are allowed here as well.
#[tokio::test]
pub(crate) async fn answers_that_break_off_count_as_far_as_they_came() {
    let house = with_body_limit().await;
    let report = house.attack(Attack::BrokenBody).amount(3).run().await;
    assert!(
        report.record.exchanges.iter().all(|exchange| exchange.status.is_none()),
        "{report:?}"
    );
    assert_eq!(report.record.exchanges.len(), 3, "{report:?}");
    let report = house.attack(Attack::BrokenBody).amount(5).run().await;
    assert_eq!(report.limit(), "received");
}

/// Two answers of a megabyte beside the guest, which has less than three.
#[tokio::test]
pub(crate) async fn answers_are_held_in_the_memory_of_the_tenant() {
    const MIB: usize = 1024 * 1024;
    let calls = CallLimits {
        response_body: MIB,
        ..CallLimits::default()
    };
    let sandbox = SandboxLimits {
        tenant_memory: 5 * MIB,
        ..limits()
    };
    let house = House::with(sandbox, calls).await;
    for _ in 0..2 {
        let fits = house.attack(Attack::HoardAnswers).amount(2).run().await;
        assert!(fits.told().contains("too large"), "what was held is back: {fits:?}");
        let past = house.attack(Attack::HoardAnswers).amount(5).run().await;
        assert_eq!(past.limit(), TENANT_MEMORY);
        let unread = past.record.exchanges.last().unwrap();
        assert!(unread.error.as_ref().unwrap().contains(TENANT_MEMORY), "{unread:?}");
    }
}

#[tokio::test]
pub(crate) async fn a_slow_body_ends_at_the_exchange_limit() {
    let calls = CallLimits {
        exchange: Duration::from_secs(1),
        ..CallLimits::default()
    };
    let house = House::with(limits(), calls).await;
    let report = house.attack(Attack::SlowBody).run().await;
    assert!(report.told().contains("no whole answer within 1 s"), "{report:?}");
}

#[tokio::test]
pub(crate) async fn an_endless_head_is_cut_off() {
    let house = House::new().await;
    let big = house.attack(Attack::EndlessHead).kind("big-head").run().await;
    assert!(
        big.told().contains("too large: the answer's head is over 65536 bytes"),
        "{big:?}"
    );
    let many = house.attack(Attack::EndlessHead).kind("many-heads").run().await;
    assert!(!many.told().contains("200"), "{many:?}");

    let other = house.other.address;
    let endless = house.endless_head;
    let lines = format!("endpoints = {{ api = \"http://{endless}\", other = \"http://{other}\" }}");
    let report = house.attack(Attack::EndlessHead).kind("ok").lines(&lines).run().await;
    assert!(
        !report.told().contains("within"),
        "cut off by size and not by time: {report:?}"
    );
}
