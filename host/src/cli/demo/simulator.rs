//! The simulator of the demonstration: a process beside ours, asked over its control port.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;
use tokio::process::{Child, Command};

/// How long the simulator may take to make its keys and listen.
const START_WITHIN: Duration = Duration::from_secs(20);

/// What the simulator writes about itself.
#[derive(Debug, Deserialize)]
pub(super) struct Addresses {
    pub(super) account_addr: String,
    pub(super) esign_addr: String,
    pub(super) control_addr: String,
    pub(super) ca: PathBuf,
    pub(super) integration_key: String,
    pub(super) user_id: String,
    pub(super) account_id: String,
    pub(super) private_key: PathBuf,
}

/// A running simulator. It ends with us: it watches its standard input.
#[derive(Debug)]
pub(super) struct Simulator {
    _process: Child,
    pub(super) addresses: Addresses,
    client: reqwest::Client,
}

impl Simulator {
    /// Starts it with `folder` for its files.
    pub(super) async fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let mut process = Command::new(program)
            .arg("--dir")
            .arg(folder)
            .arg("--exit-with-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start the simulator {}; `make demo` builds it",
                    program.display()
                )
            })?;
        let file = folder.join("sim.json");
        let addresses = tokio::time::timeout(START_WITHIN, async {
            loop {
                if let Ok(text) = tokio::fs::read(&file).await {
                    return serde_json::from_slice(&text).context("sim.json is not what was expected");
                }
                if let Some(status) = process.try_wait()? {
                    bail!("the simulator ended at once: {status}");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .context("the simulator did not start in time")??;
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .context("cannot build a client")?;
        Ok(Self {
            _process: process,
            addresses,
            client,
        })
    }

    /// Adds a user and returns its id.
    pub(super) async fn add_user(&self, email: &str, name: &str) -> anyhow::Result<String> {
        let user = serde_json::json!({"email": email, "user_name": name, "status": "Active"});
        let added = self.ask(reqwest::Method::POST, "users", Some(&user)).await?;
        added["user_ids"][0]
            .as_str()
            .map(str::to_owned)
            .context("the simulator named no user id")
    }

    /// The status of a user in the simulator's own books.
    pub(super) async fn status(&self, id: &str) -> anyhow::Result<String> {
        let user = self.ask(reqwest::Method::GET, &format!("users/{id}"), None).await?;
        user["status"]
            .as_str()
            .map(str::to_owned)
            .context("the simulator named no status")
    }

    /// Makes it answer closures of `id` with 200 and an error inside, as DocuSign does.
    pub(super) async fn refuse_close(&self, id: &str) -> anyhow::Result<()> {
        let error =
            serde_json::json!({"error_code": "USER_LACKS_PERMISSIONS", "message": "This user cannot be closed."});
        self.ask(
            reqwest::Method::PATCH,
            "switches",
            Some(&serde_json::json!({"refuse_close": {id: error}})),
        )
        .await?;
        Ok(())
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let url = format!("http://{}/_sim/{path}", self.addresses.control_addr);
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.context("the simulator does not answer")?;
        let status = answer.status();
        let text = answer.text().await.context("the simulator's answer broke off")?;
        if !status.is_success() {
            bail!("the simulator answered {status}: {text}");
        }
        if text.is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_str(&text).context("the simulator's answer is not JSON")
        }
    }
}
