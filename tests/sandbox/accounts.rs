//! Accounts as plugins give them: bounded, printable, each there once.

use exeunt::capability::Verb;
use exeunt::sandbox::SandboxLimits;

use crate::attacks::Attack;
use crate::house::{House, Report};

async fn odd(house: &House, verb: Verb, kind: &str, amount: usize) -> Report {
    house
        .attack(Attack::OddAccount)
        .during(verb)
        .kind(kind)
        .amount(amount)
        .run()
        .await
}

#[tokio::test]
pub(crate) async fn an_account_is_bounded_and_printable() {
    let house = House::new().await;
    let SandboxLimits {
        account_field,
        account_attributes,
        ..
    } = SandboxLimits::default();
    for verb in [Verb::Find, Verb::Read] {
        for kind in ["email", "name", "status", "attribute"] {
            assert!(
                matches!(odd(&house, verb, kind, account_field).await.end, Ok(Ok(_))),
                "{kind}"
            );
            let past = odd(&house, verb, kind, account_field + 1).await;
            assert!(
                past.broken().contains(&format!("more than {account_field} bytes")),
                "{kind}"
            );
        }
        assert!(matches!(
            odd(&house, verb, "attributes", account_attributes).await.end,
            Ok(Ok(_))
        ));
        let past = odd(&house, verb, "attributes", account_attributes + 1).await;
        assert!(
            past.broken().contains(&format!("at most {account_attributes}")),
            "{past:?}"
        );
        for kind in ["id-line", "email-line", "status-line"] {
            assert!(
                odd(&house, verb, kind, 0).await.broken().contains("control character"),
                "{kind}"
            );
        }
        let Ok(Ok(shown)) = odd(&house, verb, "name-line", 0).await.end else {
            panic!("a name may be odd");
        };
        assert!(shown.contains("quiet") && !shown.contains("\\n"), "{shown}");
    }
    assert!(odd(&house, Verb::Find, "twice", 0).await.broken().contains("same id"));
}
