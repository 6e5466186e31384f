//! A server with its journal, and a client that sees every byte.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{ConnectionLimits, Directory, Intake, IntakeLimits, OpenSource, Server, router};
use crate::clock::ManualClock;
use crate::journal::{EventRecord, Journal, Options};
use crate::tenant::{ConfigError, HostConfig, NewToken, Role, Tenant, Tokens};
use secrecy::ExposeSecret as _;

/// When the tests take place.
pub(super) const NOW: &str = "2026-11-23T12:00:00Z";

/// A tenant with a source of each kind of sender and two connectors.
pub(super) const ACME: &str = r#"
[sources.hr]
kind   = "sailpoint"
auth   = { bearer = ["file:old", "file:new"] }
leaver = { attribute = "userStatus", becomes = ["inactive"] }

[sources.basic]
kind       = "sailpoint"
auth       = { basic = { user = "isc", password = "file:new" } }
leaver     = { attribute = "userStatus", becomes = ["inactive"] }
connectors = ["docusign"]

[sources.hook]
kind   = "webhook"
auth   = { webhook = ["file:sign-old", "file:sign-new"] }
filter = "$[?$.type == 'left']"
person = { email = "$.email" }

[sources.shop]
kind    = "webhook"
auth    = { bearer = "file:new" }
filter  = "$[?$.type == 'left']"
person  = { email = "$.email" }
id      = "$.id"
time    = "$.at"
max_age = "2d"

[connectors.docusign]
plugin = "docusign.wasm"

[connectors.second]
plugin = "second.wasm"
"#;

pub(super) const OLD: &str = "old-secret-0123456789";
pub(super) const NEW: &str = "new-secret-0123456789";
pub(super) const SIGN_OLD: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
pub(super) const SIGN_NEW: &str = "whsec_GBkaGxwdHh8gISIjJCUmJygpKissLS4v";

#[derive(Debug, Default)]
struct Fixed {
    sources: HashMap<(String, String), Arc<OpenSource>>,
    connectors: HashMap<String, Arc<[String]>>,
}

impl Directory for Fixed {
    fn source(&self, tenant: &str, source: &str) -> Option<Arc<OpenSource>> {
        self.sources.get(&(tenant.to_owned(), source.to_owned())).cloned()
    }

    fn connectors(&self, tenant: &str) -> Option<Arc<[String]>> {
        self.connectors.get(tenant).cloned()
    }
}

/// A running server.
pub(super) struct House {
    pub(super) address: SocketAddr,
    pub(super) journal: Journal,
    pub(super) clock: Arc<ManualClock>,
    pub(super) stop: watch::Sender<bool>,
    tokens_now: Arc<ArcSwap<Tokens>>,
    /// Tokens of the host, of acme, of acme for audit only, and of another tenant.
    pub(super) tokens: HashMap<&'static str, String>,
    pub(super) folder: TempDir,
}

impl House {
    pub(super) async fn open() -> Self {
        Self::with(IntakeLimits::default()).await
    }

    pub(super) async fn with(limits: IntakeLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(NOW.parse().unwrap()));
        let options = Options {
            clock: clock.clone(),
            ..Options::default()
        };
        let url = format!("sqlite:{}", folder.path().join("exeunt.db").display());
        let journal = Journal::open(&url, options).await.unwrap();
        let (tokens, texts) = tokens(&folder.path().join("tokens.toml"));
        let (stop, stopped) = watch::channel(false);
        let tokens_now = Arc::new(ArcSwap::from_pointee(tokens));
        let mut house = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            journal,
            clock,
            stop,
            tokens_now,
            tokens: texts,
            folder,
        };
        house.serve(ACME, limits, stopped).await;
        house
    }

    /// Serves with another tenant file from now on, at another address.
    pub(super) async fn reopen(&mut self, tenant: &str) {
        self.serve(tenant, IntakeLimits::default(), self.stop.subscribe()).await;
    }

    async fn serve(&mut self, tenant: &str, limits: IntakeLimits, stopped: watch::Receiver<bool>) {
        let intake = self.intake(tenant, limits, stopped.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.address = listener.local_addr().unwrap();
        let server = Server::new(listener, router(intake)).limits(ConnectionLimits::default());
        tokio::spawn(server.run(stopped));
    }

    /// What a server of this tenant works with.
    pub(super) fn intake(&self, tenant: &str, limits: IntakeLimits, stop: watch::Receiver<bool>) -> Intake {
        Intake {
            journal: self.journal.clone(),
            directory: Arc::new(directory(self.folder.path(), tenant)),
            tokens: Arc::clone(&self.tokens_now),
            clock: self.clock.clone(),
            limits,
            stop,
        }
    }

    /// Sends a request on a connection of its own.
    pub(super) async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
        send(self.address, &request(path, headers, body.as_ref())).await
    }

    /// Sends an event with a bearer token.
    pub(super) async fn event(&self, source: &str, body: &Value) -> Reply {
        let bearer = format!("Bearer {NEW}");
        self.post(&events(source), &[("authorization", &bearer)], body.to_string())
            .await
    }

    /// What the journal holds of an answer's event.
    pub(super) async fn recorded(&self, reply: &Reply) -> EventRecord {
        let id = reply.json()["event"].as_str().expect("an event").parse().unwrap();
        self.journal.event(id).await.unwrap().expect("the event is recorded")
    }

    /// How many events the journal has.
    pub(super) async fn count(&self) -> usize {
        self.journal
            .events("acme", None, Default::default())
            .await
            .unwrap()
            .items
            .len()
    }
}

pub(super) fn events(source: &str) -> String {
    format!("/v1/tenants/acme/sources/{source}/events")
}

/// Writes a tenant's secrets, and reads its file.
pub(super) fn tenant(folder: &Path, text: &str) -> Tenant {
    let secrets = folder.join("tenants/acme");
    std::fs::create_dir_all(&secrets).unwrap();
    for (name, secret) in [
        ("old", OLD),
        ("new", NEW),
        ("sign-old", SIGN_OLD),
        ("sign-new", SIGN_NEW),
    ] {
        write_secret(&secrets.join(name), secret);
    }
    Tenant::parse(
        text,
        &folder.join("tenants/acme.toml"),
        &HostConfig::default_for(folder),
    )
    .unwrap()
}

pub(super) fn write_secret(path: &Path, secret: &str) {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    std::io::Write::write_all(&mut file, secret.as_bytes()).unwrap();
}

/// Opens the source `s` of a tenant whose file has these lines in it.
pub(super) fn open_source(lines: &str) -> Result<OpenSource, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let tenant = tenant(
        folder.path(),
        &format!("[sources.s]\n{lines}\n[connectors.docusign]\nplugin = 'p.wasm'"),
    );
    OpenSource::open(&tenant.sources["s"])
}

fn directory(folder: &Path, text: &str) -> Fixed {
    let tenant = tenant(folder, text);
    let mut directory = Fixed::default();
    for (name, config) in &tenant.sources {
        let source = OpenSource::open(config).unwrap();
        directory
            .sources
            .insert((tenant.name.clone(), name.clone()), Arc::new(source));
    }
    let connectors = tenant.connectors.keys().cloned().collect();
    directory.connectors.insert(tenant.name.clone(), connectors);
    directory
}

fn tokens(path: &Path) -> (Tokens, HashMap<&'static str, String>) {
    let created = NOW[..10].parse().unwrap();
    let mut texts = HashMap::new();
    for (seed, (name, tenant, role)) in [
        ("host", None, Role::Operate),
        ("acme", Some("acme"), Role::Operate),
        ("audit", Some("acme"), Role::Audit),
        ("other", Some("other"), Role::Operate),
    ]
    .into_iter()
    .enumerate()
    {
        let new = NewToken {
            name: name.to_owned(),
            tenant: tenant.map(str::to_owned),
            roles: [role].into(),
            created,
        };
        let text = Tokens::add(path, new, [u8::try_from(seed).unwrap() + 1; 32]).unwrap();
        texts.insert(name, text.expose_secret().to_owned());
    }
    (Tokens::load(path).unwrap(), texts)
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// Without the date.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Asserts that this is a problem as RFC 9457 has it, and returns its detail.
    pub(super) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.json()["status"], status);
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

pub(super) fn request(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("POST {path} HTTP/1.1\r\nhost: exeunt\r\n");
    if !headers
        .iter()
        .any(|(name, _)| ["content-length", "transfer-encoding"].contains(name))
    {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

pub(super) async fn send(address: SocketAddr, bytes: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have its answer, and close, before it has read everything.
    let _ = stream.write_all(bytes).await;
    read_reply(&mut stream).await
}

/// Reads one answer with a `content-length`.
pub(super) async fn read_reply(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Reply {
    try_read_reply(stream).await.expect("an answer")
}

/// As [`read_reply`]; none where the connection ends instead.
pub(super) async fn try_read_reply(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<Reply> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let headers: Vec<(String, String)> = headers.filter(|(name, _)| name != "date").collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Reply {
        status,
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}

/// A SailPoint event that is a leaver, of this person; no ids of the published samples.
pub(super) fn native_change(person: &str) -> Value {
    serde_json::json!({
        "identity": {"id": format!("identity-{person}"), "name": person, "email": format!("{person}@acme.example"), "type": "IDENTITY"},
        "source": {"id": "source-7", "name": "HR", "type": "SOURCE"},
        "account": {"id": format!("account-{person}"), "name": person, "type": "ACCOUNT", "correlated": true},
        "eventType": "ACCOUNT_UPDATED",
        "accountChangeTypes": ["ATTRIBUTES_CHANGED"],
        "singleValueAttributeChanges": [{"name": "userStatus", "oldValue": "active", "newValue": "inactive"}],
        "multiValueAttributeChanges": [],
        "entitlementChanges": []
    })
}

/// The time, some seconds from [`NOW`].
pub(super) fn seconds_from_now(seconds: i64) -> i64 {
    NOW.parse::<Timestamp>().unwrap().as_second() + seconds
}

/// The headers of a signed message.
pub(super) fn signed(secret: &str, id: &str, at: i64, body: &str) -> [(&'static str, String); 3] {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", at.to_string()),
        ("webhook-signature", signature),
    ]
}

pub(super) async fn send_signed(house: &House, secret: &str, id: &str, at: i64, body: &Value) -> Reply {
    let body = body.to_string();
    let headers = signed(secret, id, at, &body);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    house.post(&events("hook"), &headers, body).await
}
