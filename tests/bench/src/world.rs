//! A folder with a host file and tenants, and the real server on it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use docusign_sim::{Limits, Options, Simulator};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::client::Connection;
use crate::numbers::resident;
use crate::stub;

/// What the senders of all tenants know.
const TOKEN: &str = "bench-sender-token-bench-sender-token";
/// How long a server may take until it listens: ten thousand keys are checked before, or a thousand plugins compiled.
const STARTED_WITHIN: Duration = Duration::from_secs(900);

/// A folder with tenants `t0`, `t1`, ….
#[derive(Debug)]
pub(crate) struct World {
    folder: tempfile::TempDir,
}

/// A simulator that sets no limits, keeps no log and adds no latency.
pub(crate) async fn simulator() -> anyhow::Result<Simulator> {
    Simulator::start(Options {
        limits: Limits::none(),
        log_capacity: 0,
        ..Options::default()
    })
    .await
}

impl World {
    /// `journal` as in `exeunt.toml`. All tenants reach the simulator; without one nothing must ever be sent.
    pub(crate) fn new(tenants: usize, journal: &str, simulator: Option<&Simulator>) -> anyhow::Result<Self> {
        let world = Self {
            folder: tempfile::tempdir()?,
        };
        let mut host = format!(
            "listen = \"127.0.0.1:0\"\nplugins = {:?}\njournal = {journal:?}\n[limits]\nevents_per_second = 1000000\n",
            plugins()?
        );
        let (account, key, user, pem) = match simulator {
            Some(sim) => (
                sim.account_id(),
                sim.integration_key(),
                sim.user_id(),
                sim.private_key_pem(),
            ),
            None => (
                stub::ACCOUNT,
                stub::ACCOUNT,
                stub::CALLER,
                include_str!("../../../host/testdata/keys/pkcs8.pem"),
            ),
        };
        if let Some(sim) = simulator {
            world.write("ca.pem", sim.ca_pem())?;
        }
        let tenant = format!(
            "[sources.hr]\nkind = \"sailpoint\"\nauth = {{ bearer = \"file:hr.token\" }}\n\
             leaver = {{ attribute = \"userStatus\", becomes = [\"inactive\"] }}\n\
             [connectors.docusign]\nplugin = \"docusign.wasm\"\nmode = \"enforce\"\n\
             settings = {{ account_id = \"{account}\", integration_key = \"{key}\", user_id = \"{user}\" }}\n\
             keys = {{ signing = \"file:docusign.pem\" }}\n\
             endpoints = {{ account = \"https://account-d.docusign.com\", esign = \"https://demo.docusign.net\" }}\n\
             [policy]\nbreaker = {{ closures = 100000, per = \"1h\" }}\n"
        );
        for number in 0..tenants {
            world.write(&format!("tenants/t{number}.toml"), &tenant)?;
            world.write_secret(&format!("tenants/t{number}/hr.token"), TOKEN)?;
            world.write_secret(&format!("tenants/t{number}/docusign.pem"), pem)?;
            if let Some(sim) = simulator {
                host.push_str(&format!(
                    "[tenants.t{number}]\nca = \"file:ca.pem\"\nconnect_to = {{ \"account-d.docusign.com\" = \"{}\", \
                     \"demo.docusign.net\" = \"{}\" }}\n",
                    sim.account_addr(),
                    sim.esign_addr()
                ));
            }
        }
        world.write("exeunt.toml", &host)?;
        Ok(world)
    }

    /// Gives each tenant a plugin of its own: the same code, and a custom section that makes its digest another.
    pub(crate) fn give_plugins(&self, tenants: usize) -> anyhow::Result<()> {
        let shared = plugins()?;
        let component = std::fs::read(shared.join("docusign.wasm"))?;
        std::fs::create_dir_all(self.path("plugins"))?;
        for number in 0..tenants {
            // Section 0: its size, the size of its name, the name.
            let name = format!("bench-{number:06}");
            let size = u8::try_from(name.len())?;
            let section = [&[0, size + 1, size], name.as_bytes()].concat();
            let file = self.path(&format!("plugins/docusign-{number}.wasm"));
            std::fs::write(file, [component.as_slice(), &section].concat())?;
            self.edit(
                &format!("tenants/t{number}.toml"),
                "\"docusign.wasm\"",
                &format!("\"docusign-{number}.wasm\""),
            )?;
        }
        self.edit("exeunt.toml", &format!("plugins = {shared:?}"), "plugins = \"plugins\"")
    }

    /// Replaces a part of a file.
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(self.path(name))?;
        ensure!(text.contains(from), "{name} has no {from}");
        self.write(name, &text.replace(from, to)).map(drop)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().context("no folder")?)?;
        std::fs::write(&path, text)?;
        Ok(path)
    }

    fn write_secret(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.write(name, text)?;
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        Ok(())
    }

    /// Starts `exeunt serve` and waits until it is ready.
    pub(crate) async fn serve(&self) -> anyhow::Result<Server> {
        let started = Instant::now();
        let mut child = Command::new(beside("exeunt")?)
            .args(["serve", "--config", "exeunt.toml"])
            .current_dir(self.folder.path())
            .env("EXEUNT_LOG", std::env::var("EXEUNT_LOG").as_deref().unwrap_or("error"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start exeunt")?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let line = tokio::time::timeout(STARTED_WITHIN, lines.next_line()).await??;
        let line = line.context("exeunt ended before it listened")?;
        let address = line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split(',').next())
            .with_context(|| format!("unexpected: {line}"))?;
        let address: SocketAddr = address.parse()?;
        let status = Connection::open(address).await?.send(&get("/readyz")).await?;
        ensure!(status == 200, "exeunt is not ready: {status}");
        Ok(Server {
            address,
            ready_after: started.elapsed(),
            child,
        })
    }
}

/// A running server. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// From its start to its first good answer at `/readyz`.
    pub(crate) ready_after: Duration,
    child: Child,
}

impl Server {
    pub(crate) fn process(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Resident memory in MiB, now and at its highest.
    pub(crate) fn resident(&self) -> (u64, u64) {
        resident(self.process())
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let asked = Command::new("kill").arg(self.process().to_string()).status().await?;
        let ended = self.child.wait().await?;
        ensure!(asked.success() && ended.success(), "exeunt did not end well: {ended}");
        Ok(())
    }

    /// Ends it at once, as a power cut would.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(())
    }
}

/// A GET request.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").into_bytes()
}

/// SailPoint's native-change event about this person, as a request of a tenant.
pub(crate) fn event(tenant: usize, email: &str) -> Vec<u8> {
    event_of(&format!("t{tenant}"), email)
}

/// The same for a tenant by its name.
pub(crate) fn event_of(tenant: &str, email: &str) -> Vec<u8> {
    let body = EVENT.replace("EMAIL", email);
    format!(
        "POST /v1/tenants/{tenant}/sources/hr/events HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The official shape with ids of our own: the published samples are held. Two with one address would be the same
/// message, so each address is used once.
pub(crate) const EVENT: &str = r#"{"identity":{"id":"5b1f0c2e9d3a4e7f8a6b4c2d1e0f9a8b","name":"Ann English","alias":"Ann.English","type":"IDENTITY","email":"EMAIL","manager":{"id":"0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f","name":"Martena Heath","type":"IDENTITY","email":"martena.heath@acme.example"}},"source":{"id":"7e1d5c3b9a8f4e6d8c2b1a0f9e8d7c6b","name":"HR System","alias":"HR System [source]","type":"SOURCE","owner":{"id":"3f2e1d0c9b8a4f7e6d5c4b3a2f1e0d9c","name":"Aaron Andrew","type":"IDENTITY","email":"aaron.andrew@acme.example"},"governanceGroup":{"id":"9a8b7c6d5e4f4a3b8c1d0e9f8a7b6c5d","name":"Owners","type":"GOVERNANCE_GROUP"}},"account":{"id":"1d2c3b4a5f6e4d8c9b0a1f2e3d4c5b6a","name":"Ann.English","type":"ACCOUNT","uuid":null,"correlated":true,"nativeIdentity":"EMAIL"},"eventType":"ACCOUNT_UPDATED","accountChangeTypes":["ATTRIBUTES_CHANGED"],"singleValueAttributeChanges":[{"name":"userStatus","oldValue":"active","newValue":"inactive"}],"multiValueAttributeChanges":[],"entitlementChanges":[]}"#;

/// The folder of built plugins.
pub(crate) fn plugins() -> anyhow::Result<PathBuf> {
    let folder = beside("../plugins")?;
    folder
        .canonicalize()
        .with_context(|| format!("there is no {}; run `make plugins`", folder.display()))
}

/// A file beside this program.
pub(crate) fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().unwrap_or(Path::new(".")).join(name))
}
