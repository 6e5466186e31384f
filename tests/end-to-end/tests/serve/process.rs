//! A running `exeunt serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use end_to_end::binary;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::client::Client;
use crate::house::House;

/// A process, its address and its log. It is killed with this value.
#[derive(Debug)]
pub(crate) struct Host {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    /// Held, so that it never writes into a closed pipe.
    _output: BufReader<ChildStdout>,
}

impl Host {
    pub(crate) async fn start(house: &House, number: u32, variables: &[(&str, String)]) -> Self {
        let host = Self::start_unready(house, number, variables).await;
        assert!(host.address.port() != 0, "it did not start\n{}", host.said());
        let client = Client::new(house, &host);
        crate::until("the host is ready", async || {
            matches!(client.get("/readyz").await, Ok((200, _)))
        })
        .await;
        host
    }

    /// Starts it without waiting until it is ready, which it may not live to be. Where it does not even live to say where
    /// it listens, nobody can reach it.
    pub(crate) async fn start_unready(house: &House, number: u32, variables: &[(&str, String)]) -> Self {
        let log = house.path(&format!("host-{number}.log"));
        let errors = std::fs::File::create(&log).expect("a log");
        let mut words = house.under.clone();
        words.push(binary("exeunt").to_string_lossy().into_owned());
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(["serve", "--name", &format!("host-{number}")])
            .current_dir(house.world.root())
            .env("EXEUNT_LOG", "warn")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .expect("exeunt starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).await.expect("its output");
        let address = line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split(',').next());
        Self {
            child,
            address: address.unwrap_or("127.0.0.1:0").parse().expect("an address"),
            log,
            _output: output,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it wrote to standard error.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// SIGTERM; it must end by itself, and well.
    pub(crate) async fn stop(self) {
        let log = self.log.clone();
        let status = self.terminate().await;
        let said = std::fs::read_to_string(log).unwrap_or_default();
        assert!(status.success(), "{status}\n{said}");
    }

    async fn terminate(self) -> ExitStatus {
        self.ask_to_end().await;
        self.ended().await
    }

    /// SIGTERM, whatever comes of it.
    pub(crate) async fn ask_to_end(&self) {
        let id = self.child.id().expect("it runs").to_string();
        let kill = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(kill.expect("kill runs").success());
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        match tokio::time::timeout(Duration::from_secs(120), self.child.wait()).await {
            Ok(status) => status.expect("a status"),
            Err(_) => panic!("it does not end\n{}", self.said()),
        }
    }

    /// Whether it has ended by itself already.
    pub(crate) fn is_gone(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_some()
    }

    /// Its limit on this, as the kernel knows it: soft and hard.
    pub(crate) fn limit(&self, name: &str) -> (String, String) {
        let id = self.child.id().expect("it runs");
        let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).expect("it runs");
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().expect("a limit"), words.next().expect("a limit"))
    }

    /// Whether it has a file open.
    pub(crate) fn has_open(&self, path: &Path) -> bool {
        let id = self.child.id().expect("it runs");
        let mut files = std::fs::read_dir(format!("/proc/{id}/fd")).expect("it runs").flatten();
        files.any(|file| std::fs::read_link(file.path()).is_ok_and(|open| open == path))
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that it ever was.
    pub(crate) fn most_resident(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> u64 {
        let id = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a line");
        let number = line.split_whitespace().nth(1).expect("a number");
        number.parse().expect("a number")
    }
}
