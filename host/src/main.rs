//! The binary `exeunt`.

use std::process::ExitCode;

use clap::Parser;
use exeunt::cli::{Cli, Exit};

fn main() -> ExitCode {
    let cli = Cli::parse();
    exeunt::step::arm();
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
