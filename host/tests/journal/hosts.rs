//! Several hosts, and a database that goes away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use exeunt::journal::{
    Dedupe, EventId, Extended, JobFilter, JobState, Journal, JournalError, NewEvent, Options, Outcome, Page, State,
};

use crate::rig::{Rig, all_jobs, block_on, end, event, lane, leaver, queued, release, start_of_time, until};
use kit::PrivatePostgres;

fn with_id(number: usize) -> NewEvent {
    let lane = lane(&format!("t{}", number % 7), "c");
    NewEvent {
        dedupe: Dedupe::SourceId(number.to_string()),
        ..leaver(&lane, start_of_time())
    }
}

/// Says it again until it is heard, as a patient source would.
async fn accept_at_last(journal: &Journal, number: usize) -> EventId {
    loop {
        match journal.accept(with_id(number)).await {
            Ok(accepted) => return accepted.event,
            Err(JournalError::Unavailable(_) | JournalError::Busy) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Claims and finishes until told to stop; what the database does meanwhile must not matter.
async fn work(journal: Journal, owner: String, stop: Arc<AtomicBool>, ended: Arc<AtomicUsize>) {
    while !stop.load(Ordering::SeqCst) {
        if let Err(error) = journal.reclaim().await {
            assert!(matches!(error, JournalError::Unavailable(_)), "{error}");
        }
        let Ok(jobs) = journal.claim(&owner, Duration::from_millis(1500), 20).await else {
            tokio::task::yield_now().await;
            continue;
        };
        for job in jobs {
            let reached = loop {
                match journal.finish(&job.fence, end(Outcome::Closed), None).await {
                    Ok(_) => break true,
                    Err(JournalError::LeaseLost(_)) => break false,
                    Err(JournalError::Unavailable(_)) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            };
            ended.fetch_add(usize::from(reached), Ordering::SeqCst);
        }
    }
}

#[test]
fn a_server_that_restarts_loses_nothing_and_is_found_again() {
    const EVENTS: usize = 400;
    block_on(async {
        let server = PrivatePostgres::start();
        let url = server.database();
        // Its own clock, since tries after a lost lease have to become due.
        let options = Options {
            max_lapses: 1000,
            max_attempts: 1000,
            ..Options::default()
        };
        let journal = Journal::open(&url, options.clone()).await.expect("it opens");
        let other = Journal::open(&url, options).await.expect("it opens");
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let workers: Vec<_> = [&journal, &other]
            .into_iter()
            .enumerate()
            .map(|(n, journal)| {
                tokio::spawn(work(
                    journal.clone(),
                    format!("host-{n}"),
                    Arc::clone(&stop),
                    Arc::clone(&ended),
                ))
            })
            .collect();
        let mut clients = Vec::new();
        for client in 0..8 {
            let journal = if client % 2 == 0 {
                journal.clone()
            } else {
                other.clone()
            };
            clients.push(tokio::spawn(async move {
                let mut accepted = Vec::new();
                for number in (client..EVENTS).step_by(8) {
                    accepted.push(accept_at_last(&journal, number).await);
                }
                accepted
            }));
        }
        for _ in 0..3 {
            let enough = (ended.load(Ordering::SeqCst) + 20).min(EVENTS);
            until("some jobs end", async || ended.load(Ordering::SeqCst) >= enough).await;
            let server = &server;
            tokio::task::block_in_place(|| {
                server.crash();
                server.start_again();
            });
        }
        let mut accepted = BTreeSet::new();
        for client in clients {
            accepted.extend(client.await.expect("no panic"));
        }
        assert_eq!(accepted.len(), EVENTS, "each event has an id of its own");
        let (filter, page) = (
            JobFilter {
                state: Some(State::Ended),
                ..JobFilter::default()
            },
            Page {
                before: None,
                limit: 500,
            },
        );
        let all_ended = async || {
            journal
                .jobs(&filter, page)
                .await
                .is_ok_and(|jobs| jobs.items.len() == EVENTS)
        };
        until("all jobs end", all_ended).await;
        stop.store(true, Ordering::SeqCst);
        for worker in workers {
            worker.await.expect("no panic");
        }
        let jobs = all_jobs(&journal).await;
        let events: BTreeSet<EventId> = jobs.iter().map(|job| job.event).collect();
        assert_eq!((jobs.len(), events), (EVENTS, accepted));
        assert!(jobs.iter().all(|job| matches!(
            job.state,
            JobState::Ended {
                outcome: Outcome::Closed,
                ..
            }
        )));
        assert_eq!(journal.reconcile().await, Ok(vec![]));
    });
}

#[test]
fn while_the_server_is_away_the_answer_is_unavailable() {
    block_on(async {
        let server = PrivatePostgres::start();
        let journal = Journal::open(&server.database(), Options::default())
            .await
            .expect("it opens");
        journal.accept(with_id(1)).await.expect("accepted");
        server.crash();
        for result in [
            journal.accept(with_id(2)).await.map(drop),
            journal.claim("host-1", Duration::from_secs(1), 1).await.map(drop),
            journal.lanes(None).await.map(drop),
            journal.reclaim().await.map(drop),
        ] {
            assert!(matches!(result, Err(JournalError::Unavailable(_))), "{result:?}");
        }
        server.start_again();
        journal.accept(with_id(2)).await.expect("accepted again");
        assert_eq!(
            journal
                .claim("host-1", Duration::from_secs(1), 10)
                .await
                .expect("a claim")
                .len(),
            2
        );
    });
}

#[test]
fn hosts_that_accept_the_same_events_agree_on_one() {
    block_on(async {
        let rig = Rig::postgres().await;
        let other = rig.another(rig.options()).await;
        let events = |journal: Journal, reverse: bool| async move {
            let numbers: Vec<usize> = if reverse {
                (0..300).rev().collect()
            } else {
                (0..300).collect()
            };
            let tasks: Vec<_> = numbers
                .into_iter()
                .map(|number| {
                    let journal = journal.clone();
                    tokio::spawn(async move { (number, journal.accept(with_id(number)).await.expect("accepted")) })
                })
                .collect();
            let mut answers = Vec::new();
            for task in tasks {
                answers.push(task.await.expect("no panic"));
            }
            answers
        };
        let (mut one, mut two) = tokio::join!(events(rig.journal.clone(), false), events(other, true));
        one.sort_by_key(|(number, _)| *number);
        two.sort_by_key(|(number, _)| *number);
        for ((_, one), (_, two)) in one.iter().zip(&two) {
            assert_eq!(one.event, two.event);
            assert_eq!(
                usize::from(one.duplicate.is_some()) + usize::from(two.duplicate.is_some()),
                1
            );
        }
        assert_eq!(rig.journal.reconcile().await, Ok(vec![]));
    });
}

#[test]
fn hosts_that_change_the_same_lanes_do_not_stand_in_each_others_way() {
    block_on(async {
        let rig = Rig::postgres().await;
        let connectors: Vec<String> = (0..12).map(|n| format!("c-{n}.{}", n % 3)).collect();
        let mut tasks = Vec::new();
        for host in 0..3 {
            let (journal, connectors) = (rig.another(rig.options()).await, connectors.clone());
            let now = rig.now();
            tasks.push(tokio::spawn(async move {
                let owner = format!("host-{host}");
                for round in 0..40 {
                    let mut order = connectors.clone();
                    order.rotate_left((host * 5 + round) % 12);
                    let jobs = order.iter().map(|connector| queued(connector)).collect();
                    let (accepted, claimed) = tokio::join!(
                        journal.accept(event("acme", jobs, now)),
                        journal.claim(&owner, Duration::from_secs(60), 10),
                    );
                    accepted.expect("accepted");
                    let claimed = claimed.expect("a claim");
                    let finishes = claimed.into_iter().map(|job| {
                        let journal = journal.clone();
                        tokio::spawn(
                            async move { journal.finish(&job.fence, release(), None).await.expect("a finish") },
                        )
                    });
                    for finish in finishes.collect::<Vec<_>>() {
                        finish.await.expect("no panic");
                    }
                }
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(rig.journal.reconcile().await, Ok(vec![]));
        let queued: u64 = rig
            .journal
            .lanes(None)
            .await
            .expect("a query")
            .iter()
            .map(|lane| lane.queued)
            .sum();
        assert_eq!(queued, 3 * 40 * 12);
    });
}

/// Passes connections on to a server, until it says nothing more on those that are open: as where a machine loses its power
/// and another takes its address.
///
/// `passing` counts the connections on which something is passed on.
async fn stalling(url: &str, stalls: Arc<AtomicBool>, passing: Arc<AtomicUsize>) -> String {
    let value = |name: &str| {
        let (_, rest) = url.split_once(name).expect("it is there");
        rest.split('&').next().unwrap_or_default().to_owned()
    };
    let (folder, user) = (value("host="), value("user="));
    let name = url
        .trim_start_matches("postgres:///")
        .split('?')
        .next()
        .unwrap_or_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let server = tokio::net::UnixStream::connect(format!("{folder}/.s.PGSQL.5432")).await;
            let (mut server, stalls) = (server.expect("a connection"), Arc::clone(&stalls));
            let passing = Arc::clone(&passing);
            let is_old = !stalls.load(Ordering::SeqCst);
            tokio::spawn(async move {
                passing.fetch_add(1, Ordering::SeqCst);
                let both = tokio::io::copy_bidirectional(&mut client, &mut server);
                let stalled = async {
                    while !is_old || !stalls.load(Ordering::SeqCst) {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                };
                tokio::select! {
                    _ = both => {}
                    () = stalled => {}
                }
                passing.fetch_sub(1, Ordering::SeqCst);
                if is_old {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    format!("postgres://{user}@{address}/{name}")
}

#[test]
fn a_server_that_falls_silent_costs_no_lease_where_another_takes_its_place() {
    block_on(async {
        let (stalls, passing) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let url = PrivatePostgres::shared().database();
        let url = stalling(&url, Arc::clone(&stalls), Arc::clone(&passing)).await;
        let journal = Journal::open(&url, Options::default()).await.expect("it opens");
        journal.accept(with_id(1)).await.expect("accepted");
        let lease = Duration::from_secs(30);
        let job = journal.claim("host", lease, 1).await.expect("a claim").remove(0);
        // Each kind of work has had its connection.
        let all = Ok(Extended::default());
        assert_eq!(journal.heartbeat(std::slice::from_ref(&job.fence), lease).await, all);
        stalls.store(true, Ordering::SeqCst);
        until("all are silent", async || passing.load(Ordering::SeqCst) == 0).await;
        let beats = async {
            let accepted = journal.accept(with_id(2)).await;
            let lost = journal.heartbeat(std::slice::from_ref(&job.fence), lease).await;
            (accepted.map(drop), lost)
        };
        let said = tokio::time::timeout(lease, beats).await;
        assert_eq!(said.expect("long before the lease is over"), (Ok(()), all));
    });
}
