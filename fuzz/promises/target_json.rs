//! What a target answers: through the host's scrubber and transcript into the DocuSign connector, compiled natively.
//! Nothing panics, and what the host injected is nowhere in what remains.
//!
//! An input is parts that are separated by the byte 0x1e: first which verb, then an answer each, its first byte the
//! status. Every header that counts holds the beginning of the body.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use exeunt::capability::{self, Call, JwtGrant, Method, Network, Outgoing, Token, Transport, Verb};
use exeunt::clock::SystemClock;
use exeunt::dispatch::{Connector, Runtime};
use exeunt::sandbox::{Sandbox, SandboxLimits};
use exeunt::tenant::{HostConfig, Tenant};
use plugin_docusign::{Grant, GrantError, Host, HttpError, Level, Person, Request, Response};

const TOKEN: &str = "fz9Q7wXk2LmN8pRtV4yB6cDhJ3sA5eGu0Zq1";
const TENANT: &str = r#"
[connectors.docusign]
plugin    = "docusign.wasm"
mode      = "enforce"
settings  = { account_id = "4f2b6d1c-8a3e-4c5b-9d7f-0a1b2c3d4e5f", integration_key = "4f2b6d1c-8a3e-4c5b-9d7f-0a1b2c3d4e5f", user_id = "7c9e6679-7425-40de-944b-e07fc1f90ae7" }
keys      = { signing = "file:docusign.pem" }
endpoints = { account = "https://account-d.docusign.com", esign = "https://demo.docusign.net" }
"#;
const LEAVER: &str = "16fd2706-8baf-433b-82eb-8c7fada847da";
const STATUSES: [u16; 12] = [200, 201, 204, 302, 400, 401, 403, 404, 409, 429, 500, 503];
const HEADERS: [&str; 5] = [
    "content-type",
    "x-docusign-tracetoken",
    "retry-after",
    "x-ratelimit-reset",
    "x-ratelimit-remaining",
];

/// What the target answers next.
static ANSWERS: Mutex<VecDeque<capability::Response>> = Mutex::new(VecDeque::new());
static RIG: OnceLock<Rig> = OnceLock::new();

#[derive(Debug)]
struct Script;

impl Transport for Script {
    fn answer(&self, _: &Outgoing<'_>) -> Result<capability::Response, capability::HttpError> {
        let next = ANSWERS.lock().expect("answers").pop_front();
        next.ok_or_else(|| capability::HttpError::NoAnswer("the script is over".to_owned()))
    }
}

struct Rig {
    runtime: tokio::runtime::Runtime,
    connector: Connector,
    token: Token,
}

impl Rig {
    fn new(plugin: &Path) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let connector = runtime.block_on(connector(plugin));
        let body = format!(r#"{{"access_token":"{TOKEN}","token_type":"Bearer","expires_in":3600}}"#).into_bytes();
        let headers = Vec::new();
        ANSWERS.lock().expect("answers").push_back(capability::Response {
            status: 200,
            headers,
            body,
        });
        let mut call = Call::new(Arc::clone(&connector.grant), Verb::Mint, None);
        let token = runtime
            .block_on(call.jwt_bearer(grant()))
            .expect("a call")
            .expect("a token");
        Self {
            runtime,
            connector,
            token,
        }
    }
}

fn rig() -> &'static Rig {
    RIG.get().expect("a host is made from it")
}

async fn connector(plugin: &Path) -> Connector {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("tenants/acme")).expect("folders");
    std::fs::create_dir(at("plugins")).expect("a folder");
    std::fs::copy(plugin, at("plugins/docusign.wasm")).expect("run `make plugins` first");
    std::fs::write(at("tenants/acme.toml"), TENANT).expect("a file");
    let key = at("tenants/acme/docusign.pem");
    std::fs::write(&key, include_str!("../../host/testdata/keys/pkcs8.pem")).expect("a file");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("permissions");
    let tenant = Tenant::load(&at("tenants/acme.toml"), &HostConfig::default_for(folder.path())).expect("a tenant");
    let sandbox = Sandbox::new(SandboxLimits {
        concurrency: 1,
        ..SandboxLimits::default()
    })
    .expect("a sandbox");
    let runtime = Runtime::new(sandbox, Arc::new(SystemClock)).with_network(Network::answered_by(Arc::new(Script)));
    runtime
        .connector(&tenant, &tenant.connectors["docusign"])
        .await
        .expect("a connector")
}

fn grant() -> JwtGrant {
    JwtGrant {
        key: "signing".to_owned(),
        scope: "signature impersonation".to_owned(),
        encoding: capability::Encoding::Form,
        lifetime: None,
    }
}

/// The host of a call, as the sandbox presents it.
struct Native(RefCell<Call>);

impl Host for Native {
    type Token = Token;

    fn send(&self, request: &Request, token: Option<&Token>) -> Result<Response, HttpError> {
        let request = capability::Request {
            endpoint: request.endpoint.clone(),
            method: match request.method {
                plugin_docusign::Method::Get => Method::Get,
                plugin_docusign::Method::Head => Method::Head,
                plugin_docusign::Method::Post => Method::Post,
                plugin_docusign::Method::Put => Method::Put,
                plugin_docusign::Method::Patch => Method::Patch,
                plugin_docusign::Method::Delete => Method::Delete,
            },
            path: request.path.clone(),
            query: request.query.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
        };
        match rig().runtime.block_on(self.0.borrow_mut().send(request, token)) {
            Ok(Ok(response)) => Ok(answered(response)),
            Ok(Err(capability::HttpError::Denied(text))) => Err(HttpError::Denied(text)),
            other => Err(HttpError::NoAnswer(format!("{other:?}"))),
        }
    }

    fn jwt_bearer(&self, asked: &Grant) -> Result<Token, GrantError> {
        let grant = JwtGrant {
            scope: asked.scope.clone(),
            ..grant()
        };
        match rig().runtime.block_on(self.0.borrow_mut().jwt_bearer(grant)) {
            Ok(Ok(token)) => Ok(token),
            Ok(Err(capability::GrantError::Rejected(response))) => Err(GrantError::Rejected(answered(response))),
            other => Err(GrantError::Unreachable(format!("{other:?}"))),
        }
    }

    fn settings(&self) -> String {
        self.0.borrow().settings().to_owned()
    }

    fn endpoint(&self, name: &str) -> Option<String> {
        self.0.borrow().endpoint(name).map(str::to_owned)
    }

    fn now(&self) -> u64 {
        self.0.borrow().now()
    }

    fn log(&self, _: Level, message: &str, fields: &[(String, String)]) {
        assert!(message.len() + fields.len() < 64 * 1024);
    }
}

fn answered(response: capability::Response) -> Response {
    let capability::Response { status, headers, body } = response;
    Response { status, headers, body }
}

fn scripted(part: &[u8]) -> capability::Response {
    let (first, body) = part.split_first().unwrap_or((&0, &[]));
    let beginning: String = String::from_utf8_lossy(body)
        .chars()
        .take(64)
        .filter(|c| !c.is_control())
        .collect();
    capability::Response {
        status: STATUSES[usize::from(*first) % STATUSES.len()],
        headers: HEADERS
            .iter()
            .map(|name| ((*name).to_owned(), beginning.clone()))
            .collect(),
        body: body.to_vec(),
    }
}

/// `plugin` is the built connector, whose descriptor says what it may send.
pub(crate) fn holds(data: &[u8], plugin: &Path) {
    let rig = RIG.get_or_init(|| Rig::new(plugin));
    let mut parts = data.split(|byte| *byte == 0x1e);
    let verb = parts.next().and_then(|part| part.first()).copied().unwrap_or_default();
    *ANSWERS.lock().expect("answers") = parts.map(scripted).collect();
    let open = |verb, account: Option<&str>| {
        let mut call = Call::new(Arc::clone(&rig.connector.grant), verb, account.map(str::to_owned));
        if verb != Verb::Mint {
            call.lend(&rig.token);
        }
        Native(RefCell::new(call))
    };
    let person = Person {
        id: None,
        target_id: verb.is_ascii_uppercase().then(|| LEAVER.to_owned()),
        email: Some("ann.english@acme.example".to_owned()),
        name: None,
        attributes: Vec::new(),
    };
    let (host, said) = match verb.to_ascii_lowercase() {
        b'm' => {
            let host = open(Verb::Mint, None);
            let said = format!("{:?}", plugin_docusign::mint(&host));
            (host, said)
        }
        b'r' => {
            let host = open(Verb::Read, Some(LEAVER));
            let said = format!("{:?}", plugin_docusign::read(&host, LEAVER, &rig.token));
            (host, said)
        }
        b'c' => {
            let host = open(Verb::Close, Some(LEAVER));
            let said = format!("{:?}", plugin_docusign::close(&host, LEAVER, &rig.token));
            (host, said)
        }
        b'p' => {
            let host = open(Verb::Page, None);
            let said = format!("{:?}", plugin_docusign::page(&host, Some("1"), &rig.token));
            (host, said)
        }
        _ => {
            let host = open(Verb::Find, None);
            let said = format!("{:?}", plugin_docusign::find(&host, &person, &rig.token));
            (host, said)
        }
    };
    let call = host.0.into_inner();
    let record = call.record().lock().expect("a record").clone();
    if !verb.eq_ignore_ascii_case(&b'm') {
        let kept = format!("{record:?} {}", call.clean(said));
        no_token_in(&kept);
    }
}

/// The token, plain or in hexadecimal, in any case, and in base64 at every place of a larger text.
fn no_token_in(text: &str) {
    let text = text.to_ascii_lowercase();
    let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
    for form in [TOKEN.to_ascii_lowercase(), hex] {
        assert!(!text.contains(&form), "{form} in {text}");
    }
}
