use std::fs;
use std::time::Duration;

use sqlx::{Connection as _, Executor as _};
use tempfile::TempDir;
use tokio::time::advance;

use super::super::changes::RETRY_AFTER;
use super::*;
use crate::clock::SystemClock;
use crate::dispatch::{Connectors as _, History, Lookup, Ran};
use crate::intake::http::Directory as _;
use crate::journal::testing::leaver;
use crate::journal::{Lane, Options};
use crate::sandbox::{PluginCache, Sandbox, SandboxLimits};

/// A tenant with a source whose secret is a file, and a connector whose plugin is not there.
const TENANT: &str = "
[sources.hr]
kind   = 'webhook'
auth   = { bearer = 'file:secret' }
filter = \"$[?$.type == 'left']\"
person = { email = '$.email' }

[connectors.docusign]
plugin = 'docusign.wasm'
";

struct Place {
    root: TempDir,
    tenants: LiveTenants,
}

impl Place {
    async fn with(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("j.db").display());
        Self::on(&url, folder, names).await
    }

    async fn on(url: &str, root: TempDir, names: &[&str]) -> Self {
        fs::create_dir(root.path().join("tenants")).unwrap();
        fs::write(root.path().join("exeunt.toml"), "").unwrap();
        let journal = Journal::open(url, Options::default()).await.unwrap();
        let cache = PluginCache::open(&root.path().join("cache")).unwrap();
        let sandbox = Sandbox::new(SandboxLimits::default()).unwrap().with_cache(cache);
        let runtime = Arc::new(Runtime::new(sandbox, Arc::new(SystemClock)));
        let host = HostConfig::load(&root.path().join("exeunt.toml")).unwrap();
        let tenants = LiveTenants::new(runtime, host, journal);
        let place = Self { root, tenants };
        for tenant in names {
            place.write(&format!("tenants/{tenant}.toml"), TENANT);
            place.secret(&format!("tenants/{tenant}/secret"), 0o600);
        }
        place.tenants.refresh().await.unwrap();
        place
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.root.path().join(path), text).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.root.path().join(path)).unwrap();
    }

    fn secret(&self, path: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "secret-0123456789").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn takes(&self, tenant: &str) -> bool {
        self.tenants.source(tenant, "hr").is_some()
    }

    fn reason(&self, tenant: &str, connector: &str) -> String {
        match self.tenants.connector(tenant, connector) {
            Lookup::Unready(reason) | Lookup::Absent(reason) => reason,
            Lookup::Ready(_) => panic!("it is ready"),
        }
    }

    async fn look(&self) {
        self.tenants.refresh().await.unwrap();
    }

    /// Looks again after a time, as the service does.
    async fn look_after(&self, seconds: u64) {
        tokio::time::pause();
        advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
        self.look().await;
    }
}

#[tokio::test]
async fn a_source_that_cannot_be_opened_is_unready_alone_and_mended_by_the_command_that_its_error_names() {
    let place = Place::with(&["acme"]).await;
    place.secret("tenants/other/secret", 0o644);
    place.write("tenants/other.toml", TENANT);
    place.look().await;
    assert!(place.tenants.tenant("other").is_some() && !place.takes("other"));
    let problems = place.tenants.problems();
    let of_source = problems.iter().find(|(tenant, _, problem)| {
        tenant.as_deref() == Some("other") && problem.contains("the source `hr` takes no events")
    });
    assert!(of_source.is_some(), "{problems:?}");
    // Neither its time nor its length changes.
    place.secret("tenants/acme/other", 0o600);
    let path = place.root.path().join("tenants/other/secret");
    fs::set_permissions(
        &path,
        <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600),
    )
    .unwrap();
    place.look().await;
    assert!(place.takes("other"));
}

#[tokio::test]
async fn what_was_ready_keeps_the_old_tenant_and_what_was_not_does_not() {
    let place = Place::with(&["acme"]).await;
    // Its connector was never ready, so it does not keep a change of the policy out.
    place.write(
        "tenants/acme.toml",
        &format!("{TENANT}\n[policy]\nprotected = ['ceo@acme.example']\n"),
    );
    place.look().await;
    let live = place.tenants.tenant("acme").unwrap();
    assert!(format!("{:?}", live.tenant.policy.protected).contains("ceo@acme"));
    // Its source was.
    place.write("tenants/acme.toml", &TENANT.replace("file:secret", "file:missing"));
    place.look().await;
    assert!(place.takes("acme"));
    assert_eq!(
        place
            .tenants
            .problems()
            .iter()
            .filter(|(_, connector, _)| connector.is_none())
            .count(),
        1
    );
}

#[tokio::test]
async fn a_plugin_that_comes_after_its_tenant_is_noticed_at_once() {
    let place = Place::with(&["acme"]).await;
    assert!(place.reason("acme", "docusign").contains("cannot read the plugin"));
    fs::create_dir(place.root.path().join("plugins")).unwrap();
    place.write("plugins/docusign.wasm", "not a plugin");
    place.look().await;
    assert!(place.reason("acme", "docusign").contains("is not admitted"));
}

#[tokio::test]
async fn what_failed_is_tried_again_after_a_while_though_no_file_has_changed() {
    let place = Place::with(&[]).await;
    place.write("tenants/acme.toml", TENANT);
    let outside = place.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(place.root.path().join("plugins")).unwrap();
    place.secret("tenants/acme/secret", 0o600);
    place.look().await;
    let tried = |place: &Place| place.tenants.live.load().files.values().next().unwrap().again;
    let first = tried(&place).expect("its connector is not ready");
    place.look().await;
    assert_eq!(tried(&place), Some(first), "not at each look");
    place.look_after(RETRY_AFTER.as_secs() + 1).await;
    assert!(tried(&place) > Some(first));
}

#[tokio::test]
async fn what_is_read_at_the_start_only_is_said_when_it_changes() {
    let place = Place::with(&["acme"]).await;
    let said = |place: &Place| {
        let problems = place.tenants.problems().into_iter();
        let of_host = problems.filter(|(tenant, ..)| tenant.is_none());
        of_host.map(|(_, _, problem)| problem).collect::<Vec<_>>()
    };
    place.look().await;
    assert_eq!(said(&place), Vec::<String>::new());
    place.write(
        "exeunt.toml",
        "listen = '127.0.0.1:9'\n[limits]\nconnections = 7\n[telemetry]\nlogs = 'json'",
    );
    place.look().await;
    let problems = said(&place);
    assert!(
        problems.len() == 1 && problems[0].starts_with("listen, limits, telemetry of exeunt.toml is read at the start"),
        "{problems:?}"
    );
    place.write("exeunt.toml", "# as it was");
    place.look().await;
    assert_eq!(said(&place), Vec::<String>::new());
}

#[tokio::test]
async fn a_tenant_that_cannot_be_loaded_says_so_where_its_jobs_wait() {
    let place = Place::with(&["acme"]).await;
    place.write("tenants/bad.toml", "[sources.hr]\nkin = 'webhook'");
    place.look().await;
    let reason = place.reason("bad", "docusign");
    assert!(
        reason.contains("cannot be loaded") && reason.contains("kin"),
        "{reason}"
    );
    assert!(place.reason("nobody", "docusign").contains("there is no tenant"));
    place.remove("tenants/bad.toml");
    place.look().await;
    assert!(place.reason("bad", "docusign").contains("there is no tenant"));
}

#[tokio::test]
async fn a_file_that_is_away_for_a_moment_drains_nobody() {
    let place = Place::with(&["acme", "other"]).await;
    place.remove("tenants/acme.toml");
    place.look().await;
    place.look_after(ABSENT_FOR.as_secs() / 2).await;
    assert!(place.takes("acme"));
    place.write("tenants/acme.toml", TENANT);
    place.look().await;
    place.remove("tenants/acme.toml");
    place.look().await;
    place.look_after(ABSENT_FOR.as_secs() / 2).await;
    assert!(place.takes("acme"), "its time begins anew");
    place.look_after(ABSENT_FOR.as_secs()).await;
    assert!(!place.takes("acme") && place.takes("other"));
    place.look().await;
    assert!(
        !place.tenants.live.load().tenants.contains_key("acme"),
        "it had no jobs"
    );
}

#[tokio::test]
async fn a_folder_that_lost_all_tenants_at_once_drains_nobody() {
    let place = Place::with(&["acme", "other"]).await;
    place.remove("tenants/acme.toml");
    place.remove("tenants/other.toml");
    place.look().await;
    place.look_after(ABSENT_FOR.as_secs() * 2).await;
    assert!(place.takes("acme") && place.takes("other"));
    let problems = place.tenants.problems();
    let of_host = problems.iter().filter(|(tenant, _, _)| tenant.is_none());
    assert!(
        of_host
            .clone()
            .any(|(_, _, problem)| problem.contains("none of the tenants")),
        "{problems:?}"
    );
    place.write("tenants/acme.toml", TENANT);
    place.look().await;
    place.look_after(ABSENT_FOR.as_secs()).await;
    assert!(place.takes("acme") && !place.takes("other"));
}

#[tokio::test]
async fn a_mistake_in_the_hosts_file_is_shown_and_what_was_read_before_holds() {
    let place = Place::with(&["acme"]).await;
    place.write("exeunt.toml", "tenant_fils = 'x'");
    place.look().await;
    let problems = place.tenants.problems();
    assert!(
        problems
            .iter()
            .any(|(tenant, _, problem)| tenant.is_none() && problem.contains("tenant_fils")),
        "{problems:?}"
    );
    assert!(place.takes("acme"));
    place.write("exeunt.toml", "");
    place.look().await;
    assert!(place.tenants.problems().iter().all(|(tenant, _, _)| tenant.is_some()));
}

#[tokio::test]
async fn a_connectors_concurrency_is_its_lanes_cap() {
    let place = Place::with(&["acme"]).await;
    let cap = async || {
        let lanes = place.tenants.journal.lanes(Some("acme")).await.unwrap();
        lanes
            .iter()
            .find(|lane| lane.lane == Lane::new("acme", "docusign").unwrap())
            .map(|lane| lane.cap)
    };
    assert_eq!(cap().await, None, "nothing is written without need");
    place.write("tenants/acme.toml", &format!("{TENANT}concurrency = 3\n"));
    place.look().await;
    assert_eq!(cap().await, Some(3));
    place.write("tenants/acme.toml", TENANT);
    place.look().await;
    assert_eq!(cap().await, Some(Options::default().default_cap));
}

#[tokio::test]
async fn a_mistake_in_another_folder_of_tenants_drains_nobody() {
    let place = Place::with(&["acme", "beta"]).await;
    fs::create_dir(place.root.path().join("others")).unwrap();
    for tenant in ["acme", "beta"] {
        place.secret(&format!("others/{tenant}/secret"), 0o600);
    }
    place.write("others/acme.toml", "mistake = 1");
    place.write("others/beta.toml", TENANT);
    place.write("exeunt.toml", "tenant_files = 'others'");
    for _ in 0..3 {
        place.look_after(11).await;
    }
    assert!(
        place.takes("acme") && place.takes("beta"),
        "{:?}",
        place.tenants.problems()
    );
    // One without a file in the new folder is gone, as before.
    place.remove("others/acme.toml");
    for _ in 0..3 {
        place.look_after(11).await;
    }
    assert!(
        !place.takes("acme") && place.takes("beta"),
        "{:?}",
        place.tenants.problems()
    );
}

#[tokio::test]
async fn a_plugin_that_nobody_has_run_is_deleted_where_there_are_many_and_one_to_go_back_to_is_kept() {
    let place = Place::with(&["acme"]).await;
    let cache = place.root.path().join("cache");
    let history = History::beside(&cache);
    // The connectors of acme, of no tenant that is live, and one that acme does not have any more.
    let known = [("acme", "docusign"), ("away", "docusign"), ("acme", "renamed")];
    let plugins: Vec<String> = (0..=known.len()).map(|number| format!("{number:064}")).collect();
    for ((tenant, connector), digits) in known.into_iter().zip(&plugins) {
        let digest = format!("sha256:{digits}");
        let (name, version) = ("test".to_owned(), "1.0.0".to_owned());
        let (needs, since) = (Vec::new(), jiff::Timestamp::UNIX_EPOCH);
        let ran = Ran {
            digest,
            name,
            version,
            needs,
            since,
        };
        history.note(tenant, connector, ran).unwrap();
    }
    let path = |digits: &String| cache.join(format!("{digits}.wasm"));
    for digits in &plugins {
        let file = fs::File::create(path(digits)).unwrap();
        // Of which nothing is on the disk.
        file.set_len(2 << 30).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    let there = || plugins.iter().map(|digits| path(digits).exists()).collect::<Vec<_>>();
    place.tenants.sweep().await;
    assert_eq!(there(), [true, true, false, false]);
}

/// A database that does not answer must not keep a grant in force that was taken back.
#[tokio::test]
async fn files_count_while_the_journal_keeps_us_waiting() {
    let url = kit::PrivatePostgres::shared().database();
    let place = Place::on(&url, tempfile::tempdir().unwrap(), &["acme"]).await;
    let event = leaver("acme", "docusign", jiff::Timestamp::UNIX_EPOCH);
    place.tenants.journal.accept(event).await.unwrap();
    let mut other = sqlx::AnyConnection::connect(&url).await.unwrap();
    other.execute("BEGIN").await.unwrap();
    other.execute("SELECT id FROM lane FOR UPDATE").await.unwrap();
    place.write("tenants/acme.toml", &format!("{TENANT}concurrency = 2\n"));
    place.tenants.look().await.unwrap();
    let mut settling = std::pin::pin!(place.tenants.settle());
    let early = tokio::time::timeout(Duration::from_millis(200), &mut settling).await;
    assert!(early.is_err(), "its lane's cap cannot be written yet");
    place.write("tenants/acme.toml", "nonsense");
    let looked = tokio::time::timeout(Duration::from_secs(10), place.tenants.look()).await;
    looked.expect("it does not wait").unwrap();
    assert_eq!(
        place.tenants.problems().len(),
        2,
        "the connector's, and that of the file"
    );
    other.execute("COMMIT").await.unwrap();
    settling.await;
    let lanes = place.tenants.journal.lanes(None).await.unwrap();
    assert_eq!(lanes[0].cap, 2);
}

/// Whoever has asked whether its jobs are done must find the tenant as it was, or nobody would ever forget it.
#[tokio::test]
async fn a_tenant_that_is_gone_with_its_grants_is_forgotten() {
    let place = Place::with(&["acme", "other"]).await;
    place.write("exeunt.toml", "[tenants.acme]\nprivate = ['10.0.0.5:443']\n");
    place.look().await;
    place.write("exeunt.toml", "");
    place.remove("tenants/acme.toml");
    place.tenants.look().await.unwrap();
    tokio::time::pause();
    advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    place.tenants.look().await.unwrap();
    let live = || place.tenants.live.load().tenants.get("acme").cloned();
    let before = live().expect("it drains");
    assert!(before.draining);
    place.tenants.look().await.unwrap();
    assert!(Arc::ptr_eq(&before, &live().expect("it drains still")));
    place.tenants.settle().await;
    assert!(live().is_none());
}
