//! What one connector of one tenant may do: the descriptor met by what the operator bound.
//!
//! Everything that a host function does derives from a [`Grant`]; there is one constructor and no ambient caller.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::body::BodyTemplate;
use super::descriptor::{Descriptor, KeyDeclaration, KeyKind, Placement, Reach, Verb};
use super::limits::CallLimits;
use super::network::Network;
use super::scrub::{MIN_SECRET, Scrubber};
use crate::clock::SharedClock;
use crate::tenant::{BaseUrl, NetworkGrants, SigningKey, did_you_mean};

/// Longest life of an assertion unless the operator sets another; RFC 7523 asks for short, DocuSign documents 1 h.
pub const DEFAULT_MAX_ASSERTION: Duration = Duration::from_secs(3600);

/// What the operator bound, with secrets resolved.
#[derive(Debug)]
pub struct Binding {
    /// Tenant name.
    pub tenant: String,
    /// Connector name.
    pub connector: String,
    /// Settings, already valid against the plugin's schema.
    pub settings: Value,
    /// Base URLs by endpoint name.
    pub endpoints: BTreeMap<String, BaseUrl>,
    /// Secrets by key name, the one to try first in front. More than one during a rotation.
    pub keys: BTreeMap<String, Vec<KeyMaterial>>,
    /// The reach lines that the operator grants, in full; all that are not optional where absent.
    pub reach: Option<Vec<String>>,
    /// Longest life of an assertion.
    pub max_assertion: Option<Duration>,
    /// How requests reach the network.
    pub network: Arc<NetworkGrants>,
}

/// A secret, ready for use.
#[derive(Debug)]
pub enum KeyMaterial {
    /// Signs assertions.
    Signing(SigningKey),
    /// A client secret or a static key.
    Secret(SecretString),
}

/// A problem of a binding: which field of the connector's table, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Field of `[connectors.NAME]`, such as `endpoints`.
    pub field: &'static str,
    /// What is wrong and what to write.
    pub text: String,
}

/// What one connector of one tenant may do.
pub struct Grant {
    pub(super) tenant: String,
    pub(super) connector: String,
    pub(super) settings: Value,
    pub(super) settings_text: String,
    pub(super) endpoints: BTreeMap<String, BaseUrl>,
    pub(super) reach: Vec<Reach>,
    pub(super) withheld: Vec<Reach>,
    /// The granted lines as a tenant file has them.
    lines: Vec<String>,
    pub(super) keys: BTreeMap<String, Box<Key>>,
    pub(super) trace_header: Option<String>,
    pub(super) max_assertion: Duration,
    pub(super) limits: CallLimits,
    pub(super) network_settings: Arc<NetworkGrants>,
    pub(super) network: Arc<Network>,
    pub(super) clock: SharedClock,
    pub(super) scrubber: Scrubber,
    /// By endpoint, what finds the secrets of keys that do not go there, where there are any.
    pub(super) strays: BTreeMap<String, Scrubber>,
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) declaration: KeyDeclaration,
    /// At least one.
    pub(super) materials: Vec<KeyMaterial>,
}

/// The texts of a key that must not be shown.
fn secrets(key: &Key) -> impl Iterator<Item = &str> {
    let is_pair = is_pair(&key.declaration.kind);
    let secrets = key.materials.iter().filter_map(move |material| match material {
        KeyMaterial::Secret(secret) => Some(secret_part(secret.expose_secret(), is_pair)),
        KeyMaterial::Signing(_) => None,
    });
    secrets.flat_map(with_parts)
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("tenant", &self.tenant)
            .field("connector", &self.connector)
            .finish_non_exhaustive()
    }
}

impl Grant {
    /// Meets a descriptor with a binding.
    ///
    /// # Errors
    ///
    /// Everything in the binding that does not fit the descriptor.
    pub fn new(
        descriptor: &Descriptor,
        binding: Binding,
        network: Arc<Network>,
        clock: SharedClock,
        limits: CallLimits,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let endpoints = bind_endpoints(descriptor, binding.endpoints, &binding.network, &mut problems);
        let keys = bind_keys(descriptor, binding.keys, &binding.settings, &mut problems);
        let (granted, withheld) = bind_reach(descriptor, binding.reach.as_deref(), &mut problems);
        let lines = granted.iter().map(ToString::to_string).collect();
        let reach = resolve(granted, &binding.settings, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let scrubber = Scrubber::new(keys.values().flat_map(|key| secrets(key)));
        let strays = endpoints.keys().filter_map(|endpoint| {
            let others = keys.values().filter(|key| !key.declaration.goes_to(endpoint));
            let strays = Scrubber::new(others.flat_map(|key| secrets(key)));
            (!strays.is_empty()).then(|| (endpoint.clone(), strays))
        });
        let strays = strays.collect();
        Ok(Self {
            tenant: binding.tenant,
            connector: binding.connector,
            settings_text: binding.settings.to_string(),
            settings: binding.settings,
            endpoints,
            reach,
            withheld,
            lines,
            keys,
            trace_header: descriptor.trace_header.as_ref().map(|name| name.to_ascii_lowercase()),
            max_assertion: binding.max_assertion.unwrap_or(DEFAULT_MAX_ASSERTION),
            limits,
            network_settings: binding.network,
            network,
            clock,
            scrubber,
            strays,
        })
    }

    /// The ids whose accounts the connector itself works with: closing one would lock it out.
    pub fn own_accounts(&self) -> impl Iterator<Item = &str> {
        self.keys.values().filter_map(|key| match &key.declaration.kind {
            KeyKind::SigningKey { subject, .. } => self.settings.pointer(subject)?.as_str(),
            KeyKind::ClientSecret { .. } | KeyKind::ApiKey { .. } => None,
        })
    }

    /// The base URL of an endpoint, without a slash at its end.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Option<&str> {
        self.endpoints.get(name).map(BaseUrl::as_str)
    }

    /// Where the operator writes, for the messages that say what.
    pub(super) fn operator(&self) -> String {
        format!("[connectors.{}] in tenants/{}.toml", self.connector, self.tenant)
    }

    /// The operator's `reach` with one more line, as TOML: the list replaces the default, so it is always whole.
    pub(super) fn reach_with(&self, added: &Reach) -> String {
        let lines = self.lines.iter().cloned().chain([added.to_string()]);
        toml::Value::from(lines.collect::<Vec<_>>()).to_string()
    }

    /// What a transcript keeps of it for a replay: the settings, and the endpoints' base URLs.
    pub(crate) fn surroundings(&self) -> (&Value, impl Iterator<Item = (&str, &str)>) {
        let endpoints = self.endpoints.iter();
        (
            &self.settings,
            endpoints.map(|(name, base)| (name.as_str(), base.as_str())),
        )
    }

    /// The clock that guests are told the time by.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }
}

fn bind_endpoints(
    descriptor: &Descriptor,
    mut bound: BTreeMap<String, BaseUrl>,
    network: &NetworkGrants,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, BaseUrl> {
    let mut endpoints = BTreeMap::new();
    for declared in &descriptor.endpoints {
        let name = &declared.name;
        // A plugin must not choose by its default where the operator's secrets go.
        let secret = descriptor.keys.iter().find(|key| key.goes_to(name));
        let default = declared.default_base_url.as_deref();
        let usual = default.filter(|_| secret.is_none());
        let base = bound.remove(name).or_else(|| BaseUrl::parse(usual?, network).ok());
        if let Some(base) = base {
            endpoints.insert(name.clone(), base);
            continue;
        }
        let takes = secret.map(|key| format!(", where key `{}` goes,", key.name));
        problems.push(Problem {
            field: "endpoints",
            text: format!(
                "endpoint `{name}` ({}){} is not bound; add {name} = \"{}\" to its `endpoints`",
                declared.purpose,
                takes.unwrap_or_default(),
                default.unwrap_or("https://…")
            ),
        });
    }
    for name in bound.keys() {
        let known = descriptor.endpoints.iter().map(|endpoint| endpoint.name.as_str());
        problems.push(Problem {
            field: "endpoints",
            text: unknown("endpoint", name, known),
        });
    }
    endpoints
}

fn bind_keys(
    descriptor: &Descriptor,
    mut bound: BTreeMap<String, Vec<KeyMaterial>>,
    settings: &Value,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Box<Key>> {
    let mut keys = BTreeMap::new();
    for declaration in &descriptor.keys {
        let name = &declaration.name;
        let Some(materials) = bound.remove(name) else {
            let text = format!(
                "key `{name}` ({}) is missing; write keys = {{ {name} = \"file:…\" }}",
                declaration.purpose
            );
            problems.push(Problem { field: "keys", text });
            continue;
        };
        problems.extend(misfits(declaration, &materials, settings));
        keys.insert(
            name.clone(),
            // Most grants have one key, and a map has room for eleven.
            Box::new(Key {
                declaration: declaration.clone(),
                materials,
            }),
        );
    }
    for name in bound.keys() {
        let known = descriptor.keys.iter().map(|key| key.name.as_str());
        problems.push(Problem {
            field: "keys",
            text: unknown("key", name, known),
        });
    }
    keys
}

/// What is wrong with the secrets bound to a key, and with the settings that it needs.
fn misfits(declaration: &KeyDeclaration, materials: &[KeyMaterial], settings: &Value) -> Vec<Problem> {
    let (name, mut problems) = (&declaration.name, Vec::new());
    let is_pair = is_pair(&declaration.kind);
    let is_short = |material: &KeyMaterial| match material {
        KeyMaterial::Secret(secret) => secret_part(secret.expose_secret(), is_pair).len() < MIN_SECRET,
        KeyMaterial::Signing(_) => false,
    };
    if materials.iter().any(is_short) {
        let text = format!(
            "key `{name}` has a secret of less than {MIN_SECRET} bytes, so its echo could not be told from text"
        );
        problems.push(Problem { field: "keys", text });
    }
    if materials.len() > 1 && matches!(declaration.kind, KeyKind::ApiKey { .. }) {
        let text = format!(
            "key `{name}` is sent as it is, so nothing tells which of two secrets is the good one; write one, and change \
             its file when the target has the new one"
        );
        problems.push(Problem { field: "keys", text });
    }
    let pointers = match &declaration.kind {
        KeyKind::SigningKey { issuer, subject, .. } => vec![issuer, subject],
        KeyKind::ClientSecret { client_id, .. } => vec![client_id],
        KeyKind::ApiKey { .. } => Vec::new(),
    };
    for pointer in pointers {
        if settings
            .pointer(pointer)
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            let text = format!(
                "`{}` is needed by key `{name}`; write it as a string",
                pointer.trim_start_matches('/')
            );
            problems.push(Problem {
                field: "settings",
                text,
            });
        }
    }
    problems
}

/// The granted and the withheld lines. What the operator lists is granted and nothing else.
fn bind_reach(
    descriptor: &Descriptor,
    listed: Option<&[String]>,
    problems: &mut Vec<Problem>,
) -> (Vec<Reach>, Vec<Reach>) {
    let mut wrong = |text: String| problems.push(Problem { field: "reach", text });
    for line in listed.unwrap_or_default() {
        if !descriptor.reach.iter().any(|reach| is_line(reach, line)) {
            let known: Vec<String> = descriptor.reach.iter().map(ToString::to_string).collect();
            wrong(unknown("reach", line, known.iter().map(String::as_str)));
        }
    }
    let is_granted = |reach: &Reach| match listed {
        Some(lines) => lines.iter().any(|line| is_line(reach, line)),
        None => !reach.optional,
    };
    let (granted, withheld): (Vec<Reach>, Vec<Reach>) = descriptor.reach.iter().cloned().partition(is_granted);
    // What is closed without having been read cannot be proved, and would be closed all the same.
    let has = |lines: &[Reach], verb| lines.iter().any(|line| line.verb == verb);
    for verb in [Verb::Mint, Verb::Find, Verb::Read] {
        if has(&granted, Verb::Close) && !has(&granted, verb) && has(&withheld, verb) {
            let missing: Vec<String> = withheld
                .iter()
                .filter(|line| line.verb == verb)
                .map(ToString::to_string)
                .collect();
            wrong(format!(
                "it grants `close` and nothing of `{verb}`; the list is what is granted in full, so add {}",
                toml::Value::from(missing)
            ));
        }
    }
    (granted, withheld)
}

/// The lines with the settings put into their paths.
fn resolve(granted: Vec<Reach>, settings: &Value, problems: &mut Vec<Problem>) -> Vec<Reach> {
    let mut resolved = Vec::new();
    for reach in granted {
        let in_body = reach.body.iter().flat_map(BodyTemplate::pointers);
        let missing = in_body.filter(|pointer| settings.pointer(pointer).and_then(Value::as_str).is_none());
        let missing: Vec<String> = missing.map(str::to_owned).collect();
        match reach.path.with_settings(settings) {
            Ok(path) if missing.is_empty() => resolved.push(Reach { path, ..reach }),
            Ok(_) => problems.push(needed(&missing[0], &format!("as a string in the body of `{reach}`"))),
            Err(pointer) => problems.push(needed(&pointer, &format!("as one segment of a path by `{reach}`"))),
        }
    }
    resolved
}

fn needed(pointer: &str, what_for: &str) -> Problem {
    Problem {
        field: "settings",
        text: format!("`{}` is needed {what_for}", pointer.trim_start_matches('/')),
    }
}

/// Whether an operator's line is this reach; runs of blanks count as one.
fn is_line(reach: &Reach, line: &str) -> bool {
    line.split_whitespace().eq(reach.to_string().split_whitespace())
}

fn is_pair(kind: &KeyKind) -> bool {
    matches!(
        kind,
        KeyKind::ApiKey {
            placement: Placement::Basic
        }
    )
}

/// A secret and what stands in it between colons, which targets show alone.
pub(super) fn with_parts(secret: &str) -> impl Iterator<Item = &str> {
    secret.split(':').chain([secret])
}

/// What of a key must not be seen: of `user:password` the password. The user is somebody's address, and blanking a piece
/// of it in answers would make others with the same domain unfindable.
pub(super) fn secret_part(key: &str, is_pair: bool) -> &str {
    key.split_once(':')
        .filter(|_| is_pair)
        .map_or(key, |(_, password)| password)
}

fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    format!("the plugin has no {what} `{name}`; {}", did_you_mean(name, known))
}
