//! A certificate authority of our own for DocuSign's real names, made at start.

use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rcgen::{KeyUsagePurpose, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// Names that the account server answers to: DocuSign's demo environment.
pub(crate) const ACCOUNT_NAMES: &[&str] = &["account-d.docusign.com"];

/// Names that the eSignature server answers to. The second and third let an account live on another host than the one
/// a client was configured with.
pub(crate) const ESIGN_NAMES: &[&str] = &["demo.docusign.net", "na2.docusign.net", "eu.docusign.net"];

/// The authority and both servers' acceptors.
pub(crate) struct Tls {
    pub(crate) ca_pem: String,
    pub(crate) account: TlsAcceptor,
    pub(crate) esign: TlsAcceptor,
}

impl Tls {
    /// Makes a fresh authority and one certificate for each server. The authority's key is gone when this returns.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let key = KeyPair::generate().context("failed to generate the authority's key")?;
        let params = authority_params()?;
        let ca_pem = params
            .self_signed(&key)
            .context("failed to sign the authority's certificate")?
            .pem();
        let issuer = Issuer::new(params, key);
        Ok(Self {
            ca_pem,
            account: acceptor(&issuer, ACCOUNT_NAMES)?,
            esign: acceptor(&issuer, ESIGN_NAMES)?,
        })
    }
}

fn authority_params() -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).context("failed to describe the authority")?;
    params
        .distinguished_name
        .push(DnType::CommonName, "docusign-sim test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    within_a_lifetime(&mut params);
    Ok(params)
}

fn acceptor(issuer: &Issuer<'_, KeyPair>, names: &[&str]) -> anyhow::Result<TlsAcceptor> {
    let key = KeyPair::generate().context("failed to generate a server key")?;
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let common_name = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names).context("failed to describe a server certificate")?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Strict verifiers (Python 3.13) ask for it.
    params.use_authority_key_identifier_extension = true;
    within_a_lifetime(&mut params);
    let certificate = params
        .signed_by(&key, issuer)
        .context("failed to sign a server certificate")?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], private)
        })
        .context("failed to set up TLS")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Fixed dates: a test may run on a machine whose clock is wrong, or move its own.
fn within_a_lifetime(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
}
