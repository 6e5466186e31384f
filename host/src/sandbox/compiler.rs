//! Compiles components in a process of its own, which may be killed.
//!
//! A compiler has no limit on time and memory that it could be asked to keep, and a component of a few megabytes can take
//! minutes and gigabytes of it. So the same program is started once more for each component: its input is the component,
//! its output machine code, its memory is limited by the kernel, and its time by us. Compiling here, on a thread, lost:
//! a thread cannot be stopped, and memory that it takes is taken from everybody.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use wasmtime::Engine;

use super::engine::config;
use super::limits::SandboxLimits;
use crate::text::printable;

/// Compilers at a time: 2. What one may take of memory is the machine's, too.
const AT_ONCE: usize = 2;
/// Threads of one compiler. Each has a stack and a heap of its own, which count towards its memory.
const THREADS: &str = "4";
/// Bytes of what it says when it fails.
const SAID: u64 = 2048;

/// What compiling one component may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Time. An interpreter's 18 MB take about 5 s of two processors; this is for slow and busy machines.
    pub time: Duration,
    /// Memory, beyond what the program itself has mapped.
    pub memory: u64,
    /// Bytes of machine code. An interpreter has 60 MB.
    pub code: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(60),
            memory: 2 * 1024 * 1024 * 1024,
            code: 256 * 1024 * 1024,
        }
    }
}

/// Compiles components in processes of their own.
#[derive(Debug, Clone)]
pub struct Compiler {
    program: PathBuf,
    limits: CompileLimits,
    permits: Arc<Semaphore>,
}

impl Compiler {
    /// A compiler that starts this program, which must be `exeunt`, with the command [`Compiler::COMMAND`].
    #[must_use]
    pub fn new(program: PathBuf, limits: CompileLimits) -> Self {
        Self {
            program,
            limits,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// A compiler that starts the running program once more, even where its file was replaced meanwhile.
    #[must_use]
    pub fn of_this_program() -> Self {
        Self::new(PathBuf::from("/proc/self/exe"), CompileLimits::default())
    }

    /// The command of `exeunt` that compiles its standard input to its standard output.
    pub const COMMAND: &'static str = "compile-component";

    /// Machine code of a component.
    ///
    /// # Errors
    /// Why there is none: the component cannot be compiled, or not within the limits.
    pub(super) async fn compile(&self, component: &[u8]) -> Result<Vec<u8>, String> {
        let _permit = self.permits.acquire().await.map_err(|error| error.to_string())?;
        let mut child = self
            .start()
            .map_err(|error| format!("the compiler cannot be started: {error}"))?;
        let Some(((mut input, output), errors)) = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take())
        else {
            return Err("the compiler has no pipes".to_owned());
        };
        let code = self.limits.code;
        let work = async {
            let write = async {
                // It may refuse before it has read everything; how it ended says why.
                let written = input.write_all(component).await;
                drop(input);
                drop(written);
            };
            let ((), code, said) = tokio::join!(write, read(output, code + 1), read(errors, SAID));
            let status = child.wait().await;
            (status, code, said)
        };
        let ended = tokio::time::timeout(self.limits.time, work).await;
        // Where time ran out: the process ends with `child`, and is waited for.
        let Ok((status, code, said)) = ended else {
            let limit = self.limits.time.as_secs_f32();
            return Err(format!("compiling it takes more than {limit} s, the limit"));
        };
        let cannot = |error: std::io::Error| format!("the compiler failed: {error}");
        self.outcome(status.map_err(cannot)?, code.map_err(cannot)?, &said.map_err(cannot)?)
    }

    fn start(&self) -> std::io::Result<Child> {
        let memory = OsString::from(self.limits.memory.to_string());
        let seconds = OsString::from(self.limits.time.as_secs().max(1).to_string());
        Command::new(&self.program)
            .arg(Self::COMMAND)
            .args([OsString::from("--memory"), memory, OsString::from("--seconds"), seconds])
            // Nothing that this process was told in confidence.
            .env_clear()
            .env("RAYON_NUM_THREADS", THREADS)
            .env("MALLOC_ARENA_MAX", THREADS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }

    fn outcome(&self, status: ExitStatus, code: Vec<u8>, said: &[u8]) -> Result<Vec<u8>, String> {
        let limits = &self.limits;
        if code.len() as u64 > limits.code {
            return Err(format!("it has over {} bytes of machine code, the limit", limits.code));
        }
        if status.success() {
            return Ok(code);
        }
        let said = String::from_utf8_lossy(said);
        let said = said.trim().lines().next().unwrap_or_default();
        let said = printable(said.trim_start_matches("error: "));
        Err(match status.code() {
            Some(code) if code != PANICKED => said,
            // Killed, or at an end that its authors did not think of: what it says is for them.
            _ => format!(
                "compiling it ended the compiler, which may take {} bytes of memory: {said} ({status})",
                limits.memory
            ),
        })
    }
}

async fn read(from: impl AsyncRead + Unpin, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// How a Rust program that panics exits.
const PANICKED: i32 = 101;

/// Machine code of a component, made here and now, for an engine as [`super::Sandbox`] has it.
///
/// # Errors
/// The compiler's.
pub fn compile_here(component: &[u8]) -> anyhow::Result<Vec<u8>> {
    // Without a pool, which reserves terabytes of addresses: what comes out is the same.
    let engine =
        Engine::new(&config(&SandboxLimits::default(), false)).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let code = engine.precompile_component(component);
    code.map_err(|error| anyhow::anyhow!("{error:#}"))
}
