//! `auth` in `[sources.NAME]`: how a sender proves who it is.

use super::reader::Table;
use super::secrets::{SecretRef, SecretScope};

/// Most secrets of one source: 8. A rotation needs two; each request is compared with all of them.
pub const MAX_SOURCE_SECRETS: usize = 8;

const WRITE: &str = "auth = { bearer = SECRET }, auth = { basic = { user = \"…\", password = SECRET } } or \
                     auth = { webhook = SECRET }";

/// How a sender proves who it is.
#[derive(Debug, Clone)]
pub enum SourceAuth {
    /// `Authorization: Bearer SECRET`, with any of these.
    Bearer(Vec<SecretRef>),
    /// `Authorization: Basic base64(USER:SECRET)`, with any of these.
    Basic {
        /// User name.
        user: String,
        /// Passwords.
        passwords: Vec<SecretRef>,
    },
    /// A signature as Standard Webhooks 1.0.0 has it, by any of these secrets.
    Webhook(Vec<SecretRef>),
}

impl SourceAuth {
    pub(super) fn read(mut table: Table<'_>, scope: &SecretScope) -> Option<Self> {
        let (bearer, basic, webhook) = (table.get("bearer"), table.get("basic"), table.get("webhook"));
        let auth = match (bearer, basic, webhook) {
            (Some(bearer), None, None) => scope.read_some(&bearer, MAX_SOURCE_SECRETS).map(Self::Bearer),
            (None, Some(basic), None) => basic.table().and_then(|basic| read_basic(basic, scope)),
            (None, None, Some(webhook)) => scope.read_some(&webhook, MAX_SOURCE_SECRETS).map(Self::Webhook),
            (None, None, None) => {
                table.note(format!("has none of `bearer`, `basic` and `webhook`; write {WRITE}"));
                None
            }
            _ => {
                table.note(format!(
                    "has more than one of `bearer`, `basic` and `webhook`; write {WRITE}"
                ));
                None
            }
        };
        table.finish();
        auth
    }
}

fn read_basic(mut table: Table<'_>, scope: &SecretScope) -> Option<SourceAuth> {
    let user_item = table.require("user", "user = \"NAME\"");
    let user = user_item.as_ref().and_then(|item| item.string());
    if let (Some(item), Some(user)) = (user_item.as_ref(), user)
        && (user.is_empty() || user.contains(|c: char| c == ':' || c.is_control()))
    {
        item.note("is empty, or holds a colon or a control character, which HTTP Basic cannot carry");
    }
    let passwords = table
        .require("password", "password = \"file:NAME\"")
        .and_then(|item| scope.read_some(&item, MAX_SOURCE_SECRETS));
    table.finish();
    Some(SourceAuth::Basic {
        user: user?.to_owned(),
        passwords: passwords?,
    })
}
