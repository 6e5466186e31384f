//! `exeunt plugin new`: what it writes is built and passes its cases.

use std::path::Path;

use end_to_end::{Ran, binary, plugins, says};

use crate::{command, exeunt, repository, tool};

async fn new(folder: &Path, language: &str) {
    let ran = exeunt(folder, &["plugin", "new", "my-target", "--lang", language]).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

async fn build(folder: &Path, variables: &[(&str, &str)]) -> Ran {
    let program = binary("exeunt").to_string_lossy().into_owned();
    let variables: Vec<(&str, &str)> = variables.iter().copied().chain([("EXEUNT", &*program)]).collect();
    command(&folder.join("my-target"), "./build.sh", &[], &variables).await
}

#[track_caller]
fn passed(ran: &Ran) {
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    says(&ran.stdout, &["cases, 0 not as expected"]);
}

#[tokio::test]
async fn a_new_project_in_rust_is_built_and_passes_its_cases() {
    let folder = tempfile::tempdir().expect("a folder");
    new(folder.path(), "rust").await;
    // With the versions and the build of the standard library that are here already.
    std::fs::copy(repository("Cargo.lock"), folder.path().join("my-target/Cargo.lock")).expect("a lock file");
    let target = plugins().join("../wasm").to_string_lossy().into_owned();
    passed(&build(folder.path(), &[("CARGO_TARGET_DIR", &target)]).await);
    let ran = exeunt(
        &folder.path().join("my-target"),
        &["plugin", "inspect", "my-target.wasm"],
    )
    .await;
    assert_eq!(ran.json()["name"], "my-target");
}

#[tokio::test]
async fn a_new_project_in_javascript_is_built_and_passes_its_cases() {
    let folder = tempfile::tempdir().expect("a folder");
    new(folder.path(), "js").await;
    let modules = tool("node_modules").canonicalize().expect("a folder");
    std::os::unix::fs::symlink(modules, folder.path().join("my-target/node_modules")).expect("a link");
    passed(&build(folder.path(), &[]).await);
}

#[tokio::test]
async fn a_new_project_in_python_is_built_and_passes_its_cases() {
    let folder = tempfile::tempdir().expect("a folder");
    new(folder.path(), "python").await;
    let tool = tool("python/bin/componentize-py").to_string_lossy().into_owned();
    passed(&build(folder.path(), &[("COMPONENTIZE_PY", &tool)]).await);
}

#[tokio::test]
async fn a_project_does_not_overwrite_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    new(folder.path(), "js").await;
    let ran = exeunt(folder.path(), &["plugin", "new", "my-target", "--lang", "python"]).await;
    ran.was_misused(&["my-target is not empty"]);
    let ran = exeunt(folder.path(), &["plugin", "new", "My Target", "--lang", "python"]).await;
    ran.was_misused(&["cannot name a connector"]);
}
