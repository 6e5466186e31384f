//! A folder as an operator keeps it, with a tenant whose connector speaks to a simulator.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use docusign_sim::{Options, Simulator};
use end_to_end::{Ran, World};
use kit::PrivatePostgres;

use crate::process::Host;

/// What the source sends with each event.
pub(crate) const SOURCE_TOKEN: &str = "hr-7f3a9c51e2d84b06";

/// A tenant, a simulator, a journal's address and an API token.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) world: World,
    /// The host's token: operate, approve, audit.
    pub(crate) token: String,
    journal: String,
    hosts: AtomicU32,
    /// A program and its arguments under which hosts run; usually none.
    pub(crate) under: Vec<String>,
}

impl House {
    pub(crate) async fn sqlite() -> Self {
        Self::with("sqlite:journal.db", Self::options()).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::with(&PrivatePostgres::shared().database(), Self::options()).await
    }

    /// Options of the simulator: keys take a tenth of a second to make, so all share one; the log holds everything.
    pub(crate) fn options() -> Options {
        const KEY: &str = include_str!("../../../../host/testdata/keys/pkcs8.pem");
        Options {
            private_key: Some(KEY.to_owned()),
            // Many people at once are the point here; what a limit does has tests of its own.
            limits: docusign_sim::Limits::none(),
            log_capacity: 1_000_000,
            ..Options::default()
        }
    }

    pub(crate) async fn with(journal: &str, options: Options) -> Self {
        let world = World::with(options).await;
        let mut house = Self {
            world,
            token: String::new(),
            journal: journal.to_owned(),
            hosts: AtomicU32::new(0),
            under: Vec::new(),
        };
        house.configure("");
        house.add_tenant("acme");
        let made = house.exeunt(&[
            "token", "new", "tests", "--role", "operate", "--role", "approve", "--role", "audit",
        ]);
        let made = made.await;
        let token = made.stdout.lines().find(|line| line.starts_with("exeunt_"));
        house.token = token
            .unwrap_or_else(|| panic!("no token in {made:?}"))
            .trim()
            .to_owned();
        house
    }

    /// Writes `exeunt.toml`, with further lines at its top.
    pub(crate) fn configure(&self, more: &str) {
        let lines = format!("listen = \"127.0.0.1:0\"\njournal = \"{}\"\n{more}\n", self.journal);
        self.world.write("exeunt.toml", &(lines + &self.world.host_file()));
    }

    /// Adds lines at the top of `exeunt.toml` and grants the simulator's network to these tenants, too.
    pub(crate) fn grant(&self, more: &str, tenants: &[(&str, &Simulator)]) {
        self.configure(more);
        let mut text = std::fs::read_to_string(self.world.root().join("exeunt.toml")).expect("the host file");
        for (tenant, simulator) in tenants {
            let ca = format!("ca-{tenant}.pem");
            self.world.write(&ca, simulator.ca_pem());
            text += &format!(
                "[tenants.{tenant}]\nca = \"file:{ca}\"\nconnect_to = {{ \"account-d.docusign.com\" = \"{}\", \
                 \"demo.docusign.net\" = \"{}\" }}\n",
                simulator.account_addr(),
                simulator.esign_addr()
            );
        }
        self.world.write("exeunt.toml", &text);
    }

    /// The usual tenant file: a bearer token at its source, and a breaker that no test reaches by accident.
    pub(crate) fn tenant_text(&self) -> String {
        let text = self.world.tenant_file();
        let auth = "kind = \"sailpoint\"\nauth = { bearer = \"file:hr.token\" }\n";
        text.replace("kind = \"sailpoint\"\n", auth).replace(
            "[policy]\n",
            "[policy]\nbreaker = { closures = 100000, per = \"1h\" }\n",
        )
    }

    /// Writes a tenant's files.
    pub(crate) fn add_tenant(&self, name: &str) {
        self.add_tenant_for(name, &self.world.simulator);
    }

    /// Writes a tenant's files, for another simulator with the same private key.
    pub(crate) fn add_tenant_for(&self, name: &str, simulator: &Simulator) {
        let secret = |file: &str, text: &str| drop(self.world.write_secret(&format!("tenants/{name}/{file}"), text));
        secret("docusign.pem", simulator.private_key_pem());
        secret("hr.token", SOURCE_TOKEN);
        let own = &self.world.simulator;
        let text = self
            .tenant_text()
            .replace(own.account_id(), simulator.account_id())
            .replace(own.integration_key(), simulator.integration_key())
            .replace(own.user_id(), simulator.user_id());
        self.replace(&format!("tenants/{name}.toml"), &text);
    }

    /// Replaces a file in one step, as deployment tools do.
    pub(crate) fn replace(&self, path: &str, text: &str) {
        let aside = self.world.write(&format!("{path}.new"), text);
        std::fs::rename(aside, self.path(path)).expect("a rename");
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.world.root().join(path)
    }

    /// From now on the journal is an empty database of PostgreSQL.
    pub(crate) fn move_to_postgres(&mut self) {
        self.journal = PrivatePostgres::shared().database();
        self.configure("");
    }

    /// Starts a host and waits until it is ready.
    pub(crate) async fn start(&self) -> Host {
        self.start_with(&[]).await
    }

    /// As [`House::start`], with these variables.
    pub(crate) async fn start_with(&self, variables: &[(&str, String)]) -> Host {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed);
        Host::start(self, number, variables).await
    }

    /// Starts a host that is told to die, and does not wait for more than its first line.
    pub(crate) async fn start_dying(&self, point: &str) -> Host {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed);
        Host::start_unready(self, number, &[("FAILPOINTS", point.to_owned())]).await
    }

    /// Runs a command beside the hosts.
    pub(crate) async fn exeunt(&self, arguments: &[&str]) -> Ran {
        self.world.exeunt_with(arguments, b"", &[("EXEUNT_LOG", "warn")]).await
    }

    /// Runs a command that goes through a host's API.
    pub(crate) async fn ask(&self, host: &Host, arguments: &[&str]) -> Ran {
        let server = format!("http://{}", host.address());
        let variables = [
            ("EXEUNT_LOG", "warn"),
            ("EXEUNT_SERVER", server.as_str()),
            ("EXEUNT_TOKEN", self.token.as_str()),
        ];
        self.world.exeunt_with(arguments, b"", &variables).await
    }
}
