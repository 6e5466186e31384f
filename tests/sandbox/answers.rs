//! Wrong answers: what the plugin says is checked, or not believed.

use exeunt::capability::Verb;
use exeunt::dispatch::{Gate, Stop, attempt, run_job};
use exeunt::evidence::{JobReport, Outcome};
use exeunt::sandbox::SandboxLimits;

use crate::attacks::Attack;
use crate::house::{House, leaver};

async fn job(house: &House, attack: Attack, kind: &str, amount: usize) -> JobReport {
    house.api.reset();
    let connector = house.attack(attack).kind(kind).amount(amount).connector().await;
    run_job(&connector, &leaver(), false).await
}

fn nothing_was_closed(house: &House) {
    assert!(house.api.is_open("leaver") && house.api.is_open("bystander"));
}

#[tokio::test]
pub(crate) async fn somebody_elses_account_fails_the_job() {
    let house = House::new().await;
    for kind in ["email", "both"] {
        let job = job(&house, Attack::WrongAccount, kind, 0).await;
        assert_eq!(job.outcome, Some(Outcome::Failed), "{kind}: {}", job.reason);
        assert!(
            job.reason.contains("belongs to bystander@acme.example"),
            "{}",
            job.reason
        );
        nothing_was_closed(&house);
    }
    let mut by_id = leaver();
    by_id.target_id = Some("leaver".to_owned());
    house.api.reset();
    let connector = house.attack(Attack::WrongAccount).kind("id").connector().await;
    let job = run_job(&connector, &by_id, false).await;
    assert_eq!(job.outcome, Some(Outcome::Failed), "{}", job.reason);
    assert!(
        job.reason.contains("found account bystander for the id leaver"),
        "{}",
        job.reason
    );
    nothing_was_closed(&house);
    house.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn an_account_that_is_found_twice_fails_the_job() {
    let house = House::new().await;
    let job = job(&house, Attack::WrongAccount, "twice", 0).await;
    assert_eq!(job.outcome, Some(Outcome::Failed), "{}", job.reason);
    assert!(
        job.reason
            .contains("broke the contract: `find` returned the account LEAVER twice"),
        "{}",
        job.reason
    );
    nothing_was_closed(&house);
}

#[tokio::test]
pub(crate) async fn a_thousand_accounts_fail_the_job() {
    let house = House::new().await;
    let SandboxLimits {
        accounts_found,
        accounts_paged,
        ..
    } = SandboxLimits::default();
    for (verb, most) in [(Verb::Find, accounts_found), (Verb::Page, accounts_paged)] {
        let many = |amount| house.attack(Attack::ManyAccounts).during(verb).amount(amount).run();
        assert!(matches!(many(most).await.end, Ok(Ok(_))), "{verb}");
        assert!(
            many(most + 1).await.broken().contains(&format!("at most {most}")),
            "{verb}"
        );
    }
    let job = job(&house, Attack::ManyAccounts, "", 1000).await;
    assert_eq!(job.outcome, Some(Outcome::Failed), "{}", job.reason);
    nothing_was_closed(&house);
}

#[tokio::test]
pub(crate) async fn an_account_id_is_neither_empty_nor_endless() {
    let house = House::new().await;
    let SandboxLimits { account_id, cursor, .. } = SandboxLimits::default();
    for (verb, most) in [(Verb::Find, account_id), (Verb::Page, cursor)] {
        let odd = |amount| house.attack(Attack::OddId).during(verb).amount(amount).run();
        assert!(matches!(odd(most).await.end, Ok(Ok(_))), "{verb}");
        assert!(
            odd(most + 1)
                .await
                .broken()
                .contains(&format!("more than {most} bytes")),
            "{verb}"
        );
    }
    let empty = house.attack(Attack::OddId).amount(0).run().await;
    assert!(empty.broken().contains("empty"), "{empty:?}");
}

/// Reads go on for half a minute before the job fails. This plugin touches the network in none of its verbs, so the
/// time may be skipped.
async fn job_without_network(attack: Attack, kind: &str) -> JobReport {
    let house = House::new().await;
    let connector = house.attack(attack).kind(kind).connector().await;
    tokio::time::pause();
    let job = run_job(&connector, &leaver(), false).await;
    tokio::time::resume();
    assert!(house.api.arrived().is_empty());
    assert_eq!(job.outcome, Some(Outcome::Failed), "{}", job.reason);
    assert!(
        job.reason.contains("but after 28 s account leaver is"),
        "{}",
        job.reason
    );
    house.neighbour_is_unharmed().await;
    job
}

#[tokio::test]
pub(crate) async fn verification_wants_the_account_that_was_closed() {
    job_without_network(Attack::ReadAnother, "").await;
}

#[tokio::test]
pub(crate) async fn a_closure_that_did_not_happen_is_found_out() {
    let job = job_without_network(Attack::LieClosed, "").await;
    assert!(
        job.reason.contains("the target accepted the closure, but"),
        "{}",
        job.reason
    );
    assert_eq!(job.accounts[0].after.as_deref(), Some("active"));
}

#[tokio::test]
async fn a_search_that_says_closed_is_not_believed_either() {
    let job = job_without_network(Attack::LieClosed, "found").await;
    assert!(job.reason.contains("the search found it closed, but"), "{}", job.reason);
    assert_eq!(
        (job.accounts[0].before.as_str(), job.accounts[0].after.as_deref()),
        ("closed", Some("active"))
    );
}

#[tokio::test]
pub(crate) async fn a_failure_that_hides_a_closure_is_found_out_by_reading() {
    let house = House::new().await;
    for kind in ["refused", "unavailable", "unauthorized"] {
        let job = job(&house, Attack::LieOpen, kind, 0).await;
        assert_eq!(job.outcome, Some(Outcome::Closed), "{kind}: {}", job.reason);
        assert_eq!(house.api.closures(), 1, "{kind}: nothing is asked for again unread");
    }
    house.neighbour_is_unharmed().await;
}

#[tokio::test]
async fn what_an_earlier_attempt_closed_is_told_from_what_somebody_else_closed() {
    let house = House::new().await;
    let connector = house.honest().await;
    let mut gate = Gate::in_memory();
    for (number, reason) in ["closed, and", "closed by an earlier attempt"].into_iter().enumerate() {
        let (outcome, said) = attempt(&connector, &leaver(), false, &mut gate).await.end.unwrap();
        assert_eq!(outcome, Outcome::Closed, "attempt {number}: {said}");
        assert!(said.contains(reason), "attempt {number}: {said}");
    }
    let job = run_job(&connector, &leaver(), false).await;
    assert_eq!(job.outcome, Some(Outcome::AlreadyClosed), "{}", job.reason);
    assert_eq!(house.api.closures(), 1);
}

/// Somebody has written dry-run meanwhile, and the search has not heard of the closure yet.
#[tokio::test]
async fn what_an_earlier_attempt_closed_is_no_plan_of_a_dry_run() {
    let house = House::new().await;
    let connector = house.honest().await;
    let mut gate = Gate::in_memory();
    attempt(&connector, &leaver(), false, &mut gate).await.end.unwrap();
    house.api.search_lags();
    let tried = attempt(&connector, &leaver(), true, &mut gate).await;
    assert_eq!(tried.end.as_ref().unwrap().0, Outcome::Closed, "{tried:?}");
    let other = run_job(&connector, &leaver(), true).await;
    assert_eq!(
        other.outcome,
        Some(Outcome::Planned),
        "its own search is all that a plan has"
    );
    assert_eq!(house.api.closures(), 1);
}

/// Another account with her address turns up, after somebody has written dry-run.
#[tokio::test]
async fn a_plan_says_what_an_earlier_attempt_closed() {
    let house = House::new().await;
    let connector = house.honest().await;
    let mut gate = Gate::in_memory();
    attempt(&connector, &leaver(), false, &mut gate).await.end.unwrap();
    house.api.share_address();
    let tried = attempt(&connector, &leaver(), true, &mut gate).await;
    let (outcome, said) = tried.end.as_ref().unwrap();
    assert_eq!(
        (outcome, said.as_str()),
        (&Outcome::Planned, "would close bystander; this job has closed leaver"),
        "{tried:?}"
    );
    let after = tried
        .accounts
        .iter()
        .map(|account| (account.id.as_str(), account.after.as_deref()));
    assert_eq!(
        after.collect::<Vec<_>>(),
        [("bystander", None), ("leaver", Some("closed"))]
    );
    assert_eq!(house.api.closures(), 1);
}

#[tokio::test]
pub(crate) async fn a_failure_is_bounded_text() {
    let house = House::new().await;
    let most = SandboxLimits::default().failure_text;
    let report = house.attack(Attack::LongFailure).amount(1024 * 1024).run().await;
    assert_eq!(report.told().len(), most);
    assert!(!report.told().contains(char::is_control));
}

#[tokio::test]
pub(crate) async fn a_trap_in_any_verb_ends_that_call_alone() {
    traps(Attack::Trap).await;
}

#[tokio::test]
pub(crate) async fn a_panic_in_any_verb_ends_that_call_alone() {
    traps(Attack::Panic).await;
}

async fn traps(attack: Attack) {
    let house = House::new().await;
    for verb in [Verb::Mint, Verb::Find, Verb::Read, Verb::Close, Verb::Page] {
        let report = house.attack(attack).during(verb).run().await;
        assert!(report.trap().contains("unreachable"), "{verb}: {report:?}");
    }
    for verb in [Verb::Mint, Verb::Find] {
        house.api.reset();
        let connector = house.attack(attack).during(verb).connector().await;
        let tried = attempt(&connector, &leaver(), false, &mut Gate::in_memory()).await;
        // Without a token nobody has been looked for, and another attempt may have one.
        let fits = match &tried.end {
            Err(Stop::Unavailable(_)) => verb == Verb::Mint,
            Err(Stop::Failed(_)) => verb == Verb::Find,
            _ => false,
        };
        assert!(fits, "{verb}: {tried:?}");
        nothing_was_closed(&house);
    }
}

#[tokio::test]
pub(crate) async fn a_trap_after_the_closure_is_settled_by_reading() {
    let house = House::new().await;
    let job = job(&house, Attack::TrapAfterClose, "", 0).await;
    assert_eq!(job.outcome, Some(Outcome::Closed), "{}", job.reason);
    assert!(!house.api.is_open("leaver") && house.api.is_open("bystander"));
    assert_eq!(house.api.closures(), 1);
    house.neighbour_is_unharmed().await;
}
