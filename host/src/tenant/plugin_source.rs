//! `plugin` in a tenant file, and `[registries]` in `exeunt.toml`: where plugins come from.
//!
//! A tenant names a component in a registry by its digest, never by a tag: what runs is said in the tenant file, and not
//! by whoever may move a tag. Which registries there are is the host operator's to say, since the host connects to them
//! from inside.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::digest::parse_digest;
use super::grants::{Ca, read_ca};
use super::names::quoted;
use super::reader::Table;
use super::server::HostSecret;

/// What begins a plugin that is in a registry.
const SCHEME: &str = "oci://";
/// Longest name of a repository: 255 bytes, as the distribution specification advises.
const MAX_REPOSITORY_BYTES: usize = 255;

/// Where a connector's plugin comes from.
#[derive(Debug, Clone)]
pub enum PluginSource {
    /// A file, already below the host's folder of plugins.
    File(PathBuf),
    /// A component in a registry.
    Registry(Arc<RegistryPlugin>),
}

impl Default for PluginSource {
    fn default() -> Self {
        Self::File(PathBuf::new())
    }
}

/// A component in a registry, by the digest of its manifest.
#[derive(Debug, Clone)]
pub struct RegistryPlugin {
    /// How the registry is reached.
    pub registry: Arc<PluginRegistry>,
    /// The name in it.
    pub repository: String,
    /// The digest of the manifest.
    pub digest: String,
}

impl fmt::Display for RegistryPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}@{}", self.registry.name, self.repository, self.digest)
    }
}

/// A registry that the host's operator lets plugins come from.
#[derive(Debug, Clone)]
pub struct PluginRegistry {
    /// Host, and port where it is not the usual one.
    pub name: String,
    /// Whether it is asked over plain http. What comes is checked by its digest all the same; a login is not for this.
    pub insecure: bool,
    /// The only certificate authorities that count, instead of the public ones.
    pub ca: Option<Arc<Ca>>,
    /// User and password.
    pub login: Option<(String, HostSecret)>,
}

impl Hash for PluginRegistry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, self.insecure, &self.ca).hash(state);
        let login = self.login.as_ref();
        login.map(|(user, password)| (user, password.to_string())).hash(state);
    }
}

/// Registries by name.
pub(crate) type Registries = BTreeMap<String, Arc<PluginRegistry>>;

impl PluginSource {
    /// Reads what stands at `plugin`.
    pub(super) fn parse(text: &str, plugins: &Path, registries: &Registries) -> Result<Self, String> {
        match text.strip_prefix(SCHEME) {
            Some(rest) => Ok(Self::Registry(Arc::new(in_registry(rest, registries)?))),
            None => file(text, plugins).map(Self::File),
        }
    }
}

fn file(text: &str, plugins: &Path) -> Result<PathBuf, String> {
    let below = !text.is_empty()
        && Path::new(text)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
    if !below || text.contains(['\\', '\0']) {
        let plugins = plugins.display();
        return Err(format!(
            "must name a file below {plugins}; write plugin = \"NAME.wasm\""
        ));
    }
    Ok(plugins.join(text))
}

fn in_registry(text: &str, registries: &Registries) -> Result<RegistryPlugin, String> {
    const WRITE: &str = "write plugin = \"oci://REGISTRY/NAME@sha256:…\"";
    let (place, digest) = text
        .split_once('@')
        .ok_or_else(|| format!("names no digest; a tag may mean something else tomorrow; {WRITE}"))?;
    let digest = parse_digest(digest).map_err(|_| format!("has no digest after the `@`; {WRITE}"))?;
    let (name, repository) = place.split_once('/').unwrap_or((place, ""));
    if !is_repository(repository) {
        return Err(format!(
            "{} is not the name of a repository: small letters, digits, `.`, `_`, `-` and `/`, no tag; {WRITE}",
            quoted(repository)
        ));
    }
    let registry = registries.get(name).ok_or_else(|| {
        format!(
            "{} is not a registry that this host asks; its operator writes [registries.{}] in exeunt.toml",
            quoted(name),
            quoted(name)
        )
    })?;
    Ok(RegistryPlugin {
        registry: Arc::clone(registry),
        repository: repository.to_owned(),
        digest,
    })
}

/// As in the distribution specification: parts of small letters and digits, with single separators between.
fn is_repository(name: &str) -> bool {
    let is_part = |part: &str| {
        let inner = part
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
        let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        inner && ends(part.as_bytes().first()) && ends(part.as_bytes().last()) && !part.contains("..")
    };
    name.len() <= MAX_REPOSITORY_BYTES && name.split('/').all(is_part)
}

/// Reads `[registries]`.
pub(super) fn read_registries(tables: &Table<'_>, root: &Path) -> Registries {
    let mut registries = Registries::new();
    for (name, item) in tables.entries() {
        if !is_host(name) {
            item.note("is not a registry; write its host, and the port where there is one: \"registry.example:5000\"");
        }
        let Some(mut table) = item.table() else { continue };
        if table.entries().any(|(_, item)| item.is_table()) {
            table.note(
                "is cut off at a dot; put the registry's name in quotes, as in [registries.\"registry.example\"]",
            );
            continue;
        }
        let insecure = table.get("insecure").and_then(|item| item.boolean()).unwrap_or(false);
        let ca = table.get("ca");
        let ca = ca
            .and_then(|item| item.accept(read_ca(item.string()?, root)))
            .map(Arc::new);
        let user = table.get("user").and_then(|item| item.string()).map(str::to_owned);
        let password = table.get("password").and_then(|item| {
            let secret = HostSecret::parse(item.string()?, item.location(), root);
            item.accept(secret.ok_or_else(|| {
                "must say where the password is, not hold it; write \"env:NAME\" or \"file:NAME\"".to_owned()
            }))
        });
        if user.is_some() != password.is_some() {
            table.note("has one of `user` and `password`; write both, or none");
        }
        if insecure && user.is_some() {
            table.note("would send its password over plain http; take `insecure` or `user` and `password` out");
        }
        table.finish();
        let registry = PluginRegistry {
            name: name.to_owned(),
            insecure,
            ca,
            login: user.zip(password),
        };
        registries.insert(name.to_owned(), Arc::new(registry));
    }
    registries
}

fn is_host(name: &str) -> bool {
    let url = url::Url::parse(&format!("https://{name}/"));
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:[]".contains(&b);
    name.bytes().all(is_plain) && url.is_ok_and(|url| url.path() == "/" && url.host().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries() -> Registries {
        let registry = PluginRegistry {
            name: "registry.example:5000".to_owned(),
            insecure: false,
            ca: None,
            login: None,
        };
        Registries::from([(registry.name.clone(), Arc::new(registry))])
    }

    fn parse(text: &str) -> Result<PluginSource, String> {
        PluginSource::parse(text, Path::new("/plugins"), &registries())
    }

    #[test]
    fn a_plugin_in_a_registry_is_named_by_its_digest() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for name in ["docusign", "acme/plugins/docu-sign_v1.0", "0"] {
            let text = format!("oci://registry.example:5000/{name}@{digest}");
            let Ok(PluginSource::Registry(plugin)) = parse(&text) else {
                panic!("{text}");
            };
            assert_eq!(plugin.to_string(), text);
        }
        let host = "oci://registry.example:5000";
        for (text, said) in [
            (format!("{host}/docusign"), "names no digest"),
            (format!("{host}/docusign:1.0"), "names no digest"),
            (format!("{host}/docusign@sha256:00"), "has no digest"),
            (
                format!("{host}/docusign:1.0@{digest}"),
                "is not the name of a repository",
            ),
            (format!("{host}/../v2@{digest}"), "is not the name of a repository"),
            (format!("{host}/a//b@{digest}"), "is not the name of a repository"),
            (format!("{host}/Docusign@{digest}"), "is not the name of a repository"),
            (format!("{host}/a?b@{digest}"), "is not the name of a repository"),
            (format!("{host}@{digest}"), "is not the name of a repository"),
            (
                format!("{host}/{}@{digest}", "a".repeat(256)),
                "is not the name of a repository",
            ),
            (
                format!("oci://169.254.169.254/a@{digest}"),
                "[registries.\"169.254.169.254\"]",
            ),
            (
                format!("oci://registry.example/a@{digest}"),
                "is not a registry that this host asks",
            ),
            (format!("oci://user@registry.example:5000/a@{digest}"), "has no digest"),
        ] {
            let refused = parse(&text).unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }

    #[test]
    fn registries_are_hosts() {
        for name in [
            "ghcr.io",
            "localhost",
            "127.0.0.1:5000",
            "[::1]:5000",
            "registry.example:5000",
        ] {
            assert!(is_host(name), "{name}");
        }
        for name in [
            "",
            "a/b",
            "https://ghcr.io",
            "user@ghcr.io",
            "a?b",
            "a#b",
            "ghcr.io:port",
            "GHCR.io",
            "a b",
        ] {
            assert!(!is_host(name), "{name}");
        }
    }
}
