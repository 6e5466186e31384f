//! `exeunt plugin list` and `exeunt plugin rollback`: what ran, and back to it.
//!
//! Going back is a line in the tenant file, which is where everything else stands that decides what runs: it is seen,
//! reviewed, copied to the other hosts, and taken back like any line. A switch in the journal lost: the file would say
//! one thing, and the hosts do another.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use toml_edit::{DocumentMut, value};

use crate::cli::table::{moment, show, table};
use crate::cli::{Exit, host_here};
use crate::dispatch::{History, Ran};
use crate::tenant::{Tenant, did_you_mean, replace};

/// Lists which plugins the connectors of this host have run, the latest of each first.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
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
    /// Digest of the plugin. Default: the one that ran before the latest.
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
        let rows = all.into_iter().flat_map(|(tenant, connector, ran)| {
            ran.into_iter().rev().map(move |ran| {
                let since = moment(ran.since);
                [
                    tenant.clone(),
                    connector.clone(),
                    ran.name,
                    ran.version,
                    since,
                    ran.digest,
                ]
            })
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
        if !tenant.connectors.contains_key(&self.connector) {
            let known = tenant.connectors.keys().map(String::as_str);
            bail!(
                "{} has no [connectors.{}]; {}",
                file.display(),
                self.connector,
                did_you_mean(&self.connector, known)
            );
        }
        let ran = History::beside(&host.server.cache).of(&self.tenant, &self.connector);
        let wanted = self.wanted(&ran)?;
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

    fn wanted<'a>(&self, ran: &'a [Ran]) -> anyhow::Result<&'a Ran> {
        let (tenant, connector) = (&self.tenant, &self.connector);
        match &self.to {
            Some(digest) => ran.iter().find(|ran| ran.digest == *digest).ok_or_else(|| {
                anyhow!(
                    "{connector} of {tenant} has not run {digest} on this host; `exeunt plugin list` shows what it ran"
                )
            }),
            None => ran.iter().rev().nth(1).ok_or_else(|| {
                anyhow!(
                    "{connector} of {tenant} has run {} on this host, so there is nothing to go back to",
                    ran.last().map_or("no plugin", |_| "one plugin only")
                )
            }),
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
