//! `exeunt compile-component`: the process in which a component is compiled. The host starts it; nobody else has to.

use std::io::{Read as _, Write as _};

use anyhow::Context as _;
use clap::Args;
use rlimit::{Resource, setrlimit};
use rustix::process::nice;

use super::Exit;
use crate::sandbox::compile_here;

/// Compiles a component from standard input to standard output.
#[derive(Debug, Args)]
pub(super) struct Compile {
    /// Bytes of memory that it may take.
    #[arg(long)]
    memory: u64,
    /// Seconds of each processor that it may take.
    #[arg(long)]
    seconds: u64,
}

impl Compile {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        self.confine().context("the compiler cannot be confined")?;
        let mut component = Vec::new();
        std::io::stdin()
            .read_to_end(&mut component)
            .context("no component came")?;
        let code = compile_here(&component)?;
        let mut out = std::io::stdout().lock();
        out.write_all(&code)
            .and_then(|()| out.flush())
            .context("nobody takes the code")?;
        Ok(Exit::Success)
    }

    /// Before anything of the component is read.
    fn confine(&self) -> anyhow::Result<()> {
        let memory = mapped()?.saturating_add(self.memory);
        // The host ends it by the clock; this is for when the host is gone. Its threads count together.
        let seconds = self.seconds.saturating_mul(4);
        for (resource, limit) in [
            (Resource::AS, memory),
            (Resource::CPU, seconds),
            (Resource::CORE, 0),
            (Resource::FSIZE, 0),
            // The server may be allowed to go before others, for SQLite; what compiles must not use that.
            (Resource::NICE, 0),
        ] {
            setrlimit(resource, limit, limit).with_context(|| format!("{resource:?}"))?;
        }
        // What serves goes first. More than this is allowed to nobody.
        nice(19).context("its priority")?;
        // Where memory runs out on the machine as a whole, this process is the one to go. Not everybody may say so.
        if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "1000") {
            tracing::debug!("the compiler is killed no sooner than others: {error}");
        }
        Ok(())
    }
}

/// Bytes of addresses that this process has mapped so far: its own code, stacks and heaps.
fn mapped() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kilobytes.context("/proc/self/status has no VmSize")? * 1024)
}
