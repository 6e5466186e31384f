//! The other commands: check, plugin, demo.

use docusign_sim::{Fault, FaultKind, LimitKind, Origin, User};
use end_to_end::{Ran, World, plugins, says};
use serde_json::Value;

async fn check(world: &World) -> Ran {
    world.exeunt(&["check", "--tenant", "tenants/acme.toml"], b"").await
}

#[tokio::test]
async fn a_check_of_what_is_well_says_what_it_did() {
    let world = World::new().await;
    for number in 0..120 {
        let _ = world.user(&format!("person{number}@acme.example"));
    }
    let ran = check(&world).await;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    says(
        &ran.stdout,
        &[
            "tenant     acme: tenants/acme.toml\n",
            "source     hr: feeds docusign\n",
            "connector  docusign: docusign 0.1.0, sha256:",
            "POST account /oauth/token: 200\n",
            "GET account /oauth/userinfo: 200\n",
            "the first page has 100 accounts\n",
        ],
    );
    assert!(!ran.stdout.contains("dry-run"));
    world.was_only_read();
    assert_eq!(world.seen("GET", "/users").len(), 1, "one page is enough");

    let named = world.exeunt(&["check", "--tenant", "acme"], b"").await;
    assert_eq!(
        (named.code, named.stdout.replace("./tenants", "tenants")),
        (0, ran.stdout)
    );
    let nobody = world.exeunt(&["check", "--tenant", "acmee"], b"").await;
    nobody.was_misused(&["tenants/acmee.toml"]);
}

#[tokio::test]
async fn a_check_says_that_a_dry_run_closes_nothing() {
    let world = World::new().await;
    world.edit("mode = \"enforce\"\n", "");
    let ran = check(&world).await;
    assert_eq!(ran.code, 0);
    says(
        &ran.stdout,
        &["mode is dry-run: nothing will be closed until the file says mode = \"enforce\""],
    );
}

#[tokio::test]
async fn a_check_of_wrong_files_is_a_usage_error() {
    let world = World::new().await;
    let edits: [(&str, &str, &[&str]); 5] = [
        ("mode =", "mod =", &["acme.toml:7", "did you mean `mode`?"]),
        (
            "docusign.wasm",
            "docusing.wasm",
            &["acme.toml:6", "cannot read the plugin"],
        ),
        (
            "file:docusign.pem",
            "file:none.pem",
            &["acme.toml:9", "there is no file"],
        ),
        (
            "account_id = \"",
            "account_id = \"x",
            &["acme.toml:8", "settings.account_id"],
        ),
        ("https://demo", "http://demo", &["acme.toml:10", "is not https"]),
    ];
    for (from, to, said) in edits {
        world.write("tenants/acme.toml", &world.tenant_file());
        world.edit(from, to);
        let ran = check(&world).await;
        assert_eq!(ran.code, 2, "{}", ran.stdout);
        says(&ran.stderr, said);
    }
    world.was_not_asked();
    world.write("tenants/acme.toml", &world.tenant_file());
    world.edit(
        "leaver = { attribute = \"userStatus\", becomes = [\"inactive\"] }",
        "filter = \"$[\"",
    );
    let ran = check(&world).await;
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    says(&ran.stderr, &["acme.toml:3", "filter"]);
}

#[tokio::test]
async fn a_check_names_every_mistake_and_still_tries_what_is_well() {
    let world = World::new().await;
    let file = world.tenant_file();
    let (_, connector) = file.split_once("[connectors.docusign]").expect("a connector");
    let (connector, _) = connector.split_once("[policy]").expect("a policy");
    let second = connector.replace("docusign.wasm", "none.wasm");
    let third = connector.replace("file:docusign.pem", "file:none.pem");
    world.edit(
        "[policy]",
        &format!("[connectors.second]{second}\n[connectors.third]{third}\n[policy]"),
    );
    let auth = "kind = \"sailpoint\"\nauth = { bearer = \"env:EXEUNT_ACME_HR_TOKEN\" }";
    world.edit("kind = \"sailpoint\"", auth);
    let ran = check(&world).await;
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    let mistakes = [
        "sources.hr.auth.bearer",
        "EXEUNT_ACME_HR_TOKEN",
        "connectors.second.plugin",
        "none.wasm",
        "connectors.third.keys.signing",
        "none.pem",
    ];
    says(&ran.stderr, &mistakes);
    says(&ran.stdout, &["connector  docusign: ", "the first page has "]);
}

#[tokio::test]
async fn a_check_of_a_tenant_without_connectors_is_a_usage_error() {
    let world = World::new().await;
    let file = world.tenant_file();
    let (source, _) = file.split_once("[connectors.docusign]").expect("a connector");
    world.write("tenants/acme.toml", source);
    let ran = check(&world).await;
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    says(&ran.stderr, &["has no [connectors.NAME]"]);
}

#[tokio::test]
async fn a_check_of_a_target_that_says_no_is_a_problem_with_the_line_to_write() {
    for (trouble, said) in [
        ("no consent", "/oauth/auth?response_type=code"),
        ("lost membership", "is not a member any more"),
        ("limit", "the target asks to wait until 2"),
        ("outage", "out of order"),
        ("wrong host", "esign = \"https://na2.docusign.net\""),
        ("web page", "is not JSON"),
    ] {
        let world = World::new().await;
        let spoil = |kind| {
            world.simulator.fault(Fault::new(kind).on(Origin::Esign));
        };
        match trouble {
            "no consent" => world.simulator.set_consent(""),
            "lost membership" => world
                .simulator
                .switch(|switches| switches.caller_lost_membership = true),
            "limit" => spoil(FaultKind::RateLimit {
                which: LimitKind::Hourly,
            }),
            "outage" => spoil(FaultKind::Html { status: 503 }),
            "web page" => spoil(FaultKind::Html { status: 200 }),
            _ => {
                let id = world.simulator.account_id().to_owned();
                if let Some(account) = world.simulator.state().account_mut(&id) {
                    account.base_uri = "https://na2.docusign.net".to_owned();
                }
            }
        }
        let ran = check(&world).await;
        assert_eq!(ran.code, 1, "{trouble}: {}{}", ran.stdout, ran.stderr);
        says(&ran.stdout, &["PROBLEM", said]);
    }
}

#[tokio::test]
async fn what_a_target_calls_its_users_cannot_drive_the_terminal() {
    let world = World::new().await;
    let id = world
        .simulator
        .add_user(User::new("ann@acme.example").with_name("\u{1b}]0;owned\u{7}Ann\r\n"));
    world.edit("ceo@*", &id);
    let arguments = ["run", "--tenant", "tenants/acme.toml", "--source", "hr", "--event", "-"];
    let ran = world.exeunt(&arguments, &end_to_end::event("ann@acme.example")).await;
    assert_eq!(ran.code, 3);
    assert!(
        !ran.stdout.chars().any(|c| c.is_control() && c != '\n'),
        "{:?}",
        ran.stdout
    );
}

#[tokio::test]
async fn inspect_shows_what_a_plugin_is_and_asks_for() {
    let world = World::new().await;
    let file = plugins().join("docusign.wasm");
    let ran = world.exeunt(&["plugin", "inspect", &file.to_string_lossy()], b"").await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let shown = ran.json();
    assert_eq!(shown["world"], "exeunt:connector/connector@0.1.0");
    assert_eq!(shown["name"], "docusign");
    assert_eq!(shown["version"], "0.1.0");
    let bytes = std::fs::read(&file).expect("the plugin");
    assert_eq!(shown["size"], bytes.len());
    assert!(bytes.len() <= 150_000, "a plugin of {} bytes", bytes.len());
    let imports: Vec<&str> = shown["imports"]
        .as_array()
        .expect("imports")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        !imports.is_empty() && imports.iter().all(|name| name.starts_with("exeunt:connector/")),
        "{imports:?}"
    );
    assert_eq!(
        shown["settings_schema"]["required"],
        serde_json::json!(["account_id", "integration_key", "user_id"])
    );
    assert_eq!(shown["endpoints"][0]["name"], "account");
    assert_eq!(shown["keys"][0]["kind"], "signing-key");
    let reach = shown["reach"].to_string();
    says(&reach, &["close DELETE esign ", "(optional)"]);
}

#[tokio::test]
async fn inspect_says_what_a_file_is_instead() {
    let world = World::new().await;
    let core = plugins().join("core/docusign.wasm");
    let text = world.write("plugin.wasm", "hello");
    for (file, said) in [
        (core, "exeunt plugin build"),
        (text, "is not WebAssembly: it does not begin with"),
        ("none.wasm".into(), "cannot read"),
    ] {
        let ran = world.exeunt(&["plugin", "inspect", &file.to_string_lossy()], b"").await;
        ran.was_misused(&[&file.to_string_lossy(), said]);
    }
}

#[tokio::test]
async fn build_makes_a_component_of_a_core_module() {
    let world = World::new().await;
    let core = plugins().join("core/docusign.wasm");
    let ran = world
        .exeunt(&["plugin", "build", &core.to_string_lossy(), "-o", "built.wasm"], b"")
        .await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let ran = world.exeunt(&["plugin", "inspect", "built.wasm"], b"").await;
    assert_eq!((ran.code, &ran.json()["name"]), (0, &Value::from("docusign")));
}

#[tokio::test]
async fn build_takes_nothing_else() {
    let world = World::new().await;
    world.write("text.wasm", "hello");
    std::fs::write(world.root().join("bare.wasm"), b"\0asm\x01\0\0\0").expect("a module");
    let component = plugins().join("docusign.wasm").to_string_lossy().into_owned();
    let inputs = [
        (component.as_str(), "is a component already"),
        ("text.wasm", "is not a core module"),
        ("bare.wasm", "built against wit/"),
        ("none.wasm", "cannot read none.wasm"),
    ];
    for (input, said) in inputs {
        world
            .exeunt(&["plugin", "build", input, "-o", "built.wasm"], b"")
            .await
            .was_misused(&[said]);
        assert!(!world.root().join("built.wasm").exists(), "{input}");
    }
}

#[tokio::test]
async fn the_demonstration_goes_as_it_should() {
    let world = World::new().await;
    let ran = world.exeunt(&["demo", "--once"], b"").await;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let outcomes: Vec<&str> = ran
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("outcome  ")?.split(':').next())
        .collect();
    assert_eq!(outcomes, ["closed", "already_closed", "planned", "refused", "failed"]);
    says(&ran.stdout, &["all five scenes went as they should"]);
}
