//! Components that are made to wear out the compiler.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use exeunt::sandbox::{AdmissionError, CompileLimits, Compiler, Sandbox};

use crate::house::limits;
use crate::plugin::{hostile, with};

/// A sandbox that compiles as `exeunt serve` does.
fn sandbox(compile: CompileLimits) -> Sandbox {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_exeunt"));
    Sandbox::new(limits())
        .unwrap()
        .with_compiler(Compiler::new(program, compile))
}

/// A function in which each of so many branches leads to each of so many places: some bytes for each, and many times as
/// much in the compiler.
fn tangle(size: usize) -> String {
    let places: String = (0..size).map(|place| format!(" {place}")).collect();
    let mut text = String::from("(core module (func (param i32)");
    text += &"block ".repeat(size + 1);
    for _ in 0..size {
        write!(text, "block local.get 0 br_table{places} end ").unwrap();
    }
    text += &"end ".repeat(size + 1);
    text + "))"
}

async fn refused(compile: CompileLimits, component: Vec<u8>) -> String {
    let sandbox = sandbox(compile);
    let error = sandbox.admit(component).await.expect_err("it was admitted");
    assert!(matches!(error, AdmissionError::Unloadable(_)), "{error}");
    // The next one is none the worse for it.
    let next = Sandbox::with_compiler(
        sandbox,
        Compiler::new(env!("CARGO_BIN_EXE_exeunt").into(), <_>::default()),
    );
    next.admit(hostile()).await.unwrap();
    error.to_string()
}

#[tokio::test]
pub(crate) async fn a_component_that_takes_gigabytes_to_compile_is_refused() {
    let enough = sandbox(CompileLimits::default());
    enough.admit(with(&tangle(10))).await.unwrap();
    let small = CompileLimits {
        memory: 256 * 1024 * 1024,
        ..CompileLimits::default()
    };
    sandbox(small).admit(hostile()).await.unwrap();
    let text = refused(small, with(&tangle(1500))).await;
    assert!(text.contains("268435456 bytes of memory"), "{text}");
}

#[tokio::test]
pub(crate) async fn a_component_that_takes_for_ever_to_compile_is_refused() {
    let short = CompileLimits {
        time: Duration::from_millis(300),
        memory: 1024 * 1024 * 1024 * 1024,
        ..CompileLimits::default()
    };
    let text = refused(short, with(&tangle(700))).await;
    assert!(text.contains("takes more than 0.3 s"), "{text}");
}

#[tokio::test]
pub(crate) async fn machine_code_has_a_size_limit() {
    let limited = |code| CompileLimits {
        code,
        ..CompileLimits::default()
    };
    let text = refused(limited(100_000), hostile()).await;
    assert!(text.contains("over 100000 bytes of machine code"), "{text}");
}

#[tokio::test]
pub(crate) async fn what_the_pool_has_no_room_for_is_refused_whoever_compiles() {
    let many = "(core instance (instantiate $added))".repeat(40);
    let component = with(&format!("(core module $added (memory 1)) {many}"));
    let text = refused(CompileLimits::default(), component).await;
    assert!(text.contains("memories"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_compiled_is_refused_with_the_compilers_words() {
    let component = with("(core module (func (result i32) i64.const 1))");
    let text = refused(CompileLimits::default(), component).await;
    assert!(text.contains("type mismatch"), "{text}");
}
