//! The binary `exeunt`.

use std::process::ExitCode;

use clap::Parser;
use exeunt::cli::{Cli, Exit};
use tracing_subscriber::EnvFilter;

/// The compiler of WebAssembly writes a gigabyte a plugin at `trace`, and nothing in it is about leavers.
const COMPILER: [&str; 5] = [
    "cranelift_codegen=warn",
    "cranelift_frontend=warn",
    "regalloc2=warn",
    "wasmtime_internal_cranelift=warn",
    "wasmtime_environ=warn",
];

fn main() -> ExitCode {
    let cli = Cli::parse();
    exeunt::step::arm();
    // Standard output is for results; what the process says of itself goes to standard error, warnings and up.
    let mut filter = EnvFilter::try_from_env("EXEUNT_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    for compiler in COMPILER {
        filter = filter.add_directive(compiler.parse().expect("a fixed directive"));
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::Usage.into();
        }
    };
    match runtime.block_on(exeunt::cli::main(cli)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            Exit::Usage.into()
        }
    }
}
