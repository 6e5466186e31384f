//! A PostgreSQL of our own: Debian's binaries, a folder of our own, a Unix socket in it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// User that a server runs as where the tests run as root, which PostgreSQL refuses.
const UNPRIVILEGED: (&str, u32, u32) = ("nobody", 65534, 65534);

/// A running server. It ends with this value, or with the process, however that ends.
#[derive(Debug)]
pub struct PrivatePostgres {
    folder: PathBuf,
    /// The keeper waits for this to close, then stops the server and removes the folder.
    keeper: Option<(Child, ChildStdin)>,
    databases: AtomicU32,
}

impl PrivatePostgres {
    /// The server that the tests of this process share.
    ///
    /// # Panics
    ///
    /// When it does not start, as everything here does where the machine lacks something.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PrivatePostgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server for one test alone.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("exeunt-pg-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        let data = folder.join("data");
        run(Command::new("cp").arg("-a").arg(template()).arg(&data));
        give_away(&folder);
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(KEEPER)
            .arg("keeper")
            .arg(bin("pg_ctl"))
            .arg(&folder)
            .args(as_user());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        let stdin = child.stdin.take().expect("a pipe");
        let mut answer = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        output.read_line(&mut answer).expect("the keeper answers");
        let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert_eq!(answer.trim(), "ready", "PostgreSQL did not start:\n{}", log());
        Self {
            folder,
            keeper: Some((child, stdin)),
            databases: AtomicU32::new(0),
        }
    }

    /// Makes an empty database and returns its address.
    pub fn database(&self) -> String {
        let name = format!("journal{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut create = user_command(&bin("createdb"));
        run(create.arg("-h").arg(&self.folder).arg(&name));
        format!("postgres:///{name}?host={}&user={}", self.folder.display(), user())
    }

    /// Stops the server as a crash would.
    pub fn crash(&self) {
        self.control(&["stop", "-m", "immediate"]);
    }

    /// Starts it again.
    pub fn start_again(&self) {
        let log = self.folder.join("log");
        self.control(&["start", "-w", "-l", log.to_str().expect("UTF-8")]);
    }

    /// From now on all databases can only be read, as on a standby, or written again.
    pub fn only_reads(&self, on: bool) {
        let value = if on { "on" } else { "off" };
        let mut command = user_command(&bin("psql"));
        command.arg("-h").arg(&self.folder).args(["-q", "-d", "postgres"]);
        let set = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
        run(command.args(["-c", &set, "-c", "SELECT pg_reload_conf()"]));
    }

    fn control(&self, arguments: &[&str]) {
        run(user_command(&bin("pg_ctl"))
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(arguments));
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Some((mut child, stdin)) = self.keeper.take() {
            drop(stdin);
            let _ = child.wait();
        }
    }
}

/// Starts the server, says so, and stays until its input closes, which also happens when the tests are killed.
/// Arguments: pg_ctl, the folder, and what to put before a command so that it runs as the right user.
const KEEPER: &str = r#"
trap '' INT TERM
ctl=$1; folder=$2; shift 2
cd "$folder"
"$@" "$ctl" -D "$folder/data" -w -l "$folder/log" start >/dev/null && echo ready
exec >/dev/null
cat >/dev/null
"$@" "$ctl" -D "$folder/data" -m immediate stop
rm -rf "$folder"
"#;

/// An initialised folder, made once for the target folder; a copy starts in a tenth of the time.
fn template() -> PathBuf {
    let version = bin("postgres")
        .parent()
        .and_then(Path::parent)
        .and_then(Path::file_name)
        .map_or_else(|| "any".to_owned(), |version| version.to_string_lossy().into_owned());
    let place = crate::target().join(format!("tmp/postgres-{version}-{}", user()));
    if place.is_dir() {
        return place;
    }
    let work = TempDir::new().expect("a temporary folder");
    give_away(work.path());
    let made = work.path().join("data");
    run(user_command(&bin("initdb"))
        .args([
            "--no-sync",
            "--wal-segsize=4",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "-D",
        ])
        .arg(&made));
    let settings = format!("{}/postgresql.conf", made.display());
    let mut text = std::fs::read_to_string(&settings).expect("initdb wrote its settings");
    // The tests kill processes, never the machine.
    text.push_str("\nlisten_addresses = ''\nfsync = off\nmax_connections = 60\nmin_wal_size = 8MB\n");
    std::fs::write(&settings, text).expect("the settings can be written");
    // Cargo makes it for integration tests only.
    std::fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
    // Another process may be making the same: a rename puts either of them in place, whole.
    let aside = place.with_extension(std::process::id().to_string());
    run(Command::new("cp").arg("-a").arg(&made).arg(&aside));
    if std::fs::rename(&aside, &place).is_err() {
        let _ = std::fs::remove_dir_all(&aside);
    }
    place
}

/// Gives a folder, with the socket and the data to be, to the server's user.
fn give_away(folder: &Path) {
    if is_root() {
        run(Command::new("chown")
            .arg("-R")
            .arg(format!("{}:{}", UNPRIVILEGED.1, UNPRIVILEGED.2))
            .arg(folder));
        chown(folder, Some(UNPRIVILEGED.1), Some(UNPRIVILEGED.2)).expect("root may give a folder away");
    }
    let data = folder.join("data");
    if data.is_dir() {
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).expect("our own folder");
        let settings = data.join("postgresql.conf");
        let mut text = std::fs::read_to_string(&settings).expect("a copy of the template");
        text.push_str(&format!("\nunix_socket_directories = '{}'\n", folder.display()));
        std::fs::write(settings, text).expect("our own file");
    }
}

fn is_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| {
        let output = Command::new("id").arg("-u").output().expect("id runs");
        output.stdout.trim_ascii() == b"0"
    })
}

fn user() -> String {
    if is_root() {
        return UNPRIVILEGED.0.to_owned();
    }
    let output = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8_lossy(output.stdout.trim_ascii()).into_owned()
}

/// What comes before a command so that it runs as the server's user.
fn as_user() -> Vec<String> {
    if !is_root() {
        return vec!["env".to_owned()];
    }
    let ids = [
        format!("--reuid={}", UNPRIVILEGED.1),
        format!("--regid={}", UNPRIVILEGED.2),
    ];
    ["setpriv".to_owned()]
        .into_iter()
        .chain(ids)
        .chain(["--clear-groups".to_owned()])
        .collect()
}

fn user_command(program: &Path) -> Command {
    let words = as_user();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(program).current_dir("/");
    command
}

/// Debian keeps the server's programs apart from the path, by version; the newest is taken.
fn bin(program: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let path = entry.path().join("bin").join(program);
            let version = entry.file_name().to_string_lossy().parse().ok()?;
            path.is_file().then_some((version, path))
        })
        .collect();
    found.sort();
    found.pop().map_or_else(
        || panic!("{program} is not in /usr/lib/postgresql/*/bin; install Debian's package `postgresql`"),
        |(_, path)| path,
    )
}

fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
