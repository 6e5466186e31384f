//! References to secrets, and what they resolve to.
//!
//! A tenant file holds no secret, only where one is: `file:NAME` below `tenants/TENANT/`, or `env:NAME` with the
//! prefix `EXEUNT_TENANT_`. Both are checked so that one tenant's file cannot name another tenant's secret.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use secrecy::SecretString;
use toml::de::DeValue;
use zeroize::Zeroizing;

use super::error::{ConfigError, Location};
use super::reader::Item;

/// Largest secret: 64 KiB. An 8192-bit RSA key in PEM is 6 KiB.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;

/// Most secrets of one key: 2, the new one and the one that it replaces. Each that is refused costs the target a request.
pub const MAX_KEY_SECRETS: usize = 2;

/// Where a secret is. Resolved each time it is asked for, so that a changed file or variable counts.
#[derive(Clone)]
pub struct SecretRef {
    place: Place,
    scope: SecretScope,
    location: Location,
}

#[derive(Clone)]
enum Place {
    File(PathBuf),
    Env(String),
}

/// What one tenant may refer to.
#[derive(Debug, Clone)]
pub(crate) struct SecretScope {
    tenant: String,
    folder: PathBuf,
}

impl SecretScope {
    /// The scope of the tenant whose file is `tenants/TENANT.toml`.
    pub(crate) fn new(tenant_file: &Path, tenant: &str) -> Self {
        Self {
            tenant: tenant.to_owned(),
            folder: tenant_file.with_file_name(tenant),
        }
    }

    /// Reads a reference from the tenant file; what is wrong with it is noted there.
    pub(crate) fn read(&self, item: &Item<'_>) -> Option<SecretRef> {
        let text = item.string()?;
        let place = item.accept(self.place(text))?;
        Some(SecretRef {
            place,
            scope: self.clone(),
            location: item.location(),
        })
    }

    /// Reads one reference, or a list of at most so many for the time of a rotation.
    pub(crate) fn read_some(&self, item: &Item<'_>, most: usize) -> Option<Vec<SecretRef>> {
        if !matches!(item.value(), DeValue::Array(_)) {
            return self.read(item).map(|secret| vec![secret]);
        }
        let list = item.list()?;
        if list.is_empty() || list.len() > most {
            item.note(format!("must hold 1 to {most} secrets"));
            return None;
        }
        list.iter().map(|item| self.read(item)).collect()
    }

    // The text is never part of a message: someone may have pasted the secret itself.
    fn place(&self, text: &str) -> Result<Place, String> {
        if let Some(name) = text.strip_prefix("file:") {
            self.check_file(name).map(Place::File)
        } else if let Some(name) = text.strip_prefix("env:") {
            self.check_variable(name)?;
            Ok(Place::Env(name.to_owned()))
        } else {
            Err(format!(
                "must say where the secret is, not hold it; write \"file:NAME\" for a file in {}, or \"env:{}NAME\"",
                self.folder.display(),
                self.prefix()
            ))
        }
    }

    fn check_file(&self, name: &str) -> Result<PathBuf, String> {
        let path = Path::new(name);
        let below = !name.is_empty() && path.components().all(|part| matches!(part, Component::Normal(_)));
        if below && !name.contains(['\\', '\0']) {
            return Ok(path.to_owned());
        }
        Err(format!(
            "reaches outside the tenant; write \"file:NAME\" with a path below {}",
            self.folder.display()
        ))
    }

    fn check_variable(&self, name: &str) -> Result<(), String> {
        let prefix = self.prefix();
        let rest = name.strip_prefix(&prefix).unwrap_or_default();
        if rest.is_empty()
            || !rest
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        {
            return Err(format!(
                "reaches outside the tenant; write \"env:{prefix}NAME\", in capitals, digits and `_`"
            ));
        }
        match self.neighbour(rest) {
            None => Ok(()),
            Some(neighbour) => Err(format!(
                "reaches outside the tenant: variables with this prefix belong to the tenant `{neighbour}`; write \
                 \"env:{prefix}NAME\" with another name"
            )),
        }
    }

    fn prefix(&self) -> String {
        format!("EXEUNT_{}_", self.tenant.to_uppercase().replace('-', "_"))
    }

    // The tenants `acme` and `acme-eu` have the prefixes EXEUNT_ACME_ and EXEUNT_ACME_EU_, and the first is a prefix of
    // the second: without this, `acme` could name every secret of `acme-eu`.
    fn neighbour(&self, rest: &str) -> Option<String> {
        let ends = rest.match_indices('_').map(|(at, _)| &rest[..at]);
        ends.map(|start| format!("{}-{}", self.tenant, start.to_lowercase().replace('_', "-")))
            .find(|name| self.folder.with_file_name(format!("{name}.toml")).exists())
    }
}

impl SecretRef {
    /// The secret, without the line end that editors put at the end of a file.
    ///
    /// # Errors
    /// It is not there, reaches outside the tenant by a symbolic link, can be read by others than its owner, is empty,
    /// over [`MAX_SECRET_BYTES`], or not UTF-8. The error never holds any of the content.
    pub fn resolve(&self) -> Result<SecretString, ConfigError> {
        self.resolve_with(&|name| std::env::var_os(name))
    }

    /// Where the reference is written.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    fn resolve_with(&self, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<SecretString, ConfigError> {
        let content = match &self.place {
            Place::File(name) => self.read_file(name),
            Place::Env(name) => self.read_variable(name, variable),
        };
        content.map_err(|message| self.location.error(message))
    }

    fn read_variable(&self, name: &str, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<SecretString, String> {
        // Asked again: a tenant that owns the longer prefix may have appeared since this file was loaded.
        self.scope.check_variable(name)?;
        read_secret_variable(name, variable)
    }

    fn read_file(&self, name: &Path) -> Result<SecretString, String> {
        let path = self.scope.folder.join(name);
        let shown = path.display();
        let unreadable = |error: std::io::Error| unreadable(&path, &error);
        // A link may lead to another place in the folder (Kubernetes mounts secrets so), not out of it. Asked of what was
        // opened: whoever can write into this folder, and read no other tenant's, could put a link in the place of a file
        // between a look and the read.
        let folder = self.scope.folder.canonicalize().map_err(unreadable)?;
        let file = open(&path).map_err(unreadable)?;
        if !place_of(&file, &path).map_err(unreadable)?.starts_with(&folder) {
            let folder = self.scope.folder.display();
            return Err(format!(
                "{shown} reaches outside the tenant: it is a link out of {folder}; put the file there"
            ));
        }
        read_opened(file, &path)
    }
}

/// The secret in a variable of the environment.
pub(super) fn read_secret_variable(
    name: &str,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<SecretString, String> {
    let value = variable(name).ok_or_else(|| format!("the environment variable {name} is not set; set it"))?;
    let text = value
        .into_string()
        .map_err(|_| format!("the environment variable {name} is not UTF-8"))?;
    accept(
        &Zeroizing::new(text.into_bytes()),
        &format!("the environment variable {name}"),
    )
}

/// The secret in a file that only its owner can read.
pub(crate) fn read_secret_file(path: &Path) -> Result<SecretString, String> {
    let file = open(path).map_err(|error| unreadable(path, &error))?;
    read_opened(file, path)
}

/// Without waiting for whoever would write into what turns out to be a pipe.
fn open(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    File::options().read(true).custom_flags(flags).open(path)
}

/// Where an open file is, through all links.
#[cfg(target_os = "linux")]
fn place_of(file: &File, _: &Path) -> std::io::Result<PathBuf> {
    use std::os::fd::AsRawFd as _;
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(not(target_os = "linux"))]
fn place_of(_: &File, path: &Path) -> std::io::Result<PathBuf> {
    path.canonicalize()
}

/// The secret in an open file; `path` is how errors call it.
fn read_opened(file: File, path: &Path) -> Result<SecretString, String> {
    let shown = path.display();
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    check_permissions(&metadata, path)?;
    // Room for all of it at once: a vector that grows leaves copies of the secret behind.
    let mut content = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 1));
    file.take(MAX_SECRET_BYTES as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|error| unreadable(path, &error))?;
    accept(&content, &shown.to_string())
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    let shown = path.display();
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file {shown}; put the secret there"),
        _ => format!("{shown} cannot be read: {error}"),
    }
}

fn check_permissions(metadata: &std::fs::Metadata, path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let path = path.display();
    Err(format!(
        "{path} can be read by others than its owner (mode {mode:o}); run: chmod 600 {path}"
    ))
}

fn accept(content: &[u8], what: &str) -> Result<SecretString, String> {
    if content.len() > MAX_SECRET_BYTES {
        return Err(format!(
            "{what} is over {MAX_SECRET_BYTES} bytes, the limit for a secret"
        ));
    }
    let text = std::str::from_utf8(content).map_err(|_| format!("{what} is not UTF-8 text"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(format!("{what} is empty; put the secret there"));
    }
    Ok(SecretString::from(text))
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path) => write!(f, "file:{}", path.display()),
            Place::Env(name) => write!(f, "env:{name}"),
        }
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretRef({self})")
    }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
