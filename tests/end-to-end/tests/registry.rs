//! Plugins from a registry: Debian's `docker-registry`, as it is.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use end_to_end::{World, plugins};
use exeunt::tenant::{PrivateKey, Signatures};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use serde_json::json;

const USER: &str = "robot";
const PASSWORD: &str = "pull-me-if-you-can";
/// The password as bcrypt has it, which is what the registry takes.
const HASHED: &str = "$2y$05$abcdefghijklmnopqrstuu3Ysqw2fX3utgjVgqAydrQykQejxPk.S";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry of our own, on loopback. It ends with this value.
struct Registry {
    child: Child,
    address: String,
    http: reqwest::Client,
    is_private: bool,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// Anybody may read and write, over plain http.
    async fn open(world: &World) -> Self {
        Self::start(world, "", reqwest::Client::builder()).await
    }

    /// Over TLS, with a certificate from `registry.pem`, and for those with a password.
    async fn private(world: &World) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let certificate = world.write("registry.pem", &made.cert.pem());
        let key = world.write_secret("registry-key.pem", &made.signing_key.serialize_pem());
        let users = world.write("htpasswd", &format!("{USER}:{HASHED}\n"));
        let lines = format!(
            "  tls: {{ certificate: {certificate:?}, key: {key:?} }}\nauth:\n  htpasswd: {{ realm: tests, path: {users:?} }}\n"
        );
        let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).expect("a certificate");
        Self::start(world, &lines, reqwest::Client::builder().tls_certs_only([trusted])).await
    }

    async fn start(world: &World, lines: &str, http: reqwest::ClientBuilder) -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let data = world.root().join("registry");
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem: {{ rootdirectory: {data:?} }}\nhttp:\n  addr: \"127.0.0.1:0\"\n{lines}"
        );
        let config = world.write("registry.yml", &config);
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(config).stdin(Stdio::null());
        let log = std::fs::File::create(world.root().join("registry.log")).expect("a log");
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        let child = child.unwrap_or_else(|error| panic!("docker-registry: {error}; run scripts/debian-package.sh"));
        let mut registry = Self {
            child,
            address: String::new(),
            http: http.no_proxy().build().expect("a client"),
            is_private: lines.contains("htpasswd"),
        };
        let said = || std::fs::read_to_string(world.root().join("registry.log")).unwrap_or_default();
        let listens = tokio::time::timeout(Duration::from_secs(60), async {
            loop {
                if let Some(address) = listener(&said()) {
                    break address;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let listens = listens.await;
        registry.address = listens.unwrap_or_else(|_| panic!("it does not listen\n{}", said()));
        registry
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Response {
        let request = if self.is_private {
            request.basic_auth(USER, Some(PASSWORD))
        } else {
            request
        };
        let response = request.send().await.expect("an answer");
        assert!(response.status().is_success(), "{response:?}");
        response
    }

    async fn upload(&self, content: Vec<u8>) -> String {
        let scheme = if self.is_private { "https" } else { "http" };
        let name = digest_of(&content);
        let begin = self
            .http
            .post(format!("{scheme}://{}/v2/acme/docusign/blobs/uploads/", self.address));
        let begun = self.send(begin).await;
        let to = begun.headers()[LOCATION].to_str().expect("a location").to_owned();
        self.send(self.http.put(format!("{to}&digest={name}")).body(content))
            .await;
        name
    }

    /// Does what `oras push` does, and returns what a tenant file names.
    async fn push(&self, component: &Path) -> String {
        self.push_signed(component, None).await
    }

    /// The same, with a layer of signatures.
    async fn push_signed(&self, component: &Path, signatures: Option<String>) -> String {
        let component = std::fs::read(component).expect("a plugin");
        let mut layers = Vec::new();
        let signatures = signatures.map(|text| ("application/vnd.exeunt.signature", text.into_bytes()));
        for (kind, content) in [("application/wasm", component)].into_iter().chain(signatures) {
            let size = content.len();
            layers.push(json!({ "mediaType": kind, "digest": self.upload(content).await, "size": size }));
        }
        let config = self.upload(b"{}".to_vec()).await;
        let config = json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2 });
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        let manifest = manifest.to_string().into_bytes();
        let digest = digest_of(&manifest);
        let scheme = if self.is_private { "https" } else { "http" };
        let url = format!("{scheme}://{}/v2/acme/docusign/manifests/{digest}", self.address);
        self.send(self.http.put(url).header(CONTENT_TYPE, MANIFEST).body(manifest))
            .await;
        format!("oci://{}/acme/docusign@{digest}", self.address)
    }
}

/// Where a registry listens, as its log has it: `msg="listening on 127.0.0.1:40123, tls"`.
fn listener(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("listening on ")?;
    let (address, _) = rest.split_once(['"', ','])?;
    Some(address.to_owned())
}

fn digest_of(content: &[u8]) -> String {
    let hex: String = digest(&SHA256, content)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// A world whose tenant names this plugin and whose host may ask the registry.
fn configure(world: &World, registry: &Registry, lines: &str, plugin: &str) {
    let granted = format!("{}[registries.{:?}]\n{lines}\n", world.host_file(), registry.address);
    world.write("exeunt.toml", &granted);
    world.write(
        "tenants/acme.toml",
        &world.tenant_file().replace("docusign.wasm", plugin),
    );
}

#[tokio::test]
async fn a_plugin_is_pulled_by_its_digest_and_runs_without_the_registry_afterwards() {
    let world = World::new().await.on_its_own();
    let registry = Registry::open(&world).await;
    let plugin = registry.push(&plugins().join("docusign.wasm")).await;
    configure(&world, &registry, "insecure = true", &plugin);
    // As `exeunt serve` makes it.
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(world.root().join("cache"))
        .expect("a folder");
    let _ = world.user("ann@acme.example");
    world
        .run(&end_to_end::event("ann@acme.example"))
        .await
        .ended("closed", 0);
    drop(registry);
    let _ = world.user("bob@acme.example");
    world
        .run(&end_to_end::event("bob@acme.example"))
        .await
        .ended("closed", 0);
    // Without what was kept, nobody closes anything.
    std::fs::remove_dir_all(world.root().join("cache")).expect("the folder goes");
    let ran = world.run(&end_to_end::event("bob@acme.example")).await;
    ran.was_misused(&[
        "acme.toml:6: connectors.docusign.plugin: cannot pull oci://127.0.0.1:",
        "onnect",
    ]);
}

#[tokio::test]
async fn a_private_registry_is_asked_with_its_password_and_not_without() {
    let world = World::new().await.on_its_own();
    let registry = Registry::private(&world).await;
    let plugin = registry.push(&plugins().join("docusign.wasm")).await;
    let _ = world.user("ann@acme.example");
    let event = end_to_end::event("ann@acme.example");
    configure(&world, &registry, "ca = \"file:registry.pem\"", &plugin);
    world
        .run(&event)
        .await
        .was_misused(&["cannot pull", "write `user` and `password`"]);
    configure(
        &world,
        &registry,
        "user = \"robot\"\npassword = \"env:REGISTRY_PASSWORD\"",
        &plugin,
    );
    let refused = world.run(&event).await;
    refused.was_misused(&["cannot pull", "certificate"]);
    let login = "ca = \"file:registry.pem\"\nuser = \"robot\"\npassword = \"env:REGISTRY_PASSWORD\"";
    configure(&world, &registry, login, &plugin);
    let wrong = world
        .run_among(&event, &[("REGISTRY_PASSWORD", "another-password")])
        .await;
    wrong.was_misused(&["cannot pull", "write `user` and `password`"]);
    assert!(
        !wrong.stderr.contains("another-password"),
        "no password is said, at any level"
    );
    world.was_not_asked();
    let ran = world.run_among(&event, &[("REGISTRY_PASSWORD", PASSWORD)]).await;
    ran.ended("closed", 0);
    assert!(!ran.stderr.contains(PASSWORD), "no password is said, at any level");
}

#[tokio::test]
async fn a_registry_is_named_in_the_hosts_file_with_what_fits_together() {
    let world = World::new().await.on_its_own();
    let registry = Registry::open(&world).await;
    let plugin = registry.push(&plugins().join("docusign.wasm")).await;
    let check = ["check", "--tenant", "tenants/acme.toml"];
    for (lines, said) in [
        (
            "insecure = true\nuser = \"robot\"\npassword = \"env:P\"",
            "over plain http",
        ),
        ("user = \"robot\"", "write both, or none"),
        (
            "user = \"robot\"\npassword = \"hunter2\"",
            "must say where the password is",
        ),
        ("plain = true", "unknown key"),
    ] {
        configure(&world, &registry, lines, &plugin);
        let ran = world.exeunt(&check, b"").await;
        ran.was_misused(&["exeunt.toml", said]);
        assert!(!ran.stderr.contains("hunter2"));
    }
    configure(
        &world,
        &registry,
        "insecure = true",
        &plugin.replace("sha256:", "sha512:"),
    );
    world
        .exeunt(&check, b"")
        .await
        .was_misused(&["acme.toml:6", "has no digest"]);
    world.write("exeunt.toml", &world.host_file());
    configure(&world, &registry, "insecure = true", &plugin);
    world.write("exeunt.toml", &world.host_file());
    world
        .exeunt(&check, b"")
        .await
        .was_misused(&["acme.toml:6", "[registries.\"127.0.0.1:"]);
}

#[tokio::test]
async fn signatures_that_one_tenant_pulls_do_not_stand_in_the_place_of_anothers() {
    let world = World::new().await.on_its_own();
    let registry = Registry::open(&world).await;
    let file = plugins().join("docusign.wasm");
    let name = digest_of(&std::fs::read(&file).expect("a plugin"));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(world.root().join("cache"))
        .expect("a folder");
    // One component, pushed twice, vouched for by somebody else each time.
    let mut tenants = Vec::new();
    for _ in 0..2 {
        let key = PrivateKey::generate().expect("a key");
        let mut signatures = Signatures::default();
        signatures.sign(&key, &name);
        let plugin = registry.push_signed(&file, Some(signatures.to_string())).await;
        tenants.push((plugin, key.public().to_string()));
    }
    // The second one, and the first again, for which nothing is pulled any more.
    for (number, tenant) in [0, 1, 0].into_iter().enumerate() {
        let (plugin, signer) = &tenants[tenant];
        configure(&world, &registry, "insecure = true", plugin);
        let text = std::fs::read_to_string(world.tenant()).expect("a tenant file");
        let demand = format!("require_signature = true\nsigners = [\"{signer}\"]\n{text}");
        world.write("tenants/acme.toml", &demand);
        let email = format!("p{number}@acme.example");
        let _ = world.user(&email);
        world.run(&end_to_end::event(&email)).await.ended("closed", 0);
    }
}
