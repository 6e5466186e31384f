use std::fs;

use secrecy::ExposeSecret as _;

use super::*;
use crate::tenant::HostConfig;

fn load(text: &str) -> (tempfile::TempDir, Result<HostConfig, String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("exeunt.toml");
    fs::write(&file, text).unwrap();
    let loaded = HostConfig::load(&file).map_err(|error| error.to_string());
    (folder, loaded)
}

#[test]
fn without_a_word_the_server_listens_here_and_keeps_all_below_its_folder() {
    let (folder, host) = load("");
    let (root, server) = (folder.path(), host.unwrap().server);
    assert_eq!(server.listen.to_string(), DEFAULT_LISTEN);
    assert!(server.tls.is_none() && server.otlp.is_none() && server.metrics_token);
    assert_eq!(server.tenant_files, root.join("tenants"));
    assert_eq!(server.tokens, root.join("tokens.toml"));
    assert_eq!(server.cache, root.join("cache"));
    assert_eq!(
        server.journal.to_string(),
        format!("sqlite:{}", root.join("exeunt.db").display())
    );
    assert_eq!(server.retention.transcripts, Duration::from_secs(30 * 86_400));
    assert_eq!(server.retention.events, Duration::from_secs(90 * 86_400));
    assert_eq!(server.limits, ServerLimits::default());
}

#[test]
fn each_key_is_read_beside_the_grants_of_tenants() {
    let (folder, host) = load(
        r#"
listen = "[::]:8443"
tls = { certificate = "file:tls/chain.pem", key = "env:TLS_KEY" }
tenant_files = "customers"
journal = "postgres://exeunt@db.example/exeunt"
tokens = "/etc/exeunt/tokens.toml"
cache = "/var/cache/exeunt"
limits = { connections = 20, events_per_second = 30, lease = "3s", drain = "60s" }
retention = { transcripts = "7d", events = "1d" }
telemetry = { otlp = "http://127.0.0.1:4318", metrics = "open" }
[tenants.acme]
private = ["10.0.0.5:443"]
"#,
    );
    let (root, host) = (folder.path(), host.unwrap());
    let server = host.server.clone();
    assert_eq!(server.listen.to_string(), "[::]:8443");
    let tls = server.tls.unwrap();
    assert_eq!(
        (tls.certificate, tls.key.to_string().as_str()),
        (root.join("tls/chain.pem"), "env:TLS_KEY")
    );
    assert_eq!(server.tenant_files, root.join("customers"));
    assert_eq!(
        server.journal.resolve().unwrap().expose_secret(),
        "postgres://exeunt@db.example/exeunt"
    );
    assert_eq!(server.tokens, Path::new("/etc/exeunt/tokens.toml"));
    assert_eq!(server.cache, Path::new("/var/cache/exeunt"));
    assert_eq!(
        server.limits,
        ServerLimits {
            connections: Some(20),
            events_per_second: Some(30),
            lease: Some(MIN_LEASE),
            drain: Some(MAX_DRAIN),
        }
    );
    assert_eq!(server.retention.transcripts, Duration::from_secs(7 * 86_400));
    assert_eq!(server.retention.events, Duration::from_secs(86_400));
    assert_eq!(server.otlp.unwrap().as_str(), "http://127.0.0.1:4318/");
    assert!(!server.metrics_token);
    assert_eq!(host.grants("acme").private.len(), 1);
}

#[test]
fn mistakes_name_their_line_and_what_to_write() {
    for (text, expected) in [
        (
            "lisen = ''",
            "exeunt.toml:1: lisen: unknown key; did you mean `listen`?",
        ),
        (
            "listen = '8080'",
            "exeunt.toml:1: listen: \"8080\" is not an address with a port",
        ),
        ("listen = 'localhost:8080'", "write \"127.0.0.1:8080\""),
        (
            "tenants = 'customers'",
            "for the folder of tenant files write tenant_files",
        ),
        ("tenant_files = ''", "tenant_files: is empty"),
        ("cache = 1", "cache: must be a string in quotes"),
        ("tls = { certificate = 'file:c.pem' }", "`key` is missing"),
        (
            "tls = { certificate = 'c.pem', key = 'file:k.pem' }",
            "tls.certificate: must name a PEM file",
        ),
        (
            "tls = { certificate = 'file:c.pem', key = '-----BEGIN PRIVATE KEY-----' }",
            "tls.key: must say where the key is",
        ),
        (
            "tls = { certificate = 'file:c.pem', key = 'env:key' }",
            "tls.key: must say where the key is",
        ),
        (
            "journal = 'exeunt.db'",
            "journal: is not an address; write \"sqlite:exeunt.db\"",
        ),
        ("journal = 'sqlite:'", "journal: is not an address"),
        ("journal = 'mysql://h/d'", "journal: is not an address"),
        ("journal = 'postgres://u:p@h/d'", "holds a password"),
        ("journal = 'postgres://h/d?password=p'", "holds a password"),
        ("[limits]\nconnections = 0", "limits.connections: must be from 1"),
        (
            "[limits]\nevents = 1",
            "known: connections, drain, events_per_second, lease",
        ),
        ("[limits]\nlease = '2s'", "limits.lease: must be from"),
        ("[limits]\nlease = '601s'", "limits.lease: must be from"),
        ("[limits]\ndrain = '61s'", "limits.drain: must be at most \"60s\""),
        ("[retention]\ntranscripts = '30'", "is not a duration"),
        ("[retention]\ntranscript = '30d'", "did you mean `transcripts`?"),
        ("[retention]\nevents = '86399s'", "must be at least \"1d\""),
        ("[telemetry]\notlp = '127.0.0.1:4318'", "write the collector's address"),
        ("[telemetry]\notlp = 'http://u:p@h'", "holds a name or password"),
        (
            "[telemetry]\nmetrics = 'closed'",
            "\"closed\" is neither \"open\" nor \"token\"",
        ),
        ("[telemetry]\nmetric = 'open'", "did you mean `metrics`?"),
    ] {
        let error = load(text).1.expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("u:p") && !error.contains("BEGIN"), "{text}: {error}");
    }
}

#[test]
fn an_address_with_a_password_comes_from_a_file_that_only_its_owner_reads() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, host) = load("journal = 'file:address'");
    let journal = host.unwrap().server.journal;
    let file = folder.path().join("address");
    let resolve = |content: &str, mode: u32| {
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        journal.resolve().map_err(|error| error.to_string())
    };
    let address = "postgres://u:geheim@h/d";
    assert_eq!(
        resolve(&format!("{address}\n"), 0o600).unwrap().expose_secret(),
        address
    );
    let error = resolve(address, 0o644).unwrap_err();
    assert!(
        error.contains("exeunt.toml:1: journal") && error.contains("chmod 600"),
        "{error}"
    );
    let error = resolve("sqlite:geheim.db", 0o600).unwrap_err();
    assert!(
        error.contains("does not hold an address of PostgreSQL") && !error.contains("geheim"),
        "{error}"
    );
    assert!(!format!("{journal:?} {journal}").contains("geheim"));
}

#[test]
fn the_configuration_is_found_in_the_named_file_only() {
    let (folder, _) = load("tokens = 't'");
    let file = folder.path().join("exeunt.toml");
    assert_eq!(
        HostConfig::here(Some(&file)).unwrap().server.tokens,
        folder.path().join("t")
    );
    assert!(HostConfig::here(Some(&folder.path().join("other.toml"))).is_err());
}

#[test]
fn the_file_that_is_delivered_for_the_service_reads_well() {
    let (_folder, host) = load(include_str!("../../../deploy/exeunt.toml"));
    let server = host.unwrap().server;
    assert_eq!(server.tokens, Path::new("/var/lib/exeunt/tokens.toml"));
    assert_eq!(server.journal.to_string(), "sqlite:/var/lib/exeunt/exeunt.db");
}

#[test]
fn logs_are_for_people_unless_json_is_asked_for() {
    let logs = |line: &str| {
        load(&format!("[telemetry]\n{line}"))
            .1
            .map(|host| host.server.json_logs)
    };
    assert_eq!(logs(""), Ok(false));
    assert_eq!(logs("logs = 'text'"), Ok(false));
    assert_eq!(logs("logs = 'json'"), Ok(true));
    let error = logs("logs = 'jsno'").unwrap_err();
    assert!(error.contains("neither \"text\" nor \"json\""), "{error}");
}
