//! An outside witness: DocuSign's own Python SDK speaks to the simulator as it would to DocuSign.

use std::path::{Path, PathBuf};
use std::process::Command;

use docusign_sim::{Options, Simulator, Status, User, openapi};
use serde_json::{Value, json};

use crate::binary::Process;

fn python() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_docusign-sim"));
    let target = built.ancestors().nth(2).expect("a target folder");
    let python = target.join("witness/bin/python");
    assert!(
        python.exists(),
        "DocuSign's Python SDK is not installed in {}: run tests/docusign-sim/witness/setup.sh (`make test` does)",
        target.join("witness").display()
    );
    python
}

fn witness(description: &Path, arguments: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("witness/witness.py");
    let output = Command::new(python())
        .arg(script)
        .arg(description)
        .args(arguments)
        .output()
        .expect("python runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the witness failed: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_sdk_mints_reads_closes_and_reads_again() {
    let sim = Simulator::start(Options {
        record_exchanges: true,
        ..Options::default()
    })
    .await
    .unwrap();
    let ann = sim.add_user(User::new("Ann.Lee@acme.example"));
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let description = json!({
        "account_addr": sim.account_addr(),
        "esign_addr": sim.esign_addr(),
        "ca": file("ca.pem", sim.ca_pem()),
        "integration_key": sim.integration_key(),
        "user_id": sim.user_id(),
        "private_key": file("key.pem", sim.private_key_pem()),
    });
    let description = file("sim.json", &description.to_string());
    let arguments = ["ann.lee@acme.example", "Groups,PermissionSet,SigningGroupsEmail"];
    let said = tokio::task::spawn_blocking(move || witness(&description, &arguments))
        .await
        .unwrap();

    let row =
        |status: &str| json!([{ "id": ann, "email": "Ann.Lee@acme.example", "status": status, "admin": "False" }]);
    assert_eq!(
        (&said["token_type"], &said["sub"]),
        (&json!("Bearer"), &json!(sim.user_id()))
    );
    assert_eq!(
        (&said["account_id"], &said["base_uri"]),
        (&json!(sim.account_id()), &json!("https://demo.docusign.net"))
    );
    assert_eq!(said["before"], json!({ "total": "1", "users": row("Active") }));
    assert_eq!(
        said["closed"],
        json!([{ "id": ann, "status": "closed", "error": null }])
    );
    assert_eq!(said["after"], json!({ "total": "1", "users": row("Closed") }));
    assert_eq!(
        (&said["nobody"]["status"], &said["nobody"]["error"]["errorCode"]),
        (&json!(400), &json!("USER_LACKS_MEMBERSHIP"))
    );
    assert_eq!(sim.user(&ann).unwrap().status, Status::Closed);
    let exchanges = sim.exchanges();
    assert_eq!(exchanges.len(), 4);
    for exchange in exchanges {
        openapi::check(&exchange).unwrap_or_else(|problems| panic!("{exchange:?}: {problems:?}"));
    }
}

#[test]
fn the_official_python_sdk_also_works_from_the_description_of_the_binary() {
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start(directory.path(), &[]);
    let said = witness(&directory.path().join("sim.json"), &["ann.lee@acme.example"]);
    assert_eq!(said["account_id"].as_str(), Some(process.text("account_id")));
    assert_eq!(said["closed"][0]["status"], "closed");
    let leaver = |list: &str| {
        let users = said[list]["users"].as_array().unwrap();
        users
            .iter()
            .find(|user| user["email"] == "Ann.Lee@Acme.example")
            .unwrap()["status"]
            .clone()
    };
    assert_eq!((leaver("before"), leaver("after")), (json!("Active"), json!("Closed")));
}
