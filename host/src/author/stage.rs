//! Where a plugin is put to be looked at: a grant as in production, over another network and with keys of no worth.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;
use url::{Host, Url};

use crate::capability::{
    Binding, CallLimits, Descriptor, Grant, KeyKind, KeyMaterial, Network, Placement, Scrubber, Token,
};
use crate::clock::SharedClock;
use crate::tenant::{BaseUrl, Location, NetworkGrants, SigningKey};

/// What a grant is made from, besides the plugin's descriptor.
#[derive(Debug)]
pub struct Stage {
    /// Settings.
    pub settings: Value,
    /// Base URLs by endpoint name. Nothing is ever sent there.
    pub endpoints: BTreeMap<String, String>,
    /// The reach lines that are granted; all that are not optional where absent.
    pub reach: Option<Vec<String>>,
    /// The time.
    pub clock: SharedClock,
    /// What answers.
    pub network: Network,
}

/// Keys of no worth, for a plugin that asks for some.
#[derive(Debug, Default)]
pub struct StageKeys {
    /// A throwaway RSA key, where the plugin has a signing key.
    pem: Option<SecretString>,
}

impl StageKeys {
    /// Keys for this descriptor.
    ///
    /// # Errors
    ///
    /// The crypto library made no key.
    pub fn for_descriptor(descriptor: &Descriptor) -> anyhow::Result<Self> {
        let mut keys = descriptor.keys.iter();
        let signs = keys.any(|key| matches!(key.kind, KeyKind::SigningKey { .. }));
        Ok(Self {
            pem: signs.then(throwaway).transpose()?,
        })
    }

    fn material(&self, descriptor: &Descriptor) -> anyhow::Result<BTreeMap<String, Vec<KeyMaterial>>> {
        let mut materials = BTreeMap::new();
        for key in &descriptor.keys {
            let material = match (&key.kind, &self.pem) {
                (KeyKind::SigningKey { .. }, Some(pem)) => KeyMaterial::Signing(SigningKey::from_pem(
                    pem,
                    &Location::file_only("a throwaway key".as_ref()),
                )?),
                (KeyKind::SigningKey { .. }, None) => bail!("there is no key to sign with"),
                (kind, _) => KeyMaterial::Secret(secret(&key.name, kind)),
            };
            materials.insert(key.name.clone(), vec![material]);
        }
        Ok(materials)
    }
}

/// The secret of a key on the stage: `scripted-secret-NAME`. Known to scripts, so that they can have a target echo it.
fn secret(name: &str, kind: &KeyKind) -> SecretString {
    let pair = KeyKind::ApiKey {
        placement: Placement::Basic,
    };
    let user = if *kind == pair { "scripted:" } else { "" };
    SecretString::from(format!("{user}scripted-secret-{name}"))
}

impl Stage {
    /// The grant of a plugin on this stage.
    ///
    /// # Errors
    ///
    /// What of the stage does not fit the descriptor.
    pub fn grant(self, descriptor: &Descriptor, keys: &StageKeys) -> anyhow::Result<Grant> {
        let mut network = NetworkGrants::default();
        for url in self.endpoints.values() {
            allow(url, &mut network);
        }
        let mut endpoints = BTreeMap::new();
        for declared in &descriptor.endpoints {
            let name = &declared.name;
            let url = match (self.endpoints.get(name), &declared.default_base_url) {
                (Some(url), _) | (None, Some(url)) => url.clone(),
                (None, None) => format!("https://{name}.example"),
            };
            let base = BaseUrl::parse(&url, &network).map_err(|wrong| anyhow!("endpoint `{name}` {wrong}"))?;
            endpoints.insert(name.clone(), base);
        }
        if let Some(name) = self.endpoints.keys().find(|name| !endpoints.contains_key(*name)) {
            bail!("the plugin has no endpoint `{name}`");
        }
        let binding = Binding {
            tenant: "stage".to_owned(),
            connector: descriptor.name.clone(),
            settings: self.settings,
            endpoints,
            keys: keys.material(descriptor)?,
            reach: self.reach,
            max_assertion: None,
            network: Arc::new(network),
        };
        let limits = CallLimits::default();
        Grant::new(descriptor, binding, Arc::new(self.network), self.clock, limits).map_err(|problems| {
            let problems = problems
                .iter()
                .map(|problem| format!("{}: {}", problem.field, problem.text));
            anyhow!(problems.collect::<Vec<_>>().join("; "))
        })
    }
}

/// Addresses for hosts are granted here: what is bound to them was granted when it was recorded, and nothing is sent.
fn allow(url: &str, network: &mut NetworkGrants) {
    let Ok(url) = Url::parse(url) else { return };
    let ip = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
        Some(Host::Domain(_)) | None => return,
    };
    if let Some(port) = url.port_or_known_default() {
        network.private.insert(SocketAddr::new(ip, port));
        network.insecure.insert(SocketAddr::new(ip, port));
    }
}

/// A token for verbs other than `mint`: of the plugin's first key, or of none.
pub(super) fn token(descriptor: &Descriptor, expires: Option<Timestamp>) -> Token {
    let key = descriptor.keys.first();
    let (secret, placement) = match key.map(|key| (&key.name, &key.kind)) {
        Some((name, kind @ KeyKind::ApiKey { placement })) => (secret(name, kind), placement.clone()),
        _ => (
            SecretString::from("scripted-access-token".to_owned()),
            Placement::Bearer,
        ),
    };
    let usable_at = match key {
        Some(key) => key.usable_at.clone(),
        None => descriptor
            .endpoints
            .iter()
            .map(|endpoint| endpoint.name.clone())
            .collect(),
    };
    Token::new(
        secret,
        placement,
        usable_at,
        Timestamp::UNIX_EPOCH,
        expires,
        &Scrubber::default(),
    )
}

/// A fresh 2048-bit RSA key in PEM: the shortest that is accepted, made in some tenths of a second.
fn throwaway() -> anyhow::Result<SecretString> {
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("cannot make an RSA key"))?;
    let der: Pkcs8V1Der<'_> = pair.as_der().ok().context("cannot encode an RSA key")?;
    let text = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        lines.join("\n")
    );
    Ok(SecretString::from(pem))
}
