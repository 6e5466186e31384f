//! Who was reported and what must have become of them, held against the host's record and the simulator's.

use std::collections::BTreeMap;

use docusign_sim::{Simulator, Status, User};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::client::Client;

/// What a person has in the target before the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Active,
    Closed,
    Nothing,
}

#[derive(Debug)]
struct Person {
    tenant: String,
    email: String,
    user: Option<String>,
    before: Before,
    body: Vec<u8>,
    event: Option<String>,
}

/// Everybody who leaves in a test. Each event is sent until it is acknowledged, as a patient source would.
#[derive(Debug, Default)]
pub(crate) struct Books {
    people: Mutex<Vec<Person>>,
}

impl Books {
    /// Adds people of a tenant: of ten, eight have an account, one had one, one never had.
    pub(crate) async fn add(&self, simulator: &Simulator, tenant: &str, count: usize) {
        let mut people = self.people.lock().await;
        for _ in 0..count {
            let number = people.len();
            let email = format!("p{number}@{tenant}.example");
            let (before, user) = match number % 10 {
                3 => (Before::Closed, Some(User::new(&email).with_status(Status::Closed))),
                7 => (Before::Nothing, None),
                _ => (Before::Active, Some(User::new(&email))),
            };
            people.push(Person {
                tenant: tenant.to_owned(),
                body: end_to_end::event(&email),
                user: user.map(|user| simulator.add_user(user)),
                event: None,
                before,
                email,
            });
        }
    }

    /// Sends what is not acknowledged yet, eight at a time, until all is or the host does not answer any more.
    /// Returns how many are acknowledged now.
    pub(crate) async fn send(&self, client: &Client) -> usize {
        let waiting: Vec<(usize, String, Vec<u8>)> = {
            let people = self.people.lock().await;
            let waiting = people.iter().enumerate().filter(|(_, person)| person.event.is_none());
            waiting
                .map(|(index, person)| (index, person.tenant.clone(), person.body.clone()))
                .collect()
        };
        let queue = Mutex::new(waiting.into_iter());
        let sender = async || loop {
            let Some((index, tenant, body)) = queue.lock().await.next() else {
                return;
            };
            match client.event(&tenant, &body).await {
                Ok((200, answer)) => self.acknowledge(index, &answer).await,
                Ok((status, answer)) => assert!(matches!(status, 429 | 503), "{status} {answer}"),
                Err(()) => return,
            }
        };
        let all = std::iter::repeat_with(&sender).take(8);
        futures_util::future::join_all(all).await;
        self.acknowledged().await
    }

    /// Sends until everything is acknowledged.
    pub(crate) async fn send_all(&self, client: &Client) {
        let count = self.people.lock().await.len();
        crate::until("all events are acknowledged", async || self.send(client).await == count).await;
    }

    async fn acknowledge(&self, index: usize, answer: &Value) {
        let event = answer["event"].as_str().expect("an id").to_owned();
        self.people.lock().await[index].event = Some(event);
    }

    pub(crate) async fn acknowledged(&self) -> usize {
        let people = self.people.lock().await;
        people.iter().filter(|person| person.event.is_some()).count()
    }

    /// Everybody was acknowledged, has exactly one job, and its outcome is what the target's own books say.
    pub(crate) async fn balance(&self, client: &Client, simulator: &Simulator) {
        self.balance_but(client, simulator, 0).await;
    }

    /// As [`Books::balance`], where so many jobs are of events that are not in these books.
    pub(crate) async fn balance_but(&self, client: &Client, simulator: &Simulator, others: usize) {
        let people = self.people.lock().await;
        let jobs = client.jobs("").await;
        assert_eq!(jobs.len(), people.len() + others, "one job for each event and no other");
        let by_event: BTreeMap<&str, &Value> = jobs
            .iter()
            .map(|job| (job["event"].as_str().expect("an id"), job))
            .collect();
        for person in people.iter() {
            let event = person.event.as_deref().expect("acknowledged");
            let job = by_event.get(event).unwrap_or_else(|| panic!("{person:?} is lost"));
            assert_eq!(job["person"]["email"], person.email.as_str());
            let expected = match person.before {
                Before::Active => "closed",
                Before::Closed => "already_closed",
                Before::Nothing => "no_account",
            };
            assert_eq!(job["outcome"], expected, "{job:#}");
            if let Some(id) = &person.user {
                let user = simulator.user(id).expect("a user");
                let wanted = u64::from(person.before == Before::Active);
                assert_eq!(
                    (user.status, user.deletes),
                    (Status::Closed, wanted),
                    "{user:?}\n{job:#}"
                );
            }
        }
        assert_eq!(simulator.counters().second_deletes, 0);
    }
}
