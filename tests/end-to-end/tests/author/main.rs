//! The connector author's kit, and the SCIM connector in three languages: scripts, a real SCIM server, replays, projects.

mod projects;
mod replaying;
mod scripts;
mod server;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use end_to_end::{Ran, binary, compiled, plugins};
use tokio::process::Command;

/// The SCIM connector's components: Rust, JavaScript, Python.
const GUESTS: [&str; 3] = ["scim.wasm", "scim-js.wasm", "scim-py.wasm"];

/// A file of the repository.
fn repository(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(path).to_string_lossy().into_owned()
}

/// A built plugin.
fn plugin(name: &str) -> String {
    let file = plugins().join(name);
    assert!(
        file.exists(),
        "there is no {}; run `make plugins guests`",
        file.display()
    );
    file.to_string_lossy().into_owned()
}

/// What `make guests` installed.
fn tool(name: &str) -> PathBuf {
    let file = plugins().join("../guests").join(name);
    assert!(file.exists(), "there is no {}; run `make guests`", file.display());
    file
}

/// Runs the binary in a folder.
async fn exeunt(folder: &Path, arguments: &[&str]) -> Ran {
    command(folder, &binary("exeunt").to_string_lossy(), arguments, &[]).await
}

/// Runs a program in a folder.
async fn command(folder: &Path, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("EXEUNT_LOG", "error")
        .env("EXEUNT_CACHE", compiled())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("the program starts");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
