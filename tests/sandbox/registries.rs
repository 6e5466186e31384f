//! Registries that are on the inside, that lie, or that never come to an end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use exeunt::intake::http::{Certificates, Server};
use exeunt::sandbox::Plugin;
use exeunt::tenant::{PrivateKey, Signatures};
use futures_util::stream;
use kit::noted;
use secrecy::SecretString;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use crate::house::settings;
use crate::plugin::hostile;
use crate::served::Served;

/// What a registry answers on a path.
#[derive(Debug, Clone)]
enum Page {
    Holds(Vec<u8>),
    Endless,
    /// Nothing, until the test lets go, and then an error.
    Silence,
    Redirect(String),
    /// Only for those who have this authorization; others are told how to get it.
    For {
        authorization: String,
        challenge: String,
        then: Vec<u8>,
    },
}

/// A registry on a loopback port. It ends with this value.
struct Registry {
    address: SocketAddr,
    inside: Arc<Inside>,
    _stop: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Inside {
    pages: Mutex<HashMap<String, Page>>,
    /// Paths that were asked for, with the authorization that came along.
    asked: Mutex<Vec<(String, String)>>,
    lets_go: Notify,
}

impl Registry {
    async fn start(tls: Option<&Certificates>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inside = Arc::<Inside>::default();
        let app = Router::new().fallback(answer).with_state(Arc::clone(&inside));
        let (stop, stopped) = watch::channel(false);
        let mut server = Server::new(listener, app);
        if let Some(certificates) = tls {
            server = server.tls(certificates);
        }
        tokio::spawn(server.run(stopped));
        Self {
            address,
            inside,
            _stop: stop,
        }
    }
}

impl Registry {
    fn answers(&self, path: &str, page: Page) {
        let path = format!("/v2/acme/hostile/{path}");
        self.inside.pages.lock().unwrap().insert(path, page);
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.inside.asked.lock().unwrap().clone()
    }

    /// Puts a component there as `oras push` does, and returns how a tenant names it.
    fn push(&self, component: &[u8], signatures: Option<&[u8]>) -> String {
        let layer = |kind: &str, content: &[u8]| {
            let digest = Plugin::digest_of(content);
            self.answers(&format!("blobs/{digest}"), Page::Holds(content.to_vec()));
            json!({ "mediaType": kind, "digest": digest, "size": content.len() })
        };
        let mut layers = vec![layer("application/wasm", component)];
        layers.extend(signatures.map(|text| layer("application/vnd.exeunt.signature", text)));
        let manifest = json!({ "schemaVersion": 2, "layers": layers }).to_string().into_bytes();
        let digest = Plugin::digest_of(&manifest);
        self.answers(&format!("manifests/{digest}"), Page::Holds(manifest));
        format!("oci://{}/acme/hostile@{digest}", self.address)
    }

    /// The lines that let the host ask it.
    fn granted(&self, lines: &str) -> String {
        format!("[registries.\"{}\"]\n{lines}\n", self.address)
    }
}

async fn answer(State(inside): State<Arc<Inside>>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let authorization = headers
        .get(AUTHORIZATION)
        .map(|value| value.to_str().unwrap().to_owned());
    let authorization = authorization.unwrap_or_default();
    inside
        .asked
        .lock()
        .unwrap()
        .push((uri.to_string(), authorization.clone()));
    let page = inside.pages.lock().unwrap().get(uri.path()).cloned();
    let answer = Response::builder();
    let answer = match page {
        None => answer.status(StatusCode::NOT_FOUND).body(Body::empty()),
        Some(Page::Holds(content)) => answer.body(Body::from(content)),
        Some(Page::Endless) => {
            let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 65_536]));
            answer.body(Body::from_stream(endless))
        }
        Some(Page::Silence) => {
            inside.lets_go.notified().await;
            answer.status(StatusCode::BAD_GATEWAY).body(Body::empty())
        }
        Some(Page::Redirect(to)) => answer
            .status(StatusCode::FOUND)
            .header(LOCATION, to)
            .body(Body::empty()),
        Some(Page::For {
            authorization: wanted,
            challenge,
            then,
        }) if wanted != authorization => {
            drop(then);
            answer
                .status(StatusCode::UNAUTHORIZED)
                .header(WWW_AUTHENTICATE, challenge)
                .body(Body::empty())
        }
        Some(Page::For { then, .. }) => answer.body(Body::from(then)),
    };
    answer.unwrap()
}

/// Why a tenant's connector does not run.
fn refusal(served: &Served) -> String {
    let refused = served.runs("hostile").unwrap_err();
    assert!(refused.contains("connectors.target.plugin"), "{refused}");
    refused
}

#[tokio::test]
pub(crate) async fn a_registry_must_be_granted_by_the_host() {
    let served = Served::new().await;
    let registry = Registry::start(None).await;
    let plugin = registry.push(&hostile(), None);
    served.write_plugin("hostile", &plugin).await;
    let refused = served.problem();
    for said in ["hostile.toml:2: connectors.target.plugin", "[registries.\"127.0.0.1:"] {
        assert!(refused.contains(said), "no {said} in: {refused}");
    }
    // Over plain http only where that is granted, too.
    served.configure(&registry.granted(""), "").await;
    assert!(refusal(&served).contains("cannot pull"));
    assert_eq!(registry.asked(), [], "it was not asked");
    served.configure(&registry.granted("insecure = true"), "").await;
    served.runs_this("hostile", &hostile());
}

#[tokio::test]
pub(crate) async fn what_a_registry_sends_has_the_digest_that_was_asked_for() {
    let served = Served::new().await;
    let registry = Registry::start(None).await;
    served.configure(&registry.granted("insecure = true"), "").await;
    let good = registry.push(&hostile(), None);
    let manifest = good.split_once('@').unwrap().1.to_owned();
    let (component, other) = (Plugin::digest_of(&hostile()), noted(&hostile()));
    registry.answers(&format!("blobs/{component}"), Page::Holds(other.clone()));
    served.write_plugin("hostile", &good).await;
    assert!(refusal(&served).contains(&format!("{} instead of {component}", Plugin::digest_of(&other))));
    registry.push(&hostile(), None);
    let swapped = registry.push(&other, None);
    let swapped = swapped.split_once('@').unwrap().1.to_owned();
    let page = registry.inside.pages.lock().unwrap()[&format!("/v2/acme/hostile/manifests/{swapped}")].clone();
    registry.answers(&format!("manifests/{manifest}"), page);
    served.look_again().await;
    assert!(refusal(&served).contains(&format!("{swapped} instead of {manifest}")));
    assert_eq!(served.compiled(), 0);
    registry.push(&hostile(), None);
    served.look_again().await;
    served.runs_this("hostile", &hostile());
}

#[tokio::test]
pub(crate) async fn an_endless_answer_of_a_registry_ends_at_its_limit() {
    let served = Served::new().await;
    let registry = Registry::start(None).await;
    served.configure(&registry.granted("insecure = true"), "").await;
    let plugin = registry.push(&hostile(), None);
    let manifest = format!("manifests/{}", plugin.split_once('@').unwrap().1);
    let component = format!("blobs/{}", Plugin::digest_of(&hostile()));
    served.write_plugin("hostile", &plugin).await;
    served.runs_this("hostile", &hostile());
    std::fs::remove_dir_all(served.house.path("cache")).unwrap();
    let served = served.restarted().await;
    for (path, limit) in [(&manifest, 1024 * 1024), (&component, 32 * 1024 * 1024)] {
        let page = registry.inside.pages.lock().unwrap()[&format!("/v2/acme/hostile/{path}")].clone();
        registry.answers(path, Page::Endless);
        std::fs::remove_dir_all(served.house.path("cache")).unwrap();
        std::fs::create_dir(served.house.path("cache")).unwrap();
        served.write_plugin("neighbour", &plugin).await;
        let refused = served.runs("neighbour").unwrap_err();
        assert!(refused.contains(&format!("more than {limit} bytes")), "{refused}");
        registry.answers(path, page);
        std::fs::remove_file(served.house.path("tenants/neighbour.toml")).unwrap();
    }
    // What says that it is larger is not asked for.
    let layer = json!({ "mediaType": "application/wasm", "digest": Plugin::digest_of(b""), "size": 33_554_433 });
    let large = json!({ "schemaVersion": 2, "layers": [layer] })
        .to_string()
        .into_bytes();
    let digest = Plugin::digest_of(&large);
    registry.answers(&format!("manifests/{digest}"), Page::Holds(large));
    served
        .write_plugin(
            "neighbour",
            &format!("oci://{}/acme/hostile@{digest}", registry.address),
        )
        .await;
    assert!(
        served
            .runs("neighbour")
            .unwrap_err()
            .contains("at most 33554432 are allowed")
    );
}

#[tokio::test]
async fn a_registry_that_does_not_answer_holds_up_its_own_tenant_alone() {
    let served = Served::new().await;
    let registry = Registry::start(None).await;
    let plugin = registry.push(&hostile(), None);
    let manifest = format!("manifests/{}", plugin.split_once('@').unwrap().1);
    let page = registry.inside.pages.lock().unwrap()[&format!("/v2/acme/hostile/{manifest}")].clone();
    registry.answers(&manifest, Page::Silence);
    served.house.configure(&registry.granted("insecure = true"), "");
    served.house.write("neighbour", &settings(), "");
    let file = served.house.write("hostile", &settings(), "");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("hostile.wasm", &plugin)).unwrap();
    served.tenants.refresh().await.unwrap();
    assert!(
        served.problem().contains("hostile.toml is still being loaded"),
        "{}",
        served.problem()
    );
    served.runs_this("neighbour", &hostile());
    // It takes events all the same, and their jobs wait.
    assert!(served.tenants.tenant("hostile").is_some());
    let why = served.runs("hostile").unwrap_err();
    assert!(why.contains("still being loaded"), "{why}");

    served.house.write("neighbour", &settings(), "concurrency = 3");
    let looked = tokio::time::timeout(Duration::from_secs(5), served.tenants.refresh()).await;
    looked.expect("the others are not held up").unwrap();
    assert!(served.problem().contains("still being loaded"));
    let neighbour = served.tenants.tenant("neighbour").unwrap();
    assert_eq!(neighbour.tenant.connectors["target"].concurrency, Some(3));

    registry.answers(&manifest, page);
    registry.inside.lets_go.notify_one();
    served.write("neighbour", "").await;
    assert!(served.runs("hostile").unwrap_err().contains("502"));
    served.look_again().await;
    served.runs_this("hostile", &hostile());
    served.is_well();
}

#[tokio::test]
async fn many_plugins_of_a_registry_that_does_not_answer_hold_up_a_look_no_longer_than_one() {
    let served = Served::new().await;
    let registry = Registry::start(None).await;
    served.house.configure(&registry.granted("insecure = true"), "");
    let public = "endpoints = { api = \"https://api.example\", other = \"https://other.example\" }";
    // More than are loaded at a time, and before the neighbour in the alphabet.
    for number in 0..20 {
        let digest = Plugin::digest_of(&[number]);
        registry.answers(&format!("manifests/{digest}"), Page::Silence);
        let file = served.house.write(&format!("a{number:02}"), &settings(), public);
        let text = std::fs::read_to_string(&file).unwrap();
        let plugin = format!("oci://{}/acme/hostile@{digest}", registry.address);
        std::fs::write(&file, text.replace("hostile.wasm", &plugin)).unwrap();
    }
    served.house.write("neighbour", &settings(), "");
    // Twice: what has not begun in the first look is as new to the second.
    let looks = async {
        served.tenants.refresh().await.unwrap();
        served.tenants.refresh().await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(25), looks)
        .await
        .expect("none waits for the others");
    let waiting = served.tenants.problems().into_iter();
    let waiting = waiting.filter(|(_, _, problem)| problem.contains("still being loaded"));
    assert!(waiting.count() >= 20, "{:#?}", served.tenants.problems());
    for number in 0..20 {
        registry.answers(
            &format!("manifests/{}", Plugin::digest_of(&[number])),
            Page::Holds(Vec::new()),
        );
    }
    registry.inside.lets_go.notify_waiters();
    while served.runs("neighbour").is_err() {
        served.tenants.refresh().await.unwrap();
    }
    served.runs_this("neighbour", &hostile());
}

#[tokio::test]
pub(crate) async fn a_registrys_password_goes_to_its_tokens_over_tls_alone() {
    let served = Served::new().await;
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(served.house.path("registry.pem"), made.cert.pem()).unwrap();
    let key = SecretString::from(made.signing_key.serialize_pem());
    let certificates = Certificates::new(made.cert.pem().as_bytes(), &key).unwrap();
    let (registry, elsewhere) = (Registry::start(Some(&certificates)).await, Registry::start(None).await);
    let secret = served.house.path("password");
    std::fs::write(&secret, "hunter2-hunter2").unwrap();
    let only_ours = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, only_ours).unwrap();
    let login = "ca = \"file:registry.pem\"\nuser = \"robot\"\npassword = \"file:password\"";
    served.configure(&registry.granted(login), "").await;
    let plugin = registry.push(&hostile(), None);
    let digest = plugin.split_once('@').unwrap().1.to_owned();
    let Page::Holds(manifest) =
        registry.inside.pages.lock().unwrap()[&format!("/v2/acme/hostile/manifests/{digest}")].clone()
    else {
        panic!("a manifest");
    };
    let wants_token = |realm: &str| Page::For {
        authorization: "Bearer token-from-the-registry".to_owned(),
        challenge: format!("Bearer realm=\"{realm}\",service=\"it\""),
        then: manifest.clone(),
    };
    let path = format!("manifests/{digest}");
    registry.answers(&path, wants_token(&format!("http://{}/token", elsewhere.address)));
    served.write_plugin("hostile", &plugin).await;
    assert!(refusal(&served).contains("over plain http"), "{}", refusal(&served));
    registry.answers(&path, Page::Redirect(format!("http://{}/", elsewhere.address)));
    served.look_again().await;
    assert!(refusal(&served).contains("plain http"), "{}", refusal(&served));
    assert_eq!(elsewhere.asked(), []);

    let token = Page::For {
        authorization: "Basic cm9ib3Q6aHVudGVyMi1odW50ZXIy".to_owned(),
        challenge: "Basic".to_owned(),
        then: b"{\"token\":\"token-from-the-registry\"}".to_vec(),
    };
    registry.answers("token", token);
    registry.answers(
        &path,
        wants_token(&format!("https://{}/v2/acme/hostile/token", registry.address)),
    );
    served.look_again().await;
    served.runs_this("hostile", &hostile());
    let asked = registry.asked();
    let asked_token = asked.iter().find(|(path, _)| path.contains("/token?")).unwrap();
    assert!(asked_token.0.contains("scope=repository%3Aacme%2Fhostile%3Apull") && asked_token.0.contains("service=it"));
    let with_password = asked
        .iter()
        .filter(|(_, authorization)| authorization.starts_with("Basic"));
    assert_eq!(with_password.count(), 1, "the password goes to the tokens alone");
}

#[tokio::test]
pub(crate) async fn what_was_pulled_is_checked_whenever_it_is_read_and_needs_no_registry() {
    let served = Served::new().await;
    let registry = Registry::start(None).await;
    served.configure(&registry.granted("insecure = true"), "").await;
    let plugin = registry.push(&hostile(), None);
    served.write_plugin("hostile", &plugin).await;
    served.runs_this("hostile", &hostile());
    let asked = registry.asked().len();
    let served = served.restarted().await;
    served.runs_this("hostile", &hostile());
    assert_eq!(registry.asked().len(), asked, "it was not asked again");
    let kept = Plugin::digest_of(&hostile()).replace("sha256:", "cache/") + ".wasm";
    std::fs::write(served.house.path(&kept), noted(&hostile())).unwrap();
    let served = served.restarted().await;
    served.runs_this("hostile", &hostile());
    assert!(registry.asked().len() > asked, "it was pulled again");
}

#[tokio::test]
async fn a_signature_comes_along_with_the_component() {
    let served = Served::new().await;
    let registry = Registry::start(None).await;
    let key = PrivateKey::generate().unwrap();
    let demand = format!("require_signature = true\nsigners = [\"{}\"]\n", key.public());
    served
        .configure(&(demand + &registry.granted("insecure = true")), "")
        .await;
    served.write_plugin("hostile", &registry.push(&hostile(), None)).await;
    assert!(refusal(&served).contains("is not signed"));
    let mut signatures = Signatures::default();
    signatures.sign(&key, &Plugin::digest_of(&hostile()));
    let signed = registry.push(&hostile(), Some(signatures.to_string().as_bytes()));
    served.write_plugin("hostile", &signed).await;
    served.runs_this("hostile", &hostile());
}
