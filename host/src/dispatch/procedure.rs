//! The leaver procedure for one job: find, guard, plan, close, verify.
//!
//! Every step reads before it acts, so the whole can be run again from the start after anything. What the host saw
//! end ambiguously is read before anything is tried again, and neither a 200 nor a search is ever taken for proof: what
//! ends as closed has been read as closed, account by account.

use std::fmt::Write as _;

use super::gate::Gate;
use super::guard;
use super::live::Connector;
use super::stop::Stop;
use super::verbs::Verbs;
use crate::evidence::{AccountChange, CallTranscript, Outcome};
use crate::intake;
use crate::sandbox::{Account, Standing};
use crate::step;
use crate::tenant::Mode;

/// Most closed accounts that a reason names: 10. The record has them all.
const MOST_NAMED: usize = 10;

/// Why an account counts as closed by us that this attempt did not close.
const CLOSED_EARLIER: &str = "closed by an earlier attempt, as an independent read shows";

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
        closed: Vec::new(),
        gate,
    };
    let end = procedure.run(person, dry_run).await;
    Attempt {
        end,
        accounts: procedure.accounts,
        transcript: procedure.verbs.transcript,
    }
}

/// One attempt that is under way.
pub(super) struct Procedure<'a, 'g> {
    pub(super) connector: &'a Connector,
    pub(super) verbs: Verbs<'a>,
    pub(super) accounts: Vec<AccountChange>,
    /// What this job set out to close and a read has shown closed.
    pub(super) closed: Vec<String>,
    pub(super) gate: &'a mut Gate<'g>,
}

impl Procedure<'_, '_> {
    async fn run(&mut self, person: &intake::Person, dry_run: bool) -> Result<(Outcome, String), Stop> {
        let found = match self.find(person).await {
            // What an earlier attempt set out to close may be closed: no attempt ends the job before that is read.
            Err(Stop::Failed(reason)) if !self.gate.intended().is_empty() => return Err(Stop::Unavailable(reason)),
            found => found?,
        };
        step::passed("found");
        if let Err(stop) = guard::check(self.connector, person, &found, self.gate).await {
            return Err(self.with_intended(stop).await?);
        }
        let end = match self.close_found(person, &found, dry_run).await {
            Err(stop @ (Stop::Refused(_) | Stop::Failed(_))) => return Err(self.with_intended(stop).await?),
            end => end?,
        };
        let were_closed = self.verify_missing(&found).await?;
        Ok(match end.0 {
            Outcome::NoAccount | Outcome::AlreadyClosed if were_closed => (Outcome::Closed, CLOSED_EARLIER.to_owned()),
            Outcome::Planned => (end.0, end.1 + &self.has_closed()),
            _ => end,
        })
    }

    /// Closes what is open of what the search has found.
    async fn close_found(
        &mut self,
        person: &intake::Person,
        found: &[Account],
        dry_run: bool,
    ) -> Result<(Outcome, String), Stop> {
        let open: Vec<Account> = found
            .iter()
            .filter(|account| account.standing != Standing::Closed)
            .cloned()
            .collect();
        if found.is_empty() {
            let reason = "the target knows no account of this person".to_owned();
            return Ok((Outcome::NoAccount, reason));
        }
        if open.is_empty() {
            return self.closed_before(found).await;
        }
        if dry_run || self.connector.mode == Mode::DryRun {
            return self.plan(person, found, &open).await;
        }
        let mut has_closed = false;
        for (number, account) in open.iter().enumerate() {
            // The first one was found just now. Before a further one, half a minute may have gone by; and of one that an
            // earlier attempt set out to close, a search may not know the end yet.
            let is_doubtful = number > 0 || self.gate.was_intended(&account.id);
            if is_doubtful && self.is_closed_meanwhile(person, &account.id).await? {
                continue;
            }
            has_closed |= self.close_one(person, &account.id).await?;
        }
        if !has_closed {
            return self.closed_before(found).await;
        }
        self.verify_closed(found).await?;
        Ok((Outcome::Closed, "closed, and an independent read says so".to_owned()))
    }

    /// What would be closed.
    async fn plan(
        &mut self,
        person: &intake::Person,
        found: &[Account],
        open: &[Account],
    ) -> Result<(Outcome, String), Stop> {
        let mut ids = Vec::new();
        for Account { id, .. } in open {
            // One that an earlier attempt set out to close, before somebody wrote dry-run, is no plan.
            if !self.gate.was_intended(id) || !self.is_closed_meanwhile(person, id).await? {
                ids.push(id.as_str());
            }
        }
        if ids.is_empty() {
            return self.closed_before(found).await;
        }
        let would = format!("would close {}", ids.join(", "));
        // What it closed before somebody wrote dry-run is no plan either, and must not look untouched.
        let ours = found.iter().filter(|account| self.gate.was_intended(&account.id));
        let ours: Vec<Account> = ours.cloned().collect();
        self.verify_closed(&ours).await?;
        Ok((Outcome::Planned, would))
    }

    /// Closes one account and proves it. False where another job has closed it meanwhile.
    async fn close_one(&mut self, person: &intake::Person, id: &str) -> Result<bool, Stop> {
        loop {
            // A mint may take long, and after the gate nobody asks again whether somebody has paused meanwhile.
            self.verbs.token().await?;
            if !self.reserve(person, id).await? {
                return Ok(false);
            }
            step::passed("intended");
            if let Some(closure) = self.verbs.close(id).await? {
                self.settle(id, closure).await?;
                return Ok(true);
            }
        }
    }

    /// Asks the gate for an account that is open. False where another job has closed it meanwhile.
    async fn reserve(&mut self, person: &intake::Person, id: &str) -> Result<bool, Stop> {
        while !self.gate.pass(id, &self.verbs.transcript).await? {
            if self.is_closed_meanwhile(person, id).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn find(&mut self, person: &intake::Person) -> Result<Vec<Account>, Stop> {
        let found = self.verbs.find(person).await?;
        self.accounts = found.iter().map(change).collect();
        guard::recheck(person, &found)?;
        Ok(found)
    }

    /// Reads what an earlier attempt has set out to close and the search does not find: it may leave out what is closed,
    /// or not know it yet, so it is no proof. Whether any is closed.
    ///
    /// # Errors
    ///
    /// One is open, or a read does not know it: then nothing shows what became of it, and no end would be true.
    async fn verify_missing(&mut self, found: &[Account]) -> Result<bool, Stop> {
        let mut has_closed = false;
        for id in self.gate.intended() {
            if found.iter().any(|account| account.id.eq_ignore_ascii_case(&id)) {
                continue;
            }
            self.verbs.may_go_on()?;
            let Some(account) = self.read_first(&id).await? else {
                let reason = format!(
                    "account {id} was found before, and its closure was begun; the target does not know it any more, so \
                     nothing proves that it is closed"
                );
                return Err(Stop::Unavailable(reason));
            };
            let status = account.native_status.as_str();
            if !account.id.eq_ignore_ascii_case(&id) {
                let reason = format!(
                    "account {id} was found before, and a read of it answers with {}",
                    account.id
                );
                return Err(Stop::Unavailable(reason));
            }
            if account.standing != Standing::Closed {
                let reason = format!("account {id} was found before and is {status}, and a search does not find it");
                return Err(Stop::Unavailable(reason));
            }
            self.accounts.push(AccountChange {
                after: Some(status.to_owned()),
                ..change(&account)
            });
            has_closed = true;
        }
        Ok(has_closed)
    }

    /// A stop, with what this attempt and earlier ones have closed: it must not look as if nothing was.
    async fn with_intended(&mut self, stop: Stop) -> Result<Stop, Stop> {
        for id in self.gate.intended() {
            let is_read = |change: &AccountChange| {
                change.id.eq_ignore_ascii_case(&id) && change.after.is_some() && !change.unverified
            };
            if self.accounts.iter().any(is_read) {
                continue;
            }
            match self.verbs.may_go_on() {
                Ok(()) => drop(self.read_first(&id).await?),
                // Every attempt would say too much; the stop counts, with what is known.
                Err(Stop::Failed(_)) => break,
                Err(slow) => return Err(slow),
            }
        }
        Ok(match stop {
            Stop::Refused(reason) => Stop::Refused(reason + &self.has_closed()),
            Stop::Failed(reason) => Stop::Failed(reason + &self.has_closed()),
            stop => stop,
        })
    }

    /// What to add to a reason that is not about what this job has closed; nothing where that is nothing.
    fn has_closed(&self) -> String {
        if self.closed.is_empty() {
            return String::new();
        }
        let closed = self.closed[..self.closed.len().min(MOST_NAMED)].join(", ");
        let mut text = format!("; this job has closed {closed}");
        if let Some(more @ 1..) = self.closed.len().checked_sub(MOST_NAMED) {
            let _ = write!(text, " and {more} more");
        }
        text
    }

    async fn closed_before(&mut self, found: &[Account]) -> Result<(Outcome, String), Stop> {
        self.verify_closed(found).await?;
        if found.iter().any(|account| self.gate.was_intended(&account.id)) {
            return Ok((Outcome::Closed, CLOSED_EARLIER.to_owned()));
        }
        Ok((
            Outcome::AlreadyClosed,
            "was closed before, as an independent read shows".to_owned(),
        ))
    }

    /// Reads the accounts of which only the search has said that they are closed.
    async fn verify_closed(&mut self, found: &[Account]) -> Result<(), Stop> {
        for account in found.iter().filter(|account| account.standing == Standing::Closed) {
            self.verbs.may_go_on()?;
            self.verify(&account.id, "the search found it closed").await?;
        }
        Ok(())
    }

    /// Reads an account and asks the guard about it once more. True where there is nothing left to close.
    async fn is_closed_meanwhile(&mut self, person: &intake::Person, id: &str) -> Result<bool, Stop> {
        let read = self.read_first(id).await?;
        let Some(account) = read.filter(|account| account.id.eq_ignore_ascii_case(id)) else {
            let reason = format!("account {id} was found, and a read does not know it");
            return Err(Stop::Unavailable(reason));
        };
        if account.standing == Standing::Closed {
            return Ok(true);
        }
        guard::check(self.connector, person, std::slice::from_ref(&account), self.gate).await?;
        // A read need not say the address. Where it does, the account may be somebody else's by now.
        if account.email.is_some() {
            guard::recheck(person, std::slice::from_ref(&account))?;
        }
        Ok(false)
    }
}

fn change(account: &Account) -> AccountChange {
    AccountChange {
        id: account.id.clone(),
        email: account.email.clone(),
        before: account.native_status.clone(),
        after: None,
        unverified: false,
        externally_managed: account.externally_managed,
    }
}
