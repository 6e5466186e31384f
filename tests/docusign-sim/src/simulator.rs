//! A running simulator, and the shorthands that tests use.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::call::Origin;
use crate::openapi::Exchange;
use crate::seed::Seed;
use crate::server::{self, Shared};
use crate::tls::Tls;
use crate::{Counters, Fault, Limits, Options, Record, State, Switches, User};

/// A simulator: two TLS servers, a control port, and their state. Dropping it closes every socket.
pub struct Simulator {
    shared: Arc<Shared>,
    ca_pem: String,
    account_addr: SocketAddr,
    esign_addr: SocketAddr,
    control_addr: SocketAddr,
    // Held for its drop, which ends the listeners and their connections.
    _servers: JoinSet<()>,
}

impl Simulator {
    /// Starts all three servers; they listen when this returns. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// When an address is not loopback or taken, the private key or an identifier is malformed, or a switch has a value
    /// that does not exist.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let account = listen("account", options.account_addr).await?;
        let esign = listen("esign", options.esign_addr).await?;
        let control = listen("control", options.control_addr).await?;
        let tls = Tls::generate()?;
        let shared = Arc::new(Shared::new(Seed::new(options)?));
        let mut simulator = Self {
            ca_pem: tls.ca_pem,
            account_addr: account
                .local_addr()
                .context("failed to read the account server's address")?,
            esign_addr: esign
                .local_addr()
                .context("failed to read the eSignature server's address")?,
            control_addr: control
                .local_addr()
                .context("failed to read the control port's address")?,
            shared,
            _servers: JoinSet::new(),
        };
        let shared = || Arc::clone(&simulator.shared);
        let loops = [
            server::accept(account, Some(tls.account), Origin::Account, shared()),
            server::accept(esign, Some(tls.esign), Origin::Esign, shared()),
            server::accept(control, None, Origin::Control, shared()),
        ];
        for each in loops {
            simulator._servers.spawn(each);
        }
        Ok(simulator)
    }

    /// Where the account server listens: TLS, for account-d.docusign.com.
    #[must_use]
    pub fn account_addr(&self) -> SocketAddr {
        self.account_addr
    }

    /// Where the eSignature server listens: TLS, for demo.docusign.net, na2.docusign.net and eu.docusign.net.
    #[must_use]
    pub fn esign_addr(&self) -> SocketAddr {
        self.esign_addr
    }

    /// Where `/_sim/…` is served, over plain HTTP.
    #[must_use]
    pub fn control_addr(&self) -> SocketAddr {
        self.control_addr
    }

    /// The certificate authority that a client must trust (PEM).
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The API client's private key (PEM, PKCS#8).
    #[must_use]
    pub fn private_key_pem(&self) -> &str {
        &self.shared.seed.key.pem
    }

    /// The integration key's GUID.
    #[must_use]
    pub fn integration_key(&self) -> &str {
        &self.shared.seed.integration_key
    }

    /// The API user's GUID: an administrator who consented to `signature impersonation`.
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.shared.seed.user_id
    }

    /// The account's GUID.
    #[must_use]
    pub fn account_id(&self) -> &str {
        &self.shared.seed.account_id
    }

    /// The whole state, locked: every server waits while it is held, so never hold it over an await.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// Goes back to the first state: users, keys, consent, switches, limits, faults, log, clock.
    pub fn reset(&self) {
        *self.state() = self.shared.seed.state();
    }

    /// Adds a user to the account. Returns the user's id.
    pub fn add_user(&self, user: User) -> String {
        self.state()
            .account_mut(self.account_id())
            .map(|account| account.add(user))
            .unwrap_or_default()
    }

    /// A user of the account.
    #[must_use]
    pub fn user(&self, user_id: &str) -> Option<User> {
        self.state().account(self.account_id())?.user(user_id).cloned()
    }

    /// Every user of the account, oldest first.
    #[must_use]
    pub fn users(&self) -> Vec<User> {
        self.state()
            .account(self.account_id())
            .map(|account| account.users().to_vec())
            .unwrap_or_default()
    }

    /// Changes a user of the account. False when there is none with this id.
    pub fn update_user(&self, user_id: &str, change: impl FnOnce(&mut User)) -> bool {
        self.state()
            .account_mut(self.account_id())
            .is_some_and(|account| account.update(user_id, change))
    }

    /// Arms a fault. Returns its number.
    ///
    /// # Panics
    ///
    /// When the fault's values make no sense: a test's mistake.
    #[allow(clippy::expect_used, reason = "a fault is written in the test that arms it")]
    pub fn fault(&self, fault: Fault) -> u64 {
        self.state().arm(fault).expect("the fault makes sense")
    }

    /// Disarms every fault.
    pub fn clear_faults(&self) {
        self.state().clear_faults();
    }

    /// Changes switches.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.state().switches);
    }

    /// Sets the limits of every account.
    pub fn set_limits(&self, limits: Limits) {
        self.state().limits = limits;
    }

    /// Moves the simulator's clock forward.
    pub fn advance(&self, by: Duration) {
        self.state().clock.advance(by);
    }

    /// Kills every access token early. Returns how many there were.
    pub fn revoke_tokens(&self) -> usize {
        self.state().revoke_tokens()
    }

    /// Sets what the API user consented to, space separated; empty revokes.
    pub fn set_consent(&self, scopes: &str) {
        self.state().set_consent(self.integration_key(), self.user_id(), scopes);
    }

    /// The request log, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Record> {
        self.state().requests().cloned().collect()
    }

    /// Empties the request log; the counters stay.
    pub fn clear_requests(&self) {
        self.state().log.clear();
    }

    /// Totals since the start or the last reset.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.state().counters()
    }

    /// Assertions and access tokens so far, in plain, with [`Options::record_secrets`].
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        self.state().secrets.clone().unwrap_or_default()
    }

    /// eSignature exchanges so far, with [`Options::record_exchanges`].
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.state().exchanges.clone().unwrap_or_default()
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator")
            .field("account_addr", &self.account_addr)
            .field("esign_addr", &self.esign_addr)
            .field("control_addr", &self.control_addr)
            .finish_non_exhaustive()
    }
}

async fn listen(what: &str, addr: SocketAddr) -> anyhow::Result<TcpListener> {
    ensure!(
        addr.ip().is_loopback(),
        "the {what} address {addr} is not loopback: the simulator serves this machine only, use 127.0.0.1:{}",
        addr.port()
    );
    TcpListener::bind(addr)
        .await
        .with_context(|| format!("failed to listen at the {what} address {addr}"))
}
