//! The base URL that an endpoint is bound to.
//!
//! Checked before and after parsing: a URL parser repairs what it reads (it drops tabs, turns `\` into `/`, resolves
//! dot segments, reads `0x7f.1` as an address), and what is repaired is no longer what the operator wrote.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use url::{Host, Url};

use super::grants::NetworkGrants;

/// Longest base URL: 1 KiB. A host name has at most 253 bytes; the rest is for the path.
pub const MAX_URL_BYTES: usize = 1024;

/// A checked base URL: https (or http where granted), a host, perhaps a path; no slash at its end. Shared by the
/// tenant file and the grant that is made of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl(Arc<Parts>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Parts {
    url: Url,
    text: String,
    host: String,
    port: u16,
    address: Option<IpAddr>,
}

impl BaseUrl {
    /// Checks a base URL as an operator or a descriptor wrote it.
    ///
    /// # Errors
    /// What is wrong and what to write instead, without saying where.
    pub fn parse(text: &str, grants: &NetworkGrants) -> Result<Self, String> {
        check_text(text)?;
        let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}; write https://HOST"))?;
        let (host, address) = host_of(&url)?;
        let port = url
            .port_or_known_default()
            .filter(|port| *port != 0)
            .ok_or("has port 0; leave it out")?;
        check_path(text)?;
        let base = Self(Arc::new(Parts {
            text: url.as_str().trim_end_matches('/').to_owned(),
            url,
            host,
            port,
            address,
        }));
        base.check_grants(grants)?;
        Ok(base)
    }

    /// The URL without a slash at its end; the default port is left out, host and scheme are in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The parsed URL; its path ends in `/` only where it is nothing else.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    /// False only where `insecure` grants http to this very address.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.url.scheme() == "https"
    }

    /// The host name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// The port, also where it is the default one.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// The path before every request's path: empty, or `/a/b` without a slash at its end.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.0.url.path().trim_end_matches('/')
    }

    /// The address, where the host is one. It was granted, then.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address.map(|address| SocketAddr::new(address, self.0.port))
    }

    fn check_grants(&self, grants: &NetworkGrants) -> Result<(), String> {
        let port = self.0.port;
        match (self.0.url.scheme(), self.address()) {
            ("https", None) => Ok(()),
            ("https", Some(address)) if grants.allows_private(address) => Ok(()),
            ("https", Some(address)) => Err(format!(
                "has an address for a host; write a host name, or grant it in exeunt.toml under [tenants.NAME]: \
                 private = [\"{address}\"]"
            )),
            ("http", Some(address)) if grants.allows_insecure(address) => Ok(()),
            ("http", Some(address)) if address.ip().to_canonical().is_loopback() => Err(format!(
                "is not https; write https://, or grant it in exeunt.toml under [tenants.NAME]: insecure = \
                 [\"{address}\"]"
            )),
            ("http", _) => Err(format!("is not https; write https://{}{}", self.0.host, self.prefix())),
            (scheme, _) => Err(format!("has the scheme {scheme}, port {port}; write https://")),
        }
    }
}

fn check_text(text: &str) -> Result<(), String> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // `https:/host://other` has one, and a URL parser reads another.
    let is_scheme = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if text.len() > MAX_URL_BYTES {
        Err(format!("is over {MAX_URL_BYTES} bytes, the limit for a URL"))
    } else if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        Err("holds white space, a control character or a backslash; write https://HOST".to_owned())
    } else if authority.is_empty() || !is_scheme {
        Err("is not a URL with a host; write https://HOST".to_owned())
    } else if text.contains('?') {
        Err("has a query; a base URL has none, so leave out everything from the `?` on".to_owned())
    } else if text.contains('#') {
        Err("has a fragment; a base URL has none, so leave out everything from the `#` on".to_owned())
    } else if authority.contains('@') {
        Err("has user info; leave out everything before the `@`: secrets go under `keys`".to_owned())
    } else {
        Ok(())
    }
}

fn host_of(url: &Url) -> Result<(String, Option<IpAddr>), String> {
    match url.host() {
        Some(Host::Domain(_)) if !["https", "http"].contains(&url.scheme()) => {
            Err(format!("has the scheme {}; write https://", url.scheme()))
        }
        Some(Host::Domain(name)) if name.ends_with('.') => {
            Err("has a host that ends in a dot; write it without".to_owned())
        }
        Some(Host::Domain(name)) if is_host_name(name) => Ok((name.to_owned(), None)),
        Some(Host::Domain(name)) => Err(format!("has {name:?} for a host, which is no host name")),
        Some(Host::Ipv4(address)) => Ok((address.to_string(), Some(IpAddr::V4(address)))),
        Some(Host::Ipv6(address)) => Ok((address.to_string(), Some(IpAddr::V6(address)))),
        None => Err("has no host; write https://HOST".to_owned()),
    }
}

// Letters are in lower case and international names in their ASCII form by now.
fn is_host_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    name.split('.')
        .all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(plain))
}

// Percent signs are refused rather than decoded: a prefix that needs one is not known, and two readers of `%2e%2e`
// rarely agree.
fn check_path(text: &str) -> Result<(), String> {
    let after = text.split_once("://").map_or("", |(_, rest)| rest);
    let Some((_, path)) = after.split_once('/') else {
        return Ok(());
    };
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(());
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b);
    for segment in path.split('/') {
        if segment.is_empty() {
            return Err("has an empty segment in its path; write single slashes".to_owned());
        }
        if segment == "." || segment == ".." {
            return Err(format!(
                "has the segment `{segment}` in its path; write the path that is meant"
            ));
        }
        if !segment.bytes().all(allowed) {
            return Err("has a character in its path that would have to be encoded; bind a plain prefix".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
