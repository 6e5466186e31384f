//! `exeunt plugin list` and `exeunt plugin rollback`: what ran, and back to it.
//!
//! Going back is a line in the tenant file, which is where everything else stands that decides what runs: it is seen,
//! reviewed, copied to the other hosts, and taken back like any line. A switch in the journal lost: the file would say
//! one thing, and the hosts do another.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::json;
use toml_edit::{DocumentMut, value};

use crate::cli::jobs::pretty;
use crate::cli::table::{moment, show, table};
use crate::cli::{Exit, host_here};
use crate::dispatch::{History, Ran};
use crate::sandbox::{Plugin, SandboxLimits};
use crate::tenant::{ConnectorConfig, PluginSource, Tenant, did_you_mean, replace};

/// Lists which plugins the connectors of this host have run, the latest of each first.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Host file. Default: exeunt.toml in the working folder, where it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Goes back to a plugin that a connector has run before.
///
/// Writes its digest into the tenant file (and what it needs, where the file says what is accepted). A running server
/// takes it up within seconds and keeps the component by its digest, so that the file in the folder of plugins does not
/// matter. Take the line out to run that file again.
#[derive(Debug, Args)]
pub(in crate::cli) struct Rollback {
    /// Tenant.
    tenant: String,
    /// Connector.
    connector: String,
    /// Digest of the plugin. Default: the one that ran last; where the tenant file names that one, the one before it.
    #[arg(long, value_name = "DIGEST")]
    to: Option<String>,
    /// Host file. Default: exeunt.toml in the working folder, where it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl List {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let host = host_here(self.config.as_deref())?;
        let history = History::beside(&host.server.cache);
        let all = history.all();
        let all = all.with_context(|| format!("cannot read what is kept in {}", host.server.cache.display()))?;
        let all = all.into_iter().flat_map(|(tenant, connector, ran)| {
            let latest_first = ran.into_iter().rev();
            latest_first.map(move |ran| (tenant.clone(), connector.clone(), ran))
        });
        if self.json {
            let plugins = all.map(|(tenant, connector, ran)| {
                json!({
                    "tenant": tenant, "connector": connector, "plugin": ran.name, "version": ran.version,
                    "since": ran.since, "digest": ran.digest,
                })
            });
            return show(&pretty(&plugins.collect::<Vec<_>>())?);
        }
        let rows = all.map(|(tenant, connector, ran)| {
            let since = moment(ran.since);
            [tenant, connector, ran.name, ran.version, since, ran.digest]
        });
        show(&table(
            ["TENANT", "CONNECTOR", "PLUGIN", "VERSION", "SINCE", "DIGEST"],
            rows,
        ))
    }
}

impl Rollback {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let host = host_here(self.config.as_deref())?;
        let file = host.server.tenant_file(&self.tenant);
        let tenant = Tenant::load(&file, &host)?;
        let Some(config) = tenant.connectors.get(&self.connector) else {
            let known = tenant.connectors.keys().map(String::as_str);
            bail!(
                "{} has no [connectors.{}]; {}",
                file.display(),
                self.connector,
                did_you_mean(&self.connector, known)
            );
        };
        let history = History::beside(&host.server.cache);
        // Before the plugin's file: one that is replaced in between, and runs at once, would count as the one to keep.
        let ran = history.of(&self.tenant, &self.connector);
        let wanted = self.wanted(&ran, named(config, &history)?.as_deref())?;
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let text = edit(&text, &self.connector, wanted)?;
        Tenant::parse(&text, &file, &host).context("the file would be wrong afterwards, so it was left as it is")?;
        replace(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
        show(&format!(
            "{}: [connectors.{}] is at {} {}, digest = \"{}\"; write the same into the files of your other hosts\n",
            file.display(),
            self.connector,
            wanted.name,
            wanted.version,
            wanted.digest
        ))
    }

    fn wanted<'a>(&self, ran: &'a [Ran], named: Option<&str>) -> anyhow::Result<&'a Ran> {
        let who = format!("{} of {}", self.connector, self.tenant);
        let Some(latest) = ran.last() else {
            bail!(
                "{who} has run no plugin on this host, so there is nothing to go back to; put one that works in its place"
            )
        };
        if let Some(digest) = &self.to {
            return ran.iter().find(|ran| ran.digest == *digest).ok_or_else(|| {
                let lines = ran.iter().rev().map(|ran| format!("\n  --to {}", ran.digest));
                let lines: String = lines.collect();
                anyhow!("{who} has not run {digest} on this host; write one that it ran, the latest first:{lines}")
            });
        }
        // Another one that never ran, or cannot be read, is what is to be got rid of. Whether the one that ran last is
        // admitted still is not asked: where it is what the file holds, to name it would change nothing.
        if named != Some(latest.digest.as_str()) {
            return Ok(latest);
        }
        ran.iter().nth_back(1).ok_or_else(|| {
            anyhow!(
                "{who} has run one plugin only on this host, and its tenant file names that one, so there is nothing to \
                 go back to; put another in its place, or keep this one whatever its file holds by --to {}",
                latest.digest
            )
        })
    }
}

/// The digest of the plugin that the tenant file names. None where there is no such file, or it was not pulled.
fn named(config: &ConnectorConfig, history: &History) -> anyhow::Result<Option<String>> {
    if let Some(pinned) = &config.digest {
        return Ok(Some(pinned.clone()));
    }
    let path = match &config.plugin {
        PluginSource::File(path) => path,
        PluginSource::Registry(plugin) => return Ok(history.pulled(plugin)),
    };
    // Anything may lie there. What is longer is not admitted, and its beginning is no plugin that ran.
    let most = SandboxLimits::default().component as u64 + 1;
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(Plugin::digest_of(&bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        // It may be the very one that is to be got rid of.
        Err(error) => {
            Err(error).with_context(|| format!("cannot read the plugin {}; name one with --to", path.display()))
        }
    }
}

/// The tenant file with the lines that let this plugin run, everything else as it was.
fn edit(text: &str, connector: &str, wanted: &Ran) -> anyhow::Result<String> {
    let mut document: DocumentMut = text.parse()?;
    let lines = document
        .get_mut("connectors")
        .and_then(|connectors| connectors.get_mut(connector))
        .and_then(|connector| connector.as_table_like_mut())
        .ok_or_else(|| anyhow!("[connectors.{connector}] is not a table"))?;
    lines.insert("digest", value(&wanted.digest));
    if lines.contains_key("accepts") {
        lines.insert("accepts", value(wanted.needs().digest()));
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran() -> Ran {
        Ran {
            digest: "sha256:00".to_owned(),
            name: "test".to_owned(),
            version: "1.0.0".to_owned(),
            needs: vec!["endpoint api".to_owned()],
            since: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_ran_last_is_gone_back_to_unless_the_tenant_file_names_it() {
        let of = |digest: &str| Ran {
            digest: digest.to_owned(),
            ..ran()
        };
        let wanted = |to: Option<&str>, ran: &[&str], named: Option<&str>| {
            let ran: Vec<Ran> = ran.iter().map(|digest| of(digest)).collect();
            let rollback = Rollback {
                tenant: "acme".to_owned(),
                connector: "docusign".to_owned(),
                to: to.map(str::to_owned),
                config: None,
            };
            let wanted = rollback.wanted(&ran, named);
            wanted.map(|ran| ran.digest.clone()).map_err(|error| error.to_string())
        };
        for (ran, named, back) in [
            (&["1", "2"][..], Some("2"), "1"),
            (&["1", "2"], Some("1"), "2"),
            (&["1", "2"], Some("3"), "2"),
            (&["1", "2"], None, "2"),
            (&["1"], Some("2"), "1"),
            (&["1"], None, "1"),
        ] {
            assert_eq!(wanted(None, ran, named).as_deref(), Ok(back), "{ran:?} {named:?}");
        }
        assert_eq!(wanted(Some("1"), &["1", "2", "3"], Some("3")).as_deref(), Ok("1"));
        for (to, ran, said) in [
            (None, &[][..], "has run no plugin"),
            (None, &["1"], "--to 1"),
            (Some("4"), &[], "has run no plugin"),
            (
                Some("4"),
                &["1", "2"],
                "has not run 4 on this host; write one that it ran, the latest first:\n  --to 2\n  --to 1",
            ),
        ] {
            let told = wanted(to, ran, Some("1")).unwrap_err();
            assert!(told.contains(said), "{told}");
        }
    }

    #[test]
    fn going_back_changes_its_lines_and_no_other() {
        let text = "# ours\n[connectors.a]\nplugin = \"a.wasm\" # keep\nmode = \"enforce\"\n\n[connectors.b]\nplugin = \"b\"\n";
        let edited = edit(text, "a", &ran()).unwrap();
        let line = "digest = \"sha256:00\"\n";
        assert_eq!(
            edited,
            text.replace("\n\n[connectors.b]", &format!("\n{line}\n[connectors.b]"))
        );
        let again = Ran {
            digest: "sha256:11".to_owned(),
            ..ran()
        };
        assert_eq!(edit(&edited, "a", &again).unwrap(), edited.replace("00", "11"));
    }

    #[test]
    fn what_was_accepted_goes_back_too_also_in_an_inline_table() {
        let text = "connectors = { a = { plugin = \"a.wasm\", accepts = \"sha256:99\" } }\n";
        let edited = edit(text, "a", &ran()).unwrap();
        assert!(
            edited.contains(&format!("accepts = \"{}\"", ran().needs().digest())),
            "{edited}"
        );
        assert!(edited.contains("digest = \"sha256:00\""), "{edited}");
        assert!(edit(text, "b", &ran()).is_err());
    }
}
