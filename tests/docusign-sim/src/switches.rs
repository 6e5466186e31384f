//! The answers that nobody has verified, and lies on purpose.
//!
//! Each field of the first part is an item that DocuSign documents nowhere. Its default is the answer that is harder
//! on a client; the other values are there so that a client can be shown to survive both.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Everything about the simulator's answers that can be switched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    /// Error code of a list without a match, and of a user id that the account does not know.
    pub no_match: NoMatch,
    /// HTTP status of that, and of a caller that is no member: 400 was seen, 404 would be usual.
    pub no_match_status: u16,
    /// Whether `email=` finds addresses that only begin with the value.
    pub email_filter: EmailFilter,
    /// What closing a closed membership answers.
    pub already_closed: AlreadyClosed,
    /// What closing an unknown user answers.
    pub unknown_user: UnknownUser,
    /// What closing oneself does.
    pub self_close: SelfClose,
    /// What an assertion that lives longer than an hour answers.
    pub long_assertion: LongAssertion,
    /// HTTP status of rate errors: 429 since mid-2026, 400 before.
    pub rate_limit_status: u16,
    /// How rate error codes are written.
    pub error_code_case: CodeCase,
    /// HTTP status of a missing privilege: 403 is documented, 401 was seen, and looks like a bad token.
    pub lacks_permission_status: u16,
    /// Who reads users other than oneself by id. Lists are for every member.
    pub read_others: ReadOthers,
    /// What a read of a closed user by id answers. Lists show closed users, and the schema of a user names the status,
    /// so here the default is the answer that is likely: with the other one nobody can prove a closure by id.
    pub read_closed: ReadClosed,
    /// Error code when the account lives on another host (HTTP 401).
    pub wrong_host_code: String,
    /// Whether a token response carries `scope`.
    pub token_scope_member: bool,
    /// Whether the caller lost its membership: every eSignature call answers `USER_LACKS_MEMBERSHIP`.
    pub caller_lost_membership: bool,
    /// Hourly calls of `/oauth/userinfo` per user before it answers 429; such a limit exists, its number is not known.
    pub userinfo_hourly: Option<u32>,
    /// Users whose close fails inside a 200: user id (or `*` for everybody) to the error.
    pub refuse_close: BTreeMap<String, ErrorDetails>,
    /// Users (or `*`) whose close answers `closed` and does nothing.
    pub pretend_close: BTreeSet<String>,
    /// Reads of a user that still show the old status after a close.
    pub close_visible_after_reads: u32,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            no_match: NoMatch::UserLacksMembership,
            no_match_status: 400,
            email_filter: EmailFilter::Prefix,
            already_closed: AlreadyClosed::ErrorDetails,
            unknown_user: UnknownUser::ErrorDetails,
            self_close: SelfClose::Allowed,
            long_assertion: LongAssertion::InvalidGrant,
            rate_limit_status: 429,
            error_code_case: CodeCase::Upper,
            lacks_permission_status: 401,
            read_others: ReadOthers::Administrators,
            read_closed: ReadClosed::Shown,
            wrong_host_code: "USER_AUTHENTICATION_FAILED".to_owned(),
            token_scope_member: false,
            caller_lost_membership: false,
            userinfo_hourly: None,
            refuse_close: BTreeMap::new(),
            pretend_close: BTreeSet::new(),
            close_visible_after_reads: 0,
        }
    }
}

impl Switches {
    /// What is wrong with these values, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        if ![400, 429].contains(&self.rate_limit_status) {
            return Some(format!(
                "rate_limit_status is 400 or 429, not {}",
                self.rate_limit_status
            ));
        }
        if ![400, 404].contains(&self.no_match_status) {
            return Some(format!("no_match_status is 400 or 404, not {}", self.no_match_status));
        }
        if ![401, 403].contains(&self.lacks_permission_status) {
            return Some(format!(
                "lacks_permission_status is 401 or 403, not {}",
                self.lacks_permission_status
            ));
        }
        None
    }

    /// The error that closing this user is to end with, if any.
    pub(crate) fn refusal(&self, user_id: &str) -> Option<&ErrorDetails> {
        self.refuse_close.get(user_id).or_else(|| self.refuse_close.get("*"))
    }

    /// Whether closing this user is only pretended.
    pub(crate) fn pretends(&self, user_id: &str) -> bool {
        self.pretend_close.contains(user_id) || self.pretend_close.contains("*")
    }
}

/// One item's error, as eSignature writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorDetails {
    /// Upper snake case.
    pub error_code: String,
    /// English text.
    pub message: String,
}

impl ErrorDetails {
    /// An error with this code and text.
    pub fn new(error_code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            error_code: error_code.into(),
            message: message.into(),
        }
    }
}

/// Error code of a list without a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoMatch {
    /// The code that a caller without membership gets, too: a client must tell them apart.
    UserLacksMembership,
    /// The other code that official samples catch.
    UserNotFound,
}

/// How `email=` filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmailFilter {
    /// Addresses that begin with the value: a client must look at what it got.
    Prefix,
    /// The address only, in any case.
    Exact,
}

/// What closing a closed membership answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlreadyClosed {
    /// 200 with `errorDetails`.
    ErrorDetails,
    /// 200 `closed` again.
    Closed,
}

/// What closing an unknown user answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownUser {
    /// 200 with `errorDetails`: a client that looks only at the status misses it.
    ErrorDetails,
    /// The whole request ends as 400; nobody in it is closed.
    BadRequest,
}

/// What closing oneself does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelfClose {
    /// It works, and the caller is locked out.
    Allowed,
    /// 200 with `errorDetails`.
    ErrorDetails,
    /// The whole request ends as 400; nobody in it is closed.
    BadRequest,
}

/// Who reads users other than oneself by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadOthers {
    /// Account administrators only: a caller with delegated rights closes users, and cannot prove that they are closed.
    Administrators,
    /// Whoever may close users.
    Managers,
    /// Every member of the account.
    Anybody,
}

/// What a read of a closed user by id answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadClosed {
    /// The user, `Closed`.
    Shown,
    /// The error of an unknown user.
    Unknown,
}

/// What an assertion that lives longer than an hour answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LongAssertion {
    /// 400 `invalid_grant` without a description.
    InvalidGrant,
    /// 400 `invalid_request`.
    InvalidRequest,
    /// A token, which still lives for one hour only.
    Accept,
}

/// How rate error codes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeCase {
    /// `HOURLY_APIINVOCATION_LIMIT_EXCEEDED`.
    Upper,
    /// `hourly_apiinvocation_limit_exceeded`.
    Lower,
    /// `Hourly_Apiinvocation_Limit_Exceeded`.
    Mixed,
}

impl CodeCase {
    /// Writes an upper-case code in this case.
    pub(crate) fn write(self, code: &str) -> String {
        match self {
            Self::Upper => code.to_owned(),
            Self::Lower => code.to_ascii_lowercase(),
            Self::Mixed => code.split('_').map(capitalised).collect::<Vec<_>>().join("_"),
        }
    }
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    format!("{first}{}", rest.to_ascii_lowercase())
}
