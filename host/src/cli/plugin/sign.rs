//! `exeunt plugin keygen`, `sign` and `verify`: who vouches for a plugin.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use secrecy::ExposeSecret as _;

use super::build::write_beside;
use crate::cli::Exit;
use crate::cli::table::show;
use crate::sandbox::{Plugin, inspect};
use crate::tenant::{MAX_SIGNATURES_BYTES, PrivateKey, PublicKey, Signatures, read_secret_file, signature_file};

/// Makes a key that signs plugins.
///
/// Writes the private key to a new file that only its owner can read, and prints the public one.
#[derive(Debug, Args)]
pub(in crate::cli) struct Keygen {
    /// Where the private key goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Signs a plugin.
///
/// The signature goes to FILE.sig, beside those of other keys. It is of the file's content: a plugin that is built again
/// is signed again.
#[derive(Debug, Args)]
pub(in crate::cli) struct Sign {
    /// Component.
    file: PathBuf,
    /// Private key, as `exeunt plugin keygen` writes it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Says whether a plugin is signed.
///
/// Exit code 0: FILE.sig has a signature of one of these keys. 1: it has none.
#[derive(Debug, Args)]
pub(in crate::cli) struct Verify {
    /// Component.
    file: PathBuf,
    /// Public key; may be given several times.
    #[arg(long = "signer", value_name = "KEY", required = true)]
    signers: Vec<String>,
}

impl Keygen {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let key = PrivateKey::generate()?;
        let pem = key.to_pem()?;
        let cannot = || format!("cannot write {}", self.output.display());
        // Never over another key, and never readable for a moment.
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.output);
        let mut file = file.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => anyhow!(
                "{} exists, and a key is never written over another; name a new file, or move that one away",
                self.output.display()
            ),
            _ => anyhow!(error).context(cannot()),
        })?;
        file.write_all(pem.expose_secret().as_bytes()).with_context(cannot)?;
        show(&format!("{}\n", key.public()))
    }
}

impl Sign {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let shown = self.key.display();
        let pem = read_secret_file(&self.key).map_err(|text| anyhow!("{text}"))?;
        let key = PrivateKey::from_pem(&pem).map_err(|text| anyhow!("{shown} {text}"))?;
        let component = read(&self.file)?;
        inspect(&component).with_context(|| format!("{} is not signed", self.file.display()))?;
        let path = signature_file(&self.file);
        let mut signatures = read_signatures(&path)?.unwrap_or_default();
        let digest = Plugin::digest_of(&component);
        signatures.sign(&key, &digest);
        write_beside(&path, signatures.to_string().as_bytes())?;
        show(&format!("{}: {digest} is signed by {}\n", path.display(), key.public()))
    }
}

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let signers = self.signers.iter().map(|text| PublicKey::parse(text));
        let signers: Vec<_> = signers.collect::<Result<_, _>>().map_err(|text| anyhow!("{text}"))?;
        let digest = Plugin::digest_of(&read(&self.file)?);
        let path = signature_file(&self.file);
        let verified = match read_signatures(&path)? {
            Some(signatures) => signatures.verify(&digest, &signers),
            None => Err(format!("there is no {}", path.display())),
        };
        let shown = self.file.display();
        match verified {
            Ok(()) => show(&format!("{shown}: {digest} is signed\n")),
            Err(reason) => {
                show(&format!("{shown}: {digest} is not signed: {reason}\n"))?;
                Ok(Exit::Problem)
            }
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// None where there is no such file.
fn read_signatures(path: &Path) -> anyhow::Result<Option<Signatures>> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SIGNATURES_BYTES as u64 + 1).read_to_end(&mut text));
    match read {
        Ok(_) => {
            let signatures = Signatures::parse(&text);
            signatures
                .map(Some)
                .map_err(|text| anyhow!("{} {text}", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
