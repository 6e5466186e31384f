//! `exeunt token`: who may operate the server.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::civil::Date;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::jobs::pretty;
use super::table::{hand_over, show, table};
use super::{Exit, host_here};
use crate::clock::{Clock as _, SystemClock};
use crate::tenant::{NewToken, Role, ServerConfig, Tokens};

/// Makes, lists and revokes API tokens. Works on the server's file; the server re-reads it within seconds.
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Makes a token and prints it, this one time.
    New(New),
    /// Lists the tokens, those that were revoked too.
    List(List),
    /// Takes a token's rights away.
    Revoke(Revoke),
}

/// Makes a token and prints it, this one time.
#[derive(Debug, Args)]
pub(super) struct New {
    /// Its name, which is written down with all that is done with it.
    name: String,
    /// What it may do: operate (start, retry, cancel, pause), approve (let held jobs go), audit (read transcripts and
    /// events). May be given several times.
    #[arg(long = "role", required = true, value_name = "ROLE")]
    roles: Vec<Role>,
    /// The tenant that it belongs to. Default: the host, which reaches all tenants.
    #[arg(long)]
    tenant: Option<String>,
    #[command(flatten)]
    config: Config,
}

/// Which server's file.
#[derive(Debug, Args)]
pub(super) struct Config {
    /// Host file. Default: exeunt.toml in this folder, where it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Lists the tokens, those that were revoked too.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

/// Takes a token's rights away.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// Its name.
    name: String,
    #[command(flatten)]
    config: Config,
}

impl Config {
    fn server(&self) -> anyhow::Result<ServerConfig> {
        Ok(host_here(self.config.as_deref())?.server)
    }

    fn file(&self) -> anyhow::Result<PathBuf> {
        Ok(self.server()?.tokens)
    }
}

impl Token {
    #[expect(clippy::unused_async, reason = "as all commands")]
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        show(&match self {
            Self::New(new) => {
                let name = new.name.clone();
                let made = new.make()?;
                let unseen = || {
                    format!(
                        "nobody has seen the token; take it back with: exeunt token revoke {name}, and make one with another name"
                    )
                };
                hand_over(&made).with_context(unseen)?;
                return Ok(Exit::Success);
            }
            Self::List(list) => list.text(&Tokens::load(&list.config.file()?)?)?,
            Self::Revoke(revoke) => {
                let file = revoke.config.file()?;
                Tokens::revoke(&file, &revoke.name, today())?;
                format!("{} is revoked in {}\n", revoke.name, file.display())
            }
        })
    }
}

impl New {
    fn make(self) -> anyhow::Result<String> {
        let server = self.config.server()?;
        let tenant_file = self.tenant.as_deref().map(|tenant| server.tenant_file(tenant));
        if let Some(missing) = tenant_file.filter(|file| !file.exists()) {
            eprintln!("note: there is no {} yet", missing.display());
        }
        let file = server.tokens;
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
        let new = NewToken {
            name: self.name,
            tenant: self.tenant,
            roles: self.roles.into_iter().collect(),
            created: today(),
        };
        let token = Tokens::add(&file, new, random)?;
        // Only the token goes to standard output, so that it can be sent into a file.
        eprintln!("written to {} as a hash; this is shown once:", file.display());
        Ok(format!("{}\n", token.expose_secret()))
    }
}

/// The day, UTC.
fn today() -> Date {
    jiff::tz::Offset::UTC.to_datetime(SystemClock.now()).date()
}

impl List {
    fn text(&self, tokens: &Tokens) -> anyhow::Result<String> {
        let tokens = tokens.list().into_iter().map(|token| {
            let roles: Vec<&str> = token.roles.iter().map(|role| role.as_str()).collect();
            (token, roles)
        });
        if self.json {
            let tokens = tokens.map(|(token, roles)| {
                json!({
                    "name": token.name, "tenant": token.tenant, "roles": roles, "created": token.created,
                    "revoked": token.revoked(),
                })
            });
            return pretty(&tokens.collect::<Vec<_>>());
        }
        let rows = tokens.map(|(token, roles)| {
            let tenant = token.tenant.clone().unwrap_or_else(|| "(host)".to_owned());
            let revoked = token.revoked().map_or_else(|| "-".to_owned(), |day| day.to_string());
            let created = token.created.to_string();
            [token.name.clone(), tenant, roles.join(", "), created, revoked]
        });
        Ok(table(["NAME", "TENANT", "ROLES", "CREATED", "REVOKED"], rows))
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
