//! A house for one test: a runtime, a target, a hostile tenant and its neighbour.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use exeunt::capability::{Call, CallLimits, CallRecord, Names, Network, Token, Transport, Verb};
use exeunt::clock::SystemClock;
use exeunt::dispatch::{Connector, Runtime, run_job};
use exeunt::evidence::Outcome;
use exeunt::intake;
use exeunt::sandbox::{Ended, Failure, Fault, Person, PluginCache, Sandbox, SandboxLimits};
use exeunt::tenant::{ConfigError, HostConfig, Tenant};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tracing_subscriber::fmt::MakeWriter;

use crate::attacks::Attack;
use crate::plugin;
use crate::server::{Server, endless_head};

/// The static key. With characters that encoders change.
pub(crate) const STATIC_KEY: &str = "static/Key+9876543210.zyx~FED_ihg=";
/// The client secret.
pub(crate) const CLIENT_SECRET: &str = "client/Secret+0123456789";
const SIGNING_KEY: &str = include_str!("../../host/testdata/keys/pkcs8.pem");

/// Limits of the sandbox that a test starts from: room for a few calls.
pub(crate) fn limits() -> SandboxLimits {
    SandboxLimits {
        concurrency: 4,
        ..SandboxLimits::default()
    }
}

/// A sandbox that keeps what it compiles for the other tests: for most, compiling took longer than what they try.
pub(crate) fn sandbox(limits: SandboxLimits) -> Sandbox {
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins/compiled");
    let cache = PluginCache::open(&compiled).unwrap();
    Sandbox::new(limits).unwrap().with_cache(cache)
}

/// Runtime, target and tenants.
pub(crate) struct House {
    folder: TempDir,
    pub(crate) runtime: Runtime,
    pub(crate) api: Server,
    pub(crate) other: Server,
    /// A target that writes a head without end.
    pub(crate) endless_head: SocketAddr,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(limits(), CallLimits::default()).await
    }

    /// A house with small limits.
    pub(crate) async fn with(limits: SandboxLimits, calls: CallLimits) -> Self {
        Self::around(Runtime::new(sandbox(limits), Arc::new(SystemClock)).with_limits(calls)).await
    }

    /// A house whose target answers from memory.
    pub(crate) async fn answered_by(target: Arc<dyn Transport>) -> Self {
        let runtime = Runtime::new(sandbox(limits()), Arc::new(SystemClock));
        Self::around(runtime.with_network(Network::answered_by(target))).await
    }

    /// A house in which names lead where the test says.
    pub(crate) async fn where_names_lead(names: Arc<dyn Names>, calls: CallLimits) -> Self {
        let runtime = Runtime::new(sandbox(limits()), Arc::new(SystemClock)).with_limits(calls);
        Self::around(runtime.with_network(Network::resolved_by(names))).await
    }

    async fn around(runtime: Runtime) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let house = Self {
            folder,
            runtime,
            api: Server::start().await,
            other: Server::start().await,
            endless_head: endless_head().await,
        };
        house.api.redirects_to(house.other.address);
        house.furnish();
        house
    }

    fn furnish(&self) {
        let granted: Vec<String> = [self.api.address, self.other.address, self.endless_head]
            .iter()
            .map(|address| format!("\"{address}\""))
            .collect();
        let mut host = String::new();
        for tenant in ["hostile", "neighbour"] {
            host += &format!("[tenants.{tenant}]\ninsecure = [{}]\n", granted.join(", "));
            fs::create_dir_all(self.path(&format!("tenants/{tenant}"))).unwrap();
            for (name, secret) in [
                ("static", STATIC_KEY),
                ("client", CLIENT_SECRET),
                ("signing.pem", SIGNING_KEY),
            ] {
                let file = self.path(&format!("tenants/{tenant}/{name}"));
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(file)
                    .unwrap();
                file.write_all(secret.as_bytes()).unwrap();
            }
        }
        fs::write(self.path("exeunt.toml"), host).unwrap();
        fs::create_dir(self.path("plugins")).unwrap();
        self.install(&plugin::hostile());
    }

    /// Grants something more to the hostile tenant, by a line of the host's file.
    pub(crate) fn grants(&self, line: &str) {
        let file = self.path("exeunt.toml");
        let host = fs::read_to_string(&file).unwrap();
        let line = format!("[tenants.hostile]\n{line}\n");
        fs::write(file, host.replace("[tenants.hostile]\n", &line)).unwrap();
    }

    /// Writes lines at the top of the host's file, and some into what is granted to the hostile tenant.
    pub(crate) fn configure(&self, top: &str, granted: &str) {
        let file = self.path("exeunt.toml");
        let host = fs::read_to_string(&file).unwrap();
        let (_, tenants) = host.split_once("[tenants.hostile]\n").unwrap();
        let (kept, rest) = tenants.split_at(tenants.find("insecure").unwrap());
        assert!(kept.len() < 400, "grants come before the others");
        fs::write(file, format!("{top}\n[tenants.hostile]\n{granted}\n{rest}")).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file where the tenants' plugin is.
    pub(crate) fn install(&self, component: &[u8]) {
        fs::write(self.path("plugins/hostile.wasm"), component).unwrap();
    }

    /// Writes a tenant's file: a connector with these settings and further lines.
    pub(crate) fn write(&self, tenant: &str, settings: &Value, lines: &str) -> PathBuf {
        let endpoints = format!(
            "endpoints = {{ api = \"http://{}\", other = \"http://{}\" }}",
            self.api.address, self.other.address
        );
        let lines = if lines.contains("endpoints") {
            lines.to_owned()
        } else {
            format!("{endpoints}\n{lines}")
        };
        let members = settings.as_object().unwrap().iter();
        let settings: Vec<String> = members.map(|(name, value)| format!("{name} = {value}")).collect();
        let text = format!(
            "[connectors.target]\nplugin = \"hostile.wasm\"\nmode = \"enforce\"\n\
             settings = {{ {} }}\n\
             keys = {{ static = \"file:static\", signing = \"file:signing.pem\", client = \"file:client\" }}\n{lines}\n",
            settings.join(", ")
        );
        let file = self.path(&format!("tenants/{tenant}.toml"));
        fs::write(&file, text).unwrap();
        file
    }

    /// Loads a tenant's connector with these settings and further lines.
    pub(crate) async fn load(&self, tenant: &str, settings: &Value, lines: &str) -> Result<Connector, ConfigError> {
        let file = self.write(tenant, settings, lines);
        let host = HostConfig::load(&self.path("exeunt.toml"))?;
        let tenant = Tenant::load(&file, &host)?;
        self.runtime.connector(&tenant, &tenant.connectors["target"]).await
    }

    /// The connector of a tenant that behaves.
    pub(crate) async fn honest(&self) -> Connector {
        self.load("neighbour", &settings(), "").await.unwrap()
    }

    /// Fails unless a well-behaved connector on the same runtime still closes its leaver.
    pub(crate) async fn neighbour_is_unharmed(&self) {
        self.install(&plugin::hostile());
        self.api.reset();
        let job = run_job(&self.honest().await, &leaver(), false).await;
        assert_eq!(job.outcome, Some(Outcome::Closed), "the neighbour: {}", job.reason);
        assert!(
            !self.api.is_open("leaver") && self.api.is_open("bystander"),
            "the neighbour closed somebody else"
        );
    }

    /// An attack to be tried.
    pub(crate) fn attack(&self, attack: Attack) -> Assault<'_> {
        let (name, _) = Attack::ALL.iter().find(|(_, known)| *known == attack).unwrap();
        let mut settings = settings();
        settings["attack"] = json!(name);
        Assault {
            house: self,
            tenant: "hostile",
            settings,
            lines: String::new(),
        }
    }
}

/// Settings that every connector here has.
pub(crate) fn settings() -> Value {
    json!({"issuer": "the-integration", "subject": "the-service-user"})
}

/// Who left.
pub(crate) fn leaver() -> intake::Person {
    intake::Person {
        email: Some("leaver@acme.example".to_owned()),
        ..intake::Person::default()
    }
}

/// An attack to be tried, during `find` unless said otherwise.
pub(crate) struct Assault<'a> {
    house: &'a House,
    tenant: &'static str,
    settings: Value,
    lines: String,
}

impl Assault<'_> {
    fn set(mut self, name: &str, value: Value) -> Self {
        self.settings[name] = value;
        self
    }

    pub(crate) fn during(self, verb: Verb) -> Self {
        self.set("verb", json!(verb.to_string()))
    }

    pub(crate) fn amount(self, amount: usize) -> Self {
        self.set("amount", json!(amount))
    }

    pub(crate) fn kind(self, kind: &str) -> Self {
        self.set("kind", json!(kind))
    }

    /// `static`, `jwt` or `client`.
    pub(crate) fn token(self, token: &str) -> Self {
        self.set("token", json!(token))
    }

    /// Further lines of the connector in the tenant file.
    pub(crate) fn lines(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.lines);
        self
    }

    /// By another tenant than the hostile one.
    pub(crate) fn by(mut self, tenant: &'static str) -> Self {
        self.tenant = tenant;
        self
    }

    pub(crate) async fn connector(&self) -> Connector {
        self.house.load(self.tenant, &self.settings, &self.lines).await.unwrap()
    }

    /// Runs `find` in so many calls at once, then looks after the neighbour.
    pub(crate) async fn together(self, calls: usize) -> Vec<Result<Result<String, Failure>, Fault>> {
        let connector = self.connector().await;
        let ended = join_all((0..calls).map(|_| call(&connector, "find"))).await;
        self.house.neighbour_is_unharmed().await;
        ended.into_iter().map(|ended| ended.result).collect()
    }

    /// Runs the verb whose turn it is, in a call of its own, then looks after the neighbour.
    pub(crate) async fn run(self) -> Report {
        let verb = self.settings["verb"].as_str().unwrap_or("find").to_owned();
        let connector = self.connector().await;
        self.house.api.reset();
        let log = Captured::default();
        let ended = {
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_writer(log.clone());
            let _guard = tracing::subscriber::set_default(subscriber.with_ansi(false).finish());
            call(&connector, &verb).await
        };
        let arrived = self.house.api.arrived();
        self.house.neighbour_is_unharmed().await;
        Report {
            end: ended.result,
            record: ended.record,
            log: log.text(),
            arrived: arrived.iter().filter(|request| request.uri.path() != "/token").count(),
            bodies: arrived
                .into_iter()
                .map(|request| request.body)
                .filter(|body| !body.is_empty())
                .collect(),
        }
    }
}

/// How a verb call ended, whichever verb it was.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) end: Result<Result<String, Failure>, Fault>,
    pub(crate) record: CallRecord,
    /// Everything that the process logged meanwhile, at the finest level.
    pub(crate) log: String,
    /// Requests that the target saw, token requests left out.
    pub(crate) arrived: usize,
    /// Bodies that the target saw.
    pub(crate) bodies: Vec<String>,
}

impl Report {
    /// The name of the limit that ended the call.
    pub(crate) fn limit(&self) -> &'static str {
        match &self.end {
            Err(Fault::Limit(reached)) => reached.limit,
            other => panic!("no limit ended the call: {other:?}"),
        }
    }

    /// What the trap was.
    pub(crate) fn trap(&self) -> &str {
        match &self.end {
            Err(Fault::Trap(text)) => text,
            other => panic!("the call did not trap: {other:?}"),
        }
    }

    /// What the host told the guest, who passed it on.
    pub(crate) fn denied(&self) -> &str {
        match &self.end {
            Ok(Err(Failure::Denied(text))) => text,
            other => panic!("nothing was denied: {other:?}"),
        }
    }

    /// Why each single request was denied, as the guest logged it.
    pub(crate) fn reasons(&self) -> Vec<&str> {
        let reasons: Vec<&str> = self.record.log.iter().map(|line| line.message.as_str()).collect();
        assert!(!reasons.is_empty(), "nothing was denied: {self:?}");
        reasons
    }

    /// What the guest told of how far it came.
    pub(crate) fn told(&self) -> &str {
        match &self.end {
            Ok(Err(Failure::Unexpected(text) | Failure::Unavailable(text))) => text,
            other => panic!("the attack was stopped: {other:?}"),
        }
    }

    /// Why the host says that the plugin broke the contract.
    pub(crate) fn broken(&self) -> &str {
        match &self.end {
            Err(Fault::Contract(text)) => text,
            other => panic!("the contract was kept: {other:?}"),
        }
    }

    /// Everything that is left of the call, in one text.
    pub(crate) fn everything(&self) -> String {
        format!("{self:?}\n{}", self.log)
    }
}

/// One verb call; a token is minted first where the verb needs one.
async fn call(connector: &Connector, verb: &str) -> Ended<String> {
    let plugin = &connector.plugin;
    let of = |verb, id: Option<&str>| Call::new(Arc::clone(&connector.grant), verb, id.map(str::to_owned));
    let person = Person {
        id: None,
        target_id: None,
        email: leaver().email,
        name: None,
        attributes: Vec::new(),
    };
    let id = Some("leaver");
    if verb == "mint" {
        return shown(plugin.mint(of(Verb::Mint, None)).await);
    }
    let token = token(connector).await;
    match verb {
        "find" => shown(plugin.find(of(Verb::Find, None), &person, &token).await),
        "read" => shown(plugin.read(of(Verb::Read, id), &token).await),
        "close" => shown(plugin.close(of(Verb::Close, id), &token).await),
        "page" => shown(plugin.page(of(Verb::Page, None), None, &token).await),
        other => panic!("no verb `{other}`"),
    }
}

async fn token(connector: &Connector) -> Token {
    let call = Call::new(Arc::clone(&connector.grant), Verb::Mint, None);
    connector.plugin.mint(call).await.result.unwrap().unwrap()
}

fn shown<T: std::fmt::Debug>(ended: Ended<T>) -> Ended<String> {
    let Ended { result, record } = ended;
    Ended {
        result: result.map(|answer| answer.map(|answer| format!("{answer:?}"))),
        record,
    }
}

/// What the process logs, kept.
#[derive(Debug, Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
