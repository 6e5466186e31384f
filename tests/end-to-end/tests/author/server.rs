//! A real SCIM server (scim2-server), on which the connector in each language closes users.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use end_to_end::{Ran, event, says};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{GUESTS, exeunt, plugin, tool};

const TOKEN: &str = "scim-token-8f3e2d1c0b9a7654";
/// How long the server may take to start on a busy machine.
const STARTED_WITHIN: Duration = Duration::from_secs(60);

/// A SCIM server with a tenant for each language. Ends with the test.
pub(crate) struct Server {
    address: String,
    http: reqwest::Client,
    _process: Child,
}

impl Server {
    pub(crate) async fn start() -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let started = async {
            loop {
                if let Some((process, address)) = listening().await {
                    break Self {
                        address,
                        http,
                        _process: process,
                    };
                }
            }
        };
        tokio::time::timeout(STARTED_WITHIN, started)
            .await
            .expect("scim2-server listens")
    }

    fn base(&self, guest: &str) -> String {
        format!("http://{}/{}/v2", self.address, name(guest))
    }

    /// Adds a user and returns its id.
    pub(crate) async fn add(&self, guest: &str, user_name: &str, email: &str) -> String {
        let user = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": user_name, "active": true,
            "emails": [{"value": email, "primary": true}],
        });
        let request = self.http.post(format!("{}/Users", self.base(guest))).bearer_auth(TOKEN);
        let request = request
            .header("content-type", "application/scim+json")
            .body(user.to_string());
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 201);
        let user: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        user["id"].as_str().expect("an id").to_owned()
    }

    /// Whether a user is active, in the server's own books.
    pub(crate) async fn is_active(&self, guest: &str, id: &str) -> bool {
        let request = self
            .http
            .get(format!("{}/Users/{id}", self.base(guest)))
            .bearer_auth(TOKEN);
        let answer = request.send().await.expect("an answer").text().await.expect("a body");
        let user: Value = serde_json::from_str(&answer).expect("JSON");
        user["active"].as_bool().unwrap_or_else(|| panic!("{user}"))
    }

    /// A folder as an operator keeps it, with a connector for each of these guests.
    pub(crate) fn tenant(&self, guests: &[&str]) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(&path, text).expect("a file");
            path
        };
        let plugins = Path::new(&plugin(guests[0])).parent().expect("a folder").to_owned();
        let host = format!(
            "plugins = {plugins:?}\n[tenants.acme]\ninsecure = [\"{}\"]\n",
            self.address
        );
        write("exeunt.toml", &host);
        let secret = write("tenants/acme/scim.token", TOKEN);
        std::fs::set_permissions(secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("permissions");
        let mut tenant = "[sources.hr]\nkind = \"sailpoint\"\n\
             leaver = { attribute = \"userStatus\", becomes = [\"inactive\"] }\n"
            .to_owned();
        for guest in guests {
            tenant += &format!(
                "[connectors.{}]\nplugin = \"{guest}\"\nmode = \"enforce\"\nkeys = {{ token = \"file:scim.token\" }}\n\
                 endpoints = {{ scim = \"{}\" }}\n",
                name(guest),
                self.base(guest)
            );
        }
        write("tenants/acme.toml", &tenant);
        folder
    }
}

/// A process that listens, and where; none when its port was taken in the meantime.
///
/// It cannot say which port it was given, so it is told one that was free just now. Another test may take that
/// before it is bound: then the process ends, and only its own line says that the listener is its own.
async fn listening() -> Option<(Child, String)> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a free port");
    let mut command = Command::new(tool("python/bin/scim2-server"));
    command.args(["--port", &address.port().to_string(), "--bearer-token", TOKEN]);
    for guest in GUESTS {
        command.args(["--tenant", name(guest)]);
    }
    let process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut process = process.expect("scim2-server starts");
    let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
    let first = lines.next_line().await.expect("its output")?;
    assert!(first.starts_with("Serving SCIM on"), "{first}");
    Some((process, address.to_string()))
}

/// A guest's tenant on the server, and its connector: `scim-js` of `scim-js.wasm`.
pub(crate) fn name(guest: &str) -> &str {
    guest.trim_end_matches(".wasm")
}

/// `exeunt run --json` on a leaver's event.
pub(crate) async fn run(folder: &TempDir, email: &str, more: &[&str]) -> Ran {
    std::fs::write(folder.path().join("event.json"), event(email)).expect("an event");
    let mut arguments = vec![
        "run",
        "--tenant",
        "tenants/acme.toml",
        "--source",
        "hr",
        "--event",
        "event.json",
        "--json",
    ];
    arguments.extend(more);
    exeunt(folder.path(), &arguments).await
}

#[tokio::test]
async fn each_language_closes_users_on_a_real_server_and_the_server_says_so() {
    let server = Server::start().await;
    let folder = server.tenant(&GUESTS);
    let mut leavers = Vec::new();
    for guest in GUESTS {
        // Found by an address that is not the user name; and somebody who stays.
        let leaver = server.add(guest, "aenglish", "ann@acme.example").await;
        let stays = server.add(guest, "joanne@acme.example", "joanne@acme.example").await;
        leavers.push((guest, leaver, stays));
    }
    let ran = run(&folder, "Ann@acme.example", &[]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let report = ran.json();
    let jobs = report["jobs"].as_array().expect("jobs");
    assert_eq!(jobs.len(), GUESTS.len());
    for (guest, leaver, stays) in &leavers {
        let job = jobs.iter().find(|job| job["connector"] == name(guest)).expect("a job");
        assert_eq!(job["outcome"], "closed", "{job:#}");
        assert_eq!(job["accounts"][0]["id"], leaver.as_str());
        assert_eq!(job["accounts"][0]["before"], "active=true");
        assert_eq!(job["accounts"][0]["after"], "active=false");
        assert!(!server.is_active(guest, leaver).await, "{guest} closed nobody");
        assert!(server.is_active(guest, stays).await, "{guest} closed somebody else");
    }
    assert!(
        !format!("{}{}", ran.stdout, ran.stderr).contains(TOKEN),
        "the key was shown"
    );
}

#[tokio::test]
async fn the_second_time_nothing_is_left_to_do_and_who_is_not_known_has_no_account() {
    let server = Server::start().await;
    let folder = server.tenant(&GUESTS[..1]);
    let id = server.add(GUESTS[0], "ann@acme.example", "ann@acme.example").await;
    run(&folder, "ann@acme.example", &["--dry-run"])
        .await
        .ended("planned", 0);
    assert!(server.is_active(GUESTS[0], &id).await, "a dry run closed");
    run(&folder, "ann@acme.example", &[]).await.ended("closed", 0);
    run(&folder, "ann@acme.example", &[]).await.ended("already_closed", 0);
    run(&folder, "nobody@acme.example", &[]).await.ended("no_account", 0);
}

#[tokio::test]
async fn verbs_run_by_hand_and_only_a_flag_closes() {
    let server = Server::start().await;
    let folder = server.tenant(&GUESTS[..1]);
    let id = server.add(GUESTS[0], "ann@acme.example", "ann@acme.example").await;
    let file = plugin(GUESTS[0]);
    let by_hand = |verb: &'static str, more: Vec<String>| {
        let (folder, file) = (folder.path().to_owned(), file.clone());
        async move {
            let mut arguments = vec!["plugin", "run", &file, verb];
            arguments.extend(["--tenant", "tenants/acme.toml", "--connector", "scim"]);
            arguments.extend(more.iter().map(String::as_str));
            exeunt(&folder, &arguments).await
        }
    };
    let account = vec!["--account".to_owned(), id.clone()];
    let found = by_hand("find", vec!["--email".to_owned(), "ann@acme.example".to_owned()]).await;
    assert_eq!(
        (found.code, &found.json()["accounts"][0]["id"]),
        (0, &Value::from(id.as_str()))
    );
    says(&found.stderr, &["find ", "GET scim /Users: 200"]);
    assert_eq!(by_hand("mint", Vec::new()).await.json(), json!("token"));
    assert_eq!(
        by_hand("page", Vec::new()).await.json()["accounts"][0]["standing"],
        "active"
    );
    assert_eq!(
        by_hand("read", account.clone()).await.json()["accounts"][0]["native_status"],
        "active=true"
    );
    by_hand("close", account.clone())
        .await
        .was_misused(&["--close-for-real"]);
    by_hand("read", Vec::new()).await.was_misused(&["--account"]);
    assert!(server.is_active(GUESTS[0], &id).await, "closed without the flag");

    // Who is protected stays protected, by hand too.
    let file = folder.path().join("tenants/acme.toml");
    let tenant = std::fs::read_to_string(&file).expect("a tenant file");
    let really: Vec<String> = account.iter().cloned().chain(["--close-for-real".to_owned()]).collect();
    std::fs::write(&file, format!("{tenant}[policy]\nprotected = [\"ann@*\"]\n")).expect("a tenant file");
    let held = by_hand("close", really.clone()).await;
    assert_eq!(held.code, 3, "{}{}", held.stdout, held.stderr);
    says(&held.stdout, &["is protected"]);
    std::fs::write(&file, tenant.replace("enforce", "dry-run")).expect("a tenant file");
    by_hand("close", really.clone()).await.was_misused(&["is dry-run"]);
    assert!(server.is_active(GUESTS[0], &id).await, "closed though protected");

    std::fs::write(&file, tenant).expect("a tenant file");
    let nobody = ["--account", "4711", "--close-for-real"].map(str::to_owned).to_vec();
    let nobody = by_hand("close", nobody).await;
    assert_eq!(nobody.code, 3, "{}{}", nobody.stdout, nobody.stderr);
    says(&nobody.stdout, &["not closed", "no account 4711"]);
    let closed = by_hand("close", really).await;
    assert_eq!((closed.code, closed.json()), (0, json!("closed")), "{}", closed.stderr);
    assert!(!server.is_active(GUESTS[0], &id).await, "not closed");
    let failed = by_hand("find", vec!["--target-id".to_owned(), "a/b".to_owned()]).await;
    assert_eq!((failed.code, &failed.json()["failure"]["kind"]), (1, &json!("denied")));
}
