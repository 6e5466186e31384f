use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::tenant::PluginSource;
use crate::tenant::{Becomes, LeaverRule, Location, MAX_CONFIG_BYTES, Mode, PersonMapping, SourceAuth, SourceKind};
use crate::tenant::{
    DEFAULT_MAX_AGE, MAX_BREAKER_CLOSURES, MAX_PATTERN_BYTES, MAX_PATTERN_STARS, MAX_PATTERNS, MAX_SOURCE_SECRETS,
};

fn parse(text: &str) -> Result<Tenant, String> {
    let host = HostConfig::default_for(Path::new("/srv/exeunt"));
    Tenant::parse(text, Path::new("tenants/acme.toml"), &host).map_err(|error| error.to_string())
}

/// The connector `c` with these lines, from line 3 on.
fn connector(lines: &str) -> Result<Arc<ConnectorConfig>, String> {
    parse(&format!("[connectors.c]\nplugin = \"p.wasm\"\n{lines}\n"))
        .map(|mut tenant| tenant.connectors.remove("c").unwrap())
}

/// The source `s` with these lines, from line 3 on.
fn source(lines: &str) -> Result<Arc<SourceConfig>, String> {
    parse(&format!("[sources.s]\nkind = \"sailpoint\"\n{lines}\n"))
        .map(|mut tenant| tenant.sources.remove("s").unwrap())
}

fn secrets(source: &SourceConfig) -> Vec<String> {
    match &source.auth {
        Some(SourceAuth::Bearer(secrets) | SourceAuth::Webhook(secrets)) => {
            secrets.iter().map(ToString::to_string).collect()
        }
        other => panic!("{other:?}"),
    }
}

const WHOLE: &str = r#"
[sources.hr]
kind    = "sailpoint"
auth    = { bearer = "env:EXEUNT_ACME_HR_TOKEN" }
leaver  = { attribute = "userStatus", becomes = ["inactive", true, 1] }
person  = { email = "$.identity.email", department = "$.x" }

[sources.it]
kind       = "sailpoint"
auth       = { basic = { user = "sailpoint", password = "file:it.password" } }
filter     = "$.changes[?@.attribute == 'x']"
connectors = ["docusign"]

[connectors.docusign]
plugin    = "docusign.wasm"
mode      = "enforce"
settings  = { account_id = "1", deep = { list = [1, 2.5, { on = true }] } }
keys      = { signing = "file:docusign.pem" }
endpoints = { account = "https://account-d.docusign.com", esign = "https://demo.docusign.net/" }
reach     = ["close DELETE account"]
close_all = true
max_assertion = "3650d"

[connectors.second]
plugin = "sub/second.wasm"

[policy]
protected = ["ceo@acme.example", "svc-*@acme.example"]
breaker   = { closures = 5, per = "10m" }
"#;

#[test]
fn a_whole_tenant_file_is_read() {
    let tenant = parse(WHOLE).unwrap();
    assert_eq!(tenant.name, "acme");
    let hr = &tenant.sources["hr"];
    assert_eq!(
        (hr.kind, hr.connectors.as_slice()),
        (SourceKind::SailPoint, &["docusign".to_owned(), "second".to_owned()][..])
    );
    let becomes = vec![
        Becomes::Text("inactive".to_owned()),
        Becomes::Bool(true),
        Becomes::Number(1.0),
    ];
    assert_eq!(
        hr.leaver,
        LeaverRule::Attribute {
            name: "userStatus".to_owned(),
            becomes
        }
    );
    let attributes = vec![("department".to_owned(), "$.x".to_owned())];
    let email = Some("$.identity.email".to_owned());
    assert_eq!(
        hr.person,
        PersonMapping {
            email,
            attributes,
            ..PersonMapping::default()
        }
    );
    assert_eq!(secrets(hr), ["env:EXEUNT_ACME_HR_TOKEN"]);
    assert_eq!((&hr.id, &hr.time, hr.max_age), (&None, &None, DEFAULT_MAX_AGE));
    let it = &tenant.sources["it"];
    assert_eq!(it.connectors, ["docusign"]);
    assert!(matches!(&it.auth, Some(SourceAuth::Basic { user, passwords })
        if user == "sailpoint" && passwords.len() == 1 && passwords[0].to_string() == "file:it.password"));

    let docusign = &tenant.connectors["docusign"];
    assert!(
        matches!(&docusign.plugin, PluginSource::File(file) if file == Path::new("/srv/exeunt/plugins/docusign.wasm"))
    );
    assert_eq!((docusign.mode, docusign.close_all), (Mode::Enforce, true));
    assert_eq!(
        docusign.settings,
        json!({"account_id": "1", "deep": {"list": [1, 2.5, {"on": true}]}})
    );
    assert_eq!(docusign.endpoints["esign"].as_str(), "https://demo.docusign.net");
    assert_eq!(
        docusign.reach.as_deref(),
        Some(&["close DELETE account".to_owned()][..])
    );
    assert_eq!(docusign.max_assertion, Some(Duration::from_secs(3650 * 86_400)));
    let second = &tenant.connectors["second"];
    assert_eq!(
        (second.mode, second.close_all, second.max_assertion),
        (Mode::DryRun, false, None)
    );
    assert_eq!((&second.settings, &second.reach), (&json!({}), &None));

    assert_eq!(
        tenant.policy.protected.matches("SVC-a@acme.example"),
        Some("svc-*@acme.example")
    );
    assert_eq!(
        (tenant.policy.breaker.closures, tenant.policy.breaker.per),
        (5, Duration::from_secs(600))
    );
}

#[test]
fn an_empty_file_is_a_tenant_with_the_default_policy() {
    let tenant = parse("").unwrap();
    assert!(
        tenant.sources.is_empty() && tenant.connectors.is_empty() && tenant.policy.protected.matches("a").is_none()
    );
    assert_eq!(
        (tenant.policy.breaker.closures, tenant.policy.breaker.per),
        (25, Duration::from_secs(3600))
    );
}

#[test]
fn later_checks_can_point_at_a_line() {
    let tenant = parse(WHOLE).unwrap();
    let docusign = &tenant.connectors["docusign"];
    let shown = |location: Location| location.to_string();
    assert_eq!(shown(docusign.at("")), "tenants/acme.toml:14: connectors.docusign");
    assert_eq!(
        shown(docusign.at("settings")),
        "tenants/acme.toml:17: connectors.docusign.settings"
    );
    assert_eq!(
        shown(docusign.at("keys.other")),
        "tenants/acme.toml:18: connectors.docusign.keys.other"
    );
    assert_eq!(
        shown(docusign.at("reach.0")),
        "tenants/acme.toml:20: connectors.docusign.reach.0"
    );
    let deep = docusign.settings_at("/deep/list/2/on");
    assert_eq!(
        shown(deep),
        "tenants/acme.toml:17: connectors.docusign.settings.deep.list.2.on"
    );
    assert_eq!(shown(docusign.settings_at("")), shown(docusign.at("settings")));
    assert_eq!(
        shown(tenant.connectors["second"].at("settings")),
        "tenants/acme.toml:24: connectors.second.settings"
    );
    assert_eq!(tenant.sources["hr"].at("leaver.attribute").line(), Some(5));
    assert_eq!(tenant.sources["it"].at("filter").line(), Some(11));
}

#[test]
fn settings_with_odd_names_have_a_place_too() {
    let config = connector("[connectors.c.settings]\n\"a/b\" = 1\n\"c.d\" = { \"~\" = 2 }").unwrap();
    assert_eq!(config.settings_at("/a~1b").line(), Some(4));
    assert_eq!(config.settings_at("/c.d/~0").line(), Some(5));
}

#[test]
fn a_key_has_one_secret_or_the_new_and_the_old_one() {
    let keys = |line: &str| {
        let connector = connector(line)?;
        Ok::<_, String>(
            connector.keys["signing"]
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(keys("keys = { signing = \"file:a.pem\" }").unwrap(), ["file:a.pem"]);
    let both = keys("keys = { signing = [\"file:new.pem\", \"env:EXEUNT_ACME_OLD\"] }");
    assert_eq!(both.unwrap(), ["file:new.pem", "env:EXEUNT_ACME_OLD"]);
    for list in ["[]", "[\"file:a\", \"file:b\", \"file:c\"]"] {
        let error = keys(&format!("keys = {{ signing = {list} }}")).unwrap_err();
        assert!(error.contains("must hold 1 to 2 secrets"), "{error}");
    }
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    for (text, expected) in [
        (
            "[connectors.c]\nplugin = 'p.wasm'\nmod = 'enforce'",
            "tenants/acme.toml:3: connectors.c.mod: unknown key; did you mean `mode`?",
        ),
        (
            "[conectors.c]",
            "tenants/acme.toml:1: conectors: unknown key; did you mean `connectors`?",
        ),
        (
            "zzz = 1",
            "tenants/acme.toml:1: zzz: unknown key; known: connectors, policy, require_signature, signers, sources",
        ),
        (
            "[policy]\n\nprotect = []",
            "tenants/acme.toml:3: policy.protect: unknown key; did you mean `protected`?",
        ),
        (
            "[policy]\nbreaker = { closures = 1, per = '1h', pre = 1 }",
            ":2: policy.breaker.pre: unknown key; did you mean `per`?",
        ),
        (
            "[sources.s]\nkind = 'sailpoint'\nfilter = '$.a'\nauth = { bearar = 'x' }",
            ":4: sources.s.auth.bearar: unknown key; did you mean `bearer`?",
        ),
        (
            "[sources.s]\nkind = 'sailpoint'\nfilter = '$.a'\nperson = { emial = '$.a' }",
            ":4: sources.s.person.emial: unknown key; did you mean `email`?",
        ),
        (
            "[sources.s]\nkind = 'sailpont'\nfilter = '$.a'",
            ":2: sources.s.kind: \"sailpont\" is not a kind of source; did you mean `sailpoint`?",
        ),
        (
            "[sources.s]\nkind = 'scim'\nfilter = '$.a'",
            "known: sailpoint, webhook",
        ),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_breaker_counts_up_to_its_limit_and_not_one_more() {
    let parse_limit = |closures: u32| {
        let text = format!("[policy]\nbreaker = {{ closures = {closures}, per = '1h' }}");
        parse(&text).map(|tenant| tenant.policy.breaker.closures)
    };
    assert_eq!(parse_limit(MAX_BREAKER_CLOSURES).unwrap(), MAX_BREAKER_CLOSURES);
    let error = parse_limit(MAX_BREAKER_CLOSURES + 1).unwrap_err();
    assert!(
        error.contains("policy.breaker.closures: must be from 1 to 100000"),
        "{error}"
    );
}

#[test]
fn what_bends_the_network_is_sent_to_the_hosts_file() {
    for key in ["ca", "connect_to", "private", "insecure", "proxy"] {
        for text in [
            format!("{key} = 1"),
            format!("[connectors.c]\nplugin = 'p.wasm'\n{key} = 'x'"),
            format!("[policy]\n{key} = []"),
        ] {
            let error = parse(&text).expect_err(&text);
            assert!(error.contains(&format!("`{key}` bends the network")), "{error}");
            assert!(error.contains("exeunt.toml under [tenants.acme]"), "{error}");
        }
    }
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_their_lines() {
    let error = parse(
        "[sources.s]\nkind = 3\nfilter = '$.a'\nconnectors = ['d']\n[connectors.c]\nmode = 'on'\nclose_all = 'yes'\n\
         endpoints = { e = 'http://h.example' }\n[policy]\nbreaker = { closures = 0 }",
    )
    .unwrap_err();
    let lines: Vec<&str> = error.lines().collect();
    let starts = [
        ":2: sources.s.kind: must be a string in quotes, is a whole number",
        ":4: sources.s.connectors.0: there is no [connectors.d]; ",
        ":5: connectors.c: `plugin` is missing; write plugin = \"NAME.wasm\"",
        ":6: connectors.c.mode: \"on\" is not a mode; known: dry-run, enforce",
        ":7: connectors.c.close_all: must be true or false, is a string",
        ":8: connectors.c.endpoints.e: is not https; write https://h.example",
        ":10: policy.breaker: `per` is missing; write breaker = { closures = 25, per = \"1h\" }",
        ":10: policy.breaker.closures: must be from 1 to",
    ];
    assert_eq!(lines.len(), starts.len(), "{error}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(&format!("tenants/acme.toml{start}")), "{line}");
    }
}

#[test]
fn broken_toml_names_its_line() {
    for text in [
        "[connectors.c\nx = 1",
        "a = 1\na = 2",
        "\n\nx = \"open",
        "= 1",
        "[connectors.c]\n[connectors.c]",
    ] {
        let error = parse(text).expect_err(text);
        assert!(
            error.contains("not valid TOML: ") && error.starts_with("tenants/acme.toml:"),
            "{text}: {error}"
        );
    }
    assert!(parse("a = 1\na = 2").unwrap_err().starts_with("tenants/acme.toml:2: "));
    assert!(
        parse("\n\nx = \"open")
            .unwrap_err()
            .starts_with("tenants/acme.toml:3: ")
    );
}

#[test]
fn plugins_are_files_below_the_folder_of_plugins() {
    for (plugin, expected) in [
        ("../p.wasm", "must name a file below /srv/exeunt/plugins"),
        ("a/../../p.wasm", "must name a file below"),
        ("/p.wasm", "must name a file below"),
        ("", "must name a file below"),
        ("a\\\\b", "must name a file below"),
        ("oci://ghcr.io/x@sha256:00", "has no digest after the `@`"),
    ] {
        let error = parse(&format!("[connectors.c]\nplugin = \"{plugin}\"")).expect_err(plugin);
        assert!(
            error.contains(":2: connectors.c.plugin: ") && error.contains(expected),
            "{plugin}: {error}"
        );
    }
}

#[test]
fn settings_become_json_or_say_why_not() {
    assert_eq!(
        connector("settings = { a = 0x10, b = -1, c = 1e3 }").unwrap().settings,
        json!({"a": 16, "b": -1, "c": 1000.0})
    );
    for (lines, expected) in [
        (
            "settings = { a = { b = 2026-01-01 } }",
            ":3: connectors.c.settings.a.b: must be a string in quotes",
        ),
        (
            "settings = { a = [1, inf] }",
            ":3: connectors.c.settings.a.1: must be a finite number",
        ),
        (
            "settings = { a = 99999999999999999999 }",
            "connectors.c.settings.a: must be a number of at most 64 bits",
        ),
        ("settings = []", "connectors.c.settings: must be a table, is a list"),
        (
            "keys = { Signing = 'file:a' }",
            "connectors.c.keys.Signing: is not a name",
        ),
        ("keys = { signing = 3 }", "connectors.c.keys.signing: must be a string"),
        (
            "endpoints = { 'a b' = 'https://h.example' }",
            "connectors.c.endpoints.\"a b\": is not a name",
        ),
        ("max_assertion = 3600", "must be a string in quotes, is a whole number"),
        ("max_assertion = '1y'", "is not a duration"),
        ("reach = [1]", ":3: connectors.c.reach.0: must be a string"),
    ] {
        let error = connector(lines).expect_err(lines);
        assert!(error.contains(expected), "{lines}: {error}");
    }
}

#[test]
fn a_webhook_source_says_what_a_leaver_is_and_who() {
    let webhook = |lines: &str| {
        parse(&format!("[sources.s]\nkind = \"webhook\"\n{lines}\n"))
            .map(|mut tenant| tenant.sources.remove("s").unwrap())
    };
    let whole = "filter = '$'\nperson = { email = '$.email' }\nid = '$.id'\ntime = '$.at'\nmax_age = '2d'\n\
                 auth = { webhook = ['file:a', 'env:EXEUNT_ACME_B'] }";
    let source = webhook(whole).unwrap();
    assert_eq!(source.kind, SourceKind::Webhook);
    assert_eq!(
        (source.id.as_deref(), source.time.as_deref()),
        (Some("$.id"), Some("$.at"))
    );
    assert_eq!(source.max_age, Duration::from_secs(2 * 86_400));
    assert_eq!(secrets(&source), ["file:a", "env:EXEUNT_ACME_B"]);
    for (lines, expected) in [
        ("person = { email = '$.a' }", ":1: sources.s: `filter` is missing"),
        (
            "filter = '$'",
            ":1: sources.s: does not say where an event names the person",
        ),
        (
            "filter = '$'\nperson = { name = '$.a' }",
            "does not say where an event names the person",
        ),
        (
            "leaver = { attribute = 'a', becomes = ['b'] }\nfilter = '$'\nperson = { target_id = '$.a' }",
            ":3: sources.s.leaver: is for the kind `sailpoint`",
        ),
    ] {
        let error = webhook(lines).expect_err(lines);
        assert!(error.contains(expected), "{lines}: {error}");
    }
}

#[test]
fn a_source_may_have_eight_secrets_and_not_nine() {
    let many = |count: usize| {
        source(&format!(
            "filter = '$.a'\nauth = {{ bearer = [{}] }}",
            vec!["'file:a'"; count].join(", ")
        ))
    };
    assert!(many(MAX_SOURCE_SECRETS).is_ok());
    assert!(many(MAX_SOURCE_SECRETS + 1).unwrap_err().contains("1 to 8 secrets"));
}

#[test]
fn sources_say_what_they_lack() {
    for (lines, expected) in [
        (
            "",
            ":1: sources.s: does not say which events are leavers; write leaver = ",
        ),
        (
            "filter = '$.a'\nleaver = { attribute = 'a', becomes = ['b'] }",
            ":3: sources.s.filter: stands beside `leaver`",
        ),
        ("leaver = { attribute = 'a' }", "`becomes` is missing"),
        ("leaver = { becomes = ['a'] }", "`attribute` is missing"),
        (
            "leaver = { attribute = ' ', becomes = ['a'] }",
            "leaver.attribute: is empty",
        ),
        ("leaver = { attribute = 'a', becomes = [] }", "nobody would ever leave"),
        (
            &format!("leaver = {{ attribute = 'a', becomes = ['{}'] }}", "x".repeat(1025)),
            "becomes.0: is over 1024 bytes",
        ),
        (
            &format!("leaver = {{ attribute = '{}', becomes = ['x'] }}", "x".repeat(1025)),
            "attribute: is over 1024 bytes",
        ),
        ("leaver = { attribute = 'a', becomes = [''] }", "becomes.0: is empty"),
        (
            "leaver = { attribute = 'a', becomes = [[1]] }",
            "becomes.0: must be a string, a decimal number, true or false, is a list",
        ),
        (
            "leaver = { attribute = 'a', becomes = [nan] }",
            "becomes.0: must be a string, a number",
        ),
        (
            "leaver = { attribute = 'a', becomes = 'b' }",
            "must be a list in square brackets",
        ),
        (
            "filter = '$.a'\nauth = {}",
            "has none of `bearer`, `basic` and `webhook`",
        ),
        (
            "filter = '$.a'\nauth = { bearer = 'file:a', basic = { user = 'u', password = 'file:b' } }",
            "has more than one of `bearer`, `basic` and `webhook`",
        ),
        (
            "filter = '$.a'\nauth = { basic = { user = 'a:b', password = 'file:b' } }",
            "holds a colon",
        ),
        (
            "filter = '$.a'\nauth = { basic = { user = 'u' } }",
            "`password` is missing",
        ),
        (
            "filter = '$.a'\nauth = { bearer = 'file:../x' }",
            "reaches outside the tenant",
        ),
        (
            "filter = '$.a'\nauth = { bearer = [] }",
            "auth.bearer: must hold 1 to 8 secrets",
        ),
        (
            "filter = '$.a'\nauth = { webhook = ['file:a', 'b'] }",
            "auth.webhook.1: must say where the secret is",
        ),
        (
            "filter = '$.a'\nauth = { webhook = 1 }",
            "auth.webhook: must be a string",
        ),
        (
            "filter = '$.a'\nmax_age = '1d'",
            "max_age: has no effect without `time`",
        ),
        ("filter = '$.a'\ntime = '$.t'\nmax_age = '0d'", "max_age: is zero"),
        ("filter = '$.a'\nid = 1", "sources.s.id: must be a string"),
        ("filter = '$.a'\nconnectors = []", "names no connector"),
        (
            "filter = '$.a'\nperson = { email = 1 }",
            "person.email: must be a string",
        ),
    ] {
        let error = source(lines).expect_err(lines);
        assert!(error.contains(expected), "{lines}: {error}");
    }
    let twice =
        "[sources.s]\nkind = 'sailpoint'\nfilter = '$.a'\nconnectors = ['c', 'c']\n[connectors.c]\nplugin = 'p'";
    assert!(parse(twice).unwrap_err().contains("named twice"));
    let near = twice
        .replace("['c', 'c']", "['docusing']")
        .replace("connectors.c", "connectors.docusign");
    assert!(parse(&near).unwrap_err().contains("did you mean `docusign`?"));
}

#[test]
fn names_of_tenants_and_tables_are_plain() {
    let host = HostConfig::default_for(Path::new("."));
    for file in [
        "tenants/Acme.toml",
        "tenants/a_b.toml",
        "tenants/.toml",
        "tenants/acme.json",
        "tenants/1a.toml",
        "tenants/acme",
    ] {
        let error = Tenant::parse("", Path::new(file), &host).unwrap_err().to_string();
        assert!(
            error.starts_with(file) && error.contains("does not name a tenant"),
            "{error}"
        );
    }
    assert!(
        parse("[connectors.C]\nplugin = 'p'")
            .unwrap_err()
            .contains("connectors.C: is not a name")
    );
    assert!(
        parse("[sources]\ns = 1")
            .unwrap_err()
            .contains(":2: sources.s: must be a table")
    );
}

#[test]
fn endpoints_use_the_grants_of_their_own_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("exeunt.toml");
    std::fs::write(&file, "[tenants.acme]\nprivate = ['10.0.0.5:443']\n").unwrap();
    let host = HostConfig::load(&file).unwrap();
    let text = "[connectors.c]\nplugin = 'p'\nendpoints = { e = 'https://10.0.0.5' }";
    let tenant = Tenant::parse(text, Path::new("tenants/acme.toml"), &host).unwrap();
    let address: SocketAddr = "10.0.0.5:443".parse().unwrap();
    assert_eq!(tenant.connectors["c"].endpoints["e"].address(), Some(address));
    assert!(tenant.grants.allows_private(address));
    assert!(Tenant::parse(text, Path::new("tenants/other.toml"), &host).is_err());
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let host = HostConfig::default_for(folder.path());
    let file = folder.path().join("acme.toml");
    let load = || Tenant::load(&file, &host).map_err(|error| error.to_string());
    assert!(load().unwrap_err().contains("acme.toml: cannot be read"));
    std::fs::write(&file, b"a = \"\xff\"").unwrap();
    assert!(load().unwrap_err().contains("not UTF-8"));
    // As one is for a moment that is just being written.
    std::fs::write(&file, b"").unwrap();
    assert!(load().unwrap_err().contains("has no [connectors.NAME]"));
    let limit = usize::try_from(MAX_CONFIG_BYTES).unwrap();
    let whole = |bytes: usize| {
        let connector = "[connectors.docusign]\nplugin = 'p'\n";
        connector.to_owned() + &"\n".repeat(bytes - connector.len())
    };
    std::fs::write(&file, whole(limit)).unwrap();
    load().unwrap();
    std::fs::write(&file, whole(limit + 1)).unwrap();
    assert!(load().unwrap_err().contains("over 2097152 bytes"));
}

#[test]
fn names_and_values_of_a_rule_have_their_length() {
    let text = |bytes: usize| {
        let long = "x".repeat(bytes);
        format!(
            "[sources.hr]\nkind = 'sailpoint'\nleaver = {{ attribute = '{long}', becomes = ['{long}'] }}\n\
             [connectors.c]\nplugin = 'p'"
        )
    };
    parse(&text(1024)).unwrap();
    assert_eq!(parse(&text(1025)).unwrap_err().matches("is over 1024 bytes").count(), 2);
}

#[test]
fn of_very_many_unknown_keys_a_hundred_are_told() {
    let text: String = (0..150).map(|number| format!("key{number} = 1\n")).collect();
    assert_eq!(parse(&text).unwrap_err().lines().count(), 100);
}

#[test]
fn limits_of_lists_hold_at_and_one_past() {
    let policy = |patterns: Vec<String>| parse(&format!("[policy]\nprotected = {patterns:?}"));
    assert!(policy(vec!["a".to_owned(); MAX_PATTERNS]).is_ok());
    assert!(
        policy(vec!["a".to_owned(); MAX_PATTERNS + 1])
            .unwrap_err()
            .contains("over 10000 patterns")
    );
    assert!(policy(vec!["a*".repeat(MAX_PATTERN_STARS)]).is_ok());
    assert!(
        policy(vec!["a*".repeat(MAX_PATTERN_STARS + 1)])
            .unwrap_err()
            .to_string()
            .contains("has over 8 `*`")
    );
    assert!(policy(vec!["a".repeat(MAX_PATTERN_BYTES)]).is_ok());
    assert!(
        policy(vec!["a".repeat(MAX_PATTERN_BYTES + 1)])
            .unwrap_err()
            .contains("over 320 bytes")
    );
    assert!(policy(vec![" ".to_owned()]).unwrap_err().contains("protect nobody"));
    let becomes = |count: usize| {
        source(&format!(
            "leaver = {{ attribute = 'a', becomes = {:?} }}",
            vec![1; count]
        ))
    };
    assert!(becomes(100).is_ok());
    assert!(becomes(101).unwrap_err().contains("over 100 values"));
    let person = |count: usize| {
        let fields: Vec<String> = (0..count).map(|n| format!("attribute-{n} = '$.a'")).collect();
        source(&format!("filter = '$.a'\nperson = {{ {} }}", fields.join(", ")))
    };
    assert!(person(32).is_ok());
    assert!(person(33).unwrap_err().contains("over 32 attributes"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_its_file(text in "(\\[|\\]|connectors|sources|policy|\\.a|=|'x'|\\{|\\}|1|\\n|,|\\PC){0,30}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.lines().all(|line| line.starts_with("tenants/acme.toml")), "{}", error);
        }
    }

    #[test]
    fn a_file_with_one_place_changed_is_read_or_refused(at in 0..WHOLE.len(), with in "\\PC{0,3}") {
        let mut text = WHOLE.to_owned();
        text.replace_range(at..at + 1, &with);
        drop(parse(&text));
    }
}

#[test]
fn a_tenant_has_as_many_connectors_as_an_event_has_jobs_and_not_one_more() {
    let host = HostConfig::default_for(Path::new("/nowhere"));
    let parse = |count: usize| {
        let one = |number| format!("[connectors.c{number}]\nplugin = 'p.wasm'\n");
        let text: String = (0..count).map(one).collect();
        Tenant::parse(&text, Path::new("/nowhere/tenants/acme.toml"), &host)
    };
    assert_eq!(parse(MAX_CONNECTORS).unwrap().connectors.len(), MAX_CONNECTORS);
    let error = parse(MAX_CONNECTORS + 1).unwrap_err().to_string();
    assert!(error.contains("has 65 connectors, at most 64"), "{error}");
}

#[test]
fn a_connector_may_have_its_own_concurrency() {
    let host = HostConfig::default_for(Path::new("/nowhere"));
    let parse = |line: &str| {
        let text = format!("[connectors.c]\nplugin = 'p.wasm'\n{line}");
        Tenant::parse(&text, Path::new("/nowhere/tenants/acme.toml"), &host)
    };
    assert_eq!(parse("").unwrap().connectors["c"].concurrency, None);
    assert_eq!(parse("concurrency = 2").unwrap().connectors["c"].concurrency, Some(2));
    let error = parse("concurrency = 0").unwrap_err().to_string();
    assert!(error.contains("must be from 1"), "{error}");
}
