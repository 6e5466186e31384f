use std::fs;
use std::hash::{Hash as _, Hasher as _};

use super::*;
use crate::tenant::MAX_CA_BYTES;
use crate::tenant::grants::{Ca, read_ca};

fn certificate() -> String {
    format!("{}/testdata/keys/certificate.pem", env!("CARGO_MANIFEST_DIR"))
}

fn load(text: &str) -> (tempfile::TempDir, Result<HostConfig, String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("exeunt.toml");
    fs::copy(certificate(), folder.path().join("ca.pem")).unwrap();
    fs::write(&file, text).unwrap();
    let loaded = HostConfig::load(&file).map_err(|error| error.to_string());
    (folder, loaded)
}

fn refusal(text: &str) -> String {
    load(text).1.expect_err(text)
}

#[test]
fn grants_are_read_and_belong_to_the_tenant_that_they_name() {
    let (folder, host) = load(
        r#"
plugins = "built"
[tenants.acme]
ca = "file:ca.pem"
connect_to = { "Account-d.DocuSign.com" = "127.0.0.1:1", "demo.docusign.net:443" = "127.0.0.1:2", "demo.docusign.net" = "127.0.0.1:3" }
private = ["10.0.0.5:443", "[fd00::1]:8443"]
insecure = ["127.0.0.1:8080"]
"#,
    );
    let host = host.unwrap();
    assert_eq!(host.plugins, folder.path().join("built"));
    let grants = host.grants("acme");
    assert_eq!(grants.ca.as_ref().unwrap().certificates.len(), 1);
    assert_eq!(
        grants.connect_to("account-d.docusign.com", 443),
        Some("127.0.0.1:1".parse().unwrap())
    );
    assert_eq!(
        grants.connect_to("DEMO.docusign.net", 443),
        Some("127.0.0.1:2".parse().unwrap())
    );
    assert_eq!(
        grants.connect_to("demo.docusign.net", 8443),
        Some("127.0.0.1:3".parse().unwrap())
    );
    assert_eq!(grants.connect_to("na1.docusign.net", 443), None);
    assert!(grants.allows_private("10.0.0.5:443".parse().unwrap()));
    assert!(grants.allows_private("[::ffff:10.0.0.5]:443".parse().unwrap()));
    assert!(!grants.allows_private("10.0.0.5:80".parse().unwrap()));
    assert!(grants.allows_insecure("127.0.0.1:8080".parse().unwrap()));
    assert_eq!(*host.grants("other"), NetworkGrants::default());
}

#[test]
fn a_proxy_is_an_address_and_excludes_connect_to() {
    let (_folder, host) = load("[tenants.a]\nproxy = \"http://10.0.0.9:3128\"\nprivate = [\"10.0.0.5:443\"]\n");
    assert_eq!(host.unwrap().grants("a").proxy, Some("10.0.0.9:3128".parse().unwrap()));
    for text in [
        "10.0.0.9:3128",
        "http://10.0.0.9",
        "http://proxy.example:3128",
        "https://10.0.0.9:3128",
        "http://u:p@10.0.0.9:1",
    ] {
        let error = refusal(&format!("[tenants.a]\nproxy = \"{text}\"\n"));
        assert!(error.contains("exeunt.toml:2: tenants.a.proxy:"), "{error}");
        assert!(error.contains("write \"http://IP:PORT\""), "{error}");
    }
    let both = "[tenants.a]\nconnect_to = { \"h.example\" = \"127.0.0.1:1\" }\nproxy = \"http://10.0.0.9:3128\"\n";
    assert!(refusal(both).contains("cannot stand beside `connect_to`"));
}

#[test]
fn equal_grants_are_equal_whatever_file_the_authorities_came_from() {
    let text = "[tenants.a]\nca = \"file:ca.pem\"\n";
    let ((_one, one), (_other, other)) = (load(text), load(text));
    assert_eq!(one.unwrap().grants("a"), other.unwrap().grants("a"));
}

#[test]
fn mistakes_name_their_line_and_what_to_write() {
    for (text, expected) in [
        (
            "plugin = 'x'",
            "exeunt.toml:1: plugin: unknown key; did you mean `plugins`?",
        ),
        (
            "plugins = 1",
            "exeunt.toml:1: plugins: must be a string in quotes, is a whole number",
        ),
        (
            "[tenants.a]\nprivat = []",
            "exeunt.toml:2: tenants.a.privat: unknown key; did you mean `private`?",
        ),
        (
            "[registries]\nghcr.io = { insecure = true }",
            "exeunt.toml:2: registries.ghcr: is cut off at a dot; put the registry's name in quotes",
        ),
        ("[tenants.A]\nprivate = []", "tenants.A: is not a tenant's name"),
        ("[tenants]\na = 1", "exeunt.toml:2: tenants.a: must be a table"),
        ("[tenants.a]\nca = 'ca.pem'", "write \"file:ca.pem\""),
        ("[tenants.a]\nca = 'file:nothing.pem'", "cannot be read"),
        ("[tenants.a]\nca = 'file:exeunt.toml'", "holds no certificate"),
        (
            "[tenants.a]\nprivate = ['10.0.0.5']",
            "has no port; write \"10.0.0.5:443\"",
        ),
        ("[tenants.a]\nprivate = ['10.0.0.0/8']", "is not an address with a port"),
        ("[tenants.a]\nprivate = ['10.0.0.5:0']", "is not an address with a port"),
        (
            "[tenants.a]\nproxy = 'http://user:sekret@10.0.0.5:1'",
            "tenants.a.proxy: what has a user in it (not shown) is not a proxy",
        ),
        (
            "[tenants.a]\nconnect_to = { 'h.example' = 'user:sekret@10.0.0.5:1' }",
            "what has a user in it (not shown) is not an address",
        ),
        (
            "[tenants.a]\nprivate = '10.0.0.5:443'",
            "must be a list in square brackets, is a string",
        ),
        (
            "[tenants.a]\ninsecure = ['10.0.0.5:80']",
            "10.0.0.5:80 is not a loopback address",
        ),
        (
            "[tenants.a]\nconnect_to = { 'h.example' = 'localhost:1' }",
            "is not an address with a port",
        ),
        (
            "[tenants.a]\nconnect_to = { '10.0.0.5' = '127.0.0.1:1' }",
            "is not a host name",
        ),
        (
            "[tenants.a]\nconnect_to = { 'h.example:x' = '127.0.0.1:1' }",
            "has no valid port",
        ),
        (
            "[tenants.a]\nconnect_to = { 'https://h' = '127.0.0.1:1' }",
            "has no valid port",
        ),
        ("[tenants.a\n", "exeunt.toml:1: not valid TOML"),
    ] {
        let error = refusal(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// Whether a tenant is loaded anew hangs on a hash of what it is granted.
#[test]
fn another_authority_of_the_same_length_is_another_grant() {
    let folder = tempfile::tempdir().unwrap();
    let made = || {
        let certified = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        fs::write(folder.path().join("ca.pem"), certified.cert.pem()).unwrap();
        read_ca("file:ca.pem", folder.path()).unwrap()
    };
    let hash = |ca: &Ca| {
        let mut hasher = std::hash::DefaultHasher::new();
        ca.hash(&mut hasher);
        hasher.finish()
    };
    let one = made();
    // A signature has a byte more or less at times.
    let other = std::iter::repeat_with(made).find(|other| other.certificates[0].len() == one.certificates[0].len());
    let other = other.unwrap();
    assert!(one != other && hash(&one) != hash(&other));
}

#[test]
fn a_file_of_authorities_must_hold_real_certificates_within_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let read = |content: &str| {
        fs::write(&file, content).unwrap();
        read_ca("file:ca.pem", folder.path())
    };
    let good = fs::read_to_string(certificate()).unwrap();
    assert_eq!(read(&good.repeat(2)).unwrap().certificates.len(), 2);
    assert!(
        read(&good.replace("-----END CERTIFICATE-----", ""))
            .unwrap_err()
            .contains("not valid PEM")
    );
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(read(&(good.clone() + broken)).unwrap_err().contains("certificate 2"));
    assert!(read(&(good.clone() + &" ".repeat(MAX_CA_BYTES - good.len()))).is_ok());
    assert!(
        read(&(good.clone() + &" ".repeat(MAX_CA_BYTES + 1 - good.len())))
            .unwrap_err()
            .contains("over 1048576")
    );
}

#[test]
fn the_configuration_is_found_from_the_tenant_file() {
    let (folder, _) = load("plugins = 'built'");
    let root = folder.path().canonicalize().unwrap();
    fs::create_dir(root.join("tenants")).unwrap();
    let tenant = root.join("tenants/acme.toml");
    assert_eq!(HostConfig::locate(None, &tenant).unwrap().plugins, root.join("built"));
    let other = root.join("other.toml");
    fs::write(&other, "plugins = 'else'").unwrap();
    assert_eq!(
        HostConfig::locate(Some(&other), &tenant).unwrap().plugins,
        root.join("else")
    );
    fs::remove_file(root.join("exeunt.toml")).unwrap();
    let host = HostConfig::locate(None, &tenant).unwrap();
    assert_eq!((host.plugins, host.file), (root.join("plugins"), None));
    assert!(HostConfig::locate(Some(&root.join("exeunt.toml")), &tenant).is_err());
}

#[test]
fn equal_grants_are_kept_once_and_files_are_watched_each() {
    let (folder, host) = load("");
    drop(host);
    let pem = fs::read_to_string(certificate()).unwrap();
    for name in ["a.pem", "b.pem"] {
        fs::write(folder.path().join(name), &pem).unwrap();
    }
    let text =
        "[tenants.one]\nca = 'file:a.pem'\n[tenants.two]\nca = 'file:a.pem'\n[tenants.three]\nca = 'file:b.pem'\n";
    fs::write(folder.path().join("exeunt.toml"), text).unwrap();
    let host = HostConfig::load(&folder.path().join("exeunt.toml")).unwrap();
    let (one, two, three) = (host.grants("one"), host.grants("two"), host.grants("three"));
    assert!(Arc::ptr_eq(&one, &two), "read and kept once");
    assert!(!Arc::ptr_eq(&one, &three));
    let watched: Vec<_> = host
        .files()
        .iter()
        .filter_map(|file| file.file_name()?.to_str().map(str::to_owned))
        .collect();
    assert_eq!(watched, ["a.pem", "b.pem", "exeunt.toml"]);
}
