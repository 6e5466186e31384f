//! Whoever is in the account and whatever the event says: nobody but the person is closed, and what is said of it is
//! true.

use docusign_sim::{EmailFilter, Options, Status, User};
use end_to_end::{World, event};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Runs of the binary; each takes part of a second.
const CASES: u32 = 40;

/// Addresses that are alike in every way that has fooled somebody.
const ADDRESSES: [&str; 9] = [
    "ann@acme.example",
    "ann@acme.example.org",
    "joann@acme.example",
    "ann+x@acme.example",
    "a.nn@acme.example",
    "ann@acme.exampl",
    "ánn@acme.example",
    "ceo@acme.example",
    "docusign.api@acme.example",
];

#[derive(Debug, Clone)]
struct Case {
    users: Vec<(String, Status, bool)>,
    email: String,
    dry_run: bool,
    close_all: bool,
    exact: bool,
}

fn address() -> impl Strategy<Value = String> {
    (prop::sample::select(&ADDRESSES[..]), 0..3).prop_map(|(address, case)| match case {
        0 => address.to_owned(),
        1 => address.to_uppercase(),
        _ => address.replacen('a', "A", 1),
    })
}

fn case() -> impl Strategy<Value = Case> {
    let user = (
        address(),
        prop::sample::select(&Status::ALL[..]),
        prop::bool::weighted(0.1),
    );
    (
        prop::collection::vec(user, 0..8),
        address(),
        prop::bool::weighted(0.2),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(users, email, dry_run, close_all, exact)| Case {
            users,
            email,
            dry_run,
            close_all,
            exact,
        })
}

#[test]
fn nobody_but_the_person_is_closed_and_every_outcome_is_true() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let world = runtime.block_on(World::with(Options::default()));
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&case(), |case| runtime.block_on(holds(&world, &case)));
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

async fn holds(world: &World, case: &Case) -> Result<(), TestCaseError> {
    world.simulator.reset();
    world.write("tenants/acme.toml", &world.tenant_file());
    if case.close_all {
        world.edit("mode = \"enforce\"", "mode = \"enforce\"\nclose_all = true");
    }
    if case.exact {
        world
            .simulator
            .switch(|switches| switches.email_filter = EmailFilter::Exact);
    }
    for (email, status, admin) in &case.users {
        let mut user = User::new(email).with_status(*status);
        user.is_admin = *admin;
        world.simulator.add_user(user);
    }
    let before = world.simulator.users();
    let more: &[&str] = if case.dry_run { &["--dry-run"] } else { &[] };
    let ran = world.run_with(&event(&case.email), more).await;
    let after = world.simulator.users();
    let job = ran.job();
    let end = job["outcome"]
        .as_str()
        .or(job["state"].as_str())
        .unwrap_or_default()
        .to_owned();
    judge(case, &before, &after, &end).map_err(|error| TestCaseError::fail(format!("{error}\n{job:#}")))
}

/// Whether what is said to have happened is what happened.
fn judge(case: &Case, before: &[User], after: &[User], end: &str) -> Result<(), String> {
    let wanted = case.email.to_lowercase();
    let theirs = |user: &&User| user.email.to_lowercase() == wanted;
    let open = |users: &[User]| users.iter().filter(theirs).filter(|user| user.is_open()).count();
    let changed: Vec<&User> = before
        .iter()
        .zip(after)
        .filter(|(old, new)| old.status != new.status)
        .map(|(old, _)| old)
        .collect();
    if let Some(other) = changed.iter().find(|user| !theirs(user)) {
        return Err(format!("{} was changed for {}", other.email, case.email));
    }
    if after.iter().any(|user| user.deletes > 1 || user.second_deletes > 0) {
        return Err("a close was sent twice, or to a closed membership".to_owned());
    }
    let known = before.iter().filter(theirs).count();
    let is_protected = wanted.starts_with("ceo@") || wanted.starts_with("docusign.api@");
    let is_true = match end {
        "closed" => open(before) == changed.len() && open(after) == 0 && !changed.is_empty() && !case.dry_run,
        "already_closed" => known > 0 && open(before) == 0,
        "no_account" => known == 0,
        "planned" => case.dry_run && open(before) > 0,
        "refused" => is_protected,
        "held" => {
            let has_admin = before.iter().filter(theirs).any(|user| user.is_admin && user.is_open());
            (open(before) > 1 && !case.close_all) || has_admin
        }
        _ => false,
    };
    let is_untouched = end == "closed" || changed.is_empty();
    if is_protected && end != "refused" {
        return Err(format!("a protected person ended {end}"));
    }
    if is_true && is_untouched {
        Ok(())
    } else {
        Err(format!("{end} is not what happened"))
    }
}
