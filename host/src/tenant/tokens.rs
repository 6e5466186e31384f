//! API tokens: who may operate the server, for which tenant, in which role.
//!
//! The file, `tokens.toml`, holds one table a token, with the SHA-256 of the token and never the token itself. A plain
//! hash is enough, where a password would need a slow one: a token is 256 random bits, so nobody finds it by trying,
//! and the look-up costs a microsecond for each request.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::civil::Date;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::error::{ConfigError, Location};
use super::names::{did_you_mean, is_name, quoted};
use super::reader::{read, read_text};
use super::token_file::{check_writers, lock, read_token, write};

/// What every token begins with, so that scanners for leaked secrets recognise one.
pub const TOKEN_PREFIX: &str = "exeunt_";

/// Length of a token: the prefix, and 32 bytes in unpadded base64url.
pub const TOKEN_BYTES: usize = TOKEN_PREFIX.len() + 43;

/// What the holder of a token may do. Reading lists needs any one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Start, retry and cancel jobs; pause and resume.
    Operate,
    /// Let go what is held, by the breaker too.
    Approve,
    /// Read transcripts and events as received.
    Audit,
}

impl Role {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Operate, Self::Approve, Self::Audit];

    /// The word for it in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operate => "operate",
            Self::Approve => "approve",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.iter().map(|role| role.as_str());
        Self::ALL
            .iter()
            .copied()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("{} is not a role; {}", quoted(text), did_you_mean(text, known())))
    }
}

/// One token, without the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name, which is written down with all that is done with it.
    pub name: String,
    /// The tenant that it belongs to; none for a token of the host, which reaches all of them.
    pub tenant: Option<String>,
    /// What it may do, at least one.
    pub roles: BTreeSet<Role>,
    /// The day on which it was made, UTC.
    pub created: Date,
    pub(super) standing: Standing,
}

/// Whether it lets anybody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Whoever presents the token with this hash.
    Live(TokenHash),
    /// Nobody since this day, UTC. It stays in the file without its hash: what was done with it is kept by its name, which
    /// nobody else may get.
    Revoked(Date),
}

impl Token {
    /// Whether it reaches a tenant, or the host as a whole (`None`).
    #[must_use]
    pub fn reaches(&self, tenant: Option<&str>) -> bool {
        self.tenant.is_none() || self.tenant.as_deref() == tenant
    }

    /// Whether it may act in a role for a tenant, or for the host as a whole (`None`).
    #[must_use]
    pub fn may(&self, tenant: Option<&str>, role: Role) -> bool {
        self.reaches(tenant) && self.roles.contains(&role)
    }

    /// The day on which it was revoked, UTC.
    #[must_use]
    pub fn revoked(&self) -> Option<Date> {
        match self.standing {
            Standing::Live(_) => None,
            Standing::Revoked(day) => Some(day),
        }
    }
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        const WRITE: &str =
            "is not the hash of a token; write \"sha256:\" and 64 digits in lower case, or use: exeunt token new";
        let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64);
        let digits = digits.ok_or(WRITE)?.as_bytes();
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (hex(pair[0]).ok_or(WRITE)?, hex(pair[1]).ok_or(WRITE)?);
            *byte = high << 4 | low;
        }
        Ok(Self(hash))
    }

    fn bucket(&self) -> [u8; 8] {
        std::array::from_fn(|index| self.0[index])
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:…")
    }
}

/// What a new token shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Its name: `[a-z][a-z0-9-]*`, at most 63 characters.
    pub name: String,
    /// The tenant that it belongs to; none for the host.
    pub tenant: Option<String>,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// Today, UTC.
    pub created: Date,
}

/// The tokens of a file. The default is nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// By the first bytes of their hashes. How long a look-up takes can tell these at most; the other 192 bits are
    /// compared in constant time, and even a whole hash leads nobody to its token.
    buckets: HashMap<[u8; 8], Vec<(TokenHash, Arc<Token>)>>,
    /// Those that let nobody in any more.
    revoked: Vec<Arc<Token>>,
}

impl Tokens {
    /// Reads a file of tokens. One that is not there holds none: nobody gets in.
    ///
    /// # Errors
    /// All mistakes in the file, each with its line; a file that others than its owner may write.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        match path.try_exists() {
            Ok(false) => return Ok(Self::default()),
            Ok(true) => check_writers(path)?,
            // What cannot be seen is reported by reading it.
            Err(_) => {}
        }
        Self::parse(&read_text(path)?, path)
    }

    /// As [`Tokens::load`], with the text in hand.
    ///
    /// # Errors
    /// All mistakes in the text, each with its line.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        read(path, text, &|_| None, |table| {
            let mut tokens = Self::default();
            for (name, item) in table.entries() {
                let Some(token) = read_token(name, &item) else { continue };
                let same = match token.standing {
                    Standing::Live(hash) => tokens.by_hash(&hash),
                    Standing::Revoked(_) => None,
                };
                if let Some(other) = same {
                    item.note(format!(
                        "has the hash of `{}`; make each token with: exeunt token new",
                        other.name
                    ));
                } else {
                    tokens.insert(token);
                }
            }
            tokens
        })
    }

    /// The token that somebody presents as `Authorization: Bearer …`, without that word.
    #[must_use]
    pub fn authenticate(&self, bearer: &str) -> Option<&Token> {
        // The form of a token is no secret, so this may end early; it also bounds what is hashed.
        if bearer.len() != TOKEN_BYTES || !bearer.starts_with(TOKEN_PREFIX) {
            return None;
        }
        self.by_hash(&TokenHash::of(bearer))
    }

    /// The name of the token that somebody presents, if it may act in this role for this tenant, or for the host as a
    /// whole (`None`).
    #[must_use]
    pub fn authorize(&self, bearer: &str, tenant: Option<&str>, role: Role) -> Option<String> {
        self.authenticate(bearer)
            .filter(|token| token.may(tenant, role))
            .map(|token| token.name.clone())
    }

    /// All tokens by name, those that were revoked too.
    #[must_use]
    pub fn list(&self) -> Vec<&Token> {
        let by_name: BTreeMap<&str, &Token> = self.all().map(|token| (token.name.as_str(), token)).collect();
        by_name.into_values().collect()
    }

    /// Whether nobody gets in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Adds a token to a file, which is made where there is none, and returns it. This is the only time that it can be
    /// seen. `random` comes from the system's generator and is used for nothing else.
    ///
    /// # Errors
    /// The file is wrong, the name is taken or is no name, there is no role, or the file cannot be written.
    pub fn add(path: &Path, new: NewToken, random: [u8; 32]) -> Result<SecretString, ConfigError> {
        let at = Location::file_only(path);
        let _lock = lock(path)?;
        let mut tokens = Self::load(path)?;
        check_new(&new, &tokens).map_err(|message| at.error(message))?;
        let secret = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let NewToken {
            name,
            tenant,
            roles,
            created,
        } = new;
        let hash = TokenHash::of(&secret);
        tokens.insert(Token {
            name,
            tenant,
            roles,
            created,
            standing: Standing::Live(hash),
        });
        write(path, &tokens.list())?;
        Ok(SecretString::from(secret))
    }

    /// Takes the rights of a token away: in its file, a day stands in place of its hash.
    ///
    /// # Errors
    /// The file is wrong or cannot be written, there is no such token, or it was revoked before.
    pub fn revoke(path: &Path, name: &str, today: Date) -> Result<(), ConfigError> {
        let at = Location::file_only(path);
        let _lock = lock(path)?;
        let tokens = Self::load(path)?;
        let mut list: Vec<Token> = tokens.list().into_iter().cloned().collect();
        let Some(token) = list.iter_mut().find(|token| token.name == name) else {
            let live = tokens.list().into_iter().filter(|token| token.revoked().is_none());
            let known = did_you_mean(name, live.map(|token| token.name.as_str()));
            return Err(at.error(format!("there is no token {}; {known}", quoted(name))));
        };
        if let Some(day) = token.revoked() {
            return Err(at.error(format!("the token {} was revoked on {day}", quoted(name))));
        }
        token.standing = Standing::Revoked(today);
        write(path, &list.iter().collect::<Vec<_>>())
    }

    fn all(&self) -> impl Iterator<Item = &Token> {
        let live = self.buckets.values().flatten().map(|(_, token)| token);
        live.chain(&self.revoked).map(AsRef::as_ref)
    }

    fn by_hash(&self, hash: &TokenHash) -> Option<&Token> {
        let mut found = None;
        for (known, token) in self.buckets.get(&hash.bucket()).into_iter().flatten() {
            if bool::from(known.0.ct_eq(&hash.0)) {
                found = Some(token.as_ref());
            }
        }
        found
    }

    fn insert(&mut self, token: Token) {
        match token.standing {
            Standing::Live(hash) => {
                let bucket = self.buckets.entry(hash.bucket()).or_default();
                bucket.push((hash, Arc::new(token)));
            }
            Standing::Revoked(_) => self.revoked.push(Arc::new(token)),
        }
    }
}

fn check_new(new: &NewToken, tokens: &Tokens) -> Result<(), String> {
    const NAME: &str = "write [a-z][a-z0-9-]*, at most 63 characters";
    if !is_name(&new.name) {
        return Err(format!("{} is not a name for a token; {NAME}", quoted(&new.name)));
    }
    if let Some(tenant) = new.tenant.as_ref().filter(|tenant| !is_name(tenant)) {
        return Err(format!("{} is not a tenant's name; {NAME}", quoted(tenant)));
    }
    if new.roles.is_empty() {
        return Err("a token without a role may do nothing; give it operate, approve or audit".to_owned());
    }
    match tokens.all().find(|token| token.name == new.name).map(Token::revoked) {
        None => Ok(()),
        Some(None) => Err(format!("there is a token `{}` already; choose another name", new.name)),
        Some(Some(day)) => Err(format!(
            "the token `{}` was revoked on {day}, and what was done with it is kept by this name; choose another",
            new.name
        )),
    }
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
