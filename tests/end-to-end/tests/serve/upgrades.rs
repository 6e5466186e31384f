//! Plugins are replaced, refused, accepted and taken back while the service runs.

use std::path::Path;

use aws_lc_rs::digest::SHA256;
use end_to_end::says;
use serde_json::{Value, json};

use crate::client::Client;
use crate::house::House;
use crate::process::Host;

/// What the connector's own plugin file is called.
const FILE: &str = "own/docusign.wasm";

/// A registry that does not answer: what it had was pulled before.
const REGISTRY: &str = "127.0.0.1:1";

/// A house with a folder of plugins of its own, and a host in it.
async fn begin() -> (House, Host, Client) {
    let house = House::sqlite().await;
    std::fs::create_dir(house.path("own")).expect("a folder");
    install(&house, &built());
    let text = std::fs::read_to_string(house.path("exeunt.toml")).expect("the host file");
    let folder = format!("{:?}", end_to_end::plugins());
    assert!(text.contains(&folder));
    house.replace("exeunt.toml", &text.replace(&folder, "\"own\""));
    let host = house.start().await;
    let client = Client::new(&house, &host);
    (house, host, client)
}

fn built() -> Vec<u8> {
    std::fs::read(end_to_end::plugins().join("docusign.wasm")).expect("a plugin")
}

/// The same plugin, which wants to read elsewhere: a version that does not work and needs something new.
fn grown() -> Vec<u8> {
    let (from, to) = (b"/oauth/userinfo", b"/oauth/otherinf");
    let mut bytes = built();
    let places: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|&at| bytes[at..].starts_with(from))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

fn install(house: &House, plugin: &[u8]) {
    std::fs::write(house.path("own/aside"), plugin).expect("a file");
    std::fs::rename(house.path("own/aside"), house.path(FILE)).expect("a rename");
}

/// The only problem that `/readyz` tells.
async fn problem(client: &Client) -> String {
    let message = async || {
        let seen = client.see("/readyz").await;
        let only = (seen["problems"] == 1).then(|| seen["details"]["problems"][0]["message"].clone());
        only.and_then(|message| Some(message.as_str()?.to_owned()))
    };
    // On a busy machine a plugin takes long to compile, and that is told first.
    let is_told = |told: &Option<String>| told.as_ref().is_some_and(|told| !told.contains("still being loaded"));
    crate::until("it is reported", async || is_told(&message().await)).await;
    message().await.expect("words")
}

async fn is_mended(client: &Client) {
    crate::until("it is mended", async || client.see("/readyz").await["problems"] == 0).await;
}

/// The digest of the plugin that closes this person now.
async fn closes(house: &House, client: &Client, email: &str) -> String {
    let _ = house.world.user(email);
    let event = client.accepted("acme", &end_to_end::event(email)).await;
    let job = client.job_is(&event, "closed").await;
    digest_of(client, &job).await
}

async fn digest_of(client: &Client, job: &Value) -> String {
    let id = job["id"].as_str().expect("an id");
    let job = client.see(&format!("/v1/jobs/{id}")).await;
    job["detail"]["plugin"]["digest"].as_str().expect("a digest").to_owned()
}

async fn digest(house: &House, file: &Path) -> String {
    let ran = house.exeunt(&["plugin", "inspect", &file.to_string_lossy()]).await;
    ran.json()["digest"].as_str().expect("a digest").to_owned()
}

/// Goes back to the plugin of this digest, which is not named.
async fn rolls_back(house: &House, to: &str) {
    let back = house.exeunt(&["plugin", "rollback", "acme", "docusign"]).await;
    assert_eq!(back.code, 0, "{}", back.stderr);
    says(&back.stdout, &["acme.toml", &format!("digest = \"{to}\"")]);
}

/// Puts a plugin where one is kept that was pulled, and returns what a tenant file names.
fn was_pulled(house: &House, plugin: &[u8]) -> String {
    let keep = |content: &[u8], ending: &str| {
        let digest = digest_text(content);
        let name = format!("cache/{}.{ending}", &digest["sha256:".len()..]);
        std::fs::write(house.path(&name), content).expect("a file");
        digest
    };
    let layer = json!({ "mediaType": "application/wasm", "digest": keep(plugin, "wasm"), "size": plugin.len() });
    let manifest = json!({ "schemaVersion": 2, "layers": [layer] }).to_string();
    format!(
        "oci://{REGISTRY}/acme/docusign@{}",
        keep(manifest.as_bytes(), "manifest")
    )
}

fn digest_text(content: &[u8]) -> String {
    let hash = aws_lc_rs::digest::digest(&SHA256, content);
    let digits = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", digits.collect::<String>())
}

/// The same plugin with a module in it that takes minutes and gigabytes to compile: four functions in which each of
/// thousands of branches leads to each of thousands of places.
fn tangled() -> Vec<u8> {
    const BLOCK: [u8; 2] = [0x02, 0x40];
    const END: u8 = 0x0b;
    let size = 1700;
    let branch = [&BLOCK[..], &[0x20, 0, 0x0e], &leb(size - 1)].concat();
    let places: Vec<u8> = (0..size).flat_map(leb).collect();
    let mut body = vec![0];
    body.extend(BLOCK.repeat(size + 1));
    for _ in 0..size {
        body.extend([&branch[..], &places, &[END]].concat());
    }
    body.extend(vec![END; size + 2]);
    let function = [leb(body.len()), body].concat();
    let section = |id: u8, content: &[u8]| [&[id][..], &leb(content.len()), content].concat();
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 1, 0x7f, 0]),
        section(3, &[4, 0, 0, 0, 0]),
        section(10, &[vec![4], function.repeat(4)].concat()),
    ];
    [built(), section(1, &module.concat())].concat()
}

/// A number as WebAssembly writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_wears_out_the_compiler_is_refused_and_the_service_goes_on() {
    let (house, host, client) = begin().await;
    let old = closes(&house, &client, "ann@acme.example").await;
    install(&house, &tangled());
    // While it is compiled, and after.
    assert_eq!(closes(&house, &client, "bob@acme.example").await, old);
    let told = problem(&client).await;
    says(&told, &["acme.toml:7", "is not admitted", "compiling it"]);
    assert_eq!(closes(&house, &client, "cid@acme.example").await, old);
    install(&house, &kit::noted(&built()));
    is_mended(&client).await;
    assert_ne!(closes(&house, &client, "dan@acme.example").await, old);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_whose_needs_grew_waits_for_the_operator_while_the_old_one_runs() {
    let (house, host, client) = begin().await;
    std::fs::write(house.path("old.wasm"), built()).expect("a file");
    let old = digest(&house, Path::new("old.wasm")).await;
    assert_eq!(closes(&house, &client, "ann@acme.example").await, old);
    install(&house, &grown());
    let told = problem(&client).await;
    says(
        &told,
        &[
            "acme.toml:",
            "connectors.docusign",
            "`mint GET account /oauth/otherinf`",
        ],
    );
    says(&told, &[&format!("digest = \"{old}\"")]);
    assert_eq!(closes(&house, &client, "bob@acme.example").await, old);

    let diff = house.exeunt(&["plugin", "diff", "old.wasm", FILE]).await;
    assert_eq!(diff.code, 1, "it grew");
    says(
        &diff.stdout,
        &[
            "- mint GET account /oauth/userinfo\n",
            "+ mint GET account /oauth/otherinf\n",
        ],
    );
    let line = diff
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("to accept this, write "));
    let line = line.expect("the line to write");
    says(&told, &[line]);
    let text = house.tenant_text().replace("mode =", &format!("{line}\nmode ="));
    house.replace("tenants/acme.toml", &text);
    is_mended(&client).await;
    let new = digest(&house, &house.path(FILE)).await;
    let list = house.exeunt(&["plugin", "list"]).await;
    let at = |digest: &str| list.stdout.find(digest).unwrap_or_else(|| panic!("{}", list.stdout));
    assert!(at(&new) < at(&old), "the latest comes first");
    let list = house.exeunt(&["plugin", "list", "--json"]).await.stdout;
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    let ran = |number: usize| {
        (
            &list[number]["tenant"],
            &list[number]["connector"],
            &list[number]["digest"],
        )
    };
    let (tenant, connector) = ("acme".into(), "docusign".into());
    assert_eq!(ran(0), (&tenant, &connector, &new.into()));
    assert_eq!(ran(1), (&tenant, &connector, &old.into()));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_goes_back_to_the_plugin_before_and_no_restart_is_needed() {
    let (house, host, client) = begin().await;
    let old = closes(&house, &client, "ann@acme.example").await;
    let nothing = house.exeunt(&["plugin", "rollback", "acme", "docusign"]).await;
    nothing.was_misused(&["nothing to go back to", &format!("--to {old}")]);
    install(&house, &kit::noted(&built()));
    crate::until("the new one runs", async || {
        house.exeunt(&["plugin", "list"]).await.stdout.lines().count() == 3
    })
    .await;
    let new = closes(&house, &client, "bob@acme.example").await;
    assert_ne!(new, old);
    rolls_back(&house, &old).await;
    crate::until("it is back", async || {
        let list = house.exeunt(&["plugin", "list"]).await.stdout;
        list.find(&old) < list.find(&new)
    })
    .await;
    assert_eq!(closes(&house, &client, "cid@acme.example").await, old);
    // And it stays so, whatever is done to the file; a host that begins anew runs it, too.
    std::fs::remove_file(house.path(FILE)).expect("the file goes");
    host.stop().await;
    let host = house.start().await;
    let client = Client::new(&house, &host);
    is_mended(&client).await;
    assert_eq!(closes(&house, &client, "dan@acme.example").await, old);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_from_a_broken_file_is_to_the_plugin_that_ran_last() {
    let (house, host, client) = begin().await;
    let old = closes(&house, &client, "ann@acme.example").await;
    // The only one that ever ran, and nobody remembers it but the host.
    install(&house, &built()[..1000]);
    host.stop().await;
    let host = house.start().await;
    let client = Client::new(&house, &host);
    says(&problem(&client).await, &["acme.toml:7", "is not admitted"]);
    let other = house.exeunt(&["plugin", "rollback", "acme", "docusign", "--to", "sha256:00"]);
    other
        .await
        .was_misused(&["has not run sha256:00", &format!("--to {old}")]);
    rolls_back(&house, &old).await;
    is_mended(&client).await;
    assert_eq!(closes(&house, &client, "bob@acme.example").await, old);

    // The second of two, which goes on meanwhile.
    install(&house, &kit::noted(&built()));
    house.replace("tenants/acme.toml", &house.tenant_text());
    crate::until("the new one runs", async || {
        house.exeunt(&["plugin", "list"]).await.stdout.lines().count() == 3
    })
    .await;
    let new = closes(&house, &client, "cid@acme.example").await;
    assert_ne!(new, old);
    install(&house, b"");
    problem(&client).await;
    rolls_back(&house, &new).await;
    is_mended(&client).await;
    host.stop().await;
    // Back and forth, also before a host has taken it up.
    for back in [&old, &new] {
        rolls_back(&house, back).await;
    }
    let host = house.start().await;
    let client = Client::new(&house, &host);
    is_mended(&client).await;
    assert_eq!(closes(&house, &client, "dan@acme.example").await, new);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_of_a_plugin_from_a_registry_knows_what_its_manifest_names() {
    let (house, host, _) = begin().await;
    host.stop().await;
    let text = std::fs::read_to_string(house.path("exeunt.toml")).expect("the host file");
    house.replace("exeunt.toml", &format!("{text}\n[registries.\"{REGISTRY}\"]\n"));
    let names = |plugin: &[u8]| {
        let source = was_pulled(&house, plugin);
        house.replace(
            "tenants/acme.toml",
            &house.tenant_text().replace("docusign.wasm", &source),
        );
    };
    names(&built());
    let host = house.start().await;
    let client = Client::new(&house, &host);
    let old = closes(&house, &client, "ann@acme.example").await;
    names(&kit::noted(&built()));
    let new = digest_text(&kit::noted(&built()));
    crate::until("the new one runs", async || {
        house.exeunt(&["plugin", "list"]).await.stdout.contains(&new)
    })
    .await;
    rolls_back(&house, &old).await;
    crate::until("it is back", async || {
        let list = house.exeunt(&["plugin", "list"]).await.stdout;
        list.find(&old) < list.find(&new)
    })
    .await;
    names(b"broken");
    problem(&client).await;
    rolls_back(&house, &old).await;
    is_mended(&client).await;
    assert_eq!(closes(&house, &client, "bob@acme.example").await, old);

    // One that cannot be pulled at all.
    let source = format!("oci://{REGISTRY}/docusign@sha256:{}", "0".repeat(64));
    house.replace(
        "tenants/acme.toml",
        &house.tenant_text().replace("docusign.wasm", &source),
    );
    says(&problem(&client).await, &["cannot pull"]);
    rolls_back(&house, &old).await;
    is_mended(&client).await;
    assert_eq!(closes(&house, &client, "cid@acme.example").await, old);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_not_the_pinned_one_is_refused_with_both_digests() {
    let (house, host, client) = begin().await;
    host.stop().await;
    drop(client);
    let pinned = "0".repeat(64);
    let line = format!("digest = \"sha256:{pinned}\"\nmode =");
    house.replace("tenants/acme.toml", &house.tenant_text().replace("mode =", &line));
    let held = digest(&house, &house.path(FILE)).await;
    let ran = house.exeunt(&["check", "--tenant", "tenants/acme.toml"]).await;
    assert_eq!(ran.code, 2);
    says(
        &ran.stderr,
        &["acme.toml:8: connectors.docusign.digest: ", &pinned, &held],
    );
    let host = house.start().await;
    let client = Client::new(&house, &host);
    says(&problem(&client).await, &["acme.toml:8", &pinned, &held]);
    house.replace(
        "tenants/acme.toml",
        &house
            .tenant_text()
            .replace("mode =", &format!("digest = \"{held}\"\nmode =")),
    );
    is_mended(&client).await;
    assert_eq!(closes(&house, &client, "ann@acme.example").await, held);
    host.stop().await;
}
