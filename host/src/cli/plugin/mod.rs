//! `exeunt plugin`: builds, inspects, tries and signs plugins, and goes back to earlier ones.

use clap::Subcommand;

use super::Exit;

mod build;
mod inspect;
mod new;
mod rollback;
mod run;
mod sign;
mod test;

pub(super) use inspect::admit;

/// Builds, inspects, tries and signs plugins, and goes back to earlier ones.
#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    /// Turns a core module, built against `wit/`, into a component.
    Build(build::Build),
    /// Shows what a plugin is and what it asks for, as JSON.
    Inspect(inspect::Inspect),
    /// Shows what a plugin needs that another does not.
    Diff(inspect::Diff),
    /// Writes a connector project that works, to be changed.
    New(new::New),
    /// Calls one verb of a plugin by hand, at the target of a tenant's connector.
    Run(run::Run),
    /// Runs a plugin's verbs against a scripted target, without a network.
    Test(test::Test),
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
            Self::New(new) => new.run(),
            Self::Run(run) => run.run().await,
            Self::Test(test) => test.run().await,
            Self::Keygen(keygen) => keygen.run(),
            Self::Sign(sign) => sign.run(),
            Self::Verify(verify) => verify.run(),
            Self::List(list) => list.run(),
            Self::Rollback(rollback) => rollback.run(),
        }
    }
}
