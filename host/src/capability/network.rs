//! HTTP clients, one for each set of network settings, and the check on every address before a socket is opened.
//!
//! A client costs about 100 KiB and a millisecond to build, so tenants that bend nothing share one, tenants that do
//! have their own, and clients that nobody used for a while are dropped. Sharing is safe because nothing of a tenant
//! lives in a client: credentials are added request by request, cookies and HTTP authentication are off.
//!
//! reqwest asks our resolver for names only, never for IP literals. Those are checked when the tenant file is read.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderMap;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use super::address::forbidden;
use super::descriptor::Method;
use super::http::{HttpError, Response};
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

/// What a client is shared by: what bends the network, the port that names are resolved for, the time to connect.
type Shared = (Arc<NetworkGrants>, u16, Duration);

/// Gives out HTTP clients.
#[derive(Debug)]
pub struct Network {
    transport: Option<Arc<dyn Transport>>,
    names: Arc<dyn Names>,
    clients: Mutex<Clients>,
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
            names: Arc::new(SystemNames::default()),
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

/// What names lead to.
pub trait Names: fmt::Debug + Send + Sync {
    /// The addresses of a name.
    fn lookup(&self, name: &str) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>>;
}

/// Names that are looked up at a time: 128. Each has a thread for as long as the machine's resolver takes, which nobody
/// can call off; of the 512 that there are, files and guests' memory need some, too.
const LOOKUPS: usize = 128;

/// The machine's own resolver.
#[derive(Debug)]
struct SystemNames {
    places: Arc<Semaphore>,
}

impl Default for SystemNames {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(LOOKUPS));
        Self { places }
    }
}

impl Names for SystemNames {
    fn lookup(&self, name: &str) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let (name, places) = (name.to_owned(), Arc::clone(&self.places));
        Box::pin(async move {
            let place = places.acquire_owned().await.map_err(std::io::Error::other)?;
            let looked = tokio::task::spawn_blocking(move || {
                // With the thread, and not with whoever waits: that may have given up long before.
                let _place = place;
                let addresses = (name.as_str(), 0).to_socket_addrs()?;
                Ok(addresses.map(|address| address.ip()).collect())
            });
            looked.await.map_err(std::io::Error::other)?
        })
    }
}

impl Network {
    /// A network on which `names` tells what names lead to.
    #[must_use]
    pub fn resolved_by(names: Arc<dyn Names>) -> Self {
        Self {
            names,
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

    /// The client for these settings, this port and this time to connect; built when it is first asked for.
    ///
    /// # Errors
    ///
    /// The TLS library's, where the given certificates cannot be used.
    pub fn client(
        &self,
        settings: &Arc<NetworkGrants>,
        port: u16,
        connect: Duration,
    ) -> Result<reqwest::Client, reqwest::Error> {
        let shared = (Arc::clone(settings), port, connect);
        if let Some(client) = self.used(&shared) {
            return Ok(client);
        }
        // Built outside the lock, so that the others go on meanwhile. Of two that are built at once the first stays.
        let client = self.build(settings, port, connect)?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let used = Instant::now();
        clients.make_room(&shared);
        let entry = clients.entries.entry(shared).or_insert(Entry { client, used });
        Ok(entry.client.clone())
    }

    fn used(&self, shared: &Shared) -> Option<reqwest::Client> {
        let now = Instant::now();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(clients.swept) >= SWEEP {
            clients.swept = now;
            clients.entries.retain(|_, entry| now.duration_since(entry.used) < IDLE);
        }
        let entry = clients.entries.get_mut(shared)?;
        entry.used = now;
        Some(entry.client.clone())
    }

    fn build(
        &self,
        settings: &Arc<NetworkGrants>,
        port: u16,
        connect: Duration,
    ) -> Result<reqwest::Client, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("exeunt/", env!("CARGO_PKG_VERSION")))
            // None from the environment; a granted one comes below.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .https_only(settings.insecure.is_empty())
            .http1_only()
            .connect_timeout(connect)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .tcp_nodelay(true)
            .dns_resolver(Arc::new(Resolver {
                names: Arc::clone(&self.names),
                settings: Arc::clone(settings),
                port,
            }));
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

/// Resolves a name and refuses every address that the tenant may not reach.
struct Resolver {
    names: Arc<dyn Names>,
    settings: Arc<NetworkGrants>,
    port: u16,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, settings, port) = (Arc::clone(&self.names), Arc::clone(&self.settings), self.port);
        Box::pin(async move {
            let host = name.as_str();
            if let Some(address) = settings.connect_to(host, port) {
                return Ok(Box::new(std::iter::once(address)) as Addrs);
            }
            let addresses = names.lookup(host).await?.into_iter();
            let addresses: Vec<SocketAddr> = addresses.map(|ip| SocketAddr::new(ip, port)).collect();
            for address in &addresses {
                check(&settings, *address).map_err(|reason| AddressRefused {
                    host: host.to_owned(),
                    ip: address.ip(),
                    reason,
                })?;
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn check(settings: &NetworkGrants, address: SocketAddr) -> Result<(), &'static str> {
    match forbidden(address.ip()) {
        Some(_) if settings.allows_private(address) || settings.allows_insecure(address) => Ok(()),
        Some(reason) => Err(reason),
        None => Ok(()),
    }
}

/// A name resolved to an address that the tenant may not reach.
#[derive(Debug)]
pub(super) struct AddressRefused {
    host: String,
    ip: IpAddr,
    reason: &'static str,
}

impl fmt::Display for AddressRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, ip, reason } = self;
        write!(
            f,
            "{host} resolves to {ip}, which is not a public address ({reason}); the host's operator can grant it as \
             `private` in exeunt.toml"
        )
    }
}

impl std::error::Error for AddressRefused {}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> NetworkGrants {
        NetworkGrants {
            private: ["10.0.0.5:8443".parse().unwrap()].into(),
            ..NetworkGrants::default()
        }
    }

    #[test]
    fn an_exception_is_one_address_and_one_port() {
        let allowed = |address: &str| check(&settings(), address.parse().unwrap()).is_ok();
        assert!(allowed("10.0.0.5:8443"));
        assert!(!allowed("10.0.0.5:443"));
        assert!(!allowed("10.0.0.6:8443"));
        assert!(allowed("8.8.8.8:443"));
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_with_the_line_to_write() {
        let resolver = Resolver {
            names: Arc::new(SystemNames::default()),
            settings: Arc::new(NetworkGrants::default()),
            port: 443,
        };
        let error = match resolver.resolve("localhost".parse().unwrap()).await {
            Err(error) => error.to_string(),
            Ok(_) => panic!("localhost was allowed"),
        };
        assert!(error.contains("loopback") && error.contains("`private`"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_shared_by_settings_and_dropped_when_idle() {
        const CONNECT: Duration = Duration::from_secs(1);
        let network = Network::default();
        let open = || network.clients.lock().unwrap().entries.len();
        let ours = Arc::new(settings());
        network.client(&ours, 443, CONNECT).unwrap();
        network.client(&Arc::new(settings()), 443, CONNECT).unwrap();
        assert_eq!(open(), 1, "the same settings share a client");
        network.client(&Arc::default(), 443, CONNECT).unwrap();
        assert_eq!(open(), 2);
        tokio::time::advance(IDLE - Duration::from_secs(1)).await;
        network.client(&ours, 443, CONNECT).unwrap();
        tokio::time::advance(SWEEP).await;
        network.client(&ours, 443, CONNECT).unwrap();
        assert_eq!(open(), 1, "the idle one is gone, though none was built");
    }

    #[tokio::test(start_paused = true)]
    async fn of_more_clients_than_are_kept_the_one_that_was_used_longest_ago_goes() {
        const CONNECT: Duration = Duration::from_secs(1);
        let network = Network::default();
        let client = network.client(&Arc::default(), 0, CONNECT).unwrap();
        let ports = || {
            let clients = network.clients.lock().unwrap();
            let ports = clients.entries.keys().map(|(_, port, _)| *port);
            ports.collect::<std::collections::BTreeSet<_>>()
        };
        let most = u16::try_from(MAX_CLIENTS).unwrap();
        for port in 1..most {
            tokio::time::advance(Duration::from_millis(1)).await;
            let used = Instant::now();
            let client = client.clone();
            let shared = (Arc::default(), port, CONNECT);
            network
                .clients
                .lock()
                .unwrap()
                .entries
                .insert(shared, Entry { client, used });
        }
        assert_eq!(ports().len(), MAX_CLIENTS);
        network.client(&Arc::default(), 0, CONNECT).unwrap();
        assert_eq!(ports().len(), MAX_CLIENTS, "one that is there needs no room");
        network.client(&Arc::default(), most, CONNECT).unwrap();
        assert_eq!(ports().len(), MAX_CLIENTS);
        assert!(!ports().contains(&1) && ports().contains(&0) && ports().contains(&most));
    }
}
