//! Replacing a file that a server looks at meanwhile, without locking the server out.

use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use super::host::folder_of;

/// A new file's mode. Readable by all: it may be made by root, and the server runs as somebody else. What is written here
/// are tenants' settings and hashes of 256 random bits, and no secret.
const NEW_FILE: u32 = 0o644;

/// Writes a file whole or not at all.
///
/// It keeps its owner and mode, whoever writes it: where root revokes a token, the server's own user must still be able
/// to read the file, or goes on with what it had. A new file gets the folder's owner and mode 0644, and its group where we
/// may give it that. A link stays a link.
///
/// # Errors
///
/// The file or its folder cannot be written, or it would belong to somebody else afterwards; nothing has changed then. Where
/// only the folder cannot be synced, the new file is there, and a power cut may bring the old one back.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        real => real?,
    };
    let folder = folder_of(&path);
    let (owner, mode, is_new) = match path.metadata() {
        Ok(before) => (before.clone(), before.mode(), false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (folder.metadata()?, NEW_FILE, true),
        Err(error) => return Err(error),
    };
    let entry = File::open(&folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    let now = file.as_file().metadata()?;
    if (now.uid(), now.gid()) != (owner.uid(), owner.gid()) {
        // By the open file: the folder's owner may have put a link where it is, to a file that must stay root's.
        let given = fchown(file.as_file(), Some(owner.uid()), Some(owner.gid()));
        let only_the_group = is_new && now.uid() == owner.uid();
        match given {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !only_the_group => {
                return Err(not_ours(&owner, error.kind()));
            }
            Err(error) if !only_the_group => return Err(error),
            _ => {}
        }
    }
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(mode & 0o777))?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    // Whoever revokes a token is told that it is revoked, and a name is on disk when its folder is.
    entry.sync_all()
}

fn not_ours(owner: &Metadata, kind: io::ErrorKind) -> io::Error {
    let (user, group) = (owner.uid(), owner.gid());
    let text = format!("it would no longer belong to user {user} and group {group}; run this as that user, or as root");
    io::Error::new(kind, text)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn a_replaced_file_keeps_its_owner_and_mode_and_a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("acme.toml"), folder.path().join("link.toml"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        // Only root can give a file to the service's user, as it is where this matters.
        let is_root = folder.path().metadata().unwrap().uid() == 0;
        let service = if is_root { 65532 } else { file.metadata().unwrap().uid() };
        chown(&file, Some(service), None).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, "new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        let after = file.metadata().unwrap();
        assert_eq!((after.mode() & 0o777, after.uid()), (0o640, service));
    }

    #[test]
    fn a_new_file_belongs_to_the_owner_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        if folder.path().metadata().unwrap().uid() == 0 {
            chown(folder.path(), Some(65532), None).unwrap();
        }
        let file = folder.path().join("tokens.toml");
        replace(&file, "new").unwrap();
        let (folder, file) = (folder.path().metadata().unwrap(), file.metadata().unwrap());
        assert_eq!((file.mode() & 0o777, file.uid()), (0o644, folder.uid()));
    }
}
