//! What the connector says of itself: the one place where its reach is written down.

use crate::description::{Descriptor, Endpoint, Exchange, Key, KeyKind, Method, Reach, SigningKey, Verb};
use crate::settings::SCHEMA;

/// Endpoint for sign-in: token and userinfo.
pub(crate) const ACCOUNT: &str = "account";
/// Endpoint of the eSignature REST API.
pub(crate) const ESIGN: &str = "esign";
/// The key that signs assertions.
pub(crate) const SIGNING: &str = "signing";
/// Header with DocuSign's own name for a request; its support asks for it.
pub(crate) const TRACE_HEADER: &str = "X-DocuSign-TraceToken";

/// Returns the connector's description.
#[must_use]
pub fn describe() -> Descriptor {
    Descriptor {
        name: "docusign".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        settings_schema: SCHEMA.into(),
        endpoints: endpoints(),
        keys: vec![signing_key()],
        reach: reach(),
        trace_header: Some(TRACE_HEADER.into()),
    }
}

fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint {
            name: ACCOUNT.into(),
            purpose: "sign-in; https://account-d.docusign.com for demo".into(),
            // Production is one host worldwide.
            default_base_url: Some("https://account.docusign.com".into()),
        },
        Endpoint {
            name: ESIGN.into(),
            purpose: "the account's base_uri, such as https://demo.docusign.net or https://na3.docusign.net".into(),
            // Differs by account; a default would be right for some and misleading for the rest.
            default_base_url: None,
        },
    ]
}

fn signing_key() -> Key {
    Key {
        name: SIGNING.into(),
        purpose: "RSA private key of a keypair under the integration key".into(),
        kind: KeyKind::SigningKey(SigningKey {
            exchange: Exchange {
                endpoint: ACCOUNT.into(),
                path: "/oauth/token".into(),
            },
            issuer: "/integration_key".into(),
            subject: "/user_id".into(),
        }),
        usable_at: vec![ACCOUNT.into(), ESIGN.into()],
    }
}

fn reach() -> Vec<Reach> {
    const USERS: &str = "/restapi/v2.1/accounts/{settings:/account_id}/users";
    let line = |verb, endpoint: &str, method, path: String| Reach {
        verb,
        endpoint: endpoint.into(),
        method,
        path,
        query: Vec::new(),
        body: None,
        optional: false,
    };
    vec![
        line(Verb::Mint, ACCOUNT, Method::Get, "/oauth/userinfo".into()),
        line(Verb::Find, ESIGN, Method::Get, USERS.into()),
        // The id comes from the event here, and the caller's own user is read through it too.
        line(Verb::Find, ESIGN, Method::Get, format!("{USERS}/{{any}}")),
        line(Verb::Read, ESIGN, Method::Get, format!("{USERS}/{{account}}")),
        line(Verb::Read, ESIGN, Method::Get, format!("{USERS}/{{settings:/user_id}}")),
        Reach {
            query: vec!["delete".into()],
            body: Some(r#"{"users":[{"userId":"{account}"}]}"#.into()),
            ..line(Verb::Close, ESIGN, Method::Delete, USERS.into())
        },
        line(Verb::Page, ESIGN, Method::Get, USERS.into()),
        // What `wire = "article"` sends. DocuSign does not document it, so nobody gets it by default.
        Reach {
            optional: true,
            ..line(Verb::Close, ACCOUNT, Method::Delete, format!("{USERS}/{{account}}"))
        },
    ]
}
