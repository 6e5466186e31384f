//! What may leave the host.

use exeunt::capability::Verb;
use exeunt::dispatch::run_job;
use exeunt::evidence::Outcome;
use serde_json::json;

use crate::attacks::Attack;
use crate::house::{House, leaver};

const READING: [Verb; 4] = [Verb::Mint, Verb::Find, Verb::Read, Verb::Page];

/// The guest passes on why each request was denied, or says which one was not; the target says whether any arrived.
/// One of `why` must be in each reason: a second defence behind the first would hide that the first is gone.
async fn all_denied(attack: Attack, verbs: &[Verb], why: &[&str]) {
    let house = House::new().await;
    for verb in verbs {
        let report = house.attack(attack).during(*verb).run().await;
        report.denied();
        assert_eq!(
            report.log.matches("denied: ").count(),
            1,
            "one line for the operator, {verb}"
        );
        for reason in report.reasons() {
            assert!(reason.len() < 4096, "{verb}: {reason}");
            assert!(why.iter().any(|why| reason.contains(why)), "{verb}: {reason}");
        }
        assert_eq!(report.arrived, 0, "{verb}");
        assert!(report.record.exchanges.is_empty(), "{verb}: {report:?}");
        assert!(report.record.denied.is_some(), "the operator is told, {verb}");
    }
}

#[tokio::test]
pub(crate) async fn a_header_value_cannot_begin_another() {
    let why = ["has a control character", "is not one that a connector may set"];
    all_denied(Attack::InjectHeader, &[Verb::Find], &why).await;
}

#[tokio::test]
pub(crate) async fn reserved_headers_are_denied() {
    let why = ["is not one that a connector may set"];
    all_denied(Attack::ReservedHeader, &[Verb::Find, Verb::Mint], &why).await;
}

#[tokio::test]
pub(crate) async fn paths_cannot_leave_their_place() {
    let why = ["the path ", "is not in the descriptor's reach"];
    all_denied(Attack::EscapePath, &[Verb::Find], &why).await;
}

#[tokio::test]
pub(crate) async fn reading_verbs_cannot_write() {
    let why = [
        "reading verbs cannot write",
        "cannot have a body",
        "makes another request of this one",
    ];
    all_denied(Attack::WriteWhileReading, &READING, &why).await;
}

#[tokio::test]
pub(crate) async fn an_endpoint_must_be_declared() {
    all_denied(
        Attack::UnknownEndpoint,
        &[Verb::Find],
        &["the descriptor has no endpoint"],
    )
    .await;
    let house = House::new().await;
    let report = house.attack(Attack::UnknownEndpoint).run().await;
    assert!(
        report.log.len() < 100_000,
        "a name of a megabyte is not logged: {}",
        report.log.len()
    );
    assert!(!report.log.contains('\u{1b}'));
}

/// The denial names the author's line and the operator's; where the operator writes it, the request goes out.
#[tokio::test]
pub(crate) async fn a_path_must_be_declared_and_granted() {
    let house = House::new().await;
    let report = house.attack(Attack::UndeclaredPath).run().await;
    assert!(
        report.denied().contains("author: declare `find GET api …` in `reach`"),
        "{report:?}"
    );
    assert_eq!(report.arrived, 0);
    let connector = house.attack(Attack::UndeclaredPath).connector().await;
    let job = run_job(&connector, &leaver(), false).await;
    let find = job.transcript.iter().find(|call| call.verb == Verb::Find);
    assert_eq!(
        find.unwrap().denied.as_deref(),
        Some(report.denied()),
        "the transcript shows it"
    );

    let withheld = || house.attack(Attack::UndeclaredPath).kind("withheld");
    let report = withheld().run().await;
    let told = report.denied();
    let place = "under [connectors.target] in tenants/hostile.toml";
    assert!(
        told.contains("operator: write reach = [") && told.contains(place),
        "{report:?}"
    );
    assert_eq!(report.arrived, 0);
    let line = told.split("write ").nth(1).unwrap().split(" under").next().unwrap();
    assert!(line.contains("\"find GET api /withheld\"") && line.contains("\"read GET api /users/{account}\""));

    let report = withheld().lines(line).run().await;
    assert!(report.told().contains("404"), "{report:?}");
    assert_eq!(report.arrived, 1);
    let connector = withheld().during(Verb::Page).lines(line).connector().await;
    house.api.reset();
    let job = run_job(&connector, &leaver(), false).await;
    assert_eq!(job.outcome, Some(Outcome::Closed), "the list is whole: {}", job.reason);
}

/// A list that lets a connector close what it cannot read would close, and then fail to prove it.
#[tokio::test]
async fn closing_is_not_granted_without_finding_and_reading() {
    let house = House::new().await;
    let lines = [
        "find GET api /users",
        "read GET api /users/{account}",
        "mint POST api /token",
    ];
    let with = |lines: &[&str]| format!("reach = {:?}", [lines, &["close DELETE api /users/{account}"]].concat());
    let settings = json!({"issuer": "i", "subject": "s"});
    for (left_out, verb) in [(0, "find"), (1, "read"), (2, "mint")] {
        let mut fewer = lines.to_vec();
        fewer.remove(left_out);
        let error = house
            .load("hostile", &settings, &with(&fewer))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("nothing of `{verb}`")) && error.contains(lines[left_out]),
            "{error}"
        );
    }
    house.load("hostile", &settings, &with(&lines)).await.unwrap();
}

#[tokio::test]
pub(crate) async fn a_redirect_is_returned_and_not_followed() {
    let house = House::new().await;
    let report = house.attack(Attack::FollowRedirect).run().await;
    let location = format!("http://{}/users", house.other.address);
    assert!(
        report.told().contains("302") && report.told().contains(&location),
        "{report:?}"
    );
    assert_eq!(report.arrived, 1);
    assert!(
        house.other.arrived().is_empty(),
        "nothing came to where the redirect leads"
    );
}
