//! Verb calls: each in a fresh store, within its limits, its record kept whatever happens.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::Resource;
use wasmtime::{Store, Trap};

use super::account::{self, Texts};
use super::admission::Plugin;
use super::bindings::Connector;
use super::bindings::exeunt::connector::types::{Account, Failure, Person};
use super::bindings::exports::exeunt::connector::user_closure::Accounts;
use super::engine::State;
use super::pace::{Budget, paced};
use crate::capability::{Call, CallRecord, LimitReached, Token, Verb};
use crate::text::is_odd;

/// How a verb call ended: its answer or failure, or a fault of the guest or host; and what it did on the way.
#[derive(Debug)]
pub struct Ended<T> {
    /// The answer.
    pub result: Result<Result<T, Failure>, Fault>,
    /// What it did.
    pub record: CallRecord,
}

/// A call that ended without an answer. The guest is gone; nothing else is touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The guest trapped.
    #[error("the plugin trapped: {0}")]
    Trap(String),
    /// A limit ended it.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// The wall clock ended it.
    #[error("the plugin did not answer within {} s", .0.as_secs())]
    WallClock(Duration),
    /// It answered with something that the contract rules out.
    #[error("the plugin broke the contract: {0}")]
    Contract(String),
}

impl Plugin {
    /// Asks for a token.
    pub async fn mint(&self, call: Call) -> Ended<Token> {
        debug_assert_eq!(call.verb(), Verb::Mint);
        let slot = self.slot().await;
        let (record, budget) = (call.record(), self.sandbox.pace.budget(call.tenant()));
        let mut store = self.sandbox.store(Some(call), Some(&budget));
        let ended = self
            .bounded(&record, &budget, async {
                let connector = self.pre.instantiate_async(&mut store).await?;
                let handle = match connector.exeunt_connector_token_minting().call_mint(&mut store).await? {
                    Ok(handle) => handle,
                    Err(failure) => return Ok(Err(failure)),
                };
                let state = store.data_mut();
                let token = state.table.delete(handle)?;
                match &state.call {
                    Some(call) if call.minted(&token) => Ok(Ok(token)),
                    _ => Err(broken("`mint` returned a token that it did not make in this call")),
                }
            })
            .await;
        over(budget, ended, store, slot)
    }

    /// Finds a person's accounts.
    pub async fn find(&self, call: Call, person: &Person, token: &Token) -> Ended<Vec<Account>> {
        debug_assert_eq!(call.verb(), Verb::Find);
        let slot = self.slot().await;
        let (record, budget) = (call.record(), self.sandbox.pace.budget(call.tenant()));
        let mut store = self.sandbox.store(Some(call), Some(&budget));
        let ended = self
            .bounded(&record, &budget, async {
                let (connector, token) = self.open(&mut store, token).await?;
                let found = connector
                    .exeunt_connector_user_closure()
                    .call_find(&mut store, person, token)
                    .await?;
                self.check_accounts(found.as_deref().ok(), self.sandbox.limits.accounts_found)?;
                Ok(found)
            })
            .await;
        over(budget, ended, store, slot)
    }

    /// Reads the account that the call is about.
    pub async fn read(&self, call: Call, token: &Token) -> Ended<Option<Account>> {
        debug_assert_eq!(call.verb(), Verb::Read);
        let id = call.account().to_owned();
        let slot = self.slot().await;
        let (record, budget) = (call.record(), self.sandbox.pace.budget(call.tenant()));
        let mut store = self.sandbox.store(Some(call), Some(&budget));
        let ended = self
            .bounded(&record, &budget, async {
                let (connector, token) = self.open(&mut store, token).await?;
                let read = connector
                    .exeunt_connector_user_closure()
                    .call_read(&mut store, &id, token)
                    .await?;
                let account = read.as_ref().ok().and_then(Option::as_ref);
                self.check_accounts(account.map(std::slice::from_ref), 1)?;
                Ok(read)
            })
            .await;
        over(budget, ended, store, slot)
    }

    /// Closes the account that the call is about.
    pub async fn close(&self, call: Call, token: &Token) -> Ended<()> {
        debug_assert_eq!(call.verb(), Verb::Close);
        let id = call.account().to_owned();
        let slot = self.slot().await;
        let (record, budget) = (call.record(), self.sandbox.pace.budget(call.tenant()));
        let mut store = self.sandbox.store(Some(call), Some(&budget));
        let ended = self
            .bounded(&record, &budget, async {
                let (connector, token) = self.open(&mut store, token).await?;
                connector
                    .exeunt_connector_user_closure()
                    .call_close(&mut store, &id, token)
                    .await
            })
            .await;
        over(budget, ended, store, slot)
    }

    /// Lists accounts, a page at a time.
    pub async fn page(&self, call: Call, cursor: Option<&str>, token: &Token) -> Ended<Accounts> {
        debug_assert_eq!(call.verb(), Verb::Page);
        let slot = self.slot().await;
        let (record, budget) = (call.record(), self.sandbox.pace.budget(call.tenant()));
        let mut store = self.sandbox.store(Some(call), Some(&budget));
        let ended = self
            .bounded(&record, &budget, async {
                let (connector, token) = self.open(&mut store, token).await?;
                let page = connector
                    .exeunt_connector_user_closure()
                    .call_page(&mut store, cursor, token)
                    .await?;
                self.check_accounts(
                    page.as_ref().ok().map(|page| page.items.as_slice()),
                    self.sandbox.limits.accounts_paged,
                )?;
                let limit = self.sandbox.limits.cursor;
                if page
                    .as_ref()
                    .is_ok_and(|page| page.next.as_ref().is_some_and(|next| next.len() > limit))
                {
                    return Err(broken(&format!("`page` returned a cursor of more than {limit} bytes")));
                }
                Ok(page)
            })
            .await;
        over(budget, ended, store, slot)
    }

    /// Waits for a free slot of the pool. Taken before the store is made and dropped after it: that is what keeps the
    /// pool from running dry. The wait is not the plugin's time, so the wall clock starts later.
    async fn slot(&self) -> Slot {
        // Nobody closes this semaphore, so there is always a permit to wait for.
        Arc::clone(&self.sandbox.permits).acquire_owned().await.ok()
    }

    /// Instantiates the guest and lends it the token: it gets a borrowed handle, the store keeps the token.
    async fn open(&self, store: &mut Store<State>, token: &Token) -> wasmtime::Result<(Connector, Resource<Token>)> {
        // Before instantiation: a start function may ask the target, which may show what it was sent before.
        let state = store.data_mut();
        if let Some(call) = &mut state.call {
            call.lend(token);
        }
        let connector = self.pre.instantiate_async(&mut *store).await?;
        let state = store.data_mut();
        let own = state.table.push(token.clone())?;
        Ok((connector, Resource::new_borrow(own.rep())))
    }

    /// Runs a verb within the wall clock. Outside the call, so that it fires while the guest waits in a host call.
    async fn bounded<T>(
        &self,
        record: &Mutex<CallRecord>,
        budget: &Arc<Budget>,
        verb: impl Future<Output = wasmtime::Result<Result<T, Failure>>> + Send,
    ) -> Ended<T> {
        let wall_clock = self.sandbox.limits.wall_clock;
        let verb = paced(&self.sandbox.pace, budget, verb);
        let result = match tokio::time::timeout(wall_clock, verb).await {
            Ok(Ok(answer)) => Ok(answer.map_err(|failure| self.shorten(failure))),
            Ok(Err(error)) => Err(self.fault(&error)),
            Err(_) => Err(Fault::WallClock(wall_clock)),
        };
        Ended {
            result,
            // The call is over: nobody adds to it any more.
            record: std::mem::take(&mut *record.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn check_accounts(&self, accounts: Option<&[Account]>, most: usize) -> wasmtime::Result<()> {
        let accounts = accounts.unwrap_or_default();
        if accounts.len() > most {
            return Err(broken(&format!(
                "{} accounts in one answer, at most {most} are allowed",
                accounts.len()
            )));
        }
        let mut seen = HashSet::new();
        for account in accounts {
            account::check(account, &self.sandbox.limits).map_err(|text| broken(&text))?;
            if !seen.insert(account.id.as_str()) {
                return Err(broken("two accounts in one answer have the same id"));
            }
        }
        Ok(())
    }

    fn fault(&self, error: &wasmtime::Error) -> Fault {
        let limits = &self.sandbox.limits;
        let limit = |limit, allowed: usize| {
            Fault::Limit(LimitReached {
                limit,
                allowed: allowed as u64,
            })
        };
        if let Some(reached) = error.downcast_ref::<LimitReached>() {
            return Fault::Limit(*reached);
        }
        if let Some(Broken(text)) = error.downcast_ref::<Broken>() {
            return Fault::Contract(text.clone());
        }
        if error.downcast_ref::<Trap>() == Some(&Trap::StackOverflow) {
            return limit("stack", limits.stack);
        }
        match root_cause(error) {
            // wasmtime keeps the type of this error to itself.
            text if text.contains("fuel allocated for hostcalls") => limit("handed-over", limits.handed_over),
            text => Fault::Trap(text),
        }
    }

    /// A guest's words, bounded and without control characters, before anybody reads or keeps them.
    fn shorten(&self, failure: Failure) -> Failure {
        let limit = self.sandbox.limits.failure_text;
        let cut = |text: String| -> String {
            let mut bytes = 0;
            let printable = text.chars().map(|c| if is_odd(c) { ' ' } else { c });
            printable
                .take_while(|c| {
                    bytes += c.len_utf8();
                    bytes <= limit
                })
                .collect()
        };
        failure.texts(cut)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(String);

fn broken(text: &str) -> wasmtime::Error {
    Broken(text.to_owned()).into()
}

/// The innermost cause in one line. Backtraces carry the guest's own symbol names and are no help to an operator.
pub(super) fn root_cause(error: &wasmtime::Error) -> String {
    let cause = error.root_cause().to_string();
    cause.lines().next().unwrap_or_default().chars().take(500).collect()
}

/// A place in the pool.
type Slot = Option<OwnedSemaphorePermit>;

/// Memory above which a store is not taken down on the worker that ran it: 48 MiB, which is above what a Rust guest sets
/// aside without touching it (the DocuSign connector 13 MiB). The kernel takes back a gigabyte in a tenth of a second, and
/// whoever is behind the guest on its worker would wait for that; for a small store the way to another thread costs more
/// than it saves.
const LARGE: usize = 48 * 1024 * 1024;

/// Takes the store down and gives its place back, in this order. Returns what the guest answered.
fn over<T: Texts>(budget: Arc<Budget>, ended: Ended<T>, store: Store<State>, slot: Slot) -> Ended<T> {
    let ended = budget.charged(|| cleaned(ended, &store));
    let is_large = store.data().limiter.memory() > LARGE;
    let take_down = move || {
        budget.charged(|| drop(store));
        drop(slot);
    };
    if is_large {
        tokio::task::spawn_blocking(take_down);
    } else {
        take_down();
    }
    ended
}

/// What a guest answered, without what the host injected: a target may have shown it to the guest in a shape that
/// only the guest could read.
fn cleaned<T: Texts>(ended: Ended<T>, store: &Store<State>) -> Ended<T> {
    let Some(call) = &store.data().call else {
        return ended;
    };
    let clean = |text: String| call.clean(text);
    let result = ended.result.map(|answer| match answer {
        Ok(answer) => Ok(answer.texts(clean)),
        Err(failure) => Err(failure.texts(clean)),
    });
    Ended { result, ..ended }
}
