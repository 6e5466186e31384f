//! The process: what it writes, and how it ends.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A running `docusign-sim`, killed when the test is over.
pub(crate) struct Process {
    child: Child,
    pub(crate) description: Value,
}

impl Process {
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_docusign-sim"))
            .arg("--dir")
            .arg(directory)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("docusign-sim starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert!(line.starts_with("docusign-sim is ready: "), "{line:?}");
        let text = std::fs::read_to_string(directory.join("sim.json")).expect("sim.json");
        Self {
            child,
            description: serde_json::from_str(&text).expect("JSON"),
        }
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.description[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name} in {}", self.description))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_describes_itself_and_keeps_the_private_key_private() {
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start(&directory.path().join("sim"), &["--control-addr", "127.0.0.1:0"]);
    for name in ["account_addr", "esign_addr", "control_addr"] {
        let addr: std::net::SocketAddr = process.text(name).parse().expect("an address");
        assert!(addr.ip().is_loopback() && addr.port() != 0);
        std::net::TcpStream::connect(addr).expect("it listens");
    }
    for name in ["integration_key", "user_id", "account_id"] {
        assert_eq!(process.text(name).len(), 36, "{name}");
    }
    let mode = |name: &str| std::fs::metadata(process.text(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("private_key"), mode("ca")), (0o600, 0o644));
    assert!(
        std::fs::read_to_string(process.text("private_key"))
            .unwrap()
            .starts_with("-----BEGIN PRIVATE KEY")
    );
    assert!(
        std::fs::read_to_string(process.text("ca"))
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE")
    );
}

#[test]
fn it_ends_with_sigterm_and_takes_its_description_along() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(directory.path(), &[]);
    let pid = process.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(process.child.wait().unwrap().success());
    assert!(!directory.path().join("sim.json").exists());
}

#[test]
fn it_ends_with_standard_input_when_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(directory.path(), &["--exit-with-stdin"]);
    drop(process.child.stdin.take());
    assert!(process.child.wait().unwrap().success());
    assert!(!directory.path().join("sim.json").exists());
}

#[test]
fn bad_arguments_say_what_to_write() {
    let directory = tempfile::tempdir().unwrap();
    let blocked = directory.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let blocked = blocked.to_str().unwrap();
    for (arguments, problem) in [
        (vec![], "--dir"),
        (vec!["--dir", "d", "--esign-addr", "0.0.0.0:8443"], "use 127.0.0.1:8443"),
        (vec!["--dir", "d", "--control-addr", "8080"], "like 127.0.0.1:8443"),
        (vec!["--dir", blocked], "failed to create"),
        (vec!["--dir", "d", "--articel"], "--article"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_docusign-sim"))
            .args(&arguments)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && text.contains(problem),
            "{arguments:?}: {text}"
        );
    }
}
