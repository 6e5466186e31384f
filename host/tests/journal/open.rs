//! What a journal refuses to open, and what it makes.

use std::os::unix::fs::PermissionsExt as _;

use exeunt::journal::{Engine, Journal, JournalError, Options, SCHEMA_VERSION};
use sqlx::{Executor as _, Row as _};

use crate::on_both;
use crate::rig::{Rig, block_on, lane, until_somebody_waits};

/// Makes tables of the first schema of present ones.
const UNDO: [&str; 8] = [
    "DROP INDEX job_held_tenant",
    "DROP INDEX intent_account",
    "DROP INDEX event_tenant",
    "CREATE INDEX job_open ON job(id)",
    "ALTER TABLE intent DROP COLUMN spelled",
    "ALTER TABLE event DROP COLUMN replayed_as",
    "ALTER TABLE intent DROP COLUMN said_at",
    "DROP TABLE evidence",
];

on_both! {
    async fn a_newer_schema_is_refused(rig: Rig) {
        rig.journal.close().await;
        let mut connection = rig.connection().await;
        connection.execute("UPDATE schema_version SET version = version + 1").await.expect("an update");
        let refused = Journal::open(&rig.url, rig.options()).await.map(drop);
        assert_eq!(refused, Err(JournalError::NewerSchema { found: SCHEMA_VERSION + 1, known: SCHEMA_VERSION }));
        connection.execute("UPDATE schema_version SET version = version - 1").await.expect("an update");
        assert!(Journal::open(&rig.url, rig.options()).await.is_ok());
    }

    async fn a_journal_of_the_first_schema_is_brought_up_to_date(rig: Rig) {
        let mut rig = rig;
        let id = rig.queue(&lane("acme", "docusign")).await;
        rig.journal.close().await;
        let mut connection = rig.connection().await;
        // What the later steps made is not there yet, and what they took away is.
        for undo in UNDO {
            connection.execute(undo).await.expect("an index");
        }
        connection.execute("UPDATE schema_version SET version = 1").await.expect("an update");
        let refused = Journal::open_as_it_is(&rig.url, rig.options()).await.map(drop).unwrap_err().to_string();
        assert!(refused.contains("its tables are of schema version 1"), "{refused}");
        let left = connection.execute("SELECT spelled FROM intent").await;
        assert!(left.is_err(), "nothing was migrated");
        rig.reopen(rig.options()).await;
        assert_eq!(rig.claim_one().await.id(), id);
        for done in UNDO {
            connection.execute(done).await.expect("it is as the last step left it");
        }
    }

    async fn hosts_that_start_at_once_make_one_schema(rig: Rig) {
        let url = match rig.journal.engine() {
            Engine::Sqlite => format!("sqlite:{}", rig.path("fresh.db").display()),
            Engine::Postgres => kit::PrivatePostgres::shared().database(),
        };
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let (url, options) = (url.clone(), rig.options());
                tokio::spawn(async move { Journal::open(&url, options).await })
            })
            .collect();
        for task in tasks {
            let journal = task.await.expect("no panic").expect("it opens");
            assert_eq!(journal.lanes(None).await, Ok(vec![]));
        }
    }

    async fn everything_is_there_after_a_restart(rig: Rig) {
        let mut rig = rig;
        let id = rig.queue(&lane("acme", "docusign")).await;
        rig.reopen(rig.options()).await;
        assert_eq!(rig.claim_one().await.id(), id);
    }

    async fn a_closed_journal_says_so(rig: Rig) {
        rig.journal.close().await;
        let accepted = rig.journal.accept(crate::rig::leaver(&lane("acme", "docusign"), rig.now())).await;
        assert!(matches!(accepted, Err(JournalError::Unavailable(_))), "{accepted:?}");
        assert!(matches!(rig.journal.lanes(None).await, Err(JournalError::Unavailable(_))));
    }
}

#[test]
fn a_sqlite_file_is_private() {
    block_on(async {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("odd name ?#%.db");
        std::fs::write(&path, "").expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("our own file");
        let journal = Journal::open(&format!("sqlite:{}", path.display()), Options::default())
            .await
            .expect("it opens");
        assert_eq!(journal.engine(), Engine::Sqlite);
        for entry in std::fs::read_dir(folder.path()).expect("the folder") {
            let entry = entry.expect("an entry");
            let mode = entry.metadata().expect("metadata").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
        }
        journal.close().await;
        let names: Vec<_> = std::fs::read_dir(folder.path())
            .expect("the folder")
            .flatten()
            .map(|e| e.file_name())
            .collect();
        assert_eq!(names, ["odd name ?#%.db"], "closing leaves one file");
    });
}

#[test]
fn what_cannot_be_a_journal_is_refused_in_words() {
    block_on(async {
        let folder = tempfile::TempDir::new().expect("a folder");
        let text = folder.path().join("text.db");
        std::fs::write(
            &text,
            "this is no database, and it is longer than a header of one would be".repeat(20),
        )
        .expect("a file");
        for url in [
            format!("sqlite:{}", text.display()),
            format!("sqlite:{}", folder.path().display()),
            format!("sqlite:{}/missing/a.db", folder.path().display()),
            "sqlite::memory:".to_owned(),
            "exeunt.db".to_owned(),
        ] {
            let refused = Journal::open(&url, Options::default()).await.map(drop);
            assert!(matches!(&refused, Err(JournalError::Open { .. })), "{url}: {refused:?}");
        }
        let nobody = "postgres://user:secret@127.0.0.1:1/journal";
        let refused = Journal::open(nobody, Options::default())
            .await
            .map(drop)
            .expect_err("nobody answers");
        assert!(matches!(refused, JournalError::Unavailable(_)), "{refused:?}");
        assert!(!format!("{refused} {refused:?}").contains("secret"));
    });
}

/// A dump has a table for hours, and another host is to be upgraded meanwhile.
#[test]
fn a_migration_that_waits_for_a_table_holds_up_no_host_that_runs() {
    block_on(async {
        let rig = Rig::postgres().await;
        let mut connection = rig.connection().await;
        for undo in UNDO {
            connection.execute(undo).await.expect("an index");
        }
        connection
            .execute("UPDATE schema_version SET version = 1")
            .await
            .expect("an update");
        let mut dump = rig.connection().await;
        dump.execute("BEGIN").await.expect("a transaction");
        dump.execute("SELECT job_id FROM intent").await.expect("a query");
        let (url, options) = (rig.url.clone(), rig.options());
        let upgrading = tokio::spawn(async move { Journal::open(&url, options).await.map(drop) });
        until_somebody_waits(&rig.url).await;
        let id = rig.queue(&lane("acme", "docusign")).await;
        assert_eq!(rig.claim_one().await.id(), id);
        // The others get the table between its tries.
        let mut other = rig.connection().await;
        let reads = other.execute("SELECT job_id FROM intent");
        let read = tokio::time::timeout(std::time::Duration::from_secs(60), reads).await;
        read.expect("it gets its turn").expect("a query");
        assert!(!upgrading.is_finished());
        dump.execute("COMMIT").await.expect("a commit");
        assert_eq!(upgrading.await.expect("no panic"), Ok(()));
        let version = connection
            .fetch_one("SELECT version FROM schema_version")
            .await
            .expect("a version");
        assert_eq!(version.get::<i64, _>(0), SCHEMA_VERSION);
    });
}

/// A port behind which nobody answers, as where a network swallows what is sent.
#[test]
fn a_server_that_says_nothing_is_not_waited_for_longer_than_a_sender_waits() {
    block_on(async {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("postgres://nobody@{}/journal", silent.local_addr().expect("an address"));
        let refused = Journal::open(&url, Options::default()).await.map(drop);
        let Err(JournalError::Unavailable(why)) = refused else {
            panic!("{refused:?}")
        };
        assert!(why.contains("no connection within 5 s"), "{why}");
    });
}

#[test]
fn sqlites_thread_goes_before_others_where_that_is_allowed() {
    use rustix::process::{Pid, getpriority_process, nice};
    let own = getpriority_process(None).expect("a priority");
    let asked = std::thread::spawn(|| nice(-10)).join().expect("no panic");
    block_on(async {
        let rig = Rig::sqlite().await;
        rig.queue(&lane("acme", "docusign")).await;
        let threads = std::fs::read_dir("/proc/self/task").expect("threads");
        let ids = threads.map(|thread| thread.expect("a thread").file_name().into_string().expect("a number"));
        let is_sqlites = |id: &String| {
            std::fs::read_to_string(format!("/proc/self/task/{id}/comm"))
                .is_ok_and(|name| name.starts_with("sqlx-sqlite"))
        };
        let priority = |id: String| getpriority_process(Pid::from_raw(id.parse().expect("a number")));
        let priorities: Vec<_> = ids.filter(is_sqlites).map(priority).collect();
        assert_eq!(priorities, [Ok(asked.unwrap_or(own))]);
    });
}
