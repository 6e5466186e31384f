//! The simulator, asked by a client that costs next to nothing: what it can do at most, and what its own latency is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use docusign_sim::{Simulator, User};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::Connection;
use crate::numbers::Times;

/// Asks for leavers over TLS: list by address, delete, read.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    tls: Arc<rustls::ClientConfig>,
    address: std::net::SocketAddr,
    users: String,
    head: String,
}

impl Target {
    /// `token` is one that the simulator issued.
    pub(crate) fn new(sim: &Simulator, token: &str) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(sim.ca_pem().as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: Arc::new(tls),
            address: sim.esign_addr(),
            users: format!("/restapi/v2.1/accounts/{}/users", sim.account_id()),
            head: format!("host: demo.docusign.net\r\naccept: application/json\r\nauthorization: Bearer {token}\r\n"),
        })
    }

    async fn open(&self) -> anyhow::Result<Connection<TlsStream<TcpStream>>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("demo.docusign.net")?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?;
        Ok(Connection::over(stream))
    }

    /// The three requests of each leaver, on `clients` kept connections; how long it took, and each leaver's time.
    pub(crate) async fn leavers(&self, leavers: Vec<Leaver>, clients: usize) -> anyhow::Result<(Duration, Times)> {
        let (leavers, next) = (Arc::new(leavers), Arc::new(AtomicUsize::new(0)));
        let (mut tasks, started) = (JoinSet::new(), Instant::now());
        for _ in 0..clients {
            let (target, leavers, next) = (self.clone(), Arc::clone(&leavers), Arc::clone(&next));
            tasks.spawn(async move {
                let (mut connection, mut times) = (target.open().await?, Times::default());
                while let Some(leaver) = leavers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    for request in target.requests(leaver) {
                        let status = connection.send(request.as_bytes()).await?;
                        let said = || String::from_utf8_lossy(connection.body()).into_owned();
                        ensure!(status == 200, "the simulator answered {status}: {}", said());
                    }
                    times.push(began.elapsed());
                }
                anyhow::Ok(times)
            });
        }
        let mut times = Times::default();
        while let Some(ended) = tasks.join_next().await {
            times.append(ended??);
        }
        Ok((started.elapsed(), times))
    }

    fn requests(&self, leaver: &Leaver) -> [String; 3] {
        let Self { users, head, .. } = self;
        let body = format!(r#"{{"users":[{{"userId":"{}"}}]}}"#, leaver.id);
        [
            format!(
                "GET {users}?email={}&count=100&start_position=0 HTTP/1.1\r\n{head}\r\n",
                leaver.email.replace('@', "%40")
            ),
            format!(
                "DELETE {users} HTTP/1.1\r\n{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
            format!("GET {users}/{} HTTP/1.1\r\n{head}\r\n", leaver.id),
        ]
    }
}

/// Somebody with an open account in the simulator.
#[derive(Debug, Clone)]
pub(crate) struct Leaver {
    pub(crate) id: String,
    pub(crate) email: String,
}

/// Adds people with open accounts.
pub(crate) fn hire(sim: &Simulator, prefix: &str, count: usize) -> Vec<Leaver> {
    let hire = |number: usize| {
        let email = format!("{prefix}{number}@acme.example");
        let id = sim.add_user(User::new(&email));
        Leaver { id, email }
    };
    (0..count).map(hire).collect()
}

/// A token, as the simulator keeps it with `record_secrets`: the last thing that is no assertion.
pub(crate) fn token(sim: &Simulator) -> anyhow::Result<String> {
    let mut secrets = sim.secrets();
    secrets.pop().context("the simulator has issued no token")
}
