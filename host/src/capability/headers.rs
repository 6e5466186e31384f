//! Header fields: which ones a guest may set, which ones it may see.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::text::quoted;

/// What a guest may set. Everything else belongs to the host or could change who asks, what is asked or how it is
/// framed: `Host`, `Authorization`, `Cookie`, `Transfer-Encoding`, `X-HTTP-Method-Override`, `X-Forwarded-…`.
pub(super) const ALLOWED: [&str; 9] = [
    "accept",
    "accept-language",
    "cache-control",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "pragma",
    "prefer",
];

/// Fields that a key of kind `header` may not take, because the host or the message framing needs them.
const HOST_OWNED: [&str; 16] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Whether a field is the host's own, whatever a descriptor says.
#[must_use]
pub(super) fn is_host_owned(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let overriding = ["proxy-", "x-forwarded-", "x-http-method", "x-method-override"];
    HOST_OWNED.contains(&name.as_str())
        || ALLOWED.contains(&name.as_str())
        || overriding.iter().any(|prefix| name.starts_with(prefix))
}

/// A guest's header fields as they are sent.
///
/// # Errors
///
/// The first field that is not allowed or not well formed (control characters end a field early).
pub(super) fn from_guest(fields: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let lower = name.to_ascii_lowercase();
        if !ALLOWED.contains(&lower.as_str()) {
            return Err(format!("header `{}` is not one that a connector may set", quoted(name)));
        }
        let name =
            HeaderName::from_bytes(lower.as_bytes()).map_err(|_| format!("header name `{lower}` is malformed"))?;
        let value = HeaderValue::from_str(value).map_err(|_| format!("header `{lower}` has a control character"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Sees to it that a body of JSON is read as such.
///
/// # Errors
///
/// The content type that says otherwise: servers read the same bytes differently by it.
pub(super) fn declare_json(headers: &mut HeaderMap) -> Result<(), String> {
    let said: Vec<&[u8]> = headers
        .get_all(CONTENT_TYPE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let is_plain = |name: &[u8]| name.iter().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(b));
    let is_json = |kind: &[u8]| match kind.strip_prefix(b"application/") {
        Some(b"json") => true,
        Some(rest) => rest.strip_suffix(b"+json").is_some_and(is_plain),
        None => false,
    };
    match said.as_slice() {
        [] => drop(headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"))),
        [kind] if is_json(kind) => {}
        _ => {
            return Err("the content-type of a declared body is `application/json` or `application/…+json`".to_owned());
        }
    }
    Ok(())
}

/// A request's header fields for the transcript: those of the guest, and none that holds a token or secret.
#[must_use]
pub(super) fn sent(headers: &HeaderMap) -> Vec<(String, String)> {
    let own = headers.iter().filter(|(_, value)| !value.is_sensitive());
    own.map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    })
    .collect()
}

/// A response's header fields as a guest sees them: cookies left out, values as text.
#[must_use]
pub(super) fn to_guest(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "set-cookie" | "set-cookie2"))
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn what_a_connector_needs_passes() {
        let headers = from_guest(&one("Content-Type", "application/json")).unwrap();
        assert_eq!(headers["content-type"], "application/json");
    }

    #[test]
    fn reserved_and_unknown_fields_are_refused() {
        for name in [
            "Host",
            "Authorization",
            "Transfer-Encoding",
            "Content-Length",
            "Connection",
            "Proxy-Authorization",
            "Cookie",
            "X-HTTP-Method-Override",
            "X-Forwarded-For",
            "Accept-Encoding",
            "User-Agent",
            "",
            "a b",
            "x:y",
        ] {
            assert!(from_guest(&one(name, "x")).is_err(), "{name}");
        }
    }

    #[test]
    fn a_value_cannot_begin_another_field() {
        for value in ["a\r\nHost: evil.example", "a\nb", "a\0b", "\r"] {
            assert!(from_guest(&one("accept", value)).is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_declared_body_is_json_and_nothing_else() {
        let with = |kind: &str| from_guest(&one("content-type", kind)).unwrap();
        let mut unsaid = HeaderMap::new();
        declare_json(&mut unsaid).unwrap();
        assert_eq!(unsaid["content-type"], "application/json");
        for kind in ["application/json", "application/scim+json"] {
            assert_eq!(declare_json(&mut with(kind)), Ok(()), "{kind}");
        }
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=utf-16",
            "application/a;b+json",
        ] {
            assert!(declare_json(&mut with(kind)).is_err(), "{kind}");
        }
        let mut twice = with("application/json");
        twice.append("content-type", HeaderValue::from_static("text/plain"));
        assert!(declare_json(&mut twice).is_err());
    }

    #[test]
    fn cookies_are_kept_from_the_guest() {
        let mut headers = HeaderMap::new();
        headers.insert("set-cookie", HeaderValue::from_static("session=1"));
        headers.insert("x-trace", HeaderValue::from_static("t"));
        assert_eq!(to_guest(&headers), one("x-trace", "t"));
    }
}
