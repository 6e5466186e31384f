//! What a verb was asked and what it answered, as a transcript keeps it and as people read it.

use serde::{Deserialize, Serialize};

use crate::capability::Verb;
use crate::intake::Person;
use crate::sandbox::{self, Ended, Failure, LimitKind, Standing};

/// What a verb is called with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// A token, please.
    Mint,
    /// This person's accounts.
    Find(Person),
    /// The account with this id.
    Read(String),
    /// Close the account with this id.
    Close(String),
    /// The page at this cursor.
    Page(Option<String>),
}

impl Question {
    /// Which verb is asked.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Self::Mint => Verb::Mint,
            Self::Find(_) => Verb::Find,
            Self::Read(_) => Verb::Read,
            Self::Close(_) => Verb::Close,
            Self::Page(_) => Verb::Page,
        }
    }

    /// The id that `read` and `close` are called with.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Read(id) | Self::Close(id) => Some(id),
            Self::Mint | Self::Find(_) | Self::Page(_) => None,
        }
    }
}

/// An account as a verb answered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountAnswer {
    /// The target's id.
    pub id: String,
    /// The address that the target holds.
    pub email: Option<String>,
    /// Display name.
    pub name: Option<String>,
    /// `active`, `pending`, `disabled` or `closed`.
    pub standing: String,
    /// The same in the target's own words.
    pub native_status: String,
    /// True for an administrator.
    pub admin: bool,
    /// True where an identity provider owns the membership.
    pub externally_managed: bool,
    /// Further facts.
    pub attributes: Vec<(String, String)>,
}

/// A failure as a verb answered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureAnswer {
    /// The contract's word for the case; one of [`FailureAnswer::KINDS`].
    pub kind: String,
    /// Its text.
    pub text: String,
    /// The target's code, with `refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Until when to wait in seconds since 1970, with `rate-limited`, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// `quota` or `burst`, with `rate-limited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
}

impl FailureAnswer {
    /// The cases of the contract's `failure`, in its order.
    pub const KINDS: [&str; 8] = [
        "misconfigured",
        "consent-required",
        "unauthorized",
        "rate-limited",
        "unavailable",
        "refused",
        "unexpected",
        "denied",
    ];
}

/// What came of a verb call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A token.
    Token,
    /// The accounts of `find` and `page`; none or one of `read`.
    Accounts(Vec<AccountAnswer>),
    /// A page that is not the last one, with the cursor of the next.
    Page(Vec<AccountAnswer>, String),
    /// The target accepted the closure.
    Closed,
    /// A failure.
    Failure(FailureAnswer),
    /// The call ended without an answer: a trap, a limit, a breach of the contract.
    Fault(String),
}

impl Answer {
    /// What a call came to.
    pub fn of<T: Answers>(ended: &Ended<T>) -> Self {
        match &ended.result {
            Ok(Ok(answer)) => answer.answer(),
            Ok(Err(failure)) => Self::Failure(failure.into()),
            Err(fault) => Self::Fault(fault.to_string()),
        }
    }
}

/// What verbs give.
pub trait Answers {
    /// As an [`Answer`].
    fn answer(&self) -> Answer;
}

impl Answers for crate::capability::Token {
    fn answer(&self) -> Answer {
        Answer::Token
    }
}

impl Answers for Vec<sandbox::Account> {
    fn answer(&self) -> Answer {
        Answer::Accounts(self.iter().map(AccountAnswer::from).collect())
    }
}

impl Answers for Option<sandbox::Account> {
    fn answer(&self) -> Answer {
        Answer::Accounts(self.iter().map(AccountAnswer::from).collect())
    }
}

impl Answers for () {
    fn answer(&self) -> Answer {
        Answer::Closed
    }
}

impl Answers for sandbox::Accounts {
    fn answer(&self) -> Answer {
        let accounts = self.items.iter().map(AccountAnswer::from).collect();
        match &self.next {
            Some(next) => Answer::Page(accounts, next.clone()),
            None => Answer::Accounts(accounts),
        }
    }
}

impl From<&sandbox::Account> for AccountAnswer {
    fn from(account: &sandbox::Account) -> Self {
        let standing = match account.standing {
            Standing::Active => "active",
            Standing::Pending => "pending",
            Standing::Disabled => "disabled",
            Standing::Closed => "closed",
        };
        Self {
            id: account.id.clone(),
            email: account.email.clone(),
            name: account.name.clone(),
            standing: standing.to_owned(),
            native_status: account.native_status.clone(),
            admin: account.admin,
            externally_managed: account.externally_managed,
            attributes: account.attributes.clone(),
        }
    }
}

impl From<&Failure> for FailureAnswer {
    fn from(failure: &Failure) -> Self {
        let plain = |kind: &str, text: &str| Self {
            kind: kind.to_owned(),
            text: text.to_owned(),
            code: None,
            until: None,
            limit: None,
        };
        match failure {
            Failure::Misconfigured(text) => plain("misconfigured", text),
            Failure::ConsentRequired(text) => plain("consent-required", text),
            Failure::Unauthorized(text) => plain("unauthorized", text),
            Failure::Unavailable(text) => plain("unavailable", text),
            Failure::Unexpected(text) => plain("unexpected", text),
            Failure::Denied(text) => plain("denied", text),
            Failure::RateLimited(limit) => Self {
                until: limit.until,
                limit: Some(match limit.kind {
                    LimitKind::Quota => "quota".to_owned(),
                    LimitKind::Burst => "burst".to_owned(),
                }),
                ..plain("rate-limited", &limit.message)
            },
            Failure::Refused(refusal) => Self {
                code: Some(refusal.code.clone()),
                ..plain("refused", &refusal.message)
            },
        }
    }
}
