//! Attempts that would not end: no single call is over its limits, all together are.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use exeunt::capability::{HttpError, Method, Outgoing, Response, Transport};
use exeunt::dispatch::{Connector, Gate, Stop, attempt};
use exeunt::evidence::CallTranscript;
use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::house::{House, leaver};

/// Accounts of one person.
const ACCOUNTS: usize = 50;

/// A target that takes its time over every request, or says much.
#[derive(Debug, Default)]
struct Target {
    takes: Duration,
    says: usize,
    /// Answers nothing of use any more once something is closed, for as long as this is set.
    breaks: AtomicBool,
    closed: Mutex<BTreeSet<String>>,
}

impl Target {
    fn answer_for(&self, method: Method, path: &str) -> Value {
        let mut closed = self.closed.lock().unwrap();
        let account = |id: &str, closed: bool| {
            let status = if closed { "closed" } else { "open" };
            json!({"id": id, "email": "leaver@acme.example", "status": status, "more": "\"".repeat(self.says)})
        };
        match (method, path.strip_prefix("/users/")) {
            (Method::Get, Some(id)) => account(id, closed.contains(id)),
            (Method::Delete, Some(id)) => {
                closed.insert(id.to_owned());
                account(id, true)
            }
            _ => (0..ACCOUNTS)
                .map(|number| account(&format!("a{number:02}"), false))
                .collect(),
        }
    }
}

/// How long an answer takes that is of no use: longer than anybody waits for one that is.
const BROKEN: Duration = Duration::from_secs(40);

/// Lets time go by. The clock stands for this moment only: one that always stands runs on by itself, up to the next limit,
/// whenever the guest has to wait for its turn.
fn pass(time: Duration) {
    tokio::time::pause();
    // The first poll moves the clock; what is left of it is a yield.
    tokio::time::advance(time).now_or_never();
    tokio::time::resume();
}

impl Transport for Target {
    fn answer(&self, request: &Outgoing<'_>) -> Result<Response, HttpError> {
        let body = self
            .answer_for(request.method, request.url.path())
            .to_string()
            .into_bytes();
        let headers = Vec::new();
        let is_read = request.method == Method::Get;
        let is_broken = is_read && self.breaks.load(Ordering::SeqCst) && !self.closed.lock().unwrap().is_empty();
        pass(if is_broken { BROKEN } else { self.takes });
        Ok(Response {
            status: if is_broken { 503 } else { 200 },
            headers,
            body,
        })
    }
}

async fn connector(target: &Arc<Target>) -> Connector {
    connector_with(target, "").await
}

async fn connector_with(target: &Arc<Target>, policy: &str) -> Connector {
    let house = House::answered_by(Arc::clone(target) as Arc<dyn Transport>).await;
    let settings = json!({"issuer": "the-integration", "subject": "the-service-user"});
    let lines = format!("close_all = true\n{policy}");
    house.load("hostile", &settings, &lines).await.unwrap()
}

/// Everything that was asked to be closed was read as closed.
fn all_proved(transcript: &[CallTranscript], closed: &BTreeSet<String>) {
    for id in closed {
        let reads = transcript.iter().flat_map(|call| &call.exchanges);
        let read = reads.filter(|exchange| exchange.method == "GET" && exchange.path == format!("/users/{id}"));
        assert!(read.count() > 0, "{id} was closed and not read");
    }
}

#[tokio::test]
pub(crate) async fn an_attempt_begins_nothing_new_after_ten_minutes() {
    let takes = Duration::from_secs(25);
    let target = Arc::new(Target {
        takes,
        ..Target::default()
    });
    let connector = connector(&target).await;
    let started = tokio::time::Instant::now();
    let tried = attempt(&connector, &leaver(), false, &mut Gate::in_memory()).await;
    assert!(
        matches!(&tried.end, Err(Stop::Unavailable(reason)) if reason.contains("10 minutes")),
        "{:?}",
        tried.end
    );
    let elapsed = started.elapsed();
    assert!(
        elapsed >= Duration::from_secs(600) && elapsed < Duration::from_secs(600) + 4 * takes,
        "{elapsed:?}"
    );
    let closed = target.closed.lock().unwrap().clone();
    assert!(!closed.is_empty() && closed.len() < ACCOUNTS, "{closed:?}");
    all_proved(&tried.transcript, &closed);
}

#[tokio::test]
pub(crate) async fn an_attempt_that_says_too_much_begins_nothing_new() {
    // Below the body that a transcript keeps, and below what one call may receive: 60,000 bytes, twice as many in JSON.
    let target = Arc::new(Target {
        says: 30_000,
        ..Target::default()
    });
    let connector = connector(&target).await;
    let tried = attempt(&connector, &leaver(), false, &mut Gate::in_memory()).await;
    let Err(Stop::Failed(reason)) = &tried.end else {
        panic!("{:?}", tried.end);
    };
    assert!(reason.contains("over 8388608 bytes in one attempt"), "{reason}");
    let kept = serde_json::to_vec(&tried.transcript).expect("JSON").len();
    assert!(kept > 7 * 1024 * 1024 && kept < 9 * 1024 * 1024, "{kept}");
    let closed = target.closed.lock().unwrap().clone();
    assert!(!closed.is_empty() && closed.len() < ACCOUNTS, "{closed:?}");
    all_proved(&tried.transcript, &closed);
}

#[tokio::test]
pub(crate) async fn what_was_closed_and_cannot_be_read_is_not_over() {
    let target = Arc::new(Target {
        breaks: AtomicBool::new(true),
        ..Target::default()
    });
    let connector = connector(&target).await;
    let mut gate = Gate::in_memory();
    for why in ["but after 40 s account a00 cannot be read", "503"] {
        let tried = attempt(&connector, &leaver(), false, &mut gate).await;
        let Err(Stop::Unavailable(reason)) = &tried.end else {
            panic!("{:?}", tried.end);
        };
        assert!(reason.contains(why), "{reason}");
    }
    assert_eq!(target.closed.lock().unwrap().len(), 1, "nothing more was begun");
    target.breaks.store(false, Ordering::SeqCst);
    let tried = attempt(&connector, &leaver(), false, &mut gate).await;
    assert!(tried.end.is_ok(), "{:?}", tried.end);
    assert_eq!(target.closed.lock().unwrap().len(), ACCOUNTS);
}

#[tokio::test]
pub(crate) async fn who_became_protected_between_two_attempts_is_not_said_to_be_untouched() {
    let target = Arc::new(Target {
        breaks: AtomicBool::new(true),
        ..Target::default()
    });
    let mut gate = Gate::in_memory();
    let tried = attempt(&connector(&target).await, &leaver(), false, &mut gate).await;
    assert!(matches!(tried.end, Err(Stop::Unavailable(_))), "{:?}", tried.end);
    target.breaks.store(false, Ordering::SeqCst);
    let protecting = connector_with(&target, "[policy]\nprotected = [\"leaver@acme.example\"]").await;
    let tried = attempt(&protecting, &leaver(), false, &mut gate).await;
    let Err(Stop::Refused(reason)) = &tried.end else {
        panic!("{:?}", tried.end);
    };
    assert!(reason.contains("is protected"), "{reason}");
    assert!(reason.ends_with("this job has closed a00"), "{reason}");
    assert_eq!(target.closed.lock().unwrap().len(), 1);
}
