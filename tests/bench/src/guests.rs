//! The SCIM connector in Rust, JavaScript and Python: what a verb call costs, cold and warm.
//!
//! Cold is compiling, or loading what was compiled before; warm is what every call costs: a fresh sandbox and one
//! `read`, HTTP answered from memory. The guests take turns, and what counts are the ratios to Rust.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use exeunt::author::{Stage, StageKeys};
use exeunt::capability::{Call, Grant, HttpError, Network, Outgoing, Response, Token, Transport, Verb};
use exeunt::clock::SystemClock;
use exeunt::sandbox::{Plugin, PluginCache, Sandbox, SandboxLimits};
use tokio::time::Instant;

use crate::heading;
use crate::numbers::{Times, millis};
use crate::world::plugins;

const GUESTS: [(&str, &str); 3] = [
    ("Rust", "scim.wasm"),
    ("JavaScript", "scim-js.wasm"),
    ("Python", "scim-py.wasm"),
];
/// Times that each is loaded from the cache.
const LOADS: usize = 5;
const ROUNDS: usize = 10;
const CALLS: usize = 50;

/// A user, whatever is asked.
#[derive(Debug)]
struct Stub;

impl Transport for Stub {
    fn answer(&self, _: &Outgoing<'_>) -> Result<Response, HttpError> {
        let body = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"4711","userName":"ann@acme.example","active":false,"emails":[{"value":"ann@acme.example","primary":true}]}"#;
        Ok(Response {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/scim+json".to_owned())],
            body: body.as_bytes().to_vec(),
        })
    }
}

/// A guest that is ready, and what it took.
struct Guest {
    language: &'static str,
    size: usize,
    plugin: Plugin,
    grant: Arc<Grant>,
    token: Token,
    compiled: Duration,
    loaded: Times,
    calls: Times,
}

pub(crate) async fn run() -> anyhow::Result<()> {
    let cache = tempfile::tempdir()?;
    let mut guests = Vec::new();
    for (language, file) in GUESTS {
        let path = plugins()?.join(file);
        let bytes =
            std::fs::read(&path).with_context(|| format!("there is no {}; run `make guests`", path.display()))?;
        guests.push(Guest::load(language, &bytes, &cache.path().join("compiled")).await?);
    }
    for _ in 0..ROUNDS {
        for guest in &mut guests {
            guest.read(CALLS).await?;
        }
    }
    print(&mut guests);
    Ok(())
}

impl Guest {
    async fn load(language: &'static str, bytes: &[u8], cache: &std::path::Path) -> anyhow::Result<Self> {
        let sandbox =
            || Ok::<_, anyhow::Error>(Sandbox::new(SandboxLimits::default())?.with_cache(PluginCache::open(cache)?));
        let first = sandbox()?;
        let (started, copy) = (Instant::now(), bytes.to_vec());
        let mut plugin = first.admit(copy).await?;
        let compiled = started.elapsed();
        let mut loaded = Times::default();
        for _ in 0..LOADS {
            // An engine of its own, as after a restart.
            let (next, copy) = (sandbox()?, bytes.to_vec());
            let started = Instant::now();
            plugin = next.admit(copy).await?;
            loaded.push(started.elapsed());
        }
        let stage = Stage {
            settings: serde_json::json!({}),
            endpoints: BTreeMap::new(),
            reach: None,
            clock: Arc::new(SystemClock),
            network: Network::answered_by(Arc::new(Stub)),
        };
        let grant = Arc::new(stage.grant(&plugin.descriptor, &StageKeys::for_descriptor(&plugin.descriptor)?)?);
        let minted = plugin.mint(Call::new(Arc::clone(&grant), Verb::Mint, None)).await;
        let token = minted.result?.map_err(|failure| anyhow!("{failure:?}"))?;
        Ok(Self {
            language,
            size: bytes.len(),
            plugin,
            grant,
            token,
            compiled,
            loaded,
            calls: Times::default(),
        })
    }

    async fn read(&mut self, calls: usize) -> anyhow::Result<()> {
        for _ in 0..calls {
            let call = Call::new(Arc::clone(&self.grant), Verb::Read, Some("4711".to_owned()));
            let started = Instant::now();
            let ended = self.plugin.read(call, &self.token).await;
            self.calls.push(started.elapsed());
            let account = ended.result?.map_err(|failure| anyhow!("{failure:?}"))?;
            ensure!(account.is_some_and(|account| account.id == "4711"), "no account");
        }
        Ok(())
    }
}

fn print(guests: &mut [Guest]) {
    heading("the SCIM connector by language, HTTP answered from memory, one call at a time");
    println!(
        "  {:<12} {:>9} {:>12} {:>18} {:>22} {:>12}",
        "", "MB", "compile ms", "load compiled ms", "fresh sandbox + read ms", "to Rust"
    );
    let mut rust = None;
    for guest in guests {
        let call = millis(guest.calls.median());
        let base = *rust.get_or_insert(call);
        println!(
            "  {:<12} {:>9.2} {:>12.0} {:>18.2} {:>23.3} {:>11.1}x",
            guest.language,
            guest.size as f64 / 1e6,
            millis(guest.compiled),
            millis(guest.loaded.median()),
            call,
            call / base
        );
    }
}
