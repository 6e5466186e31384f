//! A library that makes a program's disk fail. Only C can stand between SQLite and the system.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What fails, from when on.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// `fsync` and `fdatasync` fail with EIO after so many.
    SyncsAfter(u32),
    /// Writes fail with ENOSPC after so many.
    WritesAfter(u32),
}

impl Fault {
    fn variable(self) -> (&'static str, String) {
        match self {
            Self::SyncsAfter(after) => ("FAIL_SYNCS_AFTER", after.to_string()),
            Self::WritesAfter(after) => ("FAIL_WRITES_AFTER", after.to_string()),
        }
    }
}

const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
static int is_left(const char *name, long *used) {
    const char *most = getenv(name);
    return !most || __atomic_fetch_add(used, 1, __ATOMIC_SEQ_CST) < atol(most);
}
static int sync_is_left(void) {
    static long used;
    return is_left("FAIL_SYNCS_AFTER", &used);
}
static int write_is_left(void) {
    static long used;
    return is_left("FAIL_WRITES_AFTER", &used);
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
    if (ours(fd) && !sync_is_left()) { errno = EIO; return -1; }
    return real(fd);
}
int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    if (ours(fd) && !sync_is_left()) { errno = EIO; return -1; }
    return real(fd);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    if (ours(fd) && !write_is_left()) { errno = ENOSPC; return -1; }
    return real(fd, data, size, at);
}
"#;

/// The variables under which a program's files named `journal.db…` fail. The library is compiled into `folder`.
///
/// None where there is no C compiler; that is said on standard error.
///
/// # Panics
///
/// When the compiler does not take it.
#[must_use]
pub fn failing_disk(folder: &Path, fault: Fault) -> Option<[(&'static str, String); 2]> {
    let library = compile(folder)?;
    Some([
        ("LD_PRELOAD", library.to_str().expect("UTF-8").to_owned()),
        fault.variable(),
    ])
}

fn compile(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("shim.c"), folder.join("shim.so"));
    std::fs::write(&source, SHIM).expect("a file");
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
