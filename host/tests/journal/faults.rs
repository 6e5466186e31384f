//! A disk that fails: nothing is acknowledged that is not there, and the journal says that it is broken.
//!
//! The child is this test binary, with a library loaded before it that makes writes or syncs of the journal fail after
//! a while. The library is compiled here, since only C can stand between SQLite and the system.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use exeunt::journal::{EventId, Journal, JournalError, Options};
use uuid::Uuid;

use crate::rig::{block_on, lane, leaver, start_of_time};

const JOURNAL: &str = "EXEUNT_TEST_FAULTY_JOURNAL";

const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
static long left(const char *name, long by) {
    static long writes = -1, syncs = -1;
    long *n = name[0] == 'w' ? &writes : &syncs;
    const char *text = getenv(name[0] == 'w' ? "FAIL_WRITES_AFTER" : "FAIL_SYNCS_AFTER");
    if (!text) return 1;
    if (*n < 0) *n = atol(text);
    return *n > 0 ? (*n)-- : 0;
}
static int ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return strstr(path, "journal.db") != NULL;
}
int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fsync");
    if (ours(fd) && !left("syncs", 1)) { errno = EIO; return -1; }
    return real(fd);
}
int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    if (ours(fd) && !left("syncs", 1)) { errno = EIO; return -1; }
    return real(fd);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    if (ours(fd) && !left("writes", 1)) { errno = ENOSPC; return -1; }
    return real(fd, data, size, at);
}
"#;

/// Not a test: what the parent starts.
#[test]
fn child() {
    let Ok(url) = std::env::var(JOURNAL) else { return };
    block_on(async {
        let journal = Journal::open(&url, Options::default()).await.expect("it opens");
        let mut clients = Vec::new();
        for client in 0..8 {
            let journal = journal.clone();
            clients.push(tokio::spawn(async move {
                loop {
                    match journal
                        .accept(leaver(&lane(&format!("t{client}"), "c"), start_of_time()))
                        .await
                    {
                        Ok(accepted) => println!("accepted {}", accepted.event),
                        Err(error) => return error,
                    }
                }
            }));
        }
        for client in clients {
            let error = client.await.expect("no panic");
            assert!(matches!(error, JournalError::Broken(_)), "{error}");
        }
        println!("broken {}", journal.broken().await);
        // It stays so, for everything.
        for result in [
            journal
                .accept(leaver(&lane("acme", "c"), start_of_time()))
                .await
                .map(drop),
            journal.claim("host-1", Duration::from_secs(1), 1).await.map(drop),
            journal.lanes(None).await.map(drop),
        ] {
            assert!(matches!(result, Err(JournalError::Broken(_))), "{result:?}");
        }
        println!("refused everything");
    });
}

/// Compiles the library, or says that it cannot.
fn shim(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("shim.c"), folder.join("shim.so"));
    let mut file = std::fs::File::create(&source).expect("a file");
    file.write_all(SHIM.as_bytes()).expect("a file");
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .output();
    match output {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(library)
        }
        Err(error) => {
            eprintln!("SKIPPED: there is no C compiler here ({error}), so no disk can be made to fail");
            None
        }
    }
}

/// Runs a child with a fault, and looks at what it left.
fn fail(variable: &str, after: u32) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let Some(library) = shim(folder.path()) else { return };
    let url = format!("sqlite:{}", folder.path().join("journal.db").display());
    block_on(async {
        Journal::open(&url, Options::default())
            .await
            .expect("it opens")
            .close()
            .await
    });
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "faults::child", "--nocapture", "--test-threads=1"])
        .env("LD_PRELOAD", library)
        .env(variable, after.to_string())
        .env(JOURNAL, &url)
        .output()
        .expect("the child runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("refused everything"), "{text}");
    let ids = text.lines().filter_map(|line| line.strip_prefix("accepted "));
    let acknowledged: BTreeSet<EventId> = ids.map(|id| Uuid::parse_str(id).expect("an id").into()).collect();
    assert!(!acknowledged.is_empty(), "it failed too early to show anything: {text}");
    block_on(async {
        let journal = Journal::open(&url, Options::default()).await.expect("it opens again");
        for id in &acknowledged {
            assert!(
                journal.event(*id).await.expect("a query").is_some(),
                "{id} was acknowledged and is lost"
            );
        }
        assert_eq!(journal.reconcile().await, Ok(vec![]));
    });
}

#[test]
fn a_failing_sync_breaks_the_journal_without_a_false_answer() {
    for after in [6, 13, 40] {
        fail("FAIL_SYNCS_AFTER", after);
    }
}

#[test]
fn a_full_disk_breaks_the_journal_without_a_false_answer() {
    for after in [200, 203, 1000] {
        fail("FAIL_WRITES_AFTER", after);
    }
}
