//! What files look like from outside: enough to see that one has changed, without reading it.
//!
//! Time and length alone lost: `chmod 600`, which our own message asks for, changes neither, and a file that was
//! copied with its times may have both of its predecessor.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::tenant::HostConfig;

/// Folders below a tenant's own that are looked into: 4, more than secret stores nest, and the end of a loop of links.
const MAX_DEPTH: usize = 4;

/// A file as it was seen. Any difference means that it may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    device: u64,
    inode: u64,
    mode: u32,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&Metadata> for Seen {
    fn from(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            mode: file.mode(),
            length: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// Looks at a file, through links. None where there is none, or it cannot be looked at.
pub(super) fn look(path: &Path) -> Option<Seen> {
    std::fs::metadata(path).ok().as_ref().map(Seen::from)
}

/// One number for all that a tenant is loaded from but its plugins: its file, its folder of secrets, and what the host
/// grants to it. A number, and not all that was seen, because ten thousand tenants are looked at every other second.
pub(super) fn stamp(file: &Path, tenant: &str, host: &HostConfig) -> u64 {
    let mut hash = DefaultHasher::new();
    look(file).hash(&mut hash);
    host.plugins.hash(&mut hash);
    host.grants(tenant).hash(&mut hash);
    host.registries().hash(&mut hash);
    host.signers(tenant).hash(&mut hash);
    host.signature_demand(tenant).hash(&mut hash);
    hash_folder(&file.with_extension(""), MAX_DEPTH, &mut hash);
    hash.finish()
}

fn hash_folder(folder: &Path, depth: usize, hash: &mut DefaultHasher) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        path.hash(hash);
        let file = std::fs::metadata(&path).ok();
        file.as_ref().map(Seen::from).hash(hash);
        if depth > 1 && file.is_some_and(|file| file.is_dir()) {
            hash_folder(&path, depth - 1, hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn everything_that_a_tenant_is_loaded_from_changes_its_stamp() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("tenants/acme.toml");
        let folder = root.path().join("tenants/acme");
        std::fs::create_dir_all(folder.join("below")).unwrap();
        write(&file, "").unwrap();
        write(folder.join("key"), "1").unwrap();
        write(folder.join("below/key"), "1").unwrap();
        let host = HostConfig::default_for(root.path());
        let mut last = stamp(&file, "acme", &host);
        assert_eq!(last, stamp(&file, "acme", &host), "nothing has changed");
        let mut differs = |what: &str, stamp: u64| assert_ne!(std::mem::replace(&mut last, stamp), stamp, "{what}");

        set_permissions(folder.join("key"), Permissions::from_mode(0o600)).unwrap();
        differs("chmod of a secret", stamp(&file, "acme", &host));
        write(folder.join("below/key"), "22").unwrap();
        differs("a secret in a folder below", stamp(&file, "acme", &host));
        write(&file, "[policy]").unwrap();
        differs("the file", stamp(&file, "acme", &host));
        std::fs::remove_file(folder.join("key")).unwrap();
        differs("a secret is gone", stamp(&file, "acme", &host));

        let config = root.path().join("exeunt.toml");
        write(&config, "[tenants.acme]\nprivate = ['10.0.0.5:443']").unwrap();
        let granting = HostConfig::load(&config).unwrap();
        differs("a grant", stamp(&file, "acme", &granting));
        let others = stamp(&file, "other", &granting);
        assert_eq!(others, stamp(&file, "other", &host), "it is nobody else's");
    }

    #[test]
    fn a_loop_of_links_is_looked_at_to_its_limit() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("acme.toml");
        std::fs::create_dir(root.path().join("acme")).unwrap();
        std::os::unix::fs::symlink(root.path().join("acme"), root.path().join("acme/self")).unwrap();
        stamp(&file, "acme", &HostConfig::default_for(root.path()));
    }
}
