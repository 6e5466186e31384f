//! `exeunt journal`: moves everything between SQLite and PostgreSQL, or into a safe.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncBufRead, AsyncWrite, AsyncWriteExt as _, BufReader, BufWriter};

use super::own::own;
use super::{Exit, host_here};
use crate::journal::{Exported, Journal as Store, Options};
use crate::tenant::{JournalAddress, Location};

/// Moves the journal between databases.
#[derive(Debug, Subcommand)]
pub(super) enum Journal {
    /// Writes the whole journal to a file, as of one moment.
    ///
    /// To move it, stop all servers first: what they do afterwards would be missing in the copy, or be done twice.
    Export(Place),
    /// Fills an empty journal from an export, wholly or not at all.
    #[command(mut_arg("file", |file| file.help("File that `exeunt journal export` wrote, or `-` for standard input")))]
    Import(Place),
}

/// Which journal, and where its copy is.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// File, or `-` for standard output. An existing file is not overwritten.
    file: PathBuf,
    /// Host file. Default: exeunt.toml in this folder, where it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Another journal than the host file's, written as there: sqlite:PATH, postgres://USER@HOST/DATABASE, env:NAME or
    /// file:NAME.
    #[arg(long, value_name = "ADDRESS")]
    journal: Option<String>,
}

impl Journal {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let (what, moved, address) = match self {
            Self::Export(place) => {
                let address = place.address()?;
                ("exported", place.export(&address).await?, address)
            }
            Self::Import(place) => {
                let address = place.address()?;
                ("imported", place.import(&address).await?, address)
            }
        };
        // Standard output may be the export.
        eprintln!("{what} {} rows, {} bytes; journal {address}", moved.rows, moved.bytes);
        Ok(Exit::Success)
    }
}

impl Place {
    fn address(&self) -> anyhow::Result<JournalAddress> {
        let host = host_here(self.config.as_deref())?;
        match &self.journal {
            None => Ok(host.server.journal),
            Some(text) => {
                let at = Location::file_only(Path::new("--journal"));
                JournalAddress::parse(text, at, Path::new(".")).map_err(|message| anyhow!("--journal {message}"))
            }
        }
    }

    async fn export(&self, address: &JournalAddress) -> anyhow::Result<Exported> {
        // Opening makes a file where there is none; its export would be empty and look well.
        if let JournalAddress::Sqlite(file) = address
            && !file.exists()
        {
            bail!("there is no journal {address}; name the host file with --config, or the journal with --journal");
        }
        // As it is: a backup by a newer release must not change tables under a server that runs.
        let url = address.resolve()?;
        let store = Store::open_as_it_is(url.expose_secret(), Options::default()).await?;
        let moved = if self.is_standard() {
            write(&store, standard(std::io::stdout())?).await
        } else {
            self.export_to_file(&store).await
        };
        store.close().await;
        moved
    }

    /// Whole or not at all, and readable by nobody else: it names people.
    async fn export_to_file(&self, store: &Store) -> anyhow::Result<Exported> {
        let shown = self.file.display();
        if self.file.exists() {
            bail!("{shown} exists already; choose another name");
        }
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let cannot = || format!("cannot write {shown}");
        let file = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
        let output = tokio::fs::File::from_std(file.reopen().with_context(cannot)?);
        let moved = write(store, output).await.with_context(cannot)?;
        file.as_file().sync_all().with_context(cannot)?;
        file.persist_noclobber(&self.file).with_context(cannot)?;
        // A name is on disk when its folder is.
        std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .with_context(cannot)?;
        Ok(moved)
    }

    async fn import(&self, address: &JournalAddress) -> anyhow::Result<Exported> {
        let mut input: Box<dyn AsyncBufRead + Unpin + Send> = if self.is_standard() {
            Box::new(BufReader::new(standard(std::io::stdin())?))
        } else {
            let file = tokio::fs::File::open(&self.file).await;
            let file = file.with_context(|| format!("cannot read {}", self.file.display()))?;
            Box::new(BufReader::new(file))
        };
        // A server would not look at what comes behind its back, nor wait with jobs that run elsewhere.
        let _owned = own(address)?;
        let new = match address {
            JournalAddress::Sqlite(file) if !file.exists() => Some(file),
            _ => None,
        };
        let moved = async {
            let store = Store::open(address.resolve()?.expose_secret(), Options::default()).await?;
            let moved = store.import(&mut input).await;
            store.close().await;
            anyhow::Ok(moved?)
        };
        let moved = moved.await;
        if let (Some(file), Err(_)) = (new, &moved)
            && let Err(error) = std::fs::remove_file(file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("note: cannot take {} away again: {error}", file.display());
        }
        moved.with_context(|| format!("{} was not imported into {address}", self.file.display()))
    }

    fn is_standard(&self) -> bool {
        self.file == Path::new("-")
    }
}

/// Standard input or output as a file of its own.
fn standard(stream: impl std::os::fd::AsFd) -> anyhow::Result<tokio::fs::File> {
    let owned = stream
        .as_fd()
        .try_clone_to_owned()
        .context("standard input or output is closed")?;
    Ok(tokio::fs::File::from_std(owned.into()))
}

async fn write(store: &Store, output: impl AsyncWrite + Unpin + Send) -> anyhow::Result<Exported> {
    let mut output = BufWriter::new(output);
    let moved = store.export(&mut output).await?;
    output.flush().await?;
    Ok(moved)
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
