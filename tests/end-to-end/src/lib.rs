//! A tenant, a simulator and the binary, ready for a test.
//!
//! Tests use the very files that an operator writes and the very binary that an operator runs. Only `exeunt.toml` sends
//! the sockets to the simulator, as it would be done by hand.

pub mod pem;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use docusign_sim::{Options, Record, Simulator, Status, User};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// A folder with a tenant `acme` whose connector `docusign` speaks to a simulator of its own.
#[derive(Debug)]
pub struct World {
    folder: tempfile::TempDir,
    /// The simulator.
    pub simulator: Simulator,
    compiled: Option<PathBuf>,
}

/// What the binary did.
#[derive(Debug)]
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Standard output as JSON.
    ///
    /// # Panics
    ///
    /// When it is not.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The only job of the report.
    #[must_use]
    pub fn job(&self) -> Value {
        let report = self.json();
        assert_eq!(report["jobs"].as_array().map(Vec::len), Some(1), "{report:#}");
        report["jobs"][0].clone()
    }

    /// The only job, which must have ended with this outcome (or stand in this state) and this exit code.
    ///
    /// # Panics
    ///
    /// When it has not.
    #[track_caller]
    pub fn ended(&self, end: &str, code: i32) -> Value {
        let job = self.job();
        let is = job["outcome"].as_str().or(job["state"].as_str());
        assert_eq!((is, self.code), (Some(end), code), "{job:#}\n{}", self.stderr);
        job
    }

    /// As [`Ran::ended`], and the reason must say all of this.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn ended_because(&self, end: &str, code: i32, said: &[&str]) -> Value {
        let job = self.ended(end, code);
        says(job["reason"].as_str().unwrap_or_default(), said);
        job
    }

    /// The event was refused before there was a job, and the reason must say all of this.
    ///
    /// # Panics
    ///
    /// When it was not.
    #[track_caller]
    pub fn refused_the_event(&self, said: &[&str]) {
        let report = self.json();
        assert_eq!(
            (&report["event"]["decision"], self.code),
            (&json!("refused"), 3),
            "{report:#}"
        );
        assert_eq!(report["jobs"], json!([]));
        says(report["event"]["reason"].as_str().unwrap_or_default(), said);
    }

    /// The command did not begin: exit code 2, nothing on standard output, and an error that says all of this.
    ///
    /// # Panics
    ///
    /// When it did.
    #[track_caller]
    pub fn was_misused(&self, said: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (2, ""), "{}", self.stderr);
        let error = self.stderr.find("error: ").map(|at| &self.stderr[at..]);
        says(error.unwrap_or_default(), said);
    }
}

/// Every one of `wanted` must be in `text`.
///
/// # Panics
///
/// When one is missing.
#[track_caller]
pub fn says(text: &str, wanted: &[&str]) {
    for piece in wanted {
        assert!(text.contains(piece), "no {piece:?} in: {text}");
    }
}

impl World {
    /// A world with the simulator's defaults: the less convenient answer wherever DocuSign's is not known.
    pub async fn new() -> Self {
        Self::with(Options {
            sample: false,
            ..Options::default()
        })
        .await
    }

    /// A world with these options of the simulator.
    ///
    /// # Panics
    ///
    /// When it cannot be set up.
    pub async fn with(options: Options) -> Self {
        let simulator = Simulator::start(options).await.expect("the simulator starts");
        let folder = tempfile::tempdir().expect("a folder");
        let world = Self {
            folder,
            simulator,
            compiled: Some(compiled()),
        };
        world.write("ca.pem", world.simulator.ca_pem());
        world.write_secret("tenants/acme/docusign.pem", world.simulator.private_key_pem());
        world.write("exeunt.toml", &world.host_file());
        world.write("tenants/acme.toml", &world.tenant_file());
        world
    }

    /// Its commands know nothing that those of other worlds have compiled or pulled.
    #[must_use]
    pub fn on_its_own(self) -> Self {
        Self { compiled: None, ..self }
    }

    /// The folder that holds `exeunt.toml`.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The tenant file.
    #[must_use]
    pub fn tenant(&self) -> PathBuf {
        self.root().join("tenants/acme.toml")
    }

    /// The usual `exeunt.toml`.
    #[must_use]
    pub fn host_file(&self) -> String {
        format!(
            "plugins = {:?}\n[tenants.acme]\nca = \"file:ca.pem\"\n\
             connect_to = {{ \"account-d.docusign.com\" = \"{}\", \"demo.docusign.net\" = \"{}\" }}\n",
            plugins(),
            self.simulator.account_addr(),
            self.simulator.esign_addr()
        )
    }

    /// The usual tenant file.
    #[must_use]
    pub fn tenant_file(&self) -> String {
        format!(
            r#"[sources.hr]
kind = "sailpoint"
leaver = {{ attribute = "userStatus", becomes = ["inactive"] }}

[connectors.docusign]
plugin = "docusign.wasm"
mode = "enforce"
settings = {{ account_id = "{}", integration_key = "{}", user_id = "{}" }}
keys = {{ signing = "file:docusign.pem" }}
endpoints = {{ account = "https://account-d.docusign.com", esign = "https://demo.docusign.net" }}

[policy]
protected = ["ceo@*"]
"#,
            self.simulator.account_id(),
            self.simulator.integration_key(),
            self.simulator.user_id()
        )
    }

    /// Adds an active user with this address to the simulator, and returns its id.
    #[must_use]
    pub fn user(&self, email: &str) -> String {
        self.simulator.add_user(User::new(email))
    }

    /// A membership's status in the simulator's own books.
    ///
    /// # Panics
    ///
    /// When there is no such user.
    #[must_use]
    pub fn status(&self, id: &str) -> Status {
        self.simulator.user(id).expect("a user").status
    }

    /// What the simulator saw of this method, or of all methods where it is empty, on paths that end so.
    #[must_use]
    pub fn seen(&self, method: &str, end: &str) -> Vec<Record> {
        let mut requests = self.simulator.requests();
        requests.retain(|record| (method.is_empty() || record.method == method) && record.path.ends_with(end));
        requests
    }

    /// The simulator must have seen nothing but reads and token requests.
    ///
    /// # Panics
    ///
    /// When it saw more.
    #[track_caller]
    pub fn was_only_read(&self) {
        let mut requests = self.simulator.requests();
        requests.retain(|record| record.method != "GET" && record.path != "/oauth/token");
        assert!(requests.is_empty(), "{requests:#?}");
    }

    /// The simulator must have seen no request at all.
    ///
    /// # Panics
    ///
    /// When it saw one.
    #[track_caller]
    pub fn was_not_asked(&self) {
        let requests = self.simulator.requests();
        assert!(requests.is_empty(), "{requests:#?}");
    }

    /// Replaces a piece of the tenant file.
    ///
    /// # Panics
    ///
    /// When the file has no such piece.
    pub fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.tenant()).expect("a tenant file");
        assert!(text.contains(from), "no {from:?} in {text}");
        std::fs::write(self.tenant(), text.replacen(from, to, 1)).expect("the tenant file is written");
    }

    /// Writes a file below the root.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// Writes a file that only its owner may read.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn write_secret(&self, path: &str, text: &str) -> PathBuf {
        let path = self.write(path, text);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("permissions");
        path
    }

    /// Runs the binary with these arguments and this standard input.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub async fn exeunt(&self, arguments: &[&str], input: &[u8]) -> Ran {
        self.exeunt_with(arguments, input, &[]).await
    }

    /// As [`World::exeunt`], with these variables in its environment.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub async fn exeunt_with(&self, arguments: &[&str], input: &[u8], variables: &[(&str, &str)]) -> Ran {
        let mut child = tokio::process::Command::new(binary("exeunt"))
            .args(arguments)
            .current_dir(self.root())
            .env("EXEUNT_LOG", "trace")
            .envs(self.compiled.iter().map(|folder| ("EXEUNT_CACHE", folder)))
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("exeunt starts");
        let mut stdin = child.stdin.take().expect("standard input");
        let write = async move {
            // It may refuse before it has read everything; then the pipe is closed, which is not this side's concern.
            let _ = stdin.write_all(input).await;
        };
        // Both at a time: while it waits for us to read what it says, it reads nothing.
        let ((), output) = tokio::join!(write, child.wait_with_output());
        let Output { status, stdout, stderr } = output.expect("exeunt ends");
        Ran {
            code: status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// `exeunt run --json` on this event.
    pub async fn run(&self, event: &[u8]) -> Ran {
        self.run_with(event, &[]).await
    }

    /// `exeunt run --json` on this event, with further arguments.
    pub async fn run_with(&self, event: &[u8], more: &[&str]) -> Ran {
        self.exeunt(&[RUN, more].concat(), event).await
    }

    /// `exeunt run --json` on this event, with these variables in its environment.
    pub async fn run_among(&self, event: &[u8], variables: &[(&str, &str)]) -> Ran {
        self.exeunt_with(RUN, event, variables).await
    }
}

const RUN: &[&str] = &[
    "run",
    "--tenant",
    "tenants/acme.toml",
    "--source",
    "hr",
    "--event",
    "-",
    "--json",
];

/// As [`event`], changed before it is sent.
#[must_use]
pub fn event_with(email: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut event = payload(email);
    change(&mut event);
    event.to_string().into_bytes()
}

/// An event that names the person's id at DocuSign, once the tenant file says where.
#[must_use]
pub fn event_with_target_id(world: &World, email: &str, id: &str) -> Vec<u8> {
    let mapping = "person = { target_id = \"$.identity.docusign\" }\n[connectors.docusign]";
    world.edit("[connectors.docusign]", mapping);
    event_with(email, |event| event["identity"]["docusign"] = json!(id))
}

/// SailPoint's native-change payload for a person, in the official shape, with ids that no sample has.
#[must_use]
pub fn event(email: &str) -> Vec<u8> {
    payload(email).to_string().into_bytes()
}

fn payload(email: &str) -> Value {
    let fresh = || uuid::Uuid::new_v4().simple().to_string();
    json!({
        "identity": {
            "id": fresh(), "name": "Ann English", "alias": "Ann.English", "type": "IDENTITY", "email": email,
            "manager": {"id": fresh(), "name": "Martena Heath", "type": "IDENTITY", "email": "martena.heath@acme.example"}
        },
        "source": {
            "id": fresh(), "name": "HR System", "alias": "HR System [source]", "type": "SOURCE",
            "owner": {"id": fresh(), "name": "Aaron Andrew", "type": "IDENTITY", "email": "aaron.andrew@acme.example"},
            "governanceGroup": {"id": fresh(), "name": "Owners", "type": "GOVERNANCE_GROUP"}
        },
        "account": {
            "id": fresh(), "name": "Ann.English", "type": "ACCOUNT", "uuid": null, "correlated": true,
            "nativeIdentity": "E00412"
        },
        "eventType": "ACCOUNT_UPDATED",
        "accountChangeTypes": ["ATTRIBUTES_CHANGED"],
        "singleValueAttributeChanges": [{"name": "userStatus", "oldValue": "active", "newValue": "inactive"}],
        "multiValueAttributeChanges": [],
        "entitlementChanges": []
    })
}

/// The folder of built plugins.
///
/// # Panics
///
/// When they are not built.
#[must_use]
pub fn plugins() -> PathBuf {
    let folder = kit::target().join("plugins");
    assert!(
        folder.join("docusign.wasm").exists(),
        "there is no {}/docusign.wasm; run `make plugins`",
        folder.display()
    );
    folder
}

/// Where commands of all tests keep what they compile. Compiling it for each took more than half of their time.
#[must_use]
pub fn compiled() -> PathBuf {
    plugins().join("compiled")
}

/// A built program.
///
/// # Panics
///
/// When it is not built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let program = kit::target().join("debug").join(name);
    assert!(program.exists(), "there is no {}; run `make build`", program.display());
    program
}
