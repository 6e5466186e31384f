//! Which files have changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::stamp::{Seen, look, stamp};
use super::tenants::Live;
use crate::tenant::HostConfig;

/// When what does not load is tried again although no file has changed: 30 seconds. A file may lie where nobody looks,
/// behind a link or in the environment.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The host's own file, and those that it names.
#[derive(Debug, Clone, Default)]
pub(super) struct HostFile {
    pub(super) seen: Vec<(PathBuf, Option<Seen>)>,
    pub(super) tried: Option<Instant>,
    pub(super) problem: Option<String>,
}

/// A tenant's file, when it was last loaded, well or not.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) stamp: u64,
    pub(super) plugins: Vec<(PathBuf, Option<Seen>)>,
    /// When to try again although nothing has changed.
    pub(super) again: Option<Instant>,
}

/// What a look at the files has found.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) host: Arc<HostConfig>,
    pub(super) host_file: HostFile,
    /// All tenant files, sorted.
    pub(super) files: Vec<PathBuf>,
    /// Those to load, with their stamps: first what has changed, then what is only tried again.
    pub(super) changed: Vec<(PathBuf, u64)>,
}

/// The folder of tenants cannot be read. The host's own file counts all the same.
#[derive(Debug)]
pub(super) struct NoFolder {
    pub(super) error: anyhow::Error,
    pub(super) host: Arc<HostConfig>,
    pub(super) host_file: HostFile,
}

/// Looks at all files. What they look like is taken before anything is read. Waits for disks.
///
/// # Errors
/// The folder of tenants cannot be read.
pub(super) fn changes(before: &Live, config: Option<&Path>, now: Instant) -> Result<Changes, Box<NoFolder>> {
    let (host, host_file) = look_at_host(before, config, now);
    let files = match tenant_files(&host.server.tenant_files) {
        Ok(files) => files,
        Err(error) => return Err(Box::new(NoFolder { error, host, host_file })),
    };
    let mut plugins = BTreeMap::new();
    let (mut changed, mut again) = (Vec::new(), Vec::new());
    for file in &files {
        let name = tenant_name(file);
        let stamp = stamp(file, name, &host);
        let known = before.files.get(file);
        let is_current = known.is_some_and(|known| {
            let mut unchanged = known.plugins.iter().map(|(path, seen)| {
                let current = plugins.entry(path.clone()).or_insert_with(|| look(path));
                *current == *seen
            });
            known.stamp == stamp && unchanged.all(|unchanged| unchanged)
        });
        let drains = || before.tenants.get(name).is_some_and(|live| live.draining);
        let is_due = known.and_then(|known| known.again).is_some_and(|again| again <= now);
        if !is_current || drains() {
            changed.push((file.clone(), stamp));
        } else if is_due {
            again.push((file.clone(), stamp));
        }
    }
    changed.append(&mut again);
    if host_file.problem.is_none() && host_file.tried != before.host_file.tried {
        for (tenant, file) in
            host.granted_to_nobody(|file| files.binary_search_by(|known| known.as_path().cmp(file)).is_ok())
        {
            let file = file.display();
            tracing::warn!(
                tenant,
                "[tenants.{tenant}] in the host's file grants it something, and there is no {file}"
            );
        }
    }
    Ok(Changes {
        host,
        host_file,
        files,
        changed,
    })
}

/// The host's configuration, read again where one of its files has changed. Where it is wrong, the old one holds.
fn look_at_host(before: &Live, config: Option<&Path>, now: Instant) -> (Arc<HostConfig>, HostFile) {
    let old = &before.host_file;
    let Some(config) = config else {
        return (Arc::clone(&before.host), old.clone());
    };
    let files = before.host.files();
    let seen: Vec<_> = files.into_iter().map(|path| (path.clone(), look(&path))).collect();
    let is_due = old.problem.is_some() && old.tried.is_none_or(|tried| now.duration_since(tried) >= RETRY_AFTER);
    if seen == old.seen && !is_due {
        return (Arc::clone(&before.host), old.clone());
    }
    let tried = Some(now);
    match HostConfig::load(config) {
        Ok(host) => {
            let problem = None;
            if old.problem.is_some() {
                tracing::info!("{} is read again", config.display());
            }
            (Arc::new(host), HostFile { seen, tried, problem })
        }
        Err(error) => {
            let problem = Some(format!("{error}; what was read before holds"));
            if problem != old.problem {
                tracing::error!("{error}");
            }
            (Arc::clone(&before.host), HostFile { seen, tried, problem })
        }
    }
}

/// What a tenant file is called, whether that is a valid name or not.
pub(super) fn tenant_name(file: &Path) -> &str {
    file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

fn tenant_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| {
        format!(
            "cannot read the folder of tenants {}; make it, or write `tenant_files`",
            folder.display()
        )
    })?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot read {}", folder.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
