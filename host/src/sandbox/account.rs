//! Accounts and failures as guests give them: bounded, printable, and every text within reach of the scrubber.

use super::bindings::exeunt::connector::types::{Account, Failure};
use super::bindings::exports::exeunt::connector::user_closure::Accounts;
use super::limits::SandboxLimits;
use crate::capability::Token;
use crate::text::{is_odd, printable};

/// Whether an account may be kept.
///
/// Ids, addresses and statuses stand in lines that people read and programs split, so what could forge a line there
/// breaks the contract. Names and attributes are people's own text; there it is replaced later.
///
/// # Errors
///
/// How it breaks the contract.
pub(super) fn check(account: &Account, limits: &SandboxLimits) -> Result<(), String> {
    let most = limits.account_id;
    if account.id.is_empty() || account.id.len() > most {
        return Err(format!("an account id is empty or has more than {most} bytes"));
    }
    let most = limits.account_attributes;
    if account.attributes.len() > most {
        return Err(format!(
            "an account has {} attributes, at most {most} are allowed",
            account.attributes.len()
        ));
    }
    let most = limits.account_field;
    let attributes = account.attributes.iter().flat_map(|(name, value)| [name, value]);
    let texts = account
        .email
        .iter()
        .chain(&account.name)
        .chain([&account.native_status]);
    if texts.chain(attributes).any(|text| text.len() > most) {
        return Err(format!("a text of an account has more than {most} bytes"));
    }
    let mut lines = account.email.iter().chain([&account.id, &account.native_status]);
    if lines.any(|text| text.contains(is_odd)) {
        return Err("an account's id, e-mail or native status has a control character".to_owned());
    }
    Ok(())
}

/// An answer, text by text.
pub(super) trait Texts: Sized {
    /// The same with every text changed.
    fn texts(self, change: impl Fn(String) -> String) -> Self;
}

impl Texts for () {
    fn texts(self, _: impl Fn(String) -> String) -> Self {}
}

impl Texts for Token {
    fn texts(self, _: impl Fn(String) -> String) -> Self {
        self
    }
}

impl Texts for Account {
    fn texts(self, change: impl Fn(String) -> String) -> Self {
        let own = |text: String| change(printable(&text));
        let attributes = self.attributes.into_iter();
        Self {
            id: change(self.id),
            email: self.email.map(&change),
            name: self.name.map(own),
            native_status: change(self.native_status),
            attributes: attributes.map(|(name, value)| (own(name), own(value))).collect(),
            ..self
        }
    }
}

impl Texts for Option<Account> {
    fn texts(self, change: impl Fn(String) -> String) -> Self {
        self.map(|account| account.texts(change))
    }
}

impl Texts for Vec<Account> {
    fn texts(self, change: impl Fn(String) -> String) -> Self {
        self.into_iter().map(|account| account.texts(&change)).collect()
    }
}

impl Texts for Accounts {
    fn texts(self, change: impl Fn(String) -> String) -> Self {
        Self {
            items: self.items.texts(&change),
            next: self.next.map(change),
        }
    }
}

impl Texts for Failure {
    fn texts(self, change: impl Fn(String) -> String) -> Self {
        match self {
            Self::Misconfigured(text) => Self::Misconfigured(change(text)),
            Self::ConsentRequired(text) => Self::ConsentRequired(change(text)),
            Self::Unauthorized(text) => Self::Unauthorized(change(text)),
            Self::Unavailable(text) => Self::Unavailable(change(text)),
            Self::Unexpected(text) => Self::Unexpected(change(text)),
            Self::Denied(text) => Self::Denied(change(text)),
            Self::RateLimited(mut limit) => {
                limit.message = change(limit.message);
                Self::RateLimited(limit)
            }
            Self::Refused(mut refusal) => {
                refusal.code = change(refusal.code);
                refusal.message = change(refusal.message);
                Self::Refused(refusal)
            }
        }
    }
}
