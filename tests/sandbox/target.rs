//! What a hostile target sends.

use std::time::Duration;

use exeunt::capability::CallLimits;

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
