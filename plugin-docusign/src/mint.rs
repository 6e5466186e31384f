//! Asking for a token, and checking that it fits the settings.

use serde_json::Value;

use crate::descriptor::{ACCOUNT, ESIGN, SIGNING};
use crate::reply::{Reply, quote};
use crate::user::text;
use crate::{
    Encoding, Failure, Grant, GrantError, Host, Level, Limit, LimitKind, Method, Request, Settings, Wire, errors, oauth,
};

/// What a leaver's closure needs. `impersonation` must have been consented to for a JWT grant.
pub(crate) const SCOPE: &str = "signature impersonation";

/// The article's `exp`, in seconds since 1970: its assertion is valid for years.
const ARTICLE_EXPIRY: u64 = 1_999_999_999;

/// Accounts that a message lists; who has more than these knows where to look.
const MAX_LISTED: usize = 10;

/// Asks for a token by a JWT grant and checks that it can be used for the account in the settings.
///
/// One request besides the grant: `/oauth/userinfo` says which accounts the token is good for, and on which host each
/// of them lives. DocuSign answers calls to another host with errors that do not say so.
///
/// # Errors
///
/// `misconfigured` and `consent-required` with what to write instead; `rate-limited`, `unavailable`.
pub fn mint<H: Host>(host: &H) -> Result<H::Token, Failure> {
    let settings = Settings::of(host)?;
    let token = host
        .jwt_bearer(&grant(&settings, host.now()))
        .map_err(|error| match error {
            GrantError::Denied(text) => Failure::Denied(text),
            GrantError::Unreachable(text) => {
                Failure::Unavailable(format!("DocuSign's sign-in was not reached: {text}"))
            }
            GrantError::Rejected(response) => oauth::rejected(host, &settings, &Reply::from_response(response)),
        })?;
    let reply = userinfo(host, &token)?;
    fits(host, &settings, &reply)?;
    host.log(
        Level::Info,
        "the token is good for the account",
        &reply.fields(&[("account_id", &settings.account_id)]),
    );
    Ok(token)
}

fn grant(settings: &Settings, now: u64) -> Grant {
    let (encoding, lifetime) = match settings.wire {
        Wire::Current => (Encoding::Form, None),
        Wire::Article => (Encoding::Json, Some(ARTICLE_EXPIRY.saturating_sub(now))),
    };
    Grant {
        key: SIGNING.into(),
        scope: SCOPE.into(),
        encoding,
        lifetime,
    }
}

fn userinfo<H: Host>(host: &H, token: &H::Token) -> Result<Reply, Failure> {
    let request = Request {
        endpoint: ACCOUNT.into(),
        method: Method::Get,
        path: "/oauth/userinfo".into(),
        query: Vec::new(),
        headers: vec![("accept".to_owned(), "application/json".to_owned())],
        body: None,
    };
    let reply = Reply::to(host, &request, token)?;
    if reply.is_success() {
        return Ok(reply);
    }
    // A bad token is a 401 whose body says `internal_server_error`; it is no outage.
    Err(match errors::failure(host, &reply) {
        // Its limits are by the hour (platform/auth/reference/user-info), whatever the answer leaves unsaid.
        Failure::RateLimited(limit) if !errors::is_burst(&reply.complaint()) => Failure::RateLimited(Limit {
            kind: LimitKind::Quota,
            until: errors::reset(host.now(), &reply),
            ..limit
        }),
        Failure::Refused(refusal) => {
            Failure::Misconfigured(format!("the sign-in host refuses userinfo: {}", refusal.message))
        }
        other => other,
    })
}

fn fits<H: Host>(host: &H, settings: &Settings, reply: &Reply) -> Result<(), Failure> {
    let info = reply.json()?;
    if let Some(subject) = text(&info, "sub")
        && !subject.eq_ignore_ascii_case(&settings.user_id)
    {
        return Err(reply.unexpected("is about another user than settings.user_id"));
    }
    let Some(accounts) = info.get("accounts").and_then(Value::as_array) else {
        return Err(reply.unexpected("has no list of accounts"));
    };
    let mine =
        |account: &&Value| text(account, "account_id").is_some_and(|id| id.eq_ignore_ascii_case(&settings.account_id));
    let Some(account) = accounts.iter().find(mine) else {
        return Err(not_a_member(settings, accounts, reply));
    };
    let Some(base) = text(account, "base_uri") else {
        return Err(reply.unexpected("has no base_uri for the account"));
    };
    let bound = host.endpoint(ESIGN).unwrap_or_default();
    if same_base(base, &bound) {
        Ok(())
    } else {
        Err(wrong_base(host, &quote(base), &bound, reply))
    }
}

fn not_a_member(settings: &Settings, accounts: &[Value], reply: &Reply) -> Failure {
    let line = |account: &Value| {
        let name = text(account, "account_name").unwrap_or("without a name");
        Some(format!("{} ({})", quote(text(account, "account_id")?), quote(name)))
    };
    let listed: Vec<String> = accounts.iter().filter_map(line).take(MAX_LISTED).collect();
    let instead = match listed.as_slice() {
        [] => "it belongs to no account here; write as settings.user_id an administrator of the account".to_owned(),
        listed => format!(
            "write as settings.account_id one of its accounts: {}",
            listed.join(", ")
        ),
    };
    Failure::Misconfigured(format!(
        "user {} is not a member of account {}; {instead} ({})",
        settings.user_id,
        settings.account_id,
        reply.place()
    ))
}

fn wrong_base<H: Host>(host: &H, base: &str, bound: &str, reply: &Reply) -> Failure {
    let sign_in = host.endpoint(ACCOUNT).unwrap_or_default();
    Failure::Misconfigured(format!(
        "the account lives on {base}, and endpoint `{ESIGN}` is bound to {bound}; write endpoints = {{ {ACCOUNT} = \
         \"{sign_in}\", {ESIGN} = \"{base}\" }} ({})",
        reply.place()
    ))
}

/// Whether two base URLs are the same place: scheme and host without case, default port and last slash left out.
fn same_base(one: &str, other: &str) -> bool {
    fn parts(url: &str) -> Option<(String, String, &str)> {
        let (scheme, rest) = url.split_once("://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = host.strip_suffix(":443").unwrap_or(host);
        Some((
            scheme.to_ascii_lowercase(),
            host.to_ascii_lowercase(),
            path.trim_end_matches('/'),
        ))
    }
    parts(one).is_some() && parts(one) == parts(other)
}
