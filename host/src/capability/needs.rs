//! What a plugin needs of its operator, as lines: they can be read, compared, and accepted by their digest.
//!
//! Lines, and not a structure, because an operator accepts what they have read. Optional requests are left out: they
//! are granted only where the operator lists them.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::descriptor::{Descriptor, KeyDeclaration, KeyKind, Placement};
use crate::tenant::digest_text;
use crate::text::printable;

/// Begins the text that is digested, so that another form of these lines will have other digests.
const FORM: &str = "exeunt plugin needs 1";

/// What a plugin needs: endpoints, requests, keys and where these and their tokens go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs(BTreeSet<String>);

impl Needs {
    /// What a plugin needs that describes itself so.
    #[must_use]
    pub fn of(descriptor: &Descriptor) -> Self {
        let endpoints = descriptor.endpoints.iter().map(|endpoint| {
            let name = &endpoint.name;
            match &endpoint.default_base_url {
                Some(base) => format!("endpoint {name}, by default {}", printable(base)),
                None => format!("endpoint {name}"),
            }
        });
        let granted = descriptor.reach.iter().filter(|reach| !reach.optional);
        let requests = granted.map(ToString::to_string);
        let keys = descriptor.keys.iter().flat_map(key);
        Self(endpoints.chain(requests).chain(keys).collect())
    }

    /// As they were written down.
    #[must_use]
    pub fn from_lines(lines: impl IntoIterator<Item = String>) -> Self {
        Self(lines.into_iter().collect())
    }

    /// One need a line, sorted.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// `sha256:` and the digest of all lines: what an operator writes to accept them.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(FORM);
        for line in &self.0 {
            hash.update("\n");
            hash.update(line);
        }
        digest_text(&hash.finalize())
    }

    /// What is needed here and not there.
    pub fn beyond<'a>(&'a self, there: &'a Self) -> impl Iterator<Item = &'a str> {
        self.0.difference(&there.0).map(String::as_str)
    }
}

/// One line for what the key is, and one for each place where it or its token goes, so that a difference says just what
/// is new.
fn key(key: &KeyDeclaration) -> Vec<String> {
    let name = &key.name;
    let (what, goes) = match &key.kind {
        KeyKind::SigningKey {
            exchange,
            issuer,
            subject,
        } => {
            let (endpoint, path) = (&exchange.endpoint, &exchange.path);
            let claims = format!("issuer {}, subject {}", printable(issuer), printable(subject));
            (
                format!("signs assertions ({claims}) for {endpoint} {path}"),
                "its token goes to",
            )
        }
        KeyKind::ClientSecret { exchange, client_id } => {
            let (endpoint, path, id) = (&exchange.endpoint, &exchange.path, printable(client_id));
            (
                format!("is a client secret (client {id}) for {endpoint} {path}"),
                "its token goes to",
            )
        }
        KeyKind::ApiKey { placement } => {
            let place = match placement {
                Placement::Bearer => "Authorization: Bearer".to_owned(),
                Placement::Basic => "Authorization: Basic".to_owned(),
                Placement::Header(name) => name.to_ascii_lowercase(),
            };
            (format!("is sent as it is, in {place}"), "it goes to")
        }
    };
    let places = key
        .usable_at
        .iter()
        .map(|endpoint| format!("key {name}: {goes} {endpoint}"));
    std::iter::once(format!("key {name}: {what}")).chain(places).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::body::BodyTemplate;
    use crate::capability::{EndpointDeclaration, KeyExchange, Method, PathTemplate, Reach, Verb};

    fn reach(verb: Verb, method: Method, path: &str, optional: bool) -> Reach {
        Reach {
            verb,
            endpoint: "api".to_owned(),
            method,
            path: PathTemplate::parse(path).unwrap(),
            query: Vec::new(),
            body: None,
            optional,
        }
    }

    fn descriptor() -> Descriptor {
        let endpoint = |name: &str, default: Option<&str>| EndpointDeclaration {
            name: name.to_owned(),
            purpose: "for a test".to_owned(),
            default_base_url: default.map(str::to_owned),
        };
        let key = |name: &str, kind, usable_at: &[&str]| KeyDeclaration {
            name: name.to_owned(),
            purpose: "for a test".to_owned(),
            kind,
            usable_at: usable_at.iter().map(|&name| name.to_owned()).collect(),
        };
        let exchange = KeyExchange {
            endpoint: "login".to_owned(),
            path: "/token".to_owned(),
        };
        let signing = KeyKind::SigningKey {
            exchange,
            issuer: "/app".to_owned(),
            subject: "/user".to_owned(),
        };
        let header = KeyKind::ApiKey {
            placement: Placement::Header("X-Key".to_owned()),
        };
        Descriptor {
            name: "test".to_owned(),
            version: "1.0.0".to_owned(),
            settings_schema: serde_json::json!({}),
            endpoints: vec![endpoint("login", None), endpoint("api", Some("https://api.example"))],
            keys: vec![
                key("signing", signing, &["api", "login"]),
                key("static", header, &["api"]),
            ],
            reach: vec![
                reach(Verb::Close, Method::Delete, "/users/{account}", false),
                reach(Verb::Find, Method::Get, "/users", false),
                reach(Verb::Page, Method::Get, "/all", true),
            ],
            trace_header: None,
        }
    }

    #[test]
    fn needs_are_lines_that_name_every_place_and_no_optional_request() {
        let needs = Needs::of(&descriptor());
        let lines: Vec<&str> = needs.lines().collect();
        assert_eq!(
            lines,
            [
                "close DELETE api /users/{account}",
                "endpoint api, by default https://api.example",
                "endpoint login",
                "find GET api /users",
                "key signing: its token goes to api",
                "key signing: its token goes to login",
                "key signing: signs assertions (issuer /app, subject /user) for login /token",
                "key static: is sent as it is, in x-key",
                "key static: it goes to api",
            ]
        );
    }

    #[test]
    fn what_is_new_or_moved_is_beyond_what_was_and_what_is_gone_is_not() {
        let before = Needs::of(&descriptor());
        let mut changed = descriptor();
        changed.reach[2].optional = false;
        changed.keys[1].usable_at.push("login".to_owned());
        changed.endpoints[1].default_base_url = Some("https://elsewhere.example".to_owned());
        let KeyKind::SigningKey { subject, .. } = &mut changed.keys[0].kind else {
            panic!("a signing key");
        };
        *subject = "/admin".to_owned();
        let after = Needs::of(&changed);
        let grown: Vec<&str> = after.beyond(&before).collect();
        assert_eq!(
            grown,
            [
                "endpoint api, by default https://elsewhere.example",
                "key signing: signs assertions (issuer /app, subject /admin) for login /token",
                "key static: it goes to login",
                "page GET api /all",
            ]
        );
        changed = descriptor();
        changed.reach.truncate(1);
        assert_eq!(Needs::of(&changed).beyond(&before).count(), 0, "it only shrank");
    }

    #[test]
    fn a_digest_is_of_all_lines_in_any_order_and_survives_being_written_down() {
        let needs = Needs::of(&descriptor());
        let mut turned = descriptor();
        turned.reach.reverse();
        turned.keys.reverse();
        assert_eq!(Needs::of(&turned).digest(), needs.digest());
        turned.reach.pop();
        assert_ne!(Needs::of(&turned).digest(), needs.digest());
        let written: Vec<String> = needs.lines().map(str::to_owned).collect();
        assert_eq!(Needs::from_lines(written).digest(), needs.digest());
        assert_eq!(needs.digest().len(), "sha256:".len() + 64);
    }

    #[test]
    fn a_line_that_hides_a_part_of_itself_is_refused() {
        let problems = |change: &dyn Fn(&mut Descriptor)| {
            let mut descriptor = descriptor();
            change(&mut descriptor);
            descriptor.problems().join("\n")
        };
        let sound = problems(&|_| {});
        assert!(
            !sound.contains("semantic version") && !sound.contains("control characters"),
            "{sound}"
        );
        let version = problems(&|descriptor| descriptor.version = "1.0.0+\u{1b}[8m".to_owned());
        assert!(version.contains("semantic version"), "{version}");
        let body = problems(&|descriptor| {
            descriptor.reach[0].method = Method::Post;
            descriptor.reach[0].body = BodyTemplate::parse("{\"id\":\"{account}\",\"x\":\"\u{9b}8m\"}").ok();
        });
        assert!(body.contains("control characters"), "{body}");
    }
}
