//! What `exeunt.toml` says about the server: where it listens, what it keeps and where.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::error::{ConfigError, Location};
use super::names::quoted;
use super::policy::read_duration;
use super::reader::{Item, Table};
use super::retention::Retention;
use super::secrets::{read_secret_file, read_secret_variable};

/// Where the server listens unless the file says otherwise: on this machine only, until somebody decides.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// Shortest lease: 3 seconds. It is extended each third of it, and a database that pauses for a second must not cost
/// every host its jobs.
pub const MIN_LEASE: Duration = Duration::from_secs(3);

/// Longest drain: a minute. Balancers ask every few seconds, and take a host out after two or three refusals.
pub const MAX_DRAIN: Duration = Duration::from_secs(60);

/// Longest lease: 10 minutes. A leaver whose host died waits that long.
pub const MAX_LEASE: Duration = Duration::from_secs(600);

/// How `exeunt serve` runs. Paths are below the folder of `exeunt.toml` already.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// `listen`: address and port. Default [`DEFAULT_LISTEN`].
    pub listen: SocketAddr,
    /// `tls`: plain HTTP without it.
    pub tls: Option<TlsConfig>,
    /// `tenant_files`: the folder of tenant files. Default `tenants`.
    pub tenant_files: PathBuf,
    /// `journal`: the durable record. Default `sqlite:exeunt.db`.
    pub journal: JournalAddress,
    /// `tokens`: the file of API tokens. Default `tokens.toml`.
    pub tokens: PathBuf,
    /// `cache`: the folder of precompiled plugins. Default `cache`.
    pub cache: PathBuf,
    /// `[limits]`.
    pub limits: ServerLimits,
    /// `[retention]`.
    pub retention: Retention,
    /// `otlp` in `[telemetry]`: where OpenTelemetry traces go. Nowhere by default.
    pub otlp: Option<Url>,
    /// `logs` in `[telemetry]` is `"json"`: one object a line, for collectors. By default lines for people.
    pub json_logs: bool,
    /// `/metrics` asks for a token of the host, unless `metrics` in `[telemetry]` is `"open"`. It holds names of tenants
    /// and stands beside the intake, where strangers must not learn which tenants there are.
    pub metrics_token: bool,
}

/// Limits that depend on the machine and on the agreement with tenants; the others are constants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerLimits {
    /// `connections`: open at a time. The server's own default where absent.
    pub connections: Option<u32>,
    /// `events_per_second`: of one tenant. The server's own default where absent.
    pub events_per_second: Option<u32>,
    /// `lease`: for how long other hosts leave a silent host's jobs alone, from [`MIN_LEASE`] to [`MAX_LEASE`]. The
    /// dispatcher's own default where absent.
    pub lease: Option<Duration>,
    /// `drain`: for how long a host that is asked to stop says so in `/readyz` and goes on as before, at most
    /// [`MAX_DRAIN`]. It stops at once where absent: a machine alone has nobody who would take its events.
    pub drain: Option<Duration>,
}

/// The server's certificate.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsConfig {
    /// PEM file with the chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// PEM of its private key.
    pub key: HostSecret,
}

/// Where the journal is.
#[derive(Debug, Clone, PartialEq)]
pub enum JournalAddress {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL address without password.
    Postgres(String),
    /// An address that holds a password, so it is a secret itself.
    Secret(HostSecret),
}

/// A secret of the host's operator: a file, or a variable of the environment. Resolved each time it is asked for.
#[derive(Clone)]
pub struct HostSecret {
    place: Place,
    location: Location,
}

#[derive(Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Env(String),
}

impl PartialEq for HostSecret {
    /// Whether it stands in the same place; in which line that is said does not count.
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl ServerConfig {
    /// Where a tenant's file is.
    #[must_use]
    pub fn tenant_file(&self, tenant: &str) -> PathBuf {
        self.tenant_files.join(format!("{tenant}.toml"))
    }

    /// The keys that differ from those of `started`, and count from the next start on. Where tenants are looked for is not
    /// among them.
    #[must_use]
    pub fn needs_restart(&self, started: &Self) -> Vec<&'static str> {
        let same = [
            ("listen", self.listen == started.listen),
            ("tls", self.tls == started.tls),
            ("journal", self.journal == started.journal),
            ("tokens", self.tokens == started.tokens),
            ("cache", self.cache == started.cache),
            ("limits", self.limits == started.limits),
            ("retention", self.retention == started.retention),
            (
                "telemetry",
                (&self.otlp, self.json_logs, self.metrics_token)
                    == (&started.otlp, started.json_logs, started.metrics_token),
            ),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
    }

    /// What holds where the file says nothing.
    #[must_use]
    pub fn default_for(root: &Path) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: None,
            tenant_files: root.join("tenants"),
            journal: JournalAddress::Sqlite(root.join("exeunt.db")),
            tokens: root.join("tokens.toml"),
            cache: root.join("cache"),
            limits: ServerLimits::default(),
            retention: Retention::default(),
            otlp: None,
            json_logs: false,
            metrics_token: true,
        }
    }

    /// Reads the keys at the top of `exeunt.toml` that are the server's.
    pub(super) fn read(table: &mut Table<'_>, root: &Path) -> Self {
        let mut config = Self::default_for(root);
        let listen = table.get("listen");
        if let Some(listen) = listen.and_then(|item| item.accept(parse_listen(item.string()?))) {
            config.listen = listen;
        }
        config.tls = table.get("tls").and_then(|item| read_tls(item.table()?, root));
        let folders = [
            ("tenant_files", &mut config.tenant_files),
            ("tokens", &mut config.tokens),
            ("cache", &mut config.cache),
        ];
        for (key, path) in folders {
            if let Some(written) = table.get(key).and_then(|item| read_path(&item, root)) {
                *path = written;
            }
        }
        let journal = table.get("journal");
        if let Some(journal) = journal.and_then(|item| item.accept(journal_address(&item, root)?)) {
            config.journal = journal;
        }
        if let Some(limits) = table.get("limits").and_then(|item| item.table()) {
            config.limits = read_limits(limits);
        }
        if let Some(retention) = table.get("retention").and_then(|item| item.table()) {
            config.retention = Retention::read(retention);
        }
        if let Some(telemetry) = table.get("telemetry").and_then(|item| item.table()) {
            config.read_telemetry(telemetry);
        }
        config
    }

    fn read_telemetry(&mut self, mut table: Table<'_>) {
        self.otlp = table
            .get("otlp")
            .and_then(|item| item.accept(parse_otlp(item.string()?)));
        let logs = table.get("logs");
        let logs = logs.and_then(|item| {
            item.accept(match item.string()? {
                "text" => Ok(false),
                "json" => Ok(true),
                other => Err(format!("{} is neither \"text\" nor \"json\"", quoted(other))),
            })
        });
        self.json_logs = logs.unwrap_or(false);
        let metrics = table.get("metrics");
        let metrics = metrics.and_then(|item| {
            item.accept(match item.string()? {
                "open" => Ok(false),
                "token" => Ok(true),
                other => Err(format!("{} is neither \"open\" nor \"token\"", quoted(other))),
            })
        });
        self.metrics_token = metrics.unwrap_or(true);
        table.finish();
    }
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{} is not an address with a port; write \"{DEFAULT_LISTEN}\", or \"0.0.0.0:8080\" for all of this \
             machine's addresses",
            quoted(text)
        )
    })
}

fn read_path(item: &Item<'_>, root: &Path) -> Option<PathBuf> {
    match item.string()? {
        "" => {
            item.note("is empty; write a path, or remove the line");
            None
        }
        path => Some(root.join(path)),
    }
}

fn read_tls(mut table: Table<'_>, root: &Path) -> Option<TlsConfig> {
    const WRITE: &str = "tls = { certificate = \"file:server.pem\", key = \"file:server-key.pem\" }";
    let certificate = table.require("certificate", WRITE).and_then(|item| {
        let name = item.string()?.strip_prefix("file:").filter(|name| !name.is_empty());
        item.accept(
            name.map(|name| root.join(name))
                .ok_or_else(|| format!("must name a PEM file; write {WRITE}")),
        )
    });
    let key = table.require("key", WRITE).and_then(|item| {
        let secret = HostSecret::parse(item.string()?, item.location(), root);
        item.accept(secret.ok_or_else(|| format!("must say where the key is, not hold it; write {WRITE}")))
    });
    table.finish();
    Some(TlsConfig {
        certificate: certificate?,
        key: key?,
    })
}

fn read_limits(mut table: Table<'_>) -> ServerLimits {
    let limits = ServerLimits {
        connections: table.get("connections").and_then(|item| item.count()),
        events_per_second: table.get("events_per_second").and_then(|item| item.count()),
        lease: table.get("lease").and_then(|item| read_lease(&item)),
        drain: table.get("drain").and_then(|item| read_drain(&item)),
    };
    table.finish();
    limits
}

fn read_drain(item: &Item<'_>) -> Option<Duration> {
    let drain = read_duration(item)?;
    item.accept(if drain <= MAX_DRAIN {
        Ok(drain)
    } else {
        Err("must be at most \"60s\"; have the balancer ask more often where that is not enough".to_owned())
    })
}

fn read_lease(item: &Item<'_>) -> Option<Duration> {
    let lease = read_duration(item)?;
    item.accept(if (MIN_LEASE..=MAX_LEASE).contains(&lease) {
        Ok(lease)
    } else {
        Err("must be from \"3s\" to \"10m\"; a dead host's jobs wait for its end".to_owned())
    })
}

fn parse_otlp(text: &str) -> Result<Url, String> {
    const WRITE: &str = "write the collector's address, such as \"http://127.0.0.1:4318\"";
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}; {WRITE}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("is not an http URL; {WRITE}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("holds a name or password; {WRITE}"));
    }
    Ok(url)
}

fn journal_address(item: &Item<'_>, root: &Path) -> Option<Result<JournalAddress, String>> {
    let text = item.string()?;
    Some(JournalAddress::parse(text, item.location(), root))
}

impl JournalAddress {
    /// An address as it is written in `exeunt.toml`: `sqlite:PATH` below `root`, `postgres://USER@HOST/DATABASE`
    /// without password, or `env:NAME` or `file:NAME` where the whole address is. `location` is where it was written.
    ///
    /// # Errors
    /// What to write instead; never any of a password.
    pub fn parse(text: &str, location: Location, root: &Path) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            // Two slashes begin a path elsewhere, and would be the root of all files here.
            let path = path.strip_prefix("//").unwrap_or(path);
            return Ok(Self::Sqlite(root.join(path)));
        }
        if is_postgres(text) {
            return check_postgres(text).map(|()| Self::Postgres(text.to_owned()));
        }
        // The text is not part of the message: someone may have written a password into it.
        HostSecret::parse(text, location, root)
            .map(Self::Secret)
            .ok_or_else(|| {
                "is not an address; write \"sqlite:exeunt.db\", \"postgres://USER@HOST/DATABASE\", or \"env:NAME\" or \
             \"file:NAME\" for one with a password"
                    .to_owned()
            })
    }

    /// The address for [`Journal::open`](crate::journal::Journal::open), which may hold a password.
    ///
    /// # Errors
    /// The file or variable that holds it cannot be read.
    pub fn resolve(&self) -> Result<SecretString, ConfigError> {
        match self {
            Self::Sqlite(path) => Ok(SecretString::from(format!("sqlite:{}", path.display()))),
            Self::Postgres(address) => Ok(SecretString::from(address.as_str())),
            Self::Secret(secret) => {
                let address = secret.resolve()?;
                // A relative path would mean another file in each working directory.
                let text = address.expose_secret();
                // The parser's words and the text may hold the password.
                if is_postgres(text) && Url::parse(text).is_ok() {
                    return Ok(address);
                }
                Err(secret.location.error(format!(
                    "{secret} does not hold an address of PostgreSQL; put postgres://USER:PASSWORD@HOST/DATABASE there, \
                     and write `/`, `?`, `#`, `@` and `%` in the password as %2F, %3F, %23, %40 and %25"
                )))
            }
        }
    }
}

/// Whether an address is PostgreSQL's.
pub(crate) fn is_postgres(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

fn check_postgres(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("is not a valid address: {error}"))?;
    let in_query = url.query_pairs().any(|(key, _)| key == "password");
    if url.password().is_some() || in_query {
        return Err(
            "holds a password; put the whole address into a variable or file and write \"env:NAME\" or \"file:NAME\""
                .to_owned(),
        );
    }
    Ok(())
}

impl fmt::Display for JournalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(address) => f.write_str(address),
            Self::Secret(secret) => secret.fmt(f),
        }
    }
}

impl HostSecret {
    pub(super) fn parse(text: &str, location: Location, root: &Path) -> Option<Self> {
        let is_variable = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_uppercase())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        let place = if let Some(name) = text.strip_prefix("file:").filter(|name| !name.is_empty()) {
            Place::File(root.join(name))
        } else {
            Place::Env(text.strip_prefix("env:").filter(|name| is_variable(name))?.to_owned())
        };
        Some(Self { place, location })
    }

    /// The secret, without the line end that editors put at the end of a file.
    ///
    /// # Errors
    /// It is not there, can be read by others than its owner, is empty, too large or not UTF-8. The error never holds
    /// any of the content.
    pub fn resolve(&self) -> Result<SecretString, ConfigError> {
        let content = match &self.place {
            Place::File(path) => read_secret_file(path),
            Place::Env(name) => read_secret_variable(name, &|name| std::env::var_os(name)),
        };
        content.map_err(|message| self.location.error(message))
    }

    /// Where the reference is written.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }
}

impl fmt::Display for HostSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path) => write!(f, "file:{}", path.display()),
            Place::Env(name) => write!(f, "env:{name}"),
        }
    }
}

impl fmt::Debug for HostSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostSecret({self})")
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
