//! What files look like from outside: enough to see that one has changed, without reading it.
//!
//! Time and length alone lost: `chmod 600`, which our own message asks for, changes neither, and a file that was
//! copied with its times may have both of its predecessor.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::tenant::HostConfig;

/// Levels of folders that are looked into, a tenant's own among them: 4, more than secret stores nest.
const MAX_DEPTH: usize = 4;

/// Most entries of a tenant's folder that are looked at: 1,000, some milliseconds. A connector needs a handful. Links to
/// folders multiply what there is, and one look is for all tenants.
const MAX_ENTRIES: usize = 1000;

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
    let own = file.with_extension("");
    let mut folder = Folder {
        own: &own,
        left: MAX_ENTRIES,
        hash: &mut hash,
    };
    folder.look_into(&own, MAX_DEPTH);
    hash.finish()
}

/// A tenant's folder while it is looked at.
struct Folder<'a> {
    own: &'a Path,
    /// Entries that may still be looked at.
    left: usize,
    hash: &'a mut DefaultHasher,
}

impl Folder<'_> {
    fn look_into(&mut self, folder: &Path, depth: usize) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        let mut paths: Vec<_> = entries.take(self.left).flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            path.hash(self.hash);
            let file = match self.leads_out(&path) {
                true => std::fs::symlink_metadata(&path).ok(),
                false => std::fs::metadata(&path).ok(),
            };
            file.as_ref().map(Seen::from).hash(self.hash);
            if depth > 1 && file.is_some_and(|file| file.is_dir()) {
                self.look_into(&path, depth - 1);
            }
        }
    }

    /// Whether it is a link out of the tenant's folder. No secret is read there, and it may be a disk that hangs.
    fn leads_out(&self, path: &Path) -> bool {
        path.is_symlink()
            && match (path.canonicalize(), self.own.canonicalize()) {
                (Ok(real), Ok(own)) => !real.starts_with(own),
                // It leads nowhere.
                (Err(_), _) => false,
                (Ok(_), Err(_)) => true,
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
    fn links_multiply_nothing_and_lead_to_no_other_folder() {
        let root = tempfile::tempdir().unwrap();
        let (file, folder) = (root.path().join("acme.toml"), root.path().join("acme"));
        std::fs::create_dir_all(folder.join("data")).unwrap();
        std::fs::create_dir(root.path().join("other")).unwrap();
        write(root.path().join("other/key"), "1").unwrap();
        write(folder.join("data/key"), "1").unwrap();
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, folder.join(name)).unwrap();
        link(Path::new("data"), "within");
        link(&root.path().join("other"), "out");
        let seen = || stamp(&file, "acme", &HostConfig::default_for(root.path()));
        let mut last = seen();
        write(root.path().join("other/key"), "22").unwrap();
        assert_eq!(last, seen(), "it is another's");
        write(folder.join("data/key"), "22").unwrap();
        assert_ne!(std::mem::replace(&mut last, seen()), last, "by the link or without it");
        // A hundred to the power of the depth.
        for number in 0..100 {
            link(Path::new("."), &format!("loop{number}"));
        }
        let mut hash = DefaultHasher::new();
        let mut looked = Folder {
            own: &folder,
            left: MAX_ENTRIES,
            hash: &mut hash,
        };
        looked.look_into(&folder, MAX_DEPTH);
        assert_eq!(looked.left, 0);
        looked.left = MAX_ENTRIES;
        for number in 0..100 {
            std::fs::remove_file(folder.join(format!("loop{number}"))).unwrap();
        }
        looked.look_into(&folder, MAX_DEPTH);
        // data, data/key, within, within/key, out
        assert_eq!(looked.left, MAX_ENTRIES - 5);
    }
}
