//! The engine, its ticking, and the stores in which verbs run.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::sync::Semaphore;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime::{
    Config, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig, Store, UpdateDeadline,
};

use super::bindings::Connector;
use super::cache::PluginCache;
use super::compiler::Compiler;
use super::limiter::Limiter;
use super::limits::{SandboxLimits, TICK};
use super::pace::{Budget, Pace};
use crate::capability::{Call, LimitReached};

/// What a store holds: the call's capabilities, or none while a plugin describes itself.
pub(super) struct State {
    pub(super) table: ResourceTable,
    pub(super) call: Option<Call>,
    /// Handles that it may hold, for the message that it holds more.
    pub(super) handles: usize,
    pub(super) limiter: Limiter,
}

/// Runs components. One a process; plugins of all tenants share the engine and nothing else.
#[derive(Clone)]
pub struct Sandbox {
    pub(super) engine: Engine,
    pub(super) linker: Arc<Linker<State>>,
    pub(super) limits: Arc<SandboxLimits>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) pace: Arc<Pace>,
    pub(super) cache: Option<PluginCache>,
    pub(super) compiler: Option<Compiler>,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Starts the engine and the thread that moves its epoch.
    ///
    /// Instances come from a pool where the machine has the address space for it, else one by one.
    ///
    /// # Errors
    ///
    /// The engine's, where the machine cannot run it.
    pub fn new(limits: SandboxLimits) -> anyhow::Result<Self> {
        let engine = match Engine::new(&config(&limits, true)) {
            Ok(engine) => engine,
            Err(error) => {
                tracing::info!("no pool of instances, falling back to one by one: {error:#}");
                Engine::new(&config(&limits, false)).map_err(|error| anyhow!("cannot start the engine: {error:#}"))?
            }
        };
        let mut linker = Linker::new(&engine);
        Connector::add_to_linker::<_, wasmtime::component::HasSelf<_>>(&mut linker, |state: &mut State| state)
            .map_err(|error| anyhow!("cannot link the imports: {error:#}"))?;
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let pace = Arc::new(Pace::new(processors, limits.tenant_memory));
        tick(engine.weak(), Arc::clone(&pace))?;
        let permits = Arc::new(Semaphore::new(limits.concurrency as usize));
        Ok(Self {
            engine,
            linker: Arc::new(linker),
            limits: Arc::new(limits),
            permits,
            pace,
            cache: None,
            compiler: None,
        })
    }

    /// The same, keeping what it compiles in a folder.
    #[must_use]
    pub fn with_cache(self, cache: PluginCache) -> Self {
        Self {
            cache: Some(cache),
            ..self
        }
    }

    /// The same, compiling in processes that may be killed. Without, components are compiled here, which is for those
    /// that are trusted, and for tests.
    #[must_use]
    pub fn with_compiler(self, compiler: Compiler) -> Self {
        Self {
            compiler: Some(compiler),
            ..self
        }
    }

    /// A store for one call of a tenant.
    pub(super) fn store(&self, mut call: Option<Call>, tenant: Option<&Budget>) -> Store<State> {
        if let (Some(call), Some(tenant)) = (&mut call, tenant) {
            call.answers_are_held_in(tenant.memory());
        }
        let limiter = Limiter::new(&self.limits, tenant.map(Budget::memory).unwrap_or_default());
        let mut table = ResourceTable::new();
        table.set_max_capacity(self.limits.handles);
        let handles = self.limits.handles;
        let state = State {
            table,
            call,
            handles,
            limiter,
        };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(self.limits.handed_over);
        store.set_max_component_handles(self.limits.handles);
        let allowed = self.limits.cpu;
        let mut ticks_left = allowed.as_millis() / TICK.as_millis();
        store.set_epoch_deadline(1);
        // Yielding at every tick keeps other calls going on this worker; the wall clock outside needs it to fire.
        store.epoch_deadline_callback(move |_| match ticks_left.checked_sub(1) {
            Some(left) => {
                ticks_left = left;
                Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
            }
            None => Err(cpu_exhausted(allowed).into()),
        });
        store
    }
}

fn cpu_exhausted(allowed: Duration) -> LimitReached {
    LimitReached {
        limit: "cpu-milliseconds",
        allowed: u64::try_from(allowed.as_millis()).unwrap_or(u64::MAX),
    }
}

pub(super) fn config(limits: &SandboxLimits, pooled: bool) -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.max_wasm_stack(limits.stack);
    config.async_stack_size(limits.stack + 512 * 1024);
    // A guest's memory must be the same bytes on every machine: what a replay sees depends on it.
    config.cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true);
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16));
    if pooled {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    }
    config
}

/// Memories that one component may define. All guests known have one.
const MEMORIES: u32 = 2;
/// Tables that one component may define. The guest has one, and the shims that `wit-component` adds another.
const TABLES: u32 = 6;

/// A component is a handful of core modules (the guest, and the shims that `wit-component` adds), mostly with a table
/// each and one memory. What one component may have times the calls at once is what the pool has, so that no plugin
/// can take its neighbours' share; one that needs more is refused when it is compiled.
fn pool(limits: &SandboxLimits) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(limits.concurrency);
    let instances = u32::try_from(limits.instances).unwrap_or(u32::MAX);
    pool.max_core_instances_per_component(instances);
    pool.total_core_instances(limits.concurrency.saturating_mul(instances));
    pool.max_memories_per_component(MEMORIES);
    pool.total_memories(limits.concurrency * MEMORIES);
    pool.max_tables_per_component(TABLES);
    pool.total_tables(limits.concurrency * TABLES);
    pool.total_stacks(limits.concurrency);
    pool.max_memory_size(limits.memory);
    pool.table_elements(limits.table_elements);
    pool.max_component_instance_size(4 * 1024 * 1024);
    pool.max_core_instance_size(4 * 1024 * 1024);
    // Keeping 1 MiB resident saves a small guest all its page faults and costs at most 320 MiB when all slots are warm.
    pool.linear_memory_keep_resident(1024 * 1024);
    pool.table_keep_resident(64 * 1024);
    // Asking the kernel which pages a guest touched and resetting only those, instead of all that is kept: halves the
    // time of a call. Where the kernel cannot say (before Linux 6.7), all are reset as without it.
    pool.pagemap_scan(wasmtime::Enabled::Auto);
    pool
}

/// Ticks from a thread of its own: a guest that spins on every worker cannot stop it. Ends with the engine.
#[expect(
    clippy::disallowed_methods,
    reason = "the one thread whose work is to wait; nothing async may depend on it"
)]
fn tick(engine: EngineWeak, pace: Arc<Pace>) -> anyhow::Result<()> {
    let body = move || {
        while let Some(engine) = engine.upgrade() {
            // First the turn, so that a guest that is alone finds it when the epoch stops it.
            pace.tick();
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new()
        .name("epoch".to_owned())
        .spawn(body)
        .context("cannot start the epoch thread")?;
    Ok(())
}
