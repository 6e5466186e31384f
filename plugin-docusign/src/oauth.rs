//! Why there is no token: the errors of `/oauth/token`, one by one.
//!
//! All but the outages are the operator's to mend, so none of them is tried again, and each says what to write. The
//! causes are those of DocuSign's developer FAQ, "General Administration and Authentication".

use std::fmt::Write;

use crate::descriptor::{ACCOUNT, SIGNING};
use crate::mint::SCOPE;
use crate::reply::{Complaint, Reply};
use crate::{Failure, Host, Settings, Wire, errors};

/// The failure that an answer of the token endpoint stands for.
pub(crate) fn rejected<H: Host>(host: &H, settings: &Settings, reply: &Reply) -> Failure {
    let complaint = reply.complaint();
    let now = host.now();
    if let Some(limit) = errors::limit(now, reply, &complaint) {
        return Failure::RateLimited(limit);
    }
    let sign_in = host.endpoint(ACCOUNT).unwrap_or_default();
    let words = reply.words();
    let misconfigured = |text: String| Failure::Misconfigured(format!("{text}: {words}"));
    let passing = ["temporarily_unavailable", "server_error", "internal_server_error"];
    match reply.status() {
        status if errors::is_outage(status) => {
            Failure::Unavailable(format!("DocuSign's sign-in is out of order: {words}"))
        }
        300..400 => errors::redirected(reply),
        200..300 => reply.unexpected("has no token that can be used"),
        _ if complaint.is(&passing) => Failure::Unavailable(format!("DocuSign's sign-in is out of order: {words}")),
        _ if complaint.is(&["consent_required"]) => consent_required(settings, &sign_in, reply),
        _ if complaint.is(&["invalid_grant"]) => misconfigured(invalid_grant(settings, &sign_in, &complaint, now)),
        415 => misconfigured(malformed(settings)),
        _ if complaint.is(&["invalid_request"]) => misconfigured(malformed(settings)),
        404 => misconfigured(format!(
            "{sign_in} does not sign in; write as endpoint `{ACCOUNT}` https://account.docusign.com, or \
             https://account-d.docusign.com for demo"
        )),
        400..500 if !complaint.code.is_empty() => misconfigured(format!("DocuSign refuses the sign-in at {sign_in}")),
        _ => reply.unexpected("is neither a token nor a reason"),
    }
}

fn consent_required(settings: &Settings, sign_in: &str, reply: &Reply) -> Failure {
    let Settings {
        integration_key,
        user_id,
        redirect_uri,
        ..
    } = settings;
    let scope = encode(SCOPE);
    let redirect = encode(redirect_uri);
    let url = format!(
        "{sign_in}/oauth/auth?response_type=code&scope={scope}&client_id={integration_key}&redirect_uri={redirect}"
    );
    // The URL comes last, so that nothing behind it is taken for a part of it.
    Failure::ConsentRequired(format!(
        "{}: user {user_id} has not consented to `{SCOPE}` for integration key {integration_key}. The redirect URI \
         {redirect_uri} must be registered under that key, else write settings.redirect_uri. Sign in as exactly this user \
         (another one with the same e-mail address does not count) and accept at {url}",
        reply.words()
    ))
}

fn invalid_grant(settings: &Settings, sign_in: &str, complaint: &Complaint, now: u64) -> String {
    let Settings {
        integration_key,
        user_id,
        ..
    } = settings;
    let said = complaint.message.to_ascii_lowercase();
    let says = |word: &str| said.contains(word);
    if says("user_not_found") || says("invalid_subject") {
        format!(
            "there is no active user {user_id} at {sign_in}; write as settings.user_id the User ID (a GUID) of an active \
             user of this environment, demo and production have different ones"
        )
    } else if says("issuer_not_found") {
        format!(
            "integration key {integration_key} is not known at {sign_in}; write the key of this environment, or bind \
             endpoint `{ACCOUNT}` to the other one (https://account.docusign.com, https://account-d.docusign.com for demo)"
        )
    } else if says("no_valid_keys_or_signatures") {
        format!(
            "key `{SIGNING}` belongs to no keypair of integration key {integration_key}; generate or upload one under Apps \
             and Keys and write its private key's file as keys.{SIGNING}. A clock that is wrong here ({now} seconds since \
             1970) gives the same error"
        )
    } else if says("expired_grant") {
        format!(
            "the assertion had expired when it arrived; set the clock of this machine, which says {now} seconds since 1970"
        )
    } else {
        format!(
            "DocuSign does not say why it refuses the assertion; check that integration key {integration_key}, user \
             {user_id} and key `{SIGNING}` belong together and to {sign_in}, and that the user is active"
        )
    }
}

fn malformed(settings: &Settings) -> String {
    match settings.wire {
        Wire::Article => {
            "DocuSign takes form-encoded token requests only; write wire = \"current\" in the settings".into()
        }
        Wire::Current => {
            format!("DocuSign finds the token request malformed; check what endpoint `{ACCOUNT}` is bound to")
        }
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}
