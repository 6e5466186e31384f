//! `exeunt plugin new`: a connector project that works.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::author::{Language, new_project};
use crate::cli::Exit;
use crate::cli::table::show;

/// Writes a connector project that works, to be changed: sources, the contract, cases and a build script.
#[derive(Debug, Args)]
pub(in crate::cli) struct New {
    /// The connector's name: [a-z][a-z0-9-]*.
    name: String,
    /// Language.
    #[arg(long)]
    lang: Lang,
    /// Where it goes. Default: a new folder of that name.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// The languages of the kit.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Lang {
    Rust,
    Js,
    Python,
}

impl New {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let language = match self.lang {
            Lang::Rust => Language::Rust,
            Lang::Js => Language::JavaScript,
            Lang::Python => Language::Python,
        };
        let folder = self.folder.as_deref().unwrap_or(Path::new(&self.name));
        new_project(folder, &self.name, language)?;
        show(&format!(
            "{} is there; build and try it with {0}/build.sh\n",
            folder.display()
        ))
    }
}
