//! `exeunt plugin`: builds plugins, inspects and signs them, and goes back to earlier ones.

use clap::Subcommand;

use super::Exit;

mod build;
mod inspect;
mod rollback;
mod sign;

/// Builds plugins, inspects and signs them, and goes back to earlier ones.
#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    /// Turns a core module, built against `wit/`, into a component.
    Build(build::Build),
    /// Shows what a plugin is and what it asks for, as JSON.
    Inspect(inspect::Inspect),
    /// Shows what a plugin needs that another does not.
    Diff(inspect::Diff),
    /// Makes a key that signs plugins.
    Keygen(sign::Keygen),
    /// Signs a plugin.
    Sign(sign::Sign),
    /// Says whether a plugin is signed.
    Verify(sign::Verify),
    /// Lists which plugins the connectors of this host have run.
    List(rollback::List),
    /// Goes back to a plugin that a connector has run before.
    Rollback(rollback::Rollback),
}

impl Plugin {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Build(build) => build.run(),
            Self::Inspect(inspect) => inspect.run().await,
            Self::Diff(diff) => diff.run().await,
            Self::Keygen(keygen) => keygen.run(),
            Self::Sign(sign) => sign.run(),
            Self::Verify(verify) => verify.run(),
            Self::List(list) => list.run(),
            Self::Rollback(rollback) => rollback.run(),
        }
    }
}
