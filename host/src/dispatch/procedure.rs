//! The leaver procedure for one job: find, guard, plan, close, verify.
//!
//! Every step reads before it acts, so the whole can be run again from the start after anything. What the host saw
//! end ambiguously is read before anything is tried again, and a 200 is never taken for proof.

use std::time::Duration;

use tokio::time::Instant;

use super::connector::Connector;
use super::gate::Gate;
use super::guard;
use super::stop::Stop;
use super::verbs::Verbs;
use crate::capability::Effect;
use crate::evidence::{AccountChange, CallTranscript, Outcome};
use crate::intake;
use crate::sandbox::{Account, Failure, Fault, Standing};
use crate::tenant::Mode;

/// How long an independent read may take to say closed. DocuSign answers at once; others settle within seconds.
const VERIFY_WITHIN: Duration = Duration::from_secs(30);
/// Pause after the first read that does not say closed yet; doubled up to [`VERIFY_PAUSE_MOST`].
const VERIFY_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between two reads.
const VERIFY_PAUSE_MOST: Duration = Duration::from_secs(5);

/// What one attempt came to.
#[derive(Debug)]
pub struct Attempt {
    /// An outcome with its reason, or why there is none.
    pub end: Result<(Outcome, String), Stop>,
    /// Accounts found, with what became of them.
    pub accounts: Vec<AccountChange>,
    /// What was said on the wire.
    pub transcript: Vec<CallTranscript>,
}

/// Runs one attempt.
///
/// `gate` says whether a closure may happen now, and remembers that one was tried. With `dry_run` nothing is ever
/// closed, whatever the tenant file says.
///
/// Cancelling it leaves at most one closure of unknown effect behind, whose account the gate remembers.
pub async fn attempt(connector: &Connector, person: &intake::Person, dry_run: bool, gate: &mut Gate<'_>) -> Attempt {
    let mut procedure = Procedure {
        connector,
        verbs: Verbs::new(connector),
        accounts: Vec::new(),
        gate,
    };
    let end = procedure.run(person, dry_run).await;
    Attempt {
        end,
        accounts: procedure.accounts,
        transcript: procedure.verbs.transcript,
    }
}

struct Procedure<'a, 'g> {
    connector: &'a Connector,
    verbs: Verbs<'a>,
    accounts: Vec<AccountChange>,
    gate: &'a mut Gate<'g>,
}

impl Procedure<'_, '_> {
    async fn run(&mut self, person: &intake::Person, dry_run: bool) -> Result<(Outcome, String), Stop> {
        let found = self.find(person).await?;
        guard::check(self.connector, person, &found, self.gate)?;
        let open: Vec<Account> = found
            .iter()
            .filter(|account| account.standing != Standing::Closed)
            .cloned()
            .collect();
        if found.is_empty() {
            return Ok((
                Outcome::NoAccount,
                "the target knows no account of this person".to_owned(),
            ));
        }
        if open.is_empty() {
            return Ok(self.closed_before(&found));
        }
        if dry_run || self.connector.mode == Mode::DryRun {
            let ids: Vec<&str> = open.iter().map(|account| account.id.as_str()).collect();
            return Ok((Outcome::Planned, format!("would close {}", ids.join(", "))));
        }
        let ids: Vec<String> = open.into_iter().map(|account| account.id).collect();
        self.gate.pass(&ids, &self.verbs.transcript).await?;
        for id in &ids {
            self.close(id).await?;
        }
        Ok((Outcome::Closed, "closed, and an independent read says so".to_owned()))
    }

    async fn find(&mut self, person: &intake::Person) -> Result<Vec<Account>, Stop> {
        let found = self.verbs.find(person).await?;
        self.accounts = found.iter().map(change).collect();
        guard::recheck(person, &found)?;
        Ok(found)
    }

    fn closed_before(&mut self, found: &[Account]) -> (Outcome, String) {
        for (change, account) in self.accounts.iter_mut().zip(found) {
            change.after = Some(account.native_status.clone());
        }
        if found.iter().any(|account| self.gate.was_intended(&account.id)) {
            (
                Outcome::Closed,
                "closed by an earlier attempt, as this read shows".to_owned(),
            )
        } else {
            (Outcome::AlreadyClosed, "was closed before".to_owned())
        }
    }

    /// Closes one account and proves it.
    async fn close(&mut self, id: &str) -> Result<(), Stop> {
        let (closed, effect) = self.verbs.close(id).await?;
        let problem = match closed {
            Ok(()) => return self.verify(id, "the target accepted the closure").await,
            Err(problem) => problem,
        };
        // Refused before anything left the host, or answered with a clear no: nothing can have happened.
        if !may_have_happened(&problem, effect) {
            // Somebody else may have been quicker, and targets refuse to close what is closed. One look tells.
            let is_refusal = matches!(problem, Problem::Failure(Failure::Refused(_))) && effect == Effect::Answered;
            if is_refusal && matches!(self.look(id).await, Ok((true, _))) {
                return Ok(());
            }
            return Err(problem.into_stop(self.connector));
        }
        let told = problem.to_string();
        match self.verify(id, &told).await {
            Ok(()) => Ok(()),
            // It is still open, so the lost request did nothing and the job may try again.
            Err(Stop::Failed(reason)) => Err(Stop::Unavailable(reason)),
            Err(stop) => Err(stop),
        }
    }

    /// Reads until the target says closed.
    async fn verify(&mut self, id: &str, told: &str) -> Result<(), Stop> {
        let deadline = Instant::now() + VERIFY_WITHIN;
        let mut pause = VERIFY_PAUSE;
        loop {
            let said = match self.look(id).await {
                Ok((true, _)) => return Ok(()),
                Ok((false, status)) => format!("account {id} is {status}"),
                Err(Stop::Unavailable(reason)) => format!("account {id} cannot be read: {reason}"),
                Err(stop) => return Err(stop),
            };
            if Instant::now() + pause > deadline {
                return Err(Stop::Failed(format!(
                    "{told}, but after {} s {said}",
                    VERIFY_WITHIN.as_secs()
                )));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(VERIFY_PAUSE_MOST);
        }
    }

    /// Reads once: whether the target says closed, and its own word for the account's status.
    async fn look(&mut self, id: &str) -> Result<(bool, String), Stop> {
        let account = self.verbs.read(id).await?;
        let status = account
            .as_ref()
            .map_or("unknown to the target", |account| account.native_status.as_str());
        self.note_after(id, status);
        let is_closed = account
            .as_ref()
            .is_some_and(|account| account.standing == Standing::Closed && account.id.eq_ignore_ascii_case(id));
        Ok((is_closed, status.to_owned()))
    }

    fn note_after(&mut self, id: &str, status: &str) {
        if let Some(change) = self.accounts.iter_mut().find(|change| change.id == id) {
            change.after = Some(status.to_owned());
        }
    }
}

/// Whether a closure that did not succeed may have been done all the same.
fn may_have_happened(problem: &Problem, effect: Effect) -> bool {
    match effect {
        Effect::None => false,
        Effect::Unknown => true,
        // An answer came. A clear no is a no; a 5xx or a guest that died over the answer leaves it open.
        Effect::Answered => matches!(
            problem,
            Problem::Fault(_) | Problem::Failure(Failure::Unavailable(_) | Failure::Unexpected(_))
        ),
    }
}

fn change(account: &Account) -> AccountChange {
    AccountChange {
        id: account.id.clone(),
        email: account.email.clone(),
        before: account.native_status.clone(),
        after: None,
        externally_managed: account.externally_managed,
    }
}

/// Why a closure did not succeed.
#[derive(Debug)]
pub(super) enum Problem {
    /// The plugin said so.
    Failure(Failure),
    /// The plugin did not come to an answer.
    Fault(Fault),
}

impl Problem {
    /// What it means for the job.
    pub(super) fn into_stop(self, connector: &Connector) -> Stop {
        match self {
            Self::Failure(failure) => Stop::from_failure(failure, connector.grant.clock().now()),
            Self::Fault(fault) => Stop::from_fault(&fault),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failure(Failure::Unavailable(text) | Failure::Unexpected(text)) => f.write_str(text),
            Self::Failure(_) => f.write_str("the answer to the closure was lost"),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}
