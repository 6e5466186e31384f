//! What eSignature's refusals mean for the host.
//!
//! The error code decides before the status does: rate errors moved from 400 to 429 during 2026, and permission errors
//! have been seen as 401 (DocuSign, "Clearer API error message and status code improvements"). Codes are compared
//! without case. Some errors carry no JSON at all; then the status decides.

use crate::descriptor::ESIGN;
use crate::reply::{Complaint, Reply};
use crate::{Failure, Host, Limit, LimitKind, Refusal};

/// DocuSign does not know the user that was asked for, or the one who asks. Which of them, the code does not tell.
const UNMATCHED: [&str; 5] = [
    "USER_LACKS_MEMBERSHIP",
    "USER_NOT_FOUND",
    "USER_DOES_NOT_EXIST_IN_SYSTEM",
    "USER_DOES_NOT_BELONG_TO_SPECIFIED_ACCOUNT",
    "INVALID_USERID",
];

/// Codes of an access token that is sent to another data centre than the account's.
const WRONG_HOST: [&str; 2] = ["USER_AUTHENTICATION_FAILED", "PARTNER_AUTHENTICATION_FAILED"];

const PERMISSION: [&str; 3] = [
    "USER_LACKS_PERMISSIONS",
    "ACCOUNT_LACKS_PERMISSIONS",
    "USER_NOT_ACCOUNT_ADMIN",
];

/// Whether an answer says that a user is not known.
pub(crate) fn is_unmatched(reply: &Reply) -> bool {
    (400..500).contains(&reply.status()) && reply.complaint().is(&UNMATCHED)
}

/// The failure that an answer stands for. The answer is not a success.
pub(crate) fn failure<H: Host>(host: &H, reply: &Reply) -> Failure {
    let complaint = reply.complaint();
    if let Some(limit) = limit(host.now(), reply, &complaint) {
        return Failure::RateLimited(limit);
    }
    let words = reply.words();
    match (reply.status(), &complaint) {
        (_, complaint) if complaint.is(&WRONG_HOST) => wrong_host(host, &words),
        (_, complaint) if complaint.is(&PERMISSION) => no_permission(&words),
        (_, complaint) if complaint.is(&["AUTHORIZATION_INVALID_TOKEN"]) => Failure::Unauthorized(words),
        (401, _) => Failure::Unauthorized(words),
        (403, _) => no_permission(&words),
        (status, _) if is_outage(status) => Failure::Unavailable(format!("DocuSign is out of order: {words}")),
        (300..400, _) => redirected(reply),
        (400..500, complaint) if !complaint.code.is_empty() => Failure::Refused(Refusal {
            code: complaint.code.clone(),
            message: words,
        }),
        _ => reply.unexpected("has a status that makes no sense here"),
    }
}

/// Whether a status stands for an outage. 444 is how DocuSign's traffic management cuts a caller off.
pub(crate) fn is_outage(status: u16) -> bool {
    matches!(status, 408 | 444 | 500..=599)
}

/// A redirect, which the host does not follow: it would carry the token to a place that nobody bound.
pub(crate) fn redirected(reply: &Reply) -> Failure {
    let location = reply.header("location").map(crate::reply::quote).unwrap_or_default();
    reply.unexpected(&format!(
        "is a redirect to `{location}`; bind the endpoint to the address that answers itself"
    ))
}

/// The limit that an answer says is used up, if it does.
pub(crate) fn limit(now: u64, reply: &Reply, complaint: &Complaint) -> Option<Limit> {
    let kind = if complaint.is(&["HOURLY_APIINVOCATION_LIMIT_EXCEEDED"]) {
        LimitKind::Quota
    } else if is_burst(complaint) {
        LimitKind::Burst
    } else if reply.status() != 429 {
        return None;
    } else if count(reply, "X-RateLimit-Remaining") == Some(0) {
        LimitKind::Quota
    } else {
        LimitKind::Burst
    };
    let until = match kind {
        LimitKind::Quota => reset(now, reply),
        LimitKind::Burst => None,
    };
    Some(Limit {
        kind,
        until,
        message: reply.words(),
    })
}

/// Whether DocuSign says that the short allowance is used up.
pub(crate) fn is_burst(complaint: &Complaint) -> bool {
    complaint.is(&["BURST_APIINVOCATION_LIMIT_EXCEEDED"])
}

/// When the hour's allowance is fresh again. It comes with every answer; about a burst, DocuSign says nothing.
pub(crate) fn reset(now: u64, reply: &Reply) -> Option<u64> {
    count(reply, "X-RateLimit-Reset").filter(|&reset| reset > now)
}

fn count(reply: &Reply, name: &str) -> Option<u64> {
    reply.header(name).and_then(|value| value.parse().ok())
}

fn wrong_host<H: Host>(host: &H, words: &str) -> Failure {
    let bound = host.endpoint(ESIGN).unwrap_or_default();
    Failure::Misconfigured(format!(
        "the eSignature host {bound} does not accept this token, which usually means that the account lives on another \
         one; write as endpoint `{ESIGN}` the account's base_uri, as /oauth/userinfo and Apps and Keys show it: {words}"
    ))
}

fn no_permission(words: &str) -> Failure {
    Failure::Misconfigured(format!(
        "the user that the connector acts as (settings.user_id) lacks a permission; make it an account administrator: the \
         delegated right \"Users and Groups and Administrators\" lets it close everybody, but may not let it read whom it \
         closed, and what cannot be read is not proven: {words}"
    ))
}
