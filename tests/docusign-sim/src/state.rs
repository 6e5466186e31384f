//! Everything the simulator knows, under one lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use aws_lc_rs::signature::ParsedPublicKey;

use crate::call::Call;
use crate::faults::{Fault, Faults, MAX_FAULTS};
use crate::log::{Counters, Log, Record};
use crate::openapi::Exchange;
use crate::{Account, Clock, Limits, Switches, ids};

/// Expired tokens are swept out when this many are held.
const TOKENS_BEFORE_SWEEP: usize = 10_000;

/// A public key of an integration key. DocuSign's assertions carry no `kid`, so every one of them is tried.
#[derive(Debug, Clone)]
pub(crate) struct PublicKey {
    pub(crate) id: u64,
    pub(crate) key: ParsedPublicKey,
}

/// What an access token stands for.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// None: an application token.
    pub(crate) user_id: Option<String>,
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) expires_at: i64,
}

/// The simulator's state. Fields may be changed directly between requests; what needs bookkeeping has a method.
pub struct State {
    /// Answers nobody has verified, and deliberate lies.
    pub switches: Switches,
    /// Limits of every account.
    pub limits: Limits,
    /// The simulator's clock.
    pub clock: Clock,
    pub(crate) article: bool,
    pub(crate) accounts: Vec<Account>,
    pub(crate) integration_keys: BTreeMap<String, Vec<PublicKey>>,
    pub(crate) consents: BTreeMap<(String, String), BTreeSet<String>>,
    pub(crate) faults: Faults,
    pub(crate) log: Log,
    pub(crate) counters: Counters,
    pub(crate) exchanges: Option<Vec<Exchange>>,
    /// Assertions that came and tokens that went, where a test asked for them.
    pub(crate) secrets: Option<Vec<String>>,
    /// Calls of userinfo by user: the clock hour, and how many in it.
    pub(crate) userinfo_calls: HashMap<String, (i64, u32)>,
    tokens: HashMap<String, Token>,
    next_key: u64,
}

impl State {
    pub(crate) fn new(options: &crate::Options) -> Self {
        Self {
            switches: options.switches.clone(),
            limits: options.limits,
            clock: options.clock.clone(),
            article: options.article,
            accounts: Vec::new(),
            integration_keys: BTreeMap::new(),
            consents: BTreeMap::new(),
            faults: Faults::default(),
            log: Log::new(options.log_capacity),
            counters: Counters::default(),
            exchanges: options.record_exchanges.then(Vec::new),
            secrets: options.record_secrets.then(Vec::new),
            userinfo_calls: HashMap::new(),
            tokens: HashMap::new(),
            next_key: 1,
        }
    }

    /// Every account.
    #[must_use]
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// The account with this id, in any case.
    #[must_use]
    pub fn account(&self, account_id: &str) -> Option<&Account> {
        self.accounts
            .iter()
            .find(|account| account.account_id.eq_ignore_ascii_case(account_id))
    }

    /// The account with this id, to change.
    pub fn account_mut(&mut self, account_id: &str) -> Option<&mut Account> {
        self.accounts
            .iter_mut()
            .find(|account| account.account_id.eq_ignore_ascii_case(account_id))
    }

    /// Adds an account. Returns its id.
    pub fn add_account(&mut self, account: Account) -> String {
        let id = account.account_id.clone();
        self.accounts.push(account);
        id
    }

    /// Registers a public key (PEM, SubjectPublicKeyInfo or PKCS#1) for an integration key, which is created with its
    /// first one. Returns the key's number. Fails when the PEM is not a public RSA key.
    pub fn add_public_key(&mut self, integration_key: &str, pem: &str) -> anyhow::Result<u64> {
        let key = crate::keys::public_from_pem(pem)?;
        Ok(self.register(integration_key, key))
    }

    pub(crate) fn register(&mut self, integration_key: &str, key: ParsedPublicKey) -> u64 {
        let id = self.next_key;
        self.next_key += 1;
        let keys = self
            .integration_keys
            .entry(integration_key.to_ascii_lowercase())
            .or_default();
        keys.push(PublicKey { id, key });
        id
    }

    /// Takes a public key away. The integration key stays known. False when there is no such key.
    pub fn remove_public_key(&mut self, id: u64) -> bool {
        let mut is_removed = false;
        for keys in self.integration_keys.values_mut() {
            let before = keys.len();
            keys.retain(|key| key.id != id);
            is_removed |= keys.len() < before;
        }
        is_removed
    }

    /// Lets an integration key act for a user with these scopes (space separated) and no others; none revokes. An
    /// empty `user_id` stands for application tokens.
    pub fn set_consent(&mut self, integration_key: &str, user_id: &str, scopes: &str) {
        let key = (integration_key.to_ascii_lowercase(), user_id.to_ascii_lowercase());
        let scopes: BTreeSet<String> = scopes.split_whitespace().map(str::to_owned).collect();
        if scopes.is_empty() {
            self.consents.remove(&key);
        } else {
            self.consents.insert(key, scopes);
        }
    }

    /// Arms a fault. Returns its number. Fails when its values make no sense or too many are armed.
    pub fn arm(&mut self, fault: Fault) -> anyhow::Result<u64> {
        if let Some(problem) = fault.problem() {
            anyhow::bail!("{problem}");
        }
        anyhow::ensure!(
            self.faults.armed.len() < MAX_FAULTS,
            "{MAX_FAULTS} faults are armed already: clear them first"
        );
        Ok(self.faults.arm(fault))
    }

    /// Disarms every fault.
    pub fn clear_faults(&mut self) {
        self.faults.armed.clear();
    }

    /// Kills every access token early. Returns how many there were.
    pub fn revoke_tokens(&mut self) -> usize {
        let count = self.tokens.len();
        self.tokens.clear();
        count
    }

    /// The request log, oldest first.
    pub fn requests(&self) -> impl Iterator<Item = &Record> {
        self.log.records()
    }

    /// Totals since the start or the last reset.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn issue(&mut self, token: Token) -> String {
        if self.tokens.len() >= TOKENS_BEFORE_SWEEP {
            let now = self.clock.now();
            self.tokens.retain(|_, token| token.expires_at > now);
        }
        let text = ids::access_token();
        if let Some(secrets) = &mut self.secrets {
            secrets.push(text.clone());
        }
        self.tokens.insert(text.clone(), token);
        self.counters.tokens_issued += 1;
        text
    }

    /// Keeps the assertion of a token request, whatever becomes of it.
    pub(crate) fn witness(&mut self, call: &Call) {
        if let Some(secrets) = &mut self.secrets
            && call.path == "/oauth/token"
        {
            secrets.extend(call.assertion());
        }
    }

    /// The bearer token of a request, if it is one of ours and alive.
    pub(crate) fn bearer(&self, call: &Call) -> Option<&Token> {
        let token = self.tokens.get(call.bearer()?)?;
        (token.expires_at > self.clock.now()).then_some(token)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("switches", &self.switches)
            .field("accounts", &self.accounts.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
