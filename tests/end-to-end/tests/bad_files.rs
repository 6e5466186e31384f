//! Mistakes in the files of an operator: what is wrong, where, what to write instead, and nothing half done.

use docusign_sim::{Options, Status};
use end_to_end::{World, event, pem, says};

const ANN: &str = "ann.english@acme.example";

/// Replaces a piece of the tenant file; the run must not begin, and say this.
async fn misused(cases: &[(&str, &str, &[&str])]) {
    let world = World::new().await;
    let ann = world.user(ANN);
    let good = world.tenant_file();
    for (from, to, said) in cases {
        world.write("tenants/acme.toml", &good);
        world.edit(from, to);
        world.run(&event(ANN)).await.was_misused(said);
    }
    assert_eq!(world.status(&ann), Status::Active);
    world.was_not_asked();
}

#[tokio::test]
async fn an_unknown_key_is_named_with_its_line_and_the_nearest_one() {
    misused(&[
        (
            "mode =",
            "mod =",
            &["tenants/acme.toml:7", "connectors.docusign.mod", "did you mean `mode`?"],
        ),
        (
            "[policy]",
            "[polici]",
            &["tenants/acme.toml:12", "did you mean `policy`?"],
        ),
        (
            "protected =",
            "proteced =",
            &["tenants/acme.toml:13", "did you mean `protected`?"],
        ),
        (
            "[sources.hr]",
            "[source.hr]",
            &["tenants/acme.toml:1", "did you mean `sources`?"],
        ),
        (
            "attribute =",
            "atribute =",
            &["tenants/acme.toml:3", "did you mean `attribute`?"],
        ),
        ("keys =", "key =", &["tenants/acme.toml:9", "did you mean `keys`?"]),
    ])
    .await;
}

#[tokio::test]
async fn all_mistakes_are_told_at_once() {
    let world = World::new().await;
    world.edit("mode =", "mod =");
    world.edit("protected =", "proteced =");
    world.edit("https://demo", "http://demo");
    world
        .run(&event(ANN))
        .await
        .was_misused(&["acme.toml:7", "acme.toml:10", "acme.toml:13", "is not https"]);
}

#[tokio::test]
async fn a_file_that_is_not_toml_is_told_with_its_line() {
    misused(&[
        ("[policy]", "[policy", &["tenants/acme.toml:12", "not valid TOML"]),
        (
            "mode = \"enforce\"",
            "mode = \"enforce\"\nmode = \"dry-run\"",
            &["tenants/acme.toml:8", "not valid TOML"],
        ),
        (
            "\"enforce\"",
            "\"enforced\"",
            &["tenants/acme.toml:7", "did you mean `enforce`?"],
        ),
        (
            "\"enforce\"",
            "true",
            &["tenants/acme.toml:7", "must be a string in quotes, is true or false"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let world = World::new().await;
    let arguments = ["run", "--tenant", "tenants/amce.toml", "--source", "hr", "--event", "-"];
    world
        .exeunt(&arguments, &event(ANN))
        .await
        .was_misused(&["tenants/amce.toml", "cannot be read"]);
    let arguments = [
        "run",
        "--tenant",
        "tenants/acme.toml",
        "--source",
        "hr",
        "--event",
        "none.json",
    ];
    world.exeunt(&arguments, b"").await.was_misused(&["none.json"]);
    world.was_not_asked();
}

#[tokio::test]
async fn settings_are_held_against_the_plugins_schema() {
    let world = World::new().await;
    let (account, user) = (
        world.simulator.account_id().to_owned(),
        world.simulator.user_id().to_owned(),
    );
    let cases: [(&str, &str, &[&str]); 7] = [
        (
            &account,
            "12345678",
            &[
                "tenants/acme.toml:8",
                "settings.account_id",
                "not the short account number",
            ],
        ),
        (
            &user,
            "api@acme.example",
            &["settings.user_id", "never an e-mail address"],
        ),
        (
            "account_id =",
            "acount_id =",
            &["tenants/acme.toml:8", "acount_id", "account_id"],
        ),
        (
            "settings = { ",
            "settings = { also_remove = [\"Everything\"], ",
            &["settings.also_remove.0", "Groups"],
        ),
        (
            "settings = { ",
            "settings = { also_remove = \"Groups\", ",
            &["settings.also_remove", "array"],
        ),
        (
            "settings = { ",
            "settings = { acount_id = \"x\", ",
            &["acount_id", "did you mean `account_id`?"],
        ),
        (
            "settings = { ",
            "settings = { wire = \"fax\", ",
            &["settings.wire", "article"],
        ),
    ];
    for (from, to, said) in cases {
        world.write("tenants/acme.toml", &world.tenant_file());
        world.edit(from, to);
        world.run(&event(ANN)).await.was_misused(said);
    }
    world.was_not_asked();
}

#[tokio::test]
async fn an_endpoint_is_an_https_url_and_nothing_more() {
    let esign = "https://demo.docusign.net";
    misused(&[
        (
            esign,
            "http://demo.docusign.net",
            &["acme.toml:10", "endpoints.esign", "is not https; write https://demo"],
        ),
        (esign, "https://demo.docusign.net/?a=b", &["has a query"]),
        (esign, "https://demo.docusign.net/#top", &["has a fragment"]),
        (
            esign,
            "https://user:secret@demo.docusign.net",
            &["has user info", "`keys`"],
        ),
        (esign, "demo.docusign.net", &["write https://HOST"]),
        (esign, "ftp://demo.docusign.net", &["ftp"]),
        (esign, "https://demo.docusign.net/a/../b", &["segment `..`"]),
        (
            esign,
            "https://127.0.0.1",
            &["has an address for a host", "private = [\"127.0.0.1:443\"]"],
        ),
        (esign, "https://[::ffff:127.0.0.1]", &["has an address for a host"]),
        (esign, "https://0x7f.1", &["has an address for a host"]),
        (esign, "https://demo.docusign.net:0", &["port 0"]),
        ("esign =", "esing =", &["endpoint `esing`", "did you mean `esign`?"]),
        (
            ", esign = \"https://demo.docusign.net\"",
            "",
            &["endpoint `esign`", "is not bound", "base_uri"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_secret_is_never_written_in_a_message() {
    let world = World::new().await;
    world.edit("file:docusign.pem", "hunter2-and-some-more");
    let ran = world.run(&event(ANN)).await;
    ran.was_misused(&[
        "acme.toml:9",
        "keys.signing",
        "must say where the secret is",
        "file:NAME",
    ]);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    world.was_not_asked();
}

#[tokio::test]
async fn references_that_reach_outside_the_tenant_are_refused() {
    let key = "file:docusign.pem";
    misused(&[
        (
            key,
            "file:../other/docusign.pem",
            &["acme.toml:9", "reaches outside the tenant"],
        ),
        (
            key,
            "file:/etc/ssl/private/key.pem",
            &["reaches outside the tenant", "file:NAME"],
        ),
        (key, "file:sub/../../other.pem", &["reaches outside the tenant"]),
        (key, "file:", &["reaches outside the tenant"]),
        (key, "env:HOME", &["reaches outside the tenant", "env:EXEUNT_ACME_NAME"]),
        (key, "env:EXEUNT_OTHER_KEY", &["reaches outside the tenant"]),
        (key, "env:EXEUNT_ACME_", &["reaches outside the tenant"]),
        (key, "env:EXEUNT_ACME_KEY", &["EXEUNT_ACME_KEY is not set"]),
        (key, "file:docusing.pem", &["there is no file", "docusing.pem"]),
        (
            "keys = { signing = \"file:docusign.pem\" }\n",
            "",
            &["key `signing`", "is missing", "keys = { signing"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_link_out_of_the_tenants_folder_is_refused() {
    let world = World::new().await;
    let outside = world.write_secret("tenants/other/key.pem", world.simulator.private_key_pem());
    std::os::unix::fs::symlink(outside, world.root().join("tenants/acme/link.pem")).expect("a link");
    world.edit("file:docusign.pem", "file:link.pem");
    world
        .run(&event(ANN))
        .await
        .was_misused(&["reaches outside the tenant", "it is a link"]);
    world.was_not_asked();
}

#[tokio::test]
async fn a_neighbours_variable_is_refused() {
    let world = World::new().await;
    world.write("tenants/acme-eu.toml", "");
    world.edit("file:docusign.pem", "env:EXEUNT_ACME_EU_KEY");
    world
        .run(&event(ANN))
        .await
        .was_misused(&["reaches outside the tenant", "`acme-eu`"]);
}

#[tokio::test]
async fn a_private_key_works_from_a_variable() {
    let world = World::new().await;
    let _ = world.user(ANN);
    world.edit("file:docusign.pem", "env:EXEUNT_ACME_KEY");
    let variables = [("EXEUNT_ACME_KEY", world.simulator.private_key_pem())];
    world.run_among(&event(ANN), &variables).await.ended("closed", 0);
}

#[tokio::test]
async fn a_private_key_works_as_pkcs_8_and_as_pkcs_1() {
    let world = World::new().await;
    let pkcs8 = world.simulator.private_key_pem();
    for (number, form) in [pkcs8.to_owned(), pem::pkcs1(pkcs8), pkcs8.replace('\n', "\r\n")]
        .into_iter()
        .enumerate()
    {
        let email = format!("person{number}@acme.example");
        let _ = world.user(&email);
        world.write_secret("tenants/acme/docusign.pem", &form);
        world.run(&event(&email)).await.ended("closed", 0);
    }
}

#[tokio::test]
async fn what_is_no_private_key_is_told_what_it_is() {
    let world = World::new().await;
    let good = world.simulator.private_key_pem();
    let body: String = good.lines().filter(|line| !line.starts_with('-')).collect();
    let encrypted = good.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let head = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00";
    let legacy = pem::pkcs1(good).replace("-----BEGIN RSA PRIVATE KEY-----", head);
    let cases = [
        (good[..good.len() / 2].to_owned(), "is cut off or damaged"),
        (
            good.lines()
                .filter(|line| !line.contains("END"))
                .collect::<Vec<_>>()
                .join("\n"),
            "the END line is missing",
        ),
        (pem::pem("PRIVATE KEY", &pem::der(good)[..600]), "is cut off or damaged"),
        (encrypted, "encrypted with a passphrase (PKCS#8)"),
        (legacy, "encrypted with a passphrase (legacy PEM)"),
        (pem::public_key(good), "is a public key"),
        (world.simulator.ca_pem().to_owned(), "is a certificate"),
        (good.replace('\n', "\\n"), r"the two characters `\n`"),
        (body, "is not PEM"),
        ("\n".to_owned(), "is empty"),
    ];
    for (text, said) in cases {
        world.write_secret("tenants/acme/docusign.pem", &text);
        let ran = world.run(&event(ANN)).await;
        ran.was_misused(&["acme.toml:9", "keys.signing", said]);
        let line = good.lines().nth(1).expect("a line of the key");
        assert!(!ran.stderr.contains(line), "{}", ran.stderr);
    }
    world.was_not_asked();
}

#[tokio::test]
async fn a_key_that_others_may_read_is_refused_with_the_command_to_run() {
    let world = World::new().await;
    let path = world.write("tenants/acme/docusign.pem", world.simulator.private_key_pem());
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("permissions");
    world
        .run(&event(ANN))
        .await
        .was_misused(&["mode 644", "run: chmod 600"]);
    world.was_not_asked();
}

#[tokio::test]
async fn a_tenant_cannot_bend_the_network_itself() {
    misused(&[
        (
            "[policy]",
            "[connect_to]\n\"demo.docusign.net\" = \"127.0.0.1:1\"\n[policy]",
            &["acme.toml:12", "connect_to", "exeunt.toml under [tenants.acme]"],
        ),
        (
            "[sources.hr]",
            "ca = \"file:ca.pem\"\n[sources.hr]",
            &["acme.toml:1", "exeunt.toml under [tenants.acme]"],
        ),
        (
            "[sources.hr]",
            "private = []\n[sources.hr]",
            &["exeunt.toml under [tenants.acme]"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_grant_to_another_tenant_does_not_count() {
    let world = World::new().await;
    let ann = world.user(ANN);
    // A name that needs no network, and leads where the simulator listens.
    let other = world.host_file().replace("[tenants.acme]", "[tenants.other]");
    world.write("exeunt.toml", &other);
    world.edit("https://account-d.docusign.com", "https://localhost");
    world.edit("https://demo.docusign.net", "https://localhost");
    let said = ["denied", "not a public address", "loopback"];
    world.run(&event(ANN)).await.ended_because("parked", 4, &said);
    assert_eq!(world.status(&ann), Status::Active);
    world.was_not_asked();
}

/// What is wrong stands in the host's file, and the tenant's name alone would not lead there.
#[tokio::test]
async fn what_the_hosts_file_leads_to_is_named_where_nothing_was_reached() {
    let world = World::new().await;
    let host = world.host_file();
    let address = world.simulator.account_addr().to_string();
    world.write("exeunt.toml", &host.replace(&address, "127.0.0.1:1"));
    let check = ["check", "--tenant", "tenants/acme.toml"];
    let quiet = [("EXEUNT_LOG", "")];
    let ran = world.exeunt_with(&check, b"", &quiet).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    says(&ran.stdout, &["at 127.0.0.1:1, where `connect_to` leads: "]);
    let of_nobody = host.replace("ca = ", "# ca = ") + "\n[tenants.acmee]\nprivate = []\n";
    world.write("exeunt.toml", &of_nobody);
    let ran = world.exeunt_with(&check, b"", &quiet).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    says(
        &ran.stdout,
        &[
            "UnknownIssuer",
            "names its authority as `ca` under [tenants.acme] in exeunt.toml",
        ],
    );
    says(&ran.stderr, &["[tenants.acmee]", "to nobody", "tenants/acmee.toml"]);
    assert!(!ran.stderr.contains("ERROR"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_hosts_own_file_is_checked_as_well() {
    let world = World::new().await;
    let good = world.host_file();
    let cases: [(&str, &str, &[&str]); 5] = [
        (
            "connect_to",
            "conect_to",
            &["exeunt.toml:4", "did you mean `connect_to`?"],
        ),
        (
            "file:ca.pem",
            "file:cb.pem",
            &["exeunt.toml:3", "cb.pem cannot be read"],
        ),
        (
            "file:ca.pem",
            "file:tenants/acme/docusign.pem",
            &["holds no certificate"],
        ),
        (
            "\"demo.docusign.net\" = \"",
            "\"demo.docusign.net\" = \"x",
            &["exeunt.toml:4", "is not an address with a port"],
        ),
        ("plugins = ", "plugin = ", &["exeunt.toml:1", "did you mean `plugins`?"]),
    ];
    for (from, to, said) in cases {
        world.write("exeunt.toml", &good.replacen(from, to, 1));
        world.run(&event(ANN)).await.was_misused(said);
    }
    world.was_not_asked();
}

#[tokio::test]
async fn a_plugin_that_is_none_is_told_what_it_is() {
    let world = World::new().await;
    let component = std::fs::read(end_to_end::plugins().join("docusign.wasm")).expect("the plugin");
    let core = std::fs::read(end_to_end::plugins().join("core/docusign.wasm")).expect("the core module");
    let files: [(&str, &[u8], &str); 5] = [
        ("text.wasm", b"hello", "is not WebAssembly"),
        ("empty.wasm", b"", "is not WebAssembly"),
        ("core.wasm", &core, "exeunt plugin build"),
        (
            "cut.wasm",
            &component[..component.len() / 2],
            "cut.wasm is not admitted",
        ),
        ("other.wasm", b"\0asm\x0d\0\x01\0", "is not a connector"),
    ];
    world.write(
        "exeunt.toml",
        &world.host_file().replacen("plugins = ", "plugins = \"plugins\" # ", 1),
    );
    for (name, bytes, said) in files {
        world.write("plugins/README", "");
        std::fs::write(world.root().join("plugins").join(name), bytes).expect("a plugin");
        world.write("tenants/acme.toml", &world.tenant_file());
        world.edit("docusign.wasm", name);
        world
            .run(&event(ANN))
            .await
            .was_misused(&["acme.toml:6", "connectors.docusign.plugin", name, said]);
    }
    for (name, said) in [
        ("none.wasm", "cannot read the plugin"),
        ("../docusign.wasm", "must name a file below"),
    ] {
        world.write("tenants/acme.toml", &world.tenant_file());
        world.edit("docusign.wasm", name);
        world.run(&event(ANN)).await.was_misused(&["acme.toml:6", said]);
    }
    world.was_not_asked();
}

#[tokio::test]
async fn a_filter_in_another_dialect_is_refused_with_the_one_to_write() {
    let rule = "leaver = { attribute = \"userStatus\", becomes = [\"inactive\"] }";
    misused(&[
        (
            rule,
            "filter = \"$.identity[?(@.name =~ /ann/)]\"",
            &["acme.toml:3", "sources.hr.filter"],
        ),
        (
            rule,
            "filter = \"$[?(@.eventType == 'ACCOUNT_UPDATED')]\"",
            &["acme.toml:3", "$.eventType"],
        ),
        (rule, "filter = \"not a path\"", &["acme.toml:3", "sources.hr.filter"]),
    ])
    .await;
}

#[tokio::test]
async fn one_wrong_connector_stops_the_right_one_too() {
    let world = World::with(Options::default()).await;
    let ann = world.user(ANN);
    let second = world
        .tenant_file()
        .split_once("[connectors.docusign]")
        .map(|(_, rest)| rest.to_owned());
    let second = second.and_then(|rest| rest.split_once("[policy]").map(|(table, _)| table.to_owned()));
    let second = second
        .expect("a connector")
        .replace("file:docusign.pem", "file:none.pem");
    world.edit("[policy]", &format!("[connectors.second]{second}\n[policy]"));
    world
        .run(&event(ANN))
        .await
        .was_misused(&["connectors.second.keys.signing", "none.pem"]);
    assert_eq!(world.status(&ann), Status::Active);
    world.was_not_asked();
}
