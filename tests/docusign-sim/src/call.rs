//! What comes in and what goes out, without sockets.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::form_urlencoded;

/// Which of the three listeners a request came in at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// account-d.docusign.com.
    Account,
    /// demo.docusign.net.
    Esign,
    /// `/_sim/…` on loopback.
    Control,
}

/// A request, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) origin: Origin,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    /// The host that the client meant, without its port.
    pub(crate) fn host(&self) -> &str {
        let host = self.header(&HOST).unwrap_or_default();
        host.rsplit_once(':').map_or(host, |(name, _)| name)
    }

    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The bearer token, if there is one.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header(&AUTHORIZATION)?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// The path's segments; a slash at the end is an empty one.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path.trim_start_matches('/').split('/').collect()
    }

    /// The last value of a query parameter, decoded.
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        let pairs = form_urlencoded::parse(self.query.as_deref()?.as_bytes());
        pairs
            .filter(|(key, _)| key == name)
            .last()
            .map(|(_, value)| value.into_owned())
    }

    pub(crate) fn is_json(&self) -> bool {
        self.has_type("application/json")
    }

    pub(crate) fn is_form(&self) -> bool {
        self.has_type("application/x-www-form-urlencoded")
    }

    fn has_type(&self, wanted: &str) -> bool {
        let kind = self.header(&CONTENT_TYPE).unwrap_or_default();
        let (kind, _) = kind.split_once(';').unwrap_or((kind, ""));
        kind.trim().eq_ignore_ascii_case(wanted)
    }

    /// The assertion in a token request, form or JSON.
    pub(crate) fn assertion(&self) -> Option<String> {
        if self.is_json() {
            let body: Value = serde_json::from_slice(&self.body).ok()?;
            return body.get("assertion")?.as_str().map(str::to_owned);
        }
        let mut pairs = form_urlencoded::parse(&self.body);
        pairs
            .find(|(key, _)| key == "assertion")
            .map(|(_, value)| value.into_owned())
    }
}

/// A finished answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    fn with_type(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self {
            status,
            headers,
            body: body.into(),
        }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::with_type(status, "application/json; charset=utf-8", body.to_string())
    }

    /// An eSignature error.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::json(status, &json!({ "errorCode": code, "message": message }))
    }

    /// An OAuth error; DocuSign leaves the description out at times.
    pub(crate) fn oauth_error(error: &str, description: Option<&str>) -> Self {
        Self::json(
            400,
            &match description {
                Some(description) => json!({ "error": error, "error_description": description }),
                None => json!({ "error": error }),
            },
        )
    }

    /// What the servers in front of the API answer: a page.
    pub(crate) fn html(status: u16) -> Self {
        let reason = http::StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason());
        let title = format!("{status} {}", reason.unwrap_or("Error"));
        let page = format!(
            "<!DOCTYPE html>\r\n<html><head><title>{title}</title></head>\r\n\
             <body><center><h1>{title}</h1></center><hr></body></html>\r\n"
        );
        Self::with_type(status, "text/html; charset=us-ascii", page)
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// The page of a method that a path does not serve.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let mut reply = Self::html(405);
        reply
            .headers
            .insert(http::header::ALLOW, HeaderValue::from_static(allow));
        reply
    }
}
