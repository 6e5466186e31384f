//! Closing: one unsafe request, for the account that `close` was called with.

use exeunt::capability::{Effect, Verb};

use crate::attacks::Attack;
use crate::house::House;

#[tokio::test]
pub(crate) async fn a_second_unsafe_request_is_denied() {
    let house = House::new().await;
    let report = house.attack(Attack::CloseTwice).during(Verb::Close).run().await;
    assert!(report.denied().contains("may send 1 unsafe request"), "{report:?}");
    assert_eq!(report.arrived, 1);
    assert_eq!(report.record.effect, Effect::Answered);
}

#[tokio::test]
pub(crate) async fn an_unsafe_request_names_the_account() {
    let why = ["neither in its path nor in its body"];
    nothing_leaves(Attack::CloseNameless, &why).await;
}

#[tokio::test]
pub(crate) async fn an_unsafe_request_names_no_other_account() {
    let why = [
        "is not in the descriptor's reach",
        "dot segment",
        "neither in its path nor in its body",
    ];
    nothing_leaves(Attack::CloseAnother, &why).await;
}

async fn nothing_leaves(attack: Attack, why: &[&str]) {
    let house = House::new().await;
    let report = house.attack(attack).during(Verb::Close).run().await;
    report.denied();
    for reason in report.reasons() {
        assert!(why.iter().any(|why| reason.contains(why)), "{reason}");
    }
    assert!(report.record.exchanges.is_empty(), "{report:?}");
    assert_eq!(report.record.effect, Effect::None);
    assert!(report.arrived == 0);
}
