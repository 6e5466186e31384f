//! Deletes what nobody uses from the folder of compiled plugins, where it is too much.
//!
//! Whoever writes a tenant's file says what is pulled and compiled, as often as that file changes. Without a bound one
//! tenant could fill the disk, which may be the journal's. Deleting at once what is no longer used lost: the next look
//! at the files, or another process beside this one, may want it again.

use std::fs::DirEntry;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::cache::PluginCache;
use super::engine::Sandbox;
use crate::tenant::parse_digest;

/// Most bytes of what nobody uses: 1 GiB. An interpreter and its machine code take 80 MB, a plugin in Rust 2 MB.
const MAX_UNUSED: u64 = 1 << 30;

/// How long a file is left alone: a minute. It may be of a tenant that is just being loaded.
const RECENT: Duration = Duration::from_secs(60);

/// Digits of a digest, with which the names of all files begin that are kept.
const DIGITS: usize = 64;

/// How the files end that are kept.
const ENDINGS: [&str; 4] = [".wasm", ".manifest", ".sig", ".compiled"];

struct Unused {
    written: SystemTime,
    name: String,
    bytes: u64,
}

impl Sandbox {
    /// Deletes the oldest of what nobody uses until 1 GiB of it is left. Blocks.
    ///
    /// `used` are digests of components and manifests. `also_used` is asked for more where there is too much otherwise.
    ///
    /// # Errors
    /// The folder cannot be read, or a file not be deleted; or those of `also_used`, and nothing is deleted then.
    pub(crate) fn sweep(
        &self,
        mut used: Vec<String>,
        also_used: impl FnOnce() -> io::Result<Vec<String>>,
        now: SystemTime,
    ) -> io::Result<()> {
        let Some(cache) = &self.cache else { return Ok(()) };
        used.sort_unstable();
        let mut unused = self.unused(cache, &used, now)?;
        if unused.iter().map(|file| file.bytes).sum::<u64>() <= MAX_UNUSED {
            return Ok(());
        }
        used.append(&mut also_used()?);
        used.sort_unstable();
        unused.retain(|file| self.is_unused(cache, &file.name, &used));
        unused.sort_by_key(|file| std::cmp::Reverse(file.written));
        let mut kept = 0;
        for file in unused {
            kept += file.bytes;
            if kept > MAX_UNUSED {
                delete(&cache.folder().join(&file.name))?;
                tracing::info!("{} of `cache` is deleted: nobody uses it", file.name);
            }
        }
        Ok(())
    }

    /// Files of ours that are not recent, and of none of these digests.
    fn unused(&self, cache: &PluginCache, used: &[String], now: SystemTime) -> io::Result<Vec<Unused>> {
        let mut unused = Vec::new();
        for entry in std::fs::read_dir(cache.folder())? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok();
            let Some(name) = name.filter(|name| self.is_unused(cache, name, used)) else {
                continue;
            };
            let Some(file) = unused_file(&entry, name)? else {
                continue;
            };
            if now.duration_since(file.written).is_ok_and(|age| age >= RECENT) {
                unused.push(file);
            }
        }
        Ok(unused)
    }

    fn is_unused(&self, cache: &PluginCache, name: &str, used: &[String]) -> bool {
        // What a process left behind that died while it wrote.
        if name.starts_with(".tmp") {
            return true;
        }
        let is_ours = ENDINGS.iter().any(|ending| name.ends_with(ending));
        let Some((digits, _)) = name.split_at_checked(DIGITS).filter(|_| is_ours) else {
            return false;
        };
        let Ok(digest) = parse_digest(&format!("sha256:{digits}")) else {
            return false;
        };
        // Machine code for another version of this program, or other settings, is not used by this process.
        let is_current = !name.ends_with(".compiled") || cache.path(&self.engine, &digest).ends_with(name);
        !is_current || used.binary_search(&digest).is_err()
    }
}

/// None where it is gone meanwhile, or no file.
fn unused_file(entry: &DirEntry, name: String) -> io::Result<Option<Unused>> {
    match entry.metadata() {
        Ok(seen) if seen.is_file() => Ok(Some(Unused {
            written: seen.modified()?,
            name,
            bytes: seen.len(),
        })),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Another process may have done it.
fn delete(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::sandbox::SandboxLimits;

    const OLD: Duration = Duration::from_secs(3600);

    struct Folder {
        sandbox: Sandbox,
        now: SystemTime,
    }

    impl Folder {
        fn new() -> Self {
            let sandbox = Sandbox::new(SandboxLimits::default()).unwrap();
            let sandbox = sandbox.with_cache(PluginCache::temporary().unwrap());
            Self {
                sandbox,
                now: SystemTime::UNIX_EPOCH + OLD,
            }
        }

        fn cache(&self) -> &PluginCache {
            self.sandbox.cache().unwrap()
        }

        /// A file of so many bytes, none of which is on the disk.
        fn put(&self, name: &str, age: Duration, bytes: u64) {
            let file = File::create(self.cache().folder().join(name)).unwrap();
            file.set_len(bytes).unwrap();
            file.set_modified(self.now - age).unwrap();
        }

        fn sweep(&self, used: &[String], also_used: &[String]) -> Vec<String> {
            let also_used = || Ok(also_used.to_vec());
            self.sandbox.sweep(used.to_vec(), also_used, self.now).unwrap();
            let left = std::fs::read_dir(self.cache().folder()).unwrap();
            let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
            left.sort();
            left.into_iter().map(|name| name.into_string().unwrap()).collect()
        }
    }

    fn digest(number: u8) -> String {
        format!("sha256:{}", digits(number))
    }

    fn digits(number: u8) -> String {
        format!("{number:064x}")
    }

    #[test]
    fn of_what_nobody_uses_the_oldest_goes_beyond_the_limit() {
        let folder = Folder::new();
        let name = |number| format!("{}.wasm", digits(number));
        folder.put(&name(1), OLD, 1);
        folder.put(&name(2), OLD / 2, MAX_UNUSED - 1);
        assert_eq!(folder.sweep(&[], &[]), [name(1), name(2)], "at the limit");
        folder.put(&name(3), OLD / 3, 1);
        assert_eq!(folder.sweep(&[], &[]), [name(2), name(3)], "past it");
        folder.put(&name(4), RECENT, MAX_UNUSED);
        assert_eq!(folder.sweep(&[], &[]), [name(4)]);
    }

    #[test]
    fn what_is_used_or_recent_or_not_ours_stays() {
        let folder = Folder::new();
        let compiled = |number| {
            let path = folder.cache().path(&folder.sandbox.engine, &digest(number));
            path.file_name().unwrap().to_str().unwrap().to_owned()
        };
        let stays = [
            format!("{}.wasm", digits(1)),
            format!("{}.wasm.sig", digits(1)),
            compiled(1),
            format!("{}.manifest", digits(2)),
            format!("{}.wasm", digits(3)),
            "notes.wasm".to_owned(),
            format!("{}.txt", digits(4)),
            format!("{}.wasm", "g".repeat(DIGITS)),
        ];
        let goes = [
            format!("{}.wasm", digits(4)),
            format!("{}.wasm.sig", digits(4)),
            format!("{}.manifest", digits(4)),
            format!("{}.manifest.sig", digits(4)),
            compiled(4),
            format!("{}-0123456789abcdef.compiled", digits(1)),
            ".tmpAbCdEf".to_owned(),
        ];
        for name in stays.iter().chain(&goes) {
            folder.put(name, OLD, MAX_UNUSED + 1);
        }
        let recent = format!("{}.wasm", digits(5));
        folder.put(&recent, RECENT - Duration::from_secs(1), MAX_UNUSED + 1);
        let mut expected = [&stays[..], &[recent]].concat();
        expected.sort();
        assert_eq!(folder.sweep(&[digest(2), digest(1)], &[digest(3)]), expected);
    }

    #[test]
    fn where_it_is_not_known_what_is_used_nothing_goes() {
        let folder = Folder::new();
        let name = format!("{}.wasm", digits(1));
        folder.put(&name, OLD, MAX_UNUSED + 1);
        let unreadable = || Err(io::Error::other("unreadable"));
        folder.sandbox.sweep(Vec::new(), unreadable, folder.now).unwrap_err();
        assert!(folder.cache().folder().join(name).exists());
    }
}
