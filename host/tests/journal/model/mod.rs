//! Random histories against a model that fits on three pages.

mod state;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use exeunt::journal::{
    Backoff, Engine, Finish, Finished, JobState, Journal, JournalError, Lane, Options, Outcome, Reservation, Scope,
    UNSETTLED_HOLD,
};
use proptest::test_runner::{Config, TestRunner};

use self::state::{CLAIM, Model, ModelJob, Phase, nth_claim};
use self::steps::{How, Step, steps};
use crate::rig::{LEASE, NO_LIMIT, Rig, all_jobs, block_on, end, event, held, lane, queued, release};

const LANES: usize = 3;
const ACCOUNTS: usize = 2;
const MAX_ATTEMPTS: u32 = 4;
const MAX_LAPSES: u32 = 2;

fn lanes() -> [Lane; LANES] {
    [lane("acme", "a"), lane("acme", "b"), lane("globex", "a")]
}

fn finish_of(how: How, rig: &Rig) -> Finish {
    let at = |seconds| rig.now() + Duration::from_secs(seconds);
    match how {
        How::End(outcome) => end(outcome),
        How::Hold => Finish::Hold {
            why: "approval".into(),
            reason: "ask".into(),
            detail: None,
        },
        How::Retry { seconds } => Finish::Retry {
            at: at(seconds),
            reason: "down".into(),
        },
        How::GiveBack { seconds } => Finish::GiveBack {
            until: at(seconds),
            reason: "limit".into(),
        },
        How::Defer { seconds } => Finish::Defer {
            until: at(seconds),
            reason: "busy".into(),
        },
        How::Park => Finish::Park { reason: "key".into() },
        How::Release => release(),
    }
}

async fn apply(rig: &Rig, model: &mut Model, step: &Step) {
    let now = rig.now().as_millisecond();
    match step {
        Step::Accept { lane, held: is_held } => {
            let name = &lanes()[*lane];
            let new = if *is_held {
                held(name.connector(), "approval")
            } else {
                queued(name.connector())
            };
            let id = rig.accept(event(name.tenant(), vec![new], rig.now())).await.jobs[0];
            let phase = if *is_held { Phase::Held } else { Phase::Queued };
            model.jobs.insert(
                id,
                ModelJob {
                    lane: *lane,
                    phase,
                    hold: is_held.then_some("approval"),
                    released: BTreeSet::new(),
                    due: now,
                    attempts: 0,
                    lapses: 0,
                    fence: 0,
                    intents: BTreeMap::new(),
                },
            );
        }
        Step::Claim { max } => claim(rig, model, *max, now).await,
        Step::Finish { which, how } => finish(rig, model, *which, *how, now).await,
        Step::Intend {
            which,
            account,
            is_behind,
        } => intend(rig, model, *which, (*account, *is_behind)).await,
        Step::Lose => lose(rig, model).await,
        Step::Advance { seconds } => rig.clock.advance(Duration::from_secs(*seconds)),
        Step::Cancel { which } | Step::Retry { which } | Step::Release { which } => {
            operate(&rig.journal, model, step, *which, now).await;
        }
        Step::SetCap { lane, cap } => {
            rig.journal.set_cap(&lanes()[*lane], Some(*cap)).await.expect("a cap");
            model.lanes[*lane].cap = Some(*cap);
        }
        Step::Pause { lane, on } => {
            let scope = Scope::Connector(lanes()[*lane].clone());
            if *on {
                rig.journal.pause(&scope, "ops", "", None).await.expect("a pause");
            } else {
                assert_eq!(
                    rig.journal.resume(&scope, "ops", "", None).await,
                    Ok(model.lanes[*lane].paused)
                );
            }
            model.lanes[*lane].paused = *on;
        }
        Step::Unpark { lane } => {
            let row = &mut model.lanes[*lane];
            assert_eq!(rig.journal.unpark(&lanes()[*lane], "ops", "").await, Ok(row.parked));
            if row.parked {
                (row.parked, row.not_before, row.failures) = (false, 0, 0);
            }
        }
        Step::Heartbeat => {
            let fences: Vec<_> = model.claims.iter().map(|claim| claim.fence.clone()).collect();
            let lost = rig.beat(&fences, LEASE).await;
            // What was put down and not claimed since is not lost.
            let moved_on = |index: &usize| model.jobs[&model.claims[*index].id()].fence != model.fences[*index];
            let dropped = (0..model.claims.len()).filter(moved_on);
            assert_eq!(
                lost,
                dropped
                    .map(|index| model.claims[index].fence.clone())
                    .collect::<Vec<_>>()
            );
        }
    }
}

async fn claim(rig: &Rig, model: &mut Model, max: usize, now: i64) {
    let ready = model.ready(now);
    let claimed = rig.claim(max).await;
    assert!(
        claimed.len() <= max && (claimed.is_empty() == (ready == 0)),
        "{} of {ready}",
        claimed.len()
    );
    for job in claimed {
        let waiting = &model.jobs[&job.id()];
        assert!(
            model.is_open(waiting.lane, now),
            "{waiting:?} is in a lane that may not run"
        );
        assert!(
            waiting.phase == Phase::Queued && waiting.due <= now,
            "{waiting:?} was not ready"
        );
        let earlier = model
            .jobs
            .values()
            .any(|other| other.lane == waiting.lane && other.phase == Phase::Queued && other.due < waiting.due);
        assert!(!earlier, "{waiting:?} was not the oldest");
        let taken = model.jobs.get_mut(&job.id()).expect("it is known");
        taken.phase = Phase::Running;
        taken.attempts += 1;
        taken.fence = (nth_claim(taken.fence) + 1) * CLAIM;
        model.fences.push(taken.fence);
        assert_eq!(job.attempt, taken.attempts);
        model.claims.push(job);
    }
}

async fn finish(rig: &Rig, model: &mut Model, which: usize, how: How, now: i64) {
    if model.claims.is_empty() {
        return;
    }
    let index = which % model.claims.len();
    let fence = model.claims[index].fence.clone();
    let holds = model.holds(index);
    let result = rig.journal.finish(&fence, finish_of(how, rig), None).await;
    if !holds {
        // Either late, or this claim's own finish again; nothing changes in either case.
        assert!(matches!(result, Err(JournalError::LeaseLost(_)) | Ok(_)), "{result:?}");
        return;
    }
    let job = model.jobs.get_mut(&fence.job()).expect("it is known");
    let after = |seconds: u64| now + i64::try_from(seconds * 1000).expect("small");
    let expected = match how {
        How::End(outcome) => {
            job.phase = Phase::Ended(outcome);
            Finished::Ended
        }
        How::Retry { .. } if job.attempts >= MAX_ATTEMPTS => give_up(job),
        How::Retry { seconds } => {
            (job.phase, job.lapses, job.due) = (Phase::Queued, 0, after(seconds));
            Finished::Queued
        }
        How::Hold => {
            (job.phase, job.attempts) = (Phase::Held, job.attempts - 1);
            job.hold = Some("approval");
            Finished::Held
        }
        How::Defer { seconds } => {
            (job.phase, job.attempts, job.due) = (Phase::Queued, job.attempts - 1, after(seconds));
            Finished::Queued
        }
        // Behind those that wait.
        How::Park => {
            (job.phase, job.attempts, job.due) = (Phase::Queued, job.attempts - 1, now);
            Finished::Queued
        }
        How::GiveBack { .. } => {
            (job.phase, job.attempts, job.lapses) = (Phase::Queued, job.attempts - 1, 0);
            Finished::Queued
        }
        How::Release => {
            (job.phase, job.attempts) = (Phase::Queued, job.attempts - 1);
            Finished::Queued
        }
    };
    let row = &mut model.lanes[job.lane];
    match how {
        How::GiveBack { seconds } => row.limit(after(seconds), now),
        How::Park => row.parked = true,
        How::Retry { .. } => row.fail(now),
        How::End(_) => row.failures = 0,
        // Nobody was asked.
        How::Hold | How::Defer { .. } | How::Release => {}
    }
    assert_eq!(result, Ok(expected));
}

/// Ends a job whose tries are used up; one that set out to close something is held.
fn give_up(job: &mut ModelJob) -> Finished {
    if job.intents.is_empty() {
        job.phase = Phase::Ended(Outcome::Failed);
        return Finished::Dead;
    }
    (job.phase, job.hold) = (Phase::Held, Some(UNSETTLED_HOLD));
    Finished::Held
}

async fn intend(rig: &Rig, model: &mut Model, which: usize, (account, is_behind): (usize, bool)) {
    if model.claims.is_empty() {
        return;
    }
    let index = which % model.claims.len();
    let fence = model.claims[index].fence.clone();
    let (others, is_busy) = model.others(fence.job(), account);
    let known = if is_behind { others + 1 } else { others };
    // However the target writes it.
    let name = format!(
        "{}-{account}",
        if which.is_multiple_of(2) { "account" } else { "Account" }
    );
    let result = rig.journal.intend(&fence, &name, known.into(), NO_LIMIT, None).await;
    if !model.holds(index) {
        assert_eq!(result, Err(JournalError::LeaseLost(fence.job())));
        return;
    }
    let job = model.jobs.get_mut(&fence.job()).expect("it is known");
    match result.expect("an answer") {
        Reservation::Paused { .. } => assert!(model.lanes[job.lane].paused),
        Reservation::Busy { .. } => assert!(is_busy),
        Reservation::Stale { others: said } => assert!(is_behind && said == i64::from(others)),
        Reservation::Reserved => {
            assert!(!model.lanes[job.lane].paused && !is_busy && !is_behind);
            job.intents.insert(account, job.fence);
        }
        tripped @ Reservation::Tripped { .. } => panic!("{tripped:?} without a limit"),
    }
}

async fn lose(rig: &Rig, model: &mut Model) {
    rig.clock.advance(LEASE + Duration::from_millis(1));
    let lost = match rig.journal.engine() {
        Engine::Sqlite => rig.journal.reclaim().await,
        // Leases go by PostgreSQL's own clock, which nobody moves.
        Engine::Postgres => rig.journal.reclaim_all(LEASE).await,
    };
    let lost = lost.expect("a reclaim");
    // A new process leaves those alone that may be closing something, until their leases end.
    let is_left = |job: &ModelJob| rig.journal.engine() == Engine::Postgres && !job.intents.is_empty();
    let running = model.jobs.values().filter(|job| job.phase == Phase::Running);
    assert_eq!(lost.len(), running.filter(|job| !is_left(job)).count());
    for back in lost {
        let job = model.jobs.get_mut(&back.job).expect("it is known");
        job.lapses += 1;
        job.fence += 1;
        let became = if job.lapses >= MAX_LAPSES || job.attempts >= MAX_ATTEMPTS {
            give_up(job)
        } else {
            job.phase = Phase::Queued;
            Finished::Queued
        };
        assert_eq!((back.became, &back.lane), (became, &lanes()[job.lane]));
        job.due = rig.now().as_millisecond();
    }
}

async fn operate(journal: &Journal, model: &mut Model, step: &Step, which: usize, now: i64) {
    let Some((id, job)) = model.jobs.iter_mut().nth(which % 64) else {
        return;
    };
    let (result, allowed) = match step {
        Step::Cancel { .. } => {
            let allowed = matches!(job.phase, Phase::Queued | Phase::Held);
            (
                journal.cancel(*id, "ops", "").await,
                allowed.then_some(Phase::Ended(Outcome::Cancelled)),
            )
        }
        Step::Retry { .. } => {
            let closed = matches!(job.phase, Phase::Ended(Outcome::Closed | Outcome::AlreadyClosed));
            let allowed = matches!(job.phase, Phase::Ended(_)) && !closed;
            let is_held = job.hold.is_some_and(|why| !job.released.contains(why));
            let phase = if is_held { Phase::Held } else { Phase::Queued };
            (journal.retry(*id, "ops", "").await, allowed.then_some(phase))
        }
        _ => (
            journal.release(*id, "ops", "").await,
            (job.phase == Phase::Held).then_some(Phase::Queued),
        ),
    };
    match allowed {
        None => assert!(
            matches!(result, Err(JournalError::WrongState { .. })),
            "{step:?} of {job:?}: {result:?}"
        ),
        Some(phase) => {
            assert_eq!(result, Ok(()), "{step:?} of {job:?}");
            job.phase = phase;
            if matches!(step, Step::Release { .. }) {
                job.released.extend(job.hold);
                // Another life, to look again.
                if job.hold == Some(UNSETTLED_HOLD) {
                    (job.attempts, job.lapses) = (0, 0);
                }
            }
            if job.phase == Phase::Queued {
                job.hold = None;
            }
            if matches!(step, Step::Retry { .. }) {
                (job.due, job.attempts, job.lapses) = (now, 0, 0);
            }
        }
    }
}

/// The journal says of every job what the model says.
async fn compare(journal: &Journal, model: &Model) {
    let jobs = all_jobs(journal).await;
    assert_eq!(jobs.len(), model.jobs.len());
    for job in &jobs {
        let expected = &model.jobs[&job.id];
        let phase = match &job.state {
            JobState::Queued | JobState::Parked { .. } => Phase::Queued,
            JobState::Running { .. } => Phase::Running,
            JobState::Held { .. } => Phase::Held,
            JobState::Ended { outcome, .. } => Phase::Ended(*outcome),
        };
        let said = (phase, job.attempts, job.lapses);
        assert_eq!(
            said,
            (expected.phase.clone(), expected.attempts, expected.lapses),
            "{job:?}"
        );
    }
    for status in journal.lanes(None).await.expect("a query") {
        let index = lanes()
            .iter()
            .position(|lane| *lane == status.lane)
            .expect("a known lane");
        let count = |phase: Phase| {
            model
                .jobs
                .values()
                .filter(|job| job.lane == index && job.phase == phase)
                .count() as u64
        };
        let said = (status.queued, status.running, status.held, status.parked.is_some());
        let expected = (
            count(Phase::Queued),
            count(Phase::Running),
            count(Phase::Held),
            model.lanes[index].parked,
        );
        assert_eq!(said, expected, "{status:?}");
    }
    for tally in journal.tallies().await.expect("a query") {
        let here = |job: &&ModelJob| lanes()[job.lane] == tally.lane && job.phase == Phase::Ended(tally.outcome);
        assert_eq!(
            tally.count,
            model.jobs.values().filter(here).count() as u64,
            "{tally:?}"
        );
    }
    assert_eq!(journal.reconcile().await, Ok(vec![]));
}

#[test]
fn random_histories_agree_with_the_model_on_sqlite() {
    agree(64, Rig::sqlite);
}

/// Fewer, since each has a database made for it.
#[test]
fn random_histories_agree_with_the_model_on_postgres() {
    agree(24, Rig::postgres);
}

fn agree(cases: u32, open: impl AsyncFn() -> Rig) {
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&steps(), |steps| {
        block_on(async {
            let mut rig = open().await;
            // Without the random wait, the model knows the order in which jobs come back.
            let backoff = Backoff {
                first: Duration::ZERO,
                most: Duration::ZERO,
            };
            let options = Options {
                max_attempts: MAX_ATTEMPTS,
                max_lapses: MAX_LAPSES,
                backoff,
                ..rig.options()
            };
            rig.reopen(options).await;
            let mut model = Model::default();
            for step in &steps {
                apply(&rig, &mut model, step).await;
            }
            compare(&rig.journal, &model).await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
