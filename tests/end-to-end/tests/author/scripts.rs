//! `exeunt plugin test`: scripts that hold, scripts that do not, and scripts that are none.

use end_to_end::{Ran, says};

use crate::{GUESTS, exeunt, plugin, repository};

const SETTINGS: &str = "endpoints = { scim = \"https://acme.example/scim/v2\" }\n";

/// Runs a script of the test's own against the Rust SCIM connector.
async fn try_script(text: &str) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("cases.toml"), format!("{SETTINGS}{text}")).expect("a script");
    let file = plugin("scim.wasm");
    exeunt(folder.path(), &["plugin", "test", &file, "--script", "cases.toml"]).await
}

/// The numbers of a verb's row in the table of answers.
fn row(ran: &Ran, verb: &str) -> Vec<String> {
    let rows = ran.stdout.lines().skip_while(|line| !line.contains("consent-required"));
    let line = rows.skip(1).find(|line| line.starts_with(verb)).expect("a row");
    line.split_whitespace().skip(1).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_docusign_connector_passes_its_cases_and_they_show_every_failure_of_every_verb() {
    let (file, script) = (plugin("docusign.wasm"), repository("plugin-docusign/cases.toml"));
    let ran = exeunt(".".as_ref(), &["plugin", "test", &file, "--script", &script]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    // Only a token request can lack consent, and nothing but a person or an account can be refused.
    for (verb, never) in [
        ("mint", "refused"),
        ("find", "consent-required"),
        ("read", "consent-required"),
    ] {
        let kinds = ran
            .stdout
            .lines()
            .find(|line| line.contains("consent-required"))
            .expect("a head");
        for (kind, count) in kinds.split_whitespace().zip(row(&ran, verb)) {
            assert_eq!(count == "-", kind == never, "{verb} {kind}: {count}");
        }
    }
}

#[tokio::test]
async fn the_scim_connector_passes_the_same_cases_in_rust_javascript_and_python() {
    let script = repository("tests/plugins/scim/cases.toml");
    for guest in GUESTS {
        let file = plugin(guest);
        let ran = exeunt(".".as_ref(), &["plugin", "test", &file, "--script", &script]).await;
        assert_eq!(ran.code, 0, "{guest}: {}{}", ran.stdout, ran.stderr);
        says(&ran.stdout, &["39 cases, 0 not as expected"]);
    }
}

#[tokio::test]
async fn what_is_not_as_expected_is_shown_with_its_line() {
    let ran = try_script(
        r#"
[[case]]
name    = "a user is read"
verb    = "read"
account = "1"
expect  = { accounts = [{ id = "1", standing = "closed" }] }

[[case.exchange]]
request = "GET scim /Users/1"
headers = { accept = "application/json" }
query   = { attributes = "active" }
status  = 200
answer  = { id = "1", userName = "ann", active = true }

[[case.exchange]]
request = "GET scim /Users/1"
status  = 200
"#,
    )
    .await;
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    says(
        &ran.stdout,
        &[
            "FAILED  read  a user is read",
            "cases.toml:9: header accept\n            expected  application/json\n            came      application/scim+json",
            "cases.toml:9: query\n            expected  attributes = \"active\"\n            came      none",
            "cases.toml:16: request\n            expected  GET scim /Users/1\n            came      no request",
            "cases.toml:7: accounts.0.standing\n            expected  \"closed\"\n            came      \"active\"",
            "1 cases, 1 not as expected",
        ],
    );
    assert_eq!(row(&ran, "read")[0], "-", "what is not as expected has shown nothing");
}

#[tokio::test]
async fn another_request_and_one_too_many_are_shown_and_have_no_answer() {
    let case = |exchanges: &str| {
        format!(
            "[[case]]\nname = \"found\"\nverb = \"find\"\nperson = {{ email = \"ann@acme.example\" }}\n\
             expect = {{ accounts = [] }}\n{exchanges}"
        )
    };
    let other = case("[[case.exchange]]\nrequest = \"GET scim /Users/1\"\nstatus = 404\n");
    let ran = try_script(&other).await;
    assert_eq!(ran.code, 1);
    says(
        &ran.stdout,
        &[
            "expected  GET scim /Users/1\n",
            "came      GET scim /Users\n",
            "has no answer",
        ],
    );
    let ran = try_script(&case("")).await;
    assert_eq!(ran.code, 1);
    says(&ran.stdout, &["no more than 0 requests", "one request too many"]);
}

#[tokio::test]
async fn production_s_limits_hold_for_a_scripted_target_too() {
    let long = "x".repeat(65 * 1024);
    let ran = try_script(&format!(
        "[[case]]\nname = \"a head\"\nverb = \"read\"\naccount = \"1\"\n\
         expect = {{ failure = \"unexpected\", text = \"head is over 65536 bytes\" }}\n\
         [[case.exchange]]\nrequest = \"GET scim /Users/1\"\nstatus = 200\nanswer_headers = {{ x = \"{long}\" }}\n"
    ))
    .await;
    assert_eq!(ran.code, 0, "{}", ran.stdout);
}

#[tokio::test]
async fn a_script_with_mistakes_is_refused_with_each_line_and_what_was_meant() {
    let case = "[[case]]\nname = \"n\"\nverb = \"read\"\naccount = \"1\"\nexpect = { accounts = [] }\n";
    let exchange = |lines: &str| format!("{case}[[case.exchange]]\n{lines}");
    let instead = |wrong: &str| case.replace("accounts = []", wrong);
    let wrong = [
        (
            "[[case]]\nname = \"n\"\n".to_owned(),
            "cases.toml:2",
            "`verb` is missing",
        ),
        (
            format!("{case}acount = \"2\"\n"),
            "cases.toml:7",
            "unknown key; did you mean `account`?",
        ),
        (case.replace("read", "raed"), "cases.toml:4", "did you mean `read`?"),
        (
            instead("failure = \"unathorized\""),
            "cases.toml:6",
            "did you mean `unauthorized`?",
        ),
        (
            instead("accounts = [], closed = true"),
            "cases.toml:6",
            "must have one of",
        ),
        (
            instead("accounts = [{ standig = \"x\" }]"),
            "cases.toml:6",
            "did you mean `standing`?",
        ),
        (
            exchange("request = \"FETCH scim /x\"\nstatus = 200\n"),
            "cases.toml:8",
            "HTTP method",
        ),
        (
            exchange("request = \"GET scim /x?y\"\nstatus = 200\n"),
            "cases.toml:8",
            "write query =",
        ),
        (
            exchange("request = \"GET scim /x\"\n"),
            "cases.toml:7",
            "either status = 200 or error",
        ),
        (
            exchange("request = \"GET scim /x\"\nstatus = 20\n"),
            "cases.toml:9",
            "from 100 to 599",
        ),
        (
            exchange("request = \"GET scim /x\"\nerror = \"lost\"\n"),
            "cases.toml:9",
            "not-sent",
        ),
        (format!("{case}cursor = \"2\"\n"), "cases.toml:7", "belongs to `page`"),
        (
            format!("{case}settings = {{ match = [] }}\n"),
            "cases.toml:2",
            "the host would refuse these settings",
        ),
        (
            format!("{case}reach = [\"read GET scim /Groups\"]\n"),
            "cases.toml:2",
            "the plugin has no reach",
        ),
        (String::new(), "cases.toml", "`case` is missing"),
    ];
    for (text, line, said) in &wrong {
        try_script(text).await.was_misused(&[line, said]);
    }
}

#[tokio::test]
async fn a_case_can_be_picked_by_its_name() {
    let (file, script) = (plugin("scim.wasm"), repository("tests/plugins/scim/cases.toml"));
    let arguments = ["plugin", "test", &file, "--script", &script, "--case", "last page"];
    let ran = exeunt(".".as_ref(), &arguments).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    says(&ran.stdout, &["1 cases, 0 not as expected"]);
    let arguments = ["plugin", "test", &file, "--script", &script, "--case", "no such"];
    exeunt(".".as_ref(), &arguments).await.was_misused(&["is named so"]);
}
