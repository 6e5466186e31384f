//! The server's certificate.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret as _, SecretString};

/// A certificate with its key, which can be replaced while the server runs. Clones are one.
#[derive(Debug, Clone)]
pub struct Certificates {
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificates {
    /// Reads a chain, the server's own certificate first, and its private key, both PEM. TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// What is wrong with one of them, or that they do not belong together; without anything of the key.
    pub fn new(chain: &[u8], key: &SecretString) -> Result<Self, String> {
        let current = Arc::new(Current(ArcSwap::from_pointee(read(chain, key)?)));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Current>::clone(&current);
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            current,
            config: Arc::new(config),
        })
    }

    /// Takes another certificate for connections from now on, as after a renewal.
    ///
    /// # Errors
    /// As [`Certificates::new`]; the old one stays.
    pub fn replace(&self, chain: &[u8], key: &SecretString) -> Result<(), String> {
        self.current.0.store(Arc::new(read(chain, key)?));
        Ok(())
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

fn read(chain: &[u8], key: &SecretString) -> Result<CertifiedKey, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is not PEM: {error}"))?;
    if chain.is_empty() {
        return Err("the certificate is not PEM: there is no BEGIN CERTIFICATE in it".to_owned());
    }
    // The error may show some of what it read.
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
        .map_err(|_| "the key is not a private key in PEM (PKCS #8, PKCS #1 or SEC 1, without password)".to_owned())?;
    CertifiedKey::from_der(chain, key, &default_provider())
        .map_err(|error| format!("the certificate and the key cannot be used together: {error}"))
}
