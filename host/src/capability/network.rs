//! HTTP clients, one for each set of network settings.
//!
//! A client costs about 100 KiB and a millisecond to build, so tenants that bend nothing share one, tenants that do
//! have their own, and clients that nobody used for a while are dropped. Sharing is safe because nothing of a tenant
//! lives in a client: credentials are added request by request, cookies and HTTP authentication are off.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::time::Instant;
use tower::util::MapRequestLayer;
use url::Url;

use super::descriptor::Method;
use super::http::{HttpError, Response};
use super::names::{self, Lookups, Names, Resolver, SystemNames};
use super::opened::{KEPT_FOR, Opened};
use crate::tenant::NetworkGrants;

/// A client that no request used for this long is dropped. Longer than a token lives would keep it for ever busy.
const IDLE: Duration = Duration::from_secs(600);
/// Connections that wait in a pool for the next request, a host: as many as the sandbox runs calls at once. Tenants with
/// the same settings share a pool, and one that is smaller than what they have in flight closes connections after each
/// request: with 32 of them every fourth request began with a handshake.
const IDLE_CONNECTIONS: usize = 256;

/// Clients that are kept: 1024, some 100 MiB. A tenant may name a port for each of its endpoints, and each takes one.
const MAX_CLIENTS: usize = 1024;

/// How often idle clients are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// What a client is shared by: what bends the network, the port that names are resolved for, the time to connect, and
/// whether connections are kept.
type Shared = (Arc<NetworkGrants>, u16, Duration, bool);

/// Gives out HTTP clients.
#[derive(Debug)]
pub struct Network {
    transport: Option<Arc<dyn Transport>>,
    lookups: Arc<Lookups>,
    clients: Mutex<Clients>,
    opened: Arc<Mutex<Opened>>,
}

#[derive(Debug)]
struct Clients {
    entries: HashMap<Shared, Entry>,
    swept: Instant,
}

#[derive(Debug)]
struct Entry {
    client: reqwest::Client,
    used: Instant,
}

impl Clients {
    /// Drops the one that was used least recently, where one more would be too many. Its requests go on.
    fn make_room(&mut self, shared: &Shared) {
        if self.entries.len() < MAX_CLIENTS || self.entries.contains_key(shared) {
            return;
        }
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
        if let Some(oldest) = oldest.map(|(shared, _)| shared.clone()) {
            self.entries.remove(&oldest);
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        // reqwest takes the process's provider; a second call finds the first one's and changes nothing.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        Self {
            transport: None,
            lookups: Arc::new(Lookups::new(Arc::new(SystemNames))),
            opened: Arc::new(Mutex::new(Opened::new(Instant::now()))),
            clients: Mutex::new(Clients {
                entries: HashMap::new(),
                swept: Instant::now(),
            }),
        }
    }
}

/// Answers requests in place of the network: for benchmarks, scripted targets and replays.
///
/// It stands behind every check, so what reaches it is what would have left the host; and before the limits on answers
/// and the scrubber, so what it gives is treated as a target's.
pub trait Transport: fmt::Debug + Send + Sync {
    /// The whole answer to a request.
    ///
    /// # Errors
    ///
    /// As a network's.
    fn answer(&self, request: &Outgoing<'_>) -> Result<Response, HttpError>;
}

/// A request that passed every check, with its token: what would leave the host.
pub struct Outgoing<'a> {
    /// Endpoint name.
    pub endpoint: &'a str,
    /// Method.
    pub method: Method,
    /// Path below the endpoint's base URL.
    pub path: &'a str,
    /// Query parameters, not encoded.
    pub query: &'a [(String, String)],
    /// The whole of it, as it is written on the wire.
    pub url: &'a Url,
    /// Header fields of the guest, and the one with the token or secret.
    pub headers: &'a HeaderMap,
    /// Body.
    pub body: Option<&'a [u8]>,
}

/// Without headers and body, which may hold a secret.
impl fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.method, self.endpoint, self.path)
    }
}

impl Network {
    /// A network on which `names` tells what names lead to.
    #[must_use]
    pub fn resolved_by(names: Arc<dyn Names>) -> Self {
        Self {
            lookups: Arc::new(Lookups::new(names)),
            ..Self::default()
        }
    }

    /// A network that is not there: `transport` answers instead.
    #[must_use]
    pub fn answered_by(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport: Some(transport),
            ..Self::default()
        }
    }

    /// What answers in place of the network, if anything.
    pub(super) fn transport(&self) -> Option<&dyn Transport> {
        self.transport.as_deref()
    }

    /// The client for a tenant's request with these settings, this port and this time to connect; built when it is first
    /// asked for.
    ///
    /// # Errors
    ///
    /// The TLS library's, where the given certificates cannot be used.
    pub fn client(
        &self,
        tenant: &str,
        settings: &Arc<NetworkGrants>,
        port: u16,
        connect: Duration,
    ) -> Result<reqwest::Client, reqwest::Error> {
        let kept = lock(&self.opened).ask(tenant, Instant::now());
        if kept.too_many {
            let emptied = std::mem::take(&mut lock(&self.clients).entries);
            // Without the lock: with the clients go thousands of connections.
            drop(emptied);
        }
        let shared = (Arc::clone(settings), port, connect, kept.mine);
        if let Some(client) = self.used(&shared) {
            return Ok(client);
        }
        // Built outside the lock, so that the others go on meanwhile. Of two that are built at once the first stays.
        let client = self.build(&shared)?;
        let mut clients = lock(&self.clients);
        let used = Instant::now();
        clients.make_room(&shared);
        let entry = clients.entries.entry(shared).or_insert(Entry { client, used });
        Ok(entry.client.clone())
    }

    fn used(&self, shared: &Shared) -> Option<reqwest::Client> {
        let now = Instant::now();
        let mut clients = lock(&self.clients);
        if now.duration_since(clients.swept) >= SWEEP {
            clients.swept = now;
            clients.entries.retain(|_, entry| now.duration_since(entry.used) < IDLE);
        }
        let entry = clients.entries.get_mut(shared)?;
        entry.used = now;
        Some(entry.client.clone())
    }

    fn build(&self, (settings, port, connect, keeps): &Shared) -> Result<reqwest::Client, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("exeunt/", env!("CARGO_PKG_VERSION")))
            // None from the environment; a granted one comes below.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .https_only(settings.insecure.is_empty())
            .http1_only()
            .connect_timeout(*connect)
            .pool_idle_timeout(KEPT_FOR)
            .pool_max_idle_per_host(if *keeps { IDLE_CONNECTIONS } else { 0 })
            .tcp_nodelay(true)
            .dns_resolver(Arc::new(Resolver {
                lookups: Arc::clone(&self.lookups),
                settings: Arc::clone(settings),
                port: *port,
            }));
        if *keeps {
            let opened = Arc::clone(&self.opened);
            // When a connection is asked for, and not when it is there: that may be in another task than the request's.
            builder = builder.connector_layer(MapRequestLayer::new(move |target| {
                lock(&opened).count(names::tenant());
                target
            }));
        }
        if let Some(proxy) = settings.proxy {
            // A tunnel: the proxy learns the target's name and port, TLS goes through to the target. No name is resolved
            // here then, so which addresses may be reached is the proxy's to decide.
            builder = builder.proxy(reqwest::Proxy::https(format!("http://{proxy}"))?);
        }
        if let Some(ca) = &settings.ca {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(&ca.pem)?);
        }
        builder.build()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::capability::opened::{MAX_OPENED, MAX_TENANT_OPENED};

    #[tokio::test(start_paused = true)]
    async fn clients_are_shared_by_settings_and_dropped_when_idle() {
        const CONNECT: Duration = Duration::from_secs(1);
        let network = Network::default();
        let open = || network.clients.lock().unwrap().entries.len();
        let proxy = "127.0.0.1:1".parse().ok();
        let ours = Arc::new(NetworkGrants {
            proxy,
            ..NetworkGrants::default()
        });
        network.client("acme", &ours, 443, CONNECT).unwrap();
        network
            .client("acme", &Arc::new(NetworkGrants::clone(&ours)), 443, CONNECT)
            .unwrap();
        assert_eq!(open(), 1, "the same settings share a client");
        network.client("acme", &Arc::default(), 443, CONNECT).unwrap();
        assert_eq!(open(), 2);
        tokio::time::advance(IDLE - Duration::from_secs(1)).await;
        network.client("acme", &ours, 443, CONNECT).unwrap();
        tokio::time::advance(SWEEP).await;
        network.client("acme", &ours, 443, CONNECT).unwrap();
        assert_eq!(open(), 1, "the idle one is gone, though none was built");
    }

    #[tokio::test(start_paused = true)]
    async fn of_more_clients_than_are_kept_the_one_that_was_used_longest_ago_goes() {
        const CONNECT: Duration = Duration::from_secs(1);
        let network = Network::default();
        let client = network.client("acme", &Arc::default(), 0, CONNECT).unwrap();
        let ports = || {
            let clients = network.clients.lock().unwrap();
            let ports = clients.entries.keys().map(|(_, port, _, _)| *port);
            ports.collect::<std::collections::BTreeSet<_>>()
        };
        let most = u16::try_from(MAX_CLIENTS).unwrap();
        for port in 1..most {
            tokio::time::advance(Duration::from_millis(1)).await;
            let used = Instant::now();
            let client = client.clone();
            let shared = (Arc::default(), port, CONNECT, true);
            network
                .clients
                .lock()
                .unwrap()
                .entries
                .insert(shared, Entry { client, used });
        }
        assert_eq!(ports().len(), MAX_CLIENTS);
        network.client("acme", &Arc::default(), 0, CONNECT).unwrap();
        assert_eq!(ports().len(), MAX_CLIENTS, "one that is there needs no room");
        network.client("acme", &Arc::default(), most, CONNECT).unwrap();
        assert_eq!(ports().len(), MAX_CLIENTS);
        assert!(!ports().contains(&1) && ports().contains(&0) && ports().contains(&most));
    }

    /// A target that keeps connections open; tells of each one that it is there, and then that it has ended.
    async fn target() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<&'static str>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                tell.send("opened").unwrap();
                let tell = tell.clone();
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while connection.read(&mut bytes).await.is_ok_and(|read| read > 0) {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        connection.write_all(answer).await.unwrap();
                    }
                    tell.send("ended").ok();
                });
            }
        });
        (address, told)
    }

    #[tokio::test]
    async fn after_so_many_connections_those_that_wait_for_a_request_are_closed() {
        let (address, mut told) = target().await;
        let settings = Arc::new(NetworkGrants {
            insecure: [address].into(),
            ..NetworkGrants::default()
        });
        let network = Network::default();
        let ask = async |tenant: &str| {
            let client = network.client(tenant, &settings, address.port(), Duration::from_secs(10));
            let request = client.unwrap().get(format!("http://{address}/")).send();
            assert_eq!(names::asked_by(tenant, request).await.unwrap().status(), 200);
        };
        let count = |tenant: &str, times: usize| {
            for _ in 0..times {
                lock(&network.opened).count(tenant.to_owned());
            }
        };
        count("acme", MAX_TENANT_OPENED - 1);
        ask("acme").await;
        assert_eq!(told.recv().await, Some("opened"));
        ask("other").await;
        assert!(told.is_empty(), "what the one has opened serves the other, too");
        for _ in 0..2 {
            ask("acme").await;
            assert_eq!(
                [told.recv().await, told.recv().await],
                [Some("opened"), Some("ended")],
                "one past its share"
            );
        }
        ask("other").await;
        assert!(told.is_empty(), "others keep theirs");
        count("many", MAX_OPENED - MAX_TENANT_OPENED);
        ask("other").await;
        let mut next = [told.recv().await.unwrap(), told.recv().await.unwrap()];
        next.sort_unstable();
        assert_eq!(next, ["ended", "opened"], "all of them are too many");
        ask("other").await;
        assert!(told.is_empty(), "and that one stays");
    }
}
