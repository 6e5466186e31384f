//! `exeunt plugin`: what operators and authors do with plugin files.

use std::os::unix::fs::PermissionsExt as _;

use end_to_end::{Ran, World, plugins, says};

/// A world with a plugin file of its own.
async fn world() -> World {
    let world = World::new().await;
    std::fs::create_dir(world.root().join("own")).expect("a folder");
    std::fs::copy(plugins().join("docusign.wasm"), world.root().join("own/docusign.wasm")).expect("a plugin");
    let text = world.host_file().replace(&format!("{:?}", plugins()), "\"own\"");
    world.write("exeunt.toml", &text);
    world
}

async fn plugin(world: &World, arguments: &[&str]) -> Ran {
    world.exeunt(&[&["plugin"], arguments].concat(), b"").await
}

/// Makes a key and returns the public one.
async fn keygen(world: &World, file: &str) -> String {
    let made = plugin(world, &["keygen", "-o", file]).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    made.stdout.trim().to_owned()
}

#[tokio::test]
async fn a_plugin_runs_where_it_is_signed_as_the_host_demands() {
    let world = world().await;
    let public = keygen(&world, "release.key").await;
    let other = keygen(&world, "other.key").await;
    let file = world.root().join("release.key");
    assert_eq!(file.metadata().expect("a key").permissions().mode() & 0o777, 0o600);
    let demand = format!("require_signature = true\nsigners = [\"{public}\"]\n");
    let host = std::fs::read_to_string(world.root().join("exeunt.toml")).expect("the host file");
    world.write("exeunt.toml", &(demand + &host));
    let _ = world.user("ann@acme.example");
    let event = end_to_end::event("ann@acme.example");
    world.run(&event).await.was_misused(&[
        "acme.toml:6",
        "connectors.docusign.plugin",
        "is not signed",
        "docusign.wasm.sig",
    ]);
    world.was_not_asked();

    let verify = ["verify", "own/docusign.wasm", "--signer", &public];
    assert_eq!(plugin(&world, &verify).await.code, 1);
    for key in ["other.key", "release.key", "release.key"] {
        let signed = plugin(&world, &["sign", "own/docusign.wasm", "--key", key]).await;
        assert_eq!(signed.code, 0, "{}", signed.stderr);
        says(&signed.stdout, &["own/docusign.wasm.sig: sha256:"]);
    }
    let signatures = std::fs::read_to_string(world.root().join("own/docusign.wasm.sig")).expect("signatures");
    assert_eq!(signatures.lines().count(), 2, "one of each key");
    assert_eq!(plugin(&world, &verify).await.code, 0);
    assert_eq!(
        plugin(&world, &["verify", "own/docusign.wasm", "--signer", &other])
            .await
            .code,
        0
    );
    world.run(&event).await.ended("closed", 0);
}

#[tokio::test]
async fn a_private_key_is_written_once_and_kept_to_its_owner() {
    let world = world().await;
    let _ = keygen(&world, "release.key").await;
    let before = std::fs::read(world.root().join("release.key")).expect("a key");
    plugin(&world, &["keygen", "-o", "release.key"])
        .await
        .was_misused(&["release.key"]);
    assert_eq!(std::fs::read(world.root().join("release.key")).expect("a key"), before);
    let file = world.root().join("release.key");
    let sign = ["sign", "own/docusign.wasm", "--key", "release.key"];
    for mode in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("permissions");
        plugin(&world, &sign).await.was_misused(&["release.key", "chmod 600"]);
    }
    let pem = String::from_utf8(before).expect("text");
    let inside = pem.lines().nth(1).expect("the key");
    world.write_secret("release.key", &pem.replace(inside, &inside[4..]));
    let refused = plugin(&world, &sign).await;
    refused.was_misused(&["exeunt plugin keygen"]);
    assert!(!refused.stderr.contains(&inside[4..]), "nothing of a key is said");
    assert!(!world.root().join("own/docusign.wasm.sig").exists());
}

#[tokio::test]
async fn what_is_no_plugin_is_not_signed() {
    let world = world().await;
    let _ = keygen(&world, "release.key").await;
    world.write("own/text.wasm", "hello");
    let ran = plugin(&world, &["sign", "own/text.wasm", "--key", "release.key"]).await;
    ran.was_misused(&["own/text.wasm is not signed", "not WebAssembly"]);
}

#[tokio::test]
async fn a_demand_that_nobody_can_meet_is_a_mistake_of_the_file() {
    let world = world().await;
    let host = std::fs::read_to_string(world.root().join("exeunt.toml")).expect("the host file");
    let check = ["check", "--tenant", "tenants/acme.toml"];
    for (lines, said) in [
        ("require_signature = true\n", "signers"),
        ("require_signature = true\nsigners = []\n", "no `signers` are given"),
        ("signers = [\"ed25519:AAAA\"]\n", "exeunt plugin keygen"),
        ("signer = []\n", "did you mean `signers`?"),
    ] {
        world.write("exeunt.toml", &format!("{lines}{host}"));
        world.exeunt(&check, b"").await.was_misused(&["exeunt.toml", said]);
    }
    world.write("exeunt.toml", &host);
    let tenant = format!("require_signature = true\n{}", world.tenant_file());
    world.write("tenants/acme.toml", &tenant);
    world
        .exeunt(&check, b"")
        .await
        .was_misused(&["acme.toml", "signers = ["]);
}
