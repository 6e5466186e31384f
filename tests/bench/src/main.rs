//! Benchmarks: each prints what it measured beside a baseline measured in the same run.
//!
//! What counts are the ratios; the times are this machine's, and what else it does is shown. Nothing is asserted but
//! that the work was done: a bar that is missed is seen, a busy machine fails nothing.

use clap::{Parser, Subcommand};

mod accept;
mod bare;
mod call;
mod client;
mod depth;
mod guests;
mod latency;
mod leavers;
mod native;
mod neighbours;
mod npm;
mod numbers;
mod raw;
mod scale;
mod stub;
mod target;
mod tenants;
mod world;

/// As `exeunt` has: what is measured in this process takes what it takes there, and the simulator and the senders leave
/// more of the processors to what is measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exeunt's benchmarks; all of them without a command.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    which: Option<Which>,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// One verb call, and the whole procedure: sandbox, bare embedding, native.
    Call,
    /// The SCIM connector in Rust, JavaScript and Python: a verb call, cold and warm.
    Guests,
    /// Durable accept over HTTP on SQLite and PostgreSQL.
    Accept,
    /// Leavers closed and verified a second.
    Leavers {
        /// How many.
        #[arg(long, default_value_t = LEAVERS)]
        count: usize,
    },
    /// Works as a service does and measures nothing: for a build that is optimised by what a run did.
    Train,
    /// Time from accept to verified.
    Latency,
    /// Accept and dispatch by queued jobs and tenants.
    Scale {
        /// Queued jobs at most.
        #[arg(long, default_value_t = QUEUED)]
        queued: usize,
    },
    /// Leavers a second and time to verified by queued jobs and tenants.
    Depth {
        /// Queued jobs at most.
        #[arg(long, default_value_t = QUEUED)]
        queued: usize,
    },
    /// What a hostile tenant costs its neighbours.
    Neighbours,
    /// Start to ready and resident memory by tenants.
    Tenants {
        /// How many tenants.
        #[arg(default_values_t = TENANTS)]
        tenants: Vec<usize>,
        /// Each with a plugin of its own.
        #[arg(long)]
        plugin_each: bool,
    },
}

const LEAVERS: usize = 10_000;
const QUEUED: usize = 1_000_000;
const TENANTS: [usize; 2] = [1_000, 10_000];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    sqlx::any::install_default_drivers();
    match Arguments::parse().which {
        None => {
            call::run().await?;
            guests::run().await?;
            accept::run().await?;
            leavers::run(LEAVERS).await?;
            latency::run().await?;
            scale::run(QUEUED).await?;
            depth::run(QUEUED).await?;
            tenants::run(&TENANTS, false).await?;
            tenants::run(&TENANTS[..1], true).await?;
            neighbours::run().await
        }
        Some(Which::Call) => call::run().await,
        Some(Which::Guests) => guests::run().await,
        Some(Which::Accept) => accept::run().await,
        Some(Which::Leavers { count }) => leavers::run(count).await,
        Some(Which::Train) => leavers::train(LEAVERS).await,
        Some(Which::Latency) => latency::run().await,
        Some(Which::Scale { queued }) => scale::run(queued).await,
        Some(Which::Depth { queued }) => depth::run(queued).await,
        Some(Which::Neighbours) => neighbours::run().await,
        Some(Which::Tenants { tenants, plugin_each }) => tenants::run(&tenants, plugin_each).await,
    }
}

fn heading(text: &str) {
    println!("\n{text}  [load {}]", numbers::load());
}
