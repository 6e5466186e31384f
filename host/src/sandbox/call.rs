//! Verb calls: each in a fresh store, within its limits, its record kept whatever happens.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use wasmtime::Store;
use wasmtime::component::Resource;

use super::admission::Plugin;
use super::bindings::Connector;
use super::bindings::exeunt::connector::types::{Account, Failure, Person};
use super::bindings::exports::exeunt::connector::user_closure::Accounts;
use super::engine::State;
use crate::capability::{Call, CallRecord, LimitReached, Token, Verb};

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
        let _slot = self.slot().await;
        let record = call.record();
        let mut store = self.sandbox.store(Some(call));
        self.bounded(&record, async {
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
        .await
    }

    /// Finds a person's accounts.
    pub async fn find(&self, call: Call, person: &Person, token: &Token) -> Ended<Vec<Account>> {
        debug_assert_eq!(call.verb(), Verb::Find);
        let _slot = self.slot().await;
        let record = call.record();
        let mut store = self.sandbox.store(Some(call));
        self.bounded(&record, async {
            let (connector, token) = self.open(&mut store, token).await?;
            let found = connector
                .exeunt_connector_user_closure()
                .call_find(&mut store, person, token)
                .await?;
            self.check_accounts(found.as_ref().ok(), self.sandbox.limits.accounts_found)?;
            Ok(found)
        })
        .await
    }

    /// Reads one account.
    pub async fn read(&self, call: Call, id: &str, token: &Token) -> Ended<Option<Account>> {
        debug_assert_eq!(call.verb(), Verb::Read);
        let _slot = self.slot().await;
        let record = call.record();
        let mut store = self.sandbox.store(Some(call));
        self.bounded(&record, async {
            let (connector, token) = self.open(&mut store, token).await?;
            connector
                .exeunt_connector_user_closure()
                .call_read(&mut store, id, token)
                .await
        })
        .await
    }

    /// Closes one account.
    pub async fn close(&self, call: Call, id: &str, token: &Token) -> Ended<()> {
        debug_assert_eq!(call.verb(), Verb::Close);
        let _slot = self.slot().await;
        let record = call.record();
        let mut store = self.sandbox.store(Some(call));
        self.bounded(&record, async {
            let (connector, token) = self.open(&mut store, token).await?;
            connector
                .exeunt_connector_user_closure()
                .call_close(&mut store, id, token)
                .await
        })
        .await
    }

    /// Lists accounts, a page at a time.
    pub async fn page(&self, call: Call, cursor: Option<&str>, token: &Token) -> Ended<Accounts> {
        debug_assert_eq!(call.verb(), Verb::Page);
        let _slot = self.slot().await;
        let record = call.record();
        let mut store = self.sandbox.store(Some(call));
        self.bounded(&record, async {
            let (connector, token) = self.open(&mut store, token).await?;
            let page = connector
                .exeunt_connector_user_closure()
                .call_page(&mut store, cursor, token)
                .await?;
            self.check_accounts(
                page.as_ref().ok().map(|page| &page.items),
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
        .await
    }

    /// Waits for a free slot of the pool. Taken before the store is made and dropped after it: that is what keeps the
    /// pool from running dry. The wait is not the plugin's time, so the wall clock starts later.
    async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes this semaphore, so there is always a permit to wait for.
        self.sandbox.permits.acquire().await.ok()
    }

    /// Instantiates the guest and lends it the token: it gets a borrowed handle, the store keeps the token.
    async fn open(&self, store: &mut Store<State>, token: &Token) -> wasmtime::Result<(Connector, Resource<Token>)> {
        let connector = self.pre.instantiate_async(&mut *store).await?;
        let state = store.data_mut();
        if let Some(call) = &mut state.call {
            call.lend(token);
        }
        let own = state.table.push(token.clone())?;
        Ok((connector, Resource::new_borrow(own.rep())))
    }

    /// Runs a verb within the wall clock. Outside the call, so that it fires while the guest waits in a host call.
    async fn bounded<T>(
        &self,
        record: &Mutex<CallRecord>,
        verb: impl Future<Output = wasmtime::Result<Result<T, Failure>>> + Send,
    ) -> Ended<T> {
        let wall_clock = self.sandbox.limits.wall_clock;
        let result = match tokio::time::timeout(wall_clock, verb).await {
            Ok(Ok(answer)) => Ok(answer.map_err(|failure| self.shorten(failure))),
            Ok(Err(error)) => Err(fault(&error)),
            Err(_) => Err(Fault::WallClock(wall_clock)),
        };
        Ended {
            result,
            record: record.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn check_accounts(&self, accounts: Option<&Vec<Account>>, most: usize) -> wasmtime::Result<()> {
        let accounts = accounts.map(Vec::as_slice).unwrap_or_default();
        if accounts.len() > most {
            return Err(broken(&format!(
                "{} accounts in one answer, at most {most} are allowed",
                accounts.len()
            )));
        }
        let limit = self.sandbox.limits.account_id;
        if accounts
            .iter()
            .any(|account| account.id.is_empty() || account.id.len() > limit)
        {
            return Err(broken(&format!(
                "an account id is empty or has more than {limit} bytes"
            )));
        }
        Ok(())
    }

    /// A guest's words, bounded and without control characters, before anybody reads or keeps them.
    fn shorten(&self, failure: Failure) -> Failure {
        let limit = self.sandbox.limits.failure_text;
        let cut = |text: String| -> String {
            let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
            let mut bytes = 0;
            printable
                .take_while(|c| {
                    bytes += c.len_utf8();
                    bytes <= limit
                })
                .collect()
        };
        match failure {
            Failure::Misconfigured(text) => Failure::Misconfigured(cut(text)),
            Failure::ConsentRequired(text) => Failure::ConsentRequired(cut(text)),
            Failure::Unauthorized(text) => Failure::Unauthorized(cut(text)),
            Failure::Unavailable(text) => Failure::Unavailable(cut(text)),
            Failure::Unexpected(text) => Failure::Unexpected(cut(text)),
            Failure::Denied(text) => Failure::Denied(cut(text)),
            Failure::RateLimited(mut limit) => {
                limit.message = cut(limit.message);
                Failure::RateLimited(limit)
            }
            Failure::Refused(mut refusal) => {
                refusal.code = cut(refusal.code);
                refusal.message = cut(refusal.message);
                Failure::Refused(refusal)
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(String);

fn broken(text: &str) -> wasmtime::Error {
    Broken(text.to_owned()).into()
}

fn fault(error: &wasmtime::Error) -> Fault {
    if let Some(limit) = error.downcast_ref::<LimitReached>() {
        return Fault::Limit(*limit);
    }
    match error.downcast_ref::<Broken>() {
        Some(Broken(text)) => Fault::Contract(text.clone()),
        None => Fault::Trap(root_cause(error)),
    }
}

/// The innermost cause in one line. Backtraces carry the guest's own symbol names and are no help to an operator.
pub(super) fn root_cause(error: &wasmtime::Error) -> String {
    let cause = error.root_cause().to_string();
    cause.lines().next().unwrap_or_default().chars().take(500).collect()
}
