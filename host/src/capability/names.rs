//! What host names lead to, and the check on every address before a socket is opened.
//!
//! reqwest asks our resolver for names only, never for IP literals. Those are checked when the tenant file is read.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use super::address::forbidden;
use crate::tenant::NetworkGrants;

/// Names that are looked up at a time: 128. Each has a thread for as long as the machine's resolver takes, which nobody
/// can call off; of the 512 that there are, files and guests' memory need some, too.
const LOOKUPS: usize = 128;

/// Of these for one tenant: 16. Its names may be served by machines of its own, which answer none.
const TENANT_LOOKUPS: usize = 16;

tokio::task_local! {
    /// Whose request a name is looked up for. The client that asks is several tenants', and asks in the request's task.
    static TENANT: String;
}

/// Sends `request` as this tenant's: the names that it needs count as the tenant's.
pub(super) async fn asked_by<T>(tenant: &str, request: impl Future<Output = T>) -> T {
    TENANT.scope(tenant.to_owned(), request).await
}

/// Whose request this is; nobody's outside of one.
pub(super) fn tenant() -> String {
    TENANT.try_with(String::clone).unwrap_or_default()
}

/// What names lead to.
pub trait Names: fmt::Debug + Send + Sync {
    /// The addresses of a name.
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The machine's own resolver.
#[derive(Debug)]
pub(super) struct SystemNames;

impl Names for SystemNames {
    fn lookup(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let name = name.to_owned();
        Box::pin(async move {
            let looked = tokio::task::spawn_blocking(move || {
                let addresses = (name.as_str(), 0).to_socket_addrs()?;
                Ok(addresses.map(|address| address.ip()).collect())
            });
            looked.await.map_err(io::Error::other)?
        })
    }
}

/// Looks names up, so many at a time.
#[derive(Debug)]
pub(super) struct Lookups {
    names: Arc<dyn Names>,
    places: Arc<Semaphore>,
    /// The places of each tenant that has a look-up under way.
    tenants: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Lookups {
    pub(super) fn new(names: Arc<dyn Names>) -> Self {
        Self {
            names,
            places: Arc::new(Semaphore::new(LOOKUPS)),
            tenants: Mutex::default(),
        }
    }

    async fn lookup(&self, tenant: &str, name: &str) -> io::Result<Vec<IpAddr>> {
        // The tenant's first: who waits for one of those keeps nobody else's.
        let own = self.of(tenant).acquire_owned().await.map_err(io::Error::other)?;
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        let looked = self.names.lookup(name);
        // With the look-up, and not with whoever waits: that may have given up long before.
        let looked = tokio::spawn(async move {
            let _places = (own, place);
            looked.await
        });
        looked.await.map_err(io::Error::other)?
    }

    fn of(&self, tenant: &str) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = tenants.get(tenant).and_then(Weak::upgrade) {
            return places;
        }
        tenants.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(TENANT_LOOKUPS));
        tenants.insert(tenant.to_owned(), Arc::downgrade(&places));
        places
    }
}

/// Resolves a name and refuses every address that the tenant may not reach.
pub(super) struct Resolver {
    pub(super) lookups: Arc<Lookups>,
    pub(super) settings: Arc<NetworkGrants>,
    pub(super) port: u16,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookups, settings, port) = (Arc::clone(&self.lookups), Arc::clone(&self.settings), self.port);
        let tenant = tenant();
        Box::pin(async move {
            let host = name.as_str();
            if let Some(address) = settings.connect_to(host, port) {
                return Ok(Box::new(std::iter::once(address)) as Addrs);
            }
            let addresses = lookups.lookup(&tenant, host).await?.into_iter();
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
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::Notify;

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
            lookups: Arc::new(Lookups::new(Arc::new(SystemNames))),
            settings: Arc::new(NetworkGrants::default()),
            port: 443,
        };
        let error = match resolver.resolve("localhost".parse().unwrap()).await {
            Err(error) => error.to_string(),
            Ok(_) => panic!("localhost was allowed"),
        };
        assert!(error.contains("loopback") && error.contains("`private`"), "{error}");
    }

    /// Counts what is looked up, and answers when it is told to.
    #[derive(Debug, Default)]
    struct Slow {
        asked: AtomicUsize,
        answer: Arc<Notify>,
    }

    impl Names for Slow {
        fn lookup(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let answer = Arc::clone(&self.answer);
            Box::pin(async move {
                answer.notified().await;
                Ok(Vec::new())
            })
        }
    }

    /// So many look-ups of one tenant, all given up after a second; how many there have been of all then.
    async fn looked_up(lookups: &Lookups, slow: &Slow, tenant: &str, times: usize) -> usize {
        let each =
            (0..times).map(|_| tokio::time::timeout(Duration::from_secs(1), lookups.lookup(tenant, "slow.example")));
        let answers = futures_util::future::join_all(each).await;
        assert!(answers.iter().all(Result::is_err));
        slow.asked.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_do_not_answer_take_a_tenants_places_and_no_more() {
        let slow = Arc::new(Slow::default());
        let lookups = Lookups::new(Arc::clone(&slow) as Arc<dyn Names>);
        assert_eq!(
            looked_up(&lookups, &slow, "a", TENANT_LOOKUPS + 1).await,
            TENANT_LOOKUPS
        );
        assert_eq!(
            looked_up(&lookups, &slow, "a", 1).await,
            TENANT_LOOKUPS,
            "given up, and still under way"
        );
        for tenant in 1..LOOKUPS / TENANT_LOOKUPS {
            let asked = looked_up(&lookups, &slow, &format!("b{tenant}"), TENANT_LOOKUPS).await;
            assert_eq!(asked, (tenant + 1) * TENANT_LOOKUPS);
        }
        assert_eq!(looked_up(&lookups, &slow, "c", 1).await, LOOKUPS, "one past all");
        slow.answer.notify_waiters();
        assert_eq!(looked_up(&lookups, &slow, "c", 1).await, LOOKUPS + 1);
        assert_eq!(looked_up(&lookups, &slow, "d", 1).await, LOOKUPS + 2);
        let tenants = lookups.tenants.lock().unwrap();
        assert_eq!(tenants.len(), 2, "who has none under way is forgotten");
    }
}
