//! One verb call in a fresh sandbox, against a bare embedding of wasmtime and against the same code compiled natively.
//!
//! All three answer the same `read` from memory, in turns of a few thousand, so that a machine that slows down slows
//! all of them down. What counts are the ratios; the times are this machine's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use exeunt::capability::{Call, CallLimits, Network, Token, Verb};
use exeunt::clock::SystemClock;
use exeunt::dispatch::{Connector, Runtime};
use exeunt::sandbox::{Sandbox, SandboxLimits};
use exeunt::tenant::{HostConfig, Tenant};
use tokio::time::Instant;

mod bare;
mod native;
mod stub;

const ROUNDS: usize = 15;
const CALLS: u32 = 2000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let plugins = std::env::current_exe()?
        .parent()
        .context("no folder")?
        .join("../plugins")
        .canonicalize()?;
    let folder = tempfile::tempdir()?;
    let connector = connector(folder.path(), &plugins).await?;
    let grant = Arc::clone(&connector.grant);
    let minted = connector
        .plugin
        .mint(Call::new(Arc::clone(&grant), Verb::Mint, None))
        .await;
    let token = minted.result?.map_err(|failure| anyhow!("{failure:?}"))?;
    let component = std::fs::read(plugins.join("docusign.wasm"))?;
    let settings = Call::new(Arc::clone(&grant), Verb::Read, None).settings().to_owned();
    let bare = bare::Bare::new(&component, settings).map_err(|error| anyhow!("{error:#}"))?;

    let (mut sandboxed, mut bared, mut natived) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        sandboxed.push(sandbox(&connector, &token).await?);
        bared.push(embedding(&bare).await?);
        natived.push(natively(&connector, &token)?);
    }
    let (sandboxed, bared, natived) = (median(sandboxed), median(bared), median(natived));
    println!("one `read`, HTTP answered from memory, median of {ROUNDS} rounds of {CALLS} calls");
    println!("  in our sandbox, fresh for each call   {:>8.1} us", micros(sandboxed));
    println!("  in a bare embedding of wasmtime       {:>8.1} us", micros(bared));
    println!("  compiled natively, same capabilities  {:>8.1} us", micros(natived));
    println!(
        "  sandbox / bare embedding              {:>8.2}    (bar: at most 2)",
        micros(sandboxed) / micros(bared)
    );
    println!(
        "  sandbox - native                      {:>8.1} us a call",
        micros(sandboxed) - micros(natived)
    );
    Ok(())
}

async fn connector(root: &Path, plugins: &Path) -> anyhow::Result<Connector> {
    let (account, caller) = (stub::ACCOUNT, stub::CALLER);
    std::fs::create_dir_all(root.join("tenants/acme"))?;
    let key = root.join("tenants/acme/docusign.pem");
    std::fs::write(&key, include_str!("../../../host/testdata/keys/pkcs8.pem"))?;
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    std::fs::write(root.join("exeunt.toml"), format!("plugins = {plugins:?}\n"))?;
    let file = root.join("tenants/acme.toml");
    let text = format!(
        "[connectors.docusign]\nplugin = \"docusign.wasm\"\nmode = \"enforce\"\n\
         settings = {{ account_id = \"{account}\", integration_key = \"{account}\", user_id = \"{caller}\" }}\n\
         keys = {{ signing = \"file:docusign.pem\" }}\n\
         endpoints = {{ account = \"https://account-d.docusign.com\", esign = \"https://demo.docusign.net\" }}\n"
    );
    std::fs::write(&file, text)?;
    let host = HostConfig::locate(None, &file)?;
    let tenant = Tenant::load(&file, &host)?;
    let sandbox = Sandbox::new(SandboxLimits::default())?;
    let runtime = Runtime::new(sandbox, Arc::new(SystemClock))
        .with_limits(CallLimits::default())
        .with_network(Network::answered_by(Arc::new(stub::Stub)));
    Ok(runtime.connector(&tenant, &tenant.connectors["docusign"]).await?)
}

async fn sandbox(connector: &Connector, token: &Token) -> anyhow::Result<Duration> {
    let started = Instant::now();
    for _ in 0..CALLS {
        let call = Call::new(Arc::clone(&connector.grant), Verb::Read, Some(stub::LEAVER.to_owned()));
        let ended = connector.plugin.read(call, token).await;
        let account = ended.result?.map_err(|failure| anyhow!("{failure:?}"))?;
        anyhow::ensure!(account.is_some(), "no account");
    }
    Ok(started.elapsed() / CALLS)
}

async fn embedding(bare: &bare::Bare) -> anyhow::Result<Duration> {
    let started = Instant::now();
    for _ in 0..CALLS {
        let found = bare.read(stub::LEAVER).await.map_err(|error| anyhow!("{error:#}"))?;
        anyhow::ensure!(found, "no account");
    }
    Ok(started.elapsed() / CALLS)
}

fn natively(connector: &Connector, token: &Token) -> anyhow::Result<Duration> {
    let started = Instant::now();
    for _ in 0..CALLS {
        let call = Call::new(Arc::clone(&connector.grant), Verb::Read, Some(stub::LEAVER.to_owned()));
        let host = native::Native::new(call);
        let account = plugin_docusign::read(&host, stub::LEAVER, token).map_err(|failure| anyhow!("{failure:?}"))?;
        anyhow::ensure!(account.is_some(), "no account");
    }
    Ok(started.elapsed() / CALLS)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
