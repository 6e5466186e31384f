//! Pulls a component from an OCI registry.
//!
//! Two requests of the distribution specification: the manifest by its digest, and the layer that is the component.
//! `oci-client` does it too and lost: it reads manifests, tokens and errors without a limit on their size, takes proxies
//! from the environment, and cannot be told not to; and here nothing else of it is needed.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::sandbox::Plugin;
use crate::tenant::{MAX_SIGNATURES_BYTES, RegistryPlugin, parse_digest};
use crate::text::printable;

/// Longest pull: 60 seconds. An interpreter's 18 MB come in less over 3 Mbit/s.
const PULL_WITHIN: Duration = Duration::from_secs(60);
/// Longest wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Redirects that are followed: registries send their readers to a store, which may send them on once.
const REDIRECTS: usize = 3;
/// Largest manifest: 1 MiB; one of a plugin has 1 KiB.
const MAX_MANIFEST: usize = 1024 * 1024;
/// Largest answer with a token: 64 KiB.
const MAX_TOKEN: usize = 64 * 1024;
/// Most layers that are looked at.
const MAX_LAYERS: usize = 16;

/// Forms of a manifest. An index of several platforms is none: a component runs on all.
const MANIFESTS: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
/// What the component's layer is called, by the Wasm working group and before it.
const COMPONENTS: [&str; 2] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];
/// What the layer with its signatures is called.
const SIGNATURES: &str = "application/vnd.exeunt.signature";

/// A component as it came.
#[derive(Debug)]
pub(super) struct Pulled {
    pub(super) manifest: Bytes,
    pub(super) component: Bytes,
    pub(super) signatures: Option<Bytes>,
}

/// The layers of a manifest that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layers {
    pub(super) component: Layer,
    pub(super) signatures: Option<Layer>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Layer {
    #[serde(rename = "mediaType")]
    media_type: String,
    pub(super) digest: String,
    size: u64,
}

impl Layers {
    /// Reads a manifest.
    ///
    /// # Errors
    /// What it is instead of a plugin's.
    pub(super) fn of(manifest: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Manifest {
            layers: Vec<Layer>,
        }
        let Ok(Manifest { mut layers }) = serde_json::from_slice(manifest) else {
            return Err("its manifest is not one with layers; push the component with `oras` or `wkg`".to_owned());
        };
        layers.truncate(MAX_LAYERS);
        let mut of = |kinds: &[&str]| {
            let is_one = |layer: &mut Layer| kinds.contains(&layer.media_type.as_str());
            layers.extract_if(.., is_one).collect::<Vec<_>>()
        };
        let (mut components, mut signatures) = (of(&COMPONENTS), of(&[SIGNATURES]));
        match components.pop() {
            Some(component) if components.is_empty() => {
                let signatures = signatures.pop();
                // Each goes into an address, and may have been made to lead elsewhere in the registry.
                let layers = [Some(&component), signatures.as_ref()];
                if layers
                    .into_iter()
                    .flatten()
                    .any(|layer| parse_digest(&layer.digest).is_err())
                {
                    return Err("its manifest names a layer by something else than a SHA-256 digest".to_owned());
                }
                Ok(Self { component, signatures })
            }
            Some(_) => Err("its manifest has several components; push one for each plugin".to_owned()),
            None => Err(format!("its manifest has no layer of the type {}", COMPONENTS[0])),
        }
    }
}

/// Pulls a component of at most `largest` bytes. What comes has the digests that it should have.
///
/// # Errors
/// Why not; never a secret.
pub(super) async fn pull(plugin: &RegistryPlugin, largest: usize) -> Result<Pulled, String> {
    let pull = async {
        let mut session = Session::open(plugin)?;
        let path = format!("manifests/{}", plugin.digest);
        let manifest = session
            .get(&path, MAX_MANIFEST)
            .await
            .map_err(|text| format!("manifest: {text}"))?;
        check(&manifest, &plugin.digest)?;
        let layers = Layers::of(&manifest)?;
        let component = session.layer(&layers.component, largest).await?;
        let signatures = match &layers.signatures {
            Some(layer) => Some(session.layer(layer, MAX_SIGNATURES_BYTES).await?),
            None => None,
        };
        Ok(Pulled {
            manifest,
            component,
            signatures,
        })
    };
    match tokio::time::timeout(PULL_WITHIN, pull).await {
        Ok(pulled) => pulled,
        Err(_) => Err(format!("it did not come within {} s", PULL_WITHIN.as_secs())),
    }
}

fn check(content: &[u8], digest: &str) -> Result<(), String> {
    let found = Plugin::digest_of(content);
    if found == digest {
        return Ok(());
    }
    Err(format!("the registry answered with {found} instead of {digest}"))
}

/// How the registry lets us in, once it has said so.
enum Admittance {
    Nobody,
    Basic(String, SecretString),
    Bearer(SecretString),
}

struct Session<'a> {
    plugin: &'a RegistryPlugin,
    client: Client,
    admittance: Admittance,
}

impl<'a> Session<'a> {
    fn open(plugin: &'a RegistryPlugin) -> Result<Self, String> {
        let insecure = plugin.registry.insecure;
        let redirect = reqwest::redirect::Policy::custom(move |attempt| {
            let over = attempt.previous().len() > REDIRECTS;
            if over || (attempt.url().scheme() != "https" && !insecure) {
                return attempt.error("redirected too often, or to plain http");
            }
            attempt.follow()
        });
        let mut builder = Client::builder()
            .user_agent(concat!("exeunt/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirect)
            .referer(false)
            .https_only(!insecure)
            .connect_timeout(CONNECT_WITHIN);
        if let Some(ca) = &plugin.registry.ca {
            let certificates = reqwest::Certificate::from_pem_bundle(&ca.pem).map_err(|error| plain(&error))?;
            builder = builder.tls_certs_only(certificates);
        }
        Ok(Self {
            plugin,
            client: builder.build().map_err(|error| plain(&error))?,
            admittance: Admittance::Nobody,
        })
    }

    async fn layer(&mut self, layer: &Layer, largest: usize) -> Result<Bytes, String> {
        if layer.size > largest as u64 {
            return Err(format!("it has {} bytes, at most {largest} are allowed", layer.size));
        }
        let content = self.get(&format!("blobs/{}", layer.digest), largest).await?;
        check(&content, &layer.digest)?;
        Ok(content)
    }

    /// Reads something of the repository, and says who asks if it must.
    async fn get(&mut self, path: &str, largest: usize) -> Result<Bytes, String> {
        let registry = &self.plugin.registry;
        let scheme = if registry.insecure { "http" } else { "https" };
        let url = format!("{scheme}://{}/v2/{}/{path}", registry.name, self.plugin.repository);
        let mut response = self.send(&url).await?;
        if response.status() == StatusCode::UNAUTHORIZED && matches!(self.admittance, Admittance::Nobody) {
            self.admittance = self.ask(&response).await?;
            response = self.send(&url).await?;
        }
        match response.status() {
            StatusCode::OK => body(response, largest).await,
            StatusCode::NOT_FOUND => Err("the registry has no such thing".to_owned()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(format!(
                "the registry lets only others read it; write `user` and `password` into [registries.\"{}\"]",
                registry.name
            )),
            status => Err(format!("the registry answered {status}")),
        }
    }

    async fn send(&self, url: &str) -> Result<Response, String> {
        let request = self.client.get(url).header(ACCEPT, MANIFESTS);
        let request = match &self.admittance {
            Admittance::Nobody => request,
            Admittance::Basic(user, password) => request.basic_auth(user, Some(password.expose_secret())),
            Admittance::Bearer(token) => request.bearer_auth(token.expose_secret()),
        };
        request.send().await.map_err(|error| plain(&error))
    }

    /// Does what the registry's challenge asks for (RFC 9110 section 11.6.1): the password itself, or a token for it.
    async fn ask(&self, response: &Response) -> Result<Admittance, String> {
        let challenge = response
            .headers()
            .get(WWW_AUTHENTICATE)
            .and_then(|value| value.to_str().ok());
        let challenge = challenge.unwrap_or_default();
        let login = match &self.plugin.registry.login {
            Some((user, password)) => Some((user, password.resolve().map_err(|error| error.to_string())?)),
            None => None,
        };
        let kind = challenge.split_whitespace().next().unwrap_or_default();
        match (kind.to_ascii_lowercase().as_str(), login) {
            ("basic", Some((user, password))) => Ok(Admittance::Basic(user.clone(), password)),
            ("basic", None) => Ok(Admittance::Nobody),
            ("bearer", login) => {
                let mut request = self.client.get(self.realm(challenge)?);
                if let Some((user, password)) = login {
                    request = request.basic_auth(user, Some(password.expose_secret()));
                }
                token(request).await.map(Admittance::Bearer)
            }
            _ => Err("the registry asks for another kind of login than Basic or Bearer".to_owned()),
        }
    }

    /// Where tokens are, as the registry says. It is told the password there, so not over plain http.
    fn realm(&self, challenge: &str) -> Result<Url, String> {
        let realm = parameter(challenge, "realm").and_then(|realm| Url::parse(realm).ok());
        let mut realm = realm.ok_or("the registry does not say where its tokens are")?;
        if realm.scheme() != "https" && !self.plugin.registry.insecure {
            return Err("the registry wants its password over plain http".to_owned());
        }
        let scope = format!("repository:{}:pull", self.plugin.repository);
        realm.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = parameter(challenge, "service") {
            realm.query_pairs_mut().append_pair("service", service);
        }
        Ok(realm)
    }
}

async fn token(request: RequestBuilder) -> Result<SecretString, String> {
    /// Registries use the one name or the other, and some both.
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let response = request.send().await.map_err(|error| plain(&error))?;
    if !response.status().is_success() {
        return Err(format!("the registry's tokens are refused with {}", response.status()));
    }
    let answer = body(response, MAX_TOKEN).await?;
    let answer: Option<Answer> = serde_json::from_slice(&answer).ok();
    let token = answer.and_then(|answer| answer.token.or(answer.access_token));
    token
        .map(SecretString::from)
        .ok_or_else(|| "the registry's answer holds no token".to_owned())
}

/// A quoted parameter of a challenge.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
    rest.split('"').next()
}

/// A body that may not be larger.
async fn body(mut response: Response, largest: usize) -> Result<Bytes, String> {
    let mut content = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| plain(&error))? {
        if content.len() + chunk.len() > largest {
            return Err(format!("the registry sends more than {largest} bytes, the limit"));
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content.into())
}

/// An error with its causes and without addresses, which may hold tokens.
fn plain(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        causes.push(inner.to_string());
        cause = inner.source();
    }
    let last = causes.pop().unwrap_or_else(|| "the request failed".to_owned());
    printable(&last.chars().take(240).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_has_one_component_and_maybe_signatures() {
        let digest = Plugin::digest_of(b"a layer");
        let layer = |kind: &str| serde_json::json!({ "mediaType": kind, "digest": digest, "size": 1 });
        let layers = |kinds: &[&str]| {
            let layers: Vec<_> = kinds.iter().map(|kind| layer(kind)).collect();
            Layers::of(
                serde_json::json!({ "schemaVersion": 2, "layers": layers })
                    .to_string()
                    .as_bytes(),
            )
        };
        for kind in COMPONENTS {
            assert!(layers(&[kind]).unwrap().signatures.is_none());
            assert!(layers(&["text/plain", SIGNATURES, kind]).unwrap().signatures.is_some());
        }
        assert!(layers(&[COMPONENTS[0], COMPONENTS[1]]).unwrap_err().contains("several"));
        assert!(layers(&[SIGNATURES]).unwrap_err().contains("no layer"));
        let mut late = vec!["text/plain"; MAX_LAYERS];
        late.push(COMPONENTS[0]);
        assert!(layers(&late).is_err(), "past the limit");
        assert!(layers(&late[1..]).is_ok(), "at the limit");
        assert!(Layers::of(b"{\"manifests\":[]}").unwrap_err().contains("oras"));
        for elsewhere in ["../../../other/private/manifests/latest", "sha256:00", ""] {
            let kinds = [SIGNATURES, COMPONENTS[0]].map(|kind| {
                let digest = if kind == SIGNATURES { elsewhere } else { &digest };
                serde_json::json!({ "mediaType": kind, "digest": digest, "size": 1 })
            });
            let manifest = serde_json::json!({ "layers": kinds }).to_string();
            let refused = Layers::of(manifest.as_bytes()).unwrap_err();
            assert!(refused.contains("SHA-256"), "{refused}");
        }
    }

    #[test]
    fn a_challenge_has_quoted_parameters() {
        let challenge = "Bearer realm=\"https://auth.example/token\",service=\"registry\"";
        assert_eq!(parameter(challenge, "realm"), Some("https://auth.example/token"));
        assert_eq!(parameter(challenge, "service"), Some("registry"));
        assert_eq!(parameter(challenge, "scope"), None);
    }
}
