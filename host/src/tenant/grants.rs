//! What the host's operator grants to tenants.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest as _, Sha256};

use super::names::{is_name, quoted};
use super::reader::{Item, Table};
use super::signature::PublicKey;
use super::signers::read_signers;

/// Largest file of certificate authorities: 1 MiB. Mozilla's whole list has 230 KiB.
pub const MAX_CA_BYTES: usize = 1024 * 1024;

/// What is granted to one tenant.
#[derive(Debug, Clone, Default)]
pub(super) struct Granted {
    pub(super) network: Arc<NetworkGrants>,
    /// Whose signatures of its plugins the host's operator trusts.
    pub(super) signers: Vec<PublicKey>,
}

/// What the host's operator lets one tenant do with the network, besides https to public addresses.
///
/// Two tenants with equal grants may share HTTP clients.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct NetworkGrants {
    /// The only certificate authorities that count, instead of the public ones.
    pub ca: Option<Arc<Ca>>,
    /// Where connections to a host name really go. Names, SNI, certificates and `Host` stay real.
    pub connect_to: Vec<ConnectTo>,
    /// Private addresses that may be reached.
    pub private: BTreeSet<SocketAddr>,
    /// Loopback addresses to which plain http is allowed.
    pub insecure: BTreeSet<SocketAddr>,
    /// The HTTP proxy through which https endpoints are reached, by CONNECT.
    pub proxy: Option<SocketAddr>,
}

impl NetworkGrants {
    /// Where a connection to this host and port really goes. An entry with the port wins over one without.
    #[must_use]
    pub fn connect_to(&self, host: &str, port: u16) -> Option<SocketAddr> {
        let entry = |wanted: Option<u16>| {
            self.connect_to
                .iter()
                .find(|entry| entry.port == wanted && entry.host.eq_ignore_ascii_case(host))
        };
        entry(Some(port)).or_else(|| entry(None)).map(|entry| entry.to)
    }

    /// Whether these grants allow all that `others` allow.
    #[must_use]
    pub fn cover(&self, others: &Self) -> bool {
        self.ca == others.ca
            && self.proxy == others.proxy
            && others.connect_to.iter().all(|line| self.connect_to.contains(line))
            && self.private.is_superset(&others.private)
            && self.insecure.is_superset(&others.insecure)
    }

    /// Whether this private address may be reached. An IPv4 address inside an IPv6 one counts as itself.
    #[must_use]
    pub fn allows_private(&self, address: SocketAddr) -> bool {
        self.private.contains(&canonical(address))
    }

    /// Whether plain http may go to this loopback address.
    #[must_use]
    pub fn allows_insecure(&self, address: SocketAddr) -> bool {
        self.insecure.contains(&canonical(address))
    }
}

/// Certificate authorities that were read from a PEM file; equal where the certificates are.
#[derive(Debug, Clone)]
pub struct Ca {
    /// The file.
    pub file: PathBuf,
    /// Its content.
    pub pem: Vec<u8>,
    /// The certificates in it, at least one.
    pub certificates: Vec<CertificateDer<'static>>,
    /// SHA-256 of the certificates: every request asks for its client by this, and each look at the files compares it.
    pub digest: [u8; 32],
}

impl PartialEq for Ca {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Ca {}

impl Hash for Ca {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

/// One line of `connect_to`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectTo {
    /// Host name in lower case.
    pub host: String,
    /// Only for this port, where one is given.
    pub port: Option<u16>,
    /// Where the connection goes.
    pub to: SocketAddr,
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// What other tenants were granted in the same words: ten thousand tenants with one authority read it once, and keep it
/// once.
#[derive(Default)]
struct Known {
    authorities: HashMap<String, Arc<Ca>>,
    networks: HashSet<Arc<NetworkGrants>>,
}

impl Known {
    fn authorities(&mut self, item: &Item<'_>, root: &Path) -> Option<Arc<Ca>> {
        let text = item.string()?;
        if let Some(known) = self.authorities.get(text) {
            return Some(Arc::clone(known));
        }
        let ca = Arc::new(item.accept(read_ca(text, root))?);
        self.authorities.insert(text.to_owned(), Arc::clone(&ca));
        Some(ca)
    }

    /// Authorities in two files may be equal, and both files are watched: then each keeps its own.
    fn network(&mut self, network: NetworkGrants) -> Arc<NetworkGrants> {
        let file = |network: &NetworkGrants| network.ca.as_ref().map(|ca| ca.file.clone());
        match self.networks.get(&network) {
            Some(known) if file(known) == file(&network) => Arc::clone(known),
            _ => {
                let network = Arc::new(network);
                self.networks.insert(Arc::clone(&network));
                network
            }
        }
    }
}

/// Reads `[tenants]`.
pub(super) fn read_tenants(tenants: &Table<'_>, root: &Path) -> BTreeMap<String, Granted> {
    let (mut grants, mut known) = (BTreeMap::new(), Known::default());
    for (name, item) in tenants.entries() {
        if !is_name(name) {
            item.note("is not a tenant's name; write [a-z][a-z0-9-]*, at most 63 characters, as in tenants/NAME.toml");
        }
        if let Some(table) = item.table() {
            grants.insert(name.to_owned(), read_grants(table, root, &mut known));
        }
    }
    grants
}

fn read_grants(mut table: Table<'_>, root: &Path, known: &mut Known) -> Granted {
    let signers = table.get("signers").map(|item| read_signers(&item)).unwrap_or_default();
    let ca = table.get("ca").and_then(|item| known.authorities(&item, root));
    let connect_to = table.get("connect_to").and_then(|item| item.table());
    let connect_to = connect_to.map(|lines| read_connect_to(&lines)).unwrap_or_default();
    let private = table
        .get("private")
        .map(|item| read_addresses(&item))
        .unwrap_or_default();
    let proxy_item = table.get("proxy");
    let proxy = proxy_item
        .as_ref()
        .and_then(|item| item.accept(parse_proxy(item.string()?)));
    if let (Some(item), false) = (&proxy_item, connect_to.is_empty()) {
        item.note(
            "cannot stand beside `connect_to`: the proxy gets the names and finds their addresses itself; leave out one of \
             them",
        );
    }
    let insecure_item = table.get("insecure");
    let insecure = insecure_item.as_ref().map(read_addresses).unwrap_or_default();
    if let (Some(item), Some(address)) = (insecure_item, insecure.iter().find(|at| !at.ip().is_loopback())) {
        item.note(format!(
            "{address} is not a loopback address: http is for this machine only; write https"
        ));
    }
    table.finish();
    let network = known.network(NetworkGrants {
        ca,
        connect_to,
        private,
        insecure,
        proxy,
    });
    Granted { network, signers }
}

/// An address, as in every other grant: a name would have to be looked up, and could lead elsewhere.
fn parse_proxy(text: &str) -> Result<SocketAddr, String> {
    let address = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let address = address.and_then(|address| parse_address(address).ok());
    address.ok_or_else(|| {
        format!(
            "{} is not a proxy; write \"http://IP:PORT\", the address of an HTTP proxy that lets CONNECT through, \
             without a user",
            shown(text)
        )
    })
}

fn read_addresses(item: &Item<'_>) -> BTreeSet<SocketAddr> {
    item.strings()
        .into_iter()
        .filter_map(|(text, item)| item.accept(parse_address(text)))
        .collect()
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(canonical(address)),
        _ if text.parse::<IpAddr>().is_ok() => {
            Err(format!("has no port; write \"{text}:443\", or \"[…]:443\" for IPv6"))
        }
        _ => Err(format!(
            "{} is not an address with a port; write \"10.0.0.5:443\"",
            shown(text)
        )),
    }
}

/// What is wrong, in quotes; not where a user stands in it, since a password would stand beside.
fn shown(text: &str) -> String {
    if text.contains('@') {
        "what has a user in it (not shown)".to_owned()
    } else {
        quoted(text)
    }
}

fn read_connect_to(table: &Table<'_>) -> Vec<ConnectTo> {
    let lines = table.entries().filter_map(|(name, item)| {
        let (host, port) = item.accept(parse_host_and_port(name))?;
        let to = item.accept(parse_address(item.string()?))?;
        Some(ConnectTo { host, port, to })
    });
    lines.collect()
}

fn parse_host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    const WRITE: &str = "write \"host.example\" = \"IP:PORT\" or \"host.example:443\" = \"IP:PORT\"";
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => {
            let port = port.parse().ok().filter(|port| *port != 0);
            (host, Some(port.ok_or_else(|| format!("has no valid port; {WRITE}"))?))
        }
        None => (text, None),
    };
    let is_host = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_');
    if !is_host || host.is_empty() || host.ends_with('.') || host.parse::<IpAddr>().is_ok() {
        return Err(format!("is not a host name; {WRITE}"));
    }
    Ok((host.to_ascii_lowercase(), port))
}

pub(super) fn read_ca(text: &str, root: &Path) -> Result<Ca, String> {
    let path = text.strip_prefix("file:").filter(|path| !path.is_empty());
    let file = root.join(path.ok_or("must name a PEM file; write \"file:ca.pem\"")?);
    let shown = file.display();
    let mut pem = Vec::new();
    File::open(&file)
        .and_then(|opened| opened.take(MAX_CA_BYTES as u64 + 1).read_to_end(&mut pem))
        .map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if pem.len() > MAX_CA_BYTES {
        return Err(format!(
            "{shown} is over {MAX_CA_BYTES} bytes, the limit for certificate authorities"
        ));
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| format!("{shown} is not valid PEM: {error}"))?;
    if certificates.is_empty() {
        return Err(format!(
            "{shown} holds no certificate; it needs at least one -----BEGIN CERTIFICATE-----"
        ));
    }
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        let number = index + 1;
        roots
            .add(certificate.clone())
            .map_err(|error| format!("{shown}: certificate {number}: {error}"))?;
    }
    let mut digest = Sha256::new();
    for certificate in &certificates {
        digest.update((certificate.as_ref().len() as u64).to_be_bytes());
        digest.update(certificate);
    }
    Ok(Ca {
        file,
        pem,
        certificates,
        digest: digest.finalize().into(),
    })
}
