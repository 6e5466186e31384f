//! Files that are no connectors, or too much of one.

use std::time::Duration;

use exeunt::sandbox::{AdmissionError, Sandbox, SandboxLimits};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::house::limits;
use crate::plugin::{hostile, with, with_replaced};

/// A sandbox that files are brought to.
struct Gate(Sandbox);

impl Gate {
    fn new(limits: SandboxLimits) -> Self {
        Self(Sandbox::new(limits).unwrap())
    }

    /// Why a file is not admitted.
    async fn refuses(&self, bytes: Vec<u8>) -> AdmissionError {
        self.0.admit(bytes).await.expect_err("the file was admitted")
    }

    /// After all of them, a good file still is.
    async fn still_admits(self) {
        self.0.admit(hostile()).await.unwrap();
    }
}

#[tokio::test]
pub(crate) async fn what_is_not_wasm_is_refused() {
    let gate = Gate::new(limits());
    for bytes in [&b""[..], b"PK\x03\x04", b"\0asm", b"#!/bin/sh\n", &[0xff; 4096]] {
        let error = gate.refuses(bytes.to_vec()).await;
        assert!(matches!(error, AdmissionError::NotWasm(_)), "{error}");
    }
    gate.still_admits().await;
}

#[tokio::test]
pub(crate) async fn a_core_module_is_refused_with_the_command_to_run() {
    let gate = Gate::new(limits());
    let error = gate.refuses(wat::parse_str("(module (memory 1))").unwrap()).await;
    assert!(error.to_string().contains("exeunt plugin build"), "{error}");
    gate.still_admits().await;
}

#[tokio::test]
pub(crate) async fn a_component_of_another_world_is_refused() {
    let gate = Gate::new(limits());
    let empty = gate.refuses(wat::parse_str("(component)").unwrap()).await;
    assert!(
        empty
            .to_string()
            .contains("does not export `exeunt:connector/descriptor@0.1.0`"),
        "{empty}"
    );
    // The name is right and the type is not: `describe` that gives a number.
    let text = r#"(component
        (core module $m (func (export "f") (result i32) i32.const 1))
        (core instance $i (instantiate $m))
        (func $f (result u32) (canon lift (core func $i "f")))
        (instance $describe (export "describe" (func $f)))
        (instance $none)
        (export "exeunt:connector/descriptor@0.1.0" (instance $describe))
        (export "exeunt:connector/token-minting@0.1.0" (instance $none))
        (export "exeunt:connector/user-closure@0.1.0" (instance $none)))"#;
    let other = gate.refuses(wat::parse_str(text).unwrap()).await;
    assert!(matches!(other, AdmissionError::OtherWorld(_)), "{other}");
    gate.still_admits().await;
}

#[tokio::test]
pub(crate) async fn another_version_of_the_contract_is_refused() {
    let gate = Gate::new(limits());
    for version in ["@0.0.9", "@0.1.9", "@0.2.0"] {
        let error = gate.refuses(with_replaced("@0.1.0", version)).await;
        let AdmissionError::OtherVersion { found, spoken, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!((format!("@{found}").as_str(), spoken.as_str()), (version, "0.1.0"));
    }
    gate.still_admits().await;
}

#[tokio::test]
pub(crate) async fn an_import_that_the_contract_does_not_have_is_refused() {
    let imports = [
        "wasi:cli/environment@0.2.0",
        "wasi:sockets/tcp@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "exeunt:connector/files@0.1.0",
        "other:connector/http@0.1.0",
    ];
    let gate = Gate::new(limits());
    for import in imports {
        let error = gate.refuses(with(&format!("(import \"{import}\" (instance))"))).await;
        assert!(error.to_string().contains(&format!("it imports `{import}`")), "{error}");
    }
    let error = gate.refuses(with("(import \"sneaky\" (func))")).await;
    assert!(matches!(error, AdmissionError::OtherWorld(_)), "{error}");
    gate.still_admits().await;
}

#[tokio::test]
pub(crate) async fn a_component_has_a_size_limit() {
    let size = hostile().len();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), hostile()).unwrap();
    let limited = |component| SandboxLimits { component, ..limits() };
    assert!(Sandbox::new(limited(size)).unwrap().admit(hostile()).await.is_ok());
    let error = Sandbox::new(limited(size - 1))
        .unwrap()
        .admit(hostile())
        .await
        .unwrap_err();
    assert_eq!(
        error,
        AdmissionError::TooLarge {
            size,
            allowed: size - 1
        }
    );
    // What is read of a file has the same limit, and a file without end is none.
    let fits = Sandbox::new(limited(size)).unwrap();
    assert_eq!(fits.read(file.path()).await.unwrap(), hostile());
    let error = Sandbox::new(limited(size - 1))
        .unwrap()
        .read(file.path())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("at most"), "{error}");
    assert!(fits.read(std::path::Path::new("/dev/zero")).await.is_err());
}

/// A module whose start function does this, instantiated with the rest of the component.
fn at_start(items: &str, does: &str) -> String {
    format!("(core module $added {items} (func $go {does}) (start $go)) (core instance (instantiate $added))")
}

/// The last step to the limit, to the entry, is tried in `sandbox::limiter`: here the guest's own tables count too.
#[tokio::test]
pub(crate) async fn tables_grow_to_their_limit_and_no_further() {
    let grow = |by: usize| {
        with(&at_start(
            "(table 0 funcref)",
            &format!("(drop (table.grow (ref.null func) (i32.const {by})))"),
        ))
    };
    let gate = Gate::new(limits());
    let limit = limits().table_elements;
    gate.0.admit(grow(limit - 2000)).await.unwrap();
    let error = gate.refuses(grow(limit + 1)).await;
    assert!(error.to_string().contains("`table-elements`"), "{error}");
    gate.still_admits().await;
}

#[tokio::test]
pub(crate) async fn memories_of_a_call_share_one_limit() {
    const PAGE: usize = 65_536;
    let gate = Gate::new(SandboxLimits {
        memory: 256 * PAGE,
        ..limits()
    });
    let grow = |pages: usize| {
        with(&at_start(
            "(memory 0)",
            &format!("(drop (memory.grow (i32.const {pages})))"),
        ))
    };
    gate.0.admit(grow(200)).await.unwrap();
    // By itself it fits; with what the guest has in its own memory it does not.
    let error = gate.refuses(grow(256)).await;
    assert!(error.to_string().contains("`memory`"), "{error}");
    gate.still_admits().await;
}

#[tokio::test]
pub(crate) async fn a_component_takes_no_more_than_its_share_of_the_pool() {
    let many = |item: &str, count: usize| {
        let instances = "(core instance (instantiate $added))".repeat(count);
        with(&format!("(core module $added {item}) {instances}"))
    };
    let gate = Gate::new(limits());
    for (item, count, what) in [
        ("(memory 1)", 40, "memories"),
        ("(table 1 funcref)", 40, "tables"),
        ("", 400, "instances"),
    ] {
        let error = gate.refuses(many(item, count)).await;
        assert!(
            matches!(error, AdmissionError::Unloadable(_)) && error.to_string().contains(what),
            "{error}"
        );
    }
    gate.still_admits().await;
}

#[tokio::test]
pub(crate) async fn a_start_function_is_within_the_limits() {
    let quick = SandboxLimits {
        cpu: Duration::from_millis(300),
        ..limits()
    };
    let gate = Gate::new(quick);
    let text = gate.refuses(with(&at_start("", "(loop (br 0))"))).await.to_string();
    assert!(
        text.contains("cpu-milliseconds") || text.contains("did not come to an end"),
        "{text}"
    );
    gate.still_admits().await;
}

/// It runs before the first verb, and sees no difference between describing and working: so the first host call that it
/// makes is made where there is nothing to call.
#[tokio::test]
pub(crate) async fn a_start_function_that_calls_the_host_is_refused() {
    let gate = Gate::new(limits());
    for (interface, function, signature, arguments) in [
        ("clock", "now", "(result i64)", ""),
        ("settings", "get", "(param i32)", "(i32.const 0)"),
    ] {
        let imports = exeunt::sandbox::inspect(&hostile()).unwrap();
        let wanted = format!("exeunt:connector/{interface}@0.1.0");
        let number = imports.iter().position(|name| *name == wanted).unwrap();
        let lowering = if arguments.is_empty() {
            ""
        } else {
            "(memory $space \"memory\") (realloc (func $space \"realloc\"))"
        };
        let drops = if signature.contains("result") {
            "(drop (call $asked))"
        } else {
            "(call $asked (i32.const 0))"
        };
        let items = format!(
            "(core module $room (memory (export \"memory\") 1) \
             (func (export \"realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))\
             (core instance $space (instantiate $room))\
             (alias export {number} \"{function}\" (func $asked))\
             (core func $lowered (canon lower (func $asked) {lowering}))\
             (core module $added (import \"host\" \"asked\" (func $asked {signature})) (func $go {drops}) (start $go))\
             (core instance (instantiate $added (with \"host\" (instance (export \"asked\" (func $lowered))))))"
        );
        let error = gate.refuses(with(&items)).await;
        assert!(matches!(error, AdmissionError::Undescribed(_)), "{interface}: {error}");
    }
    gate.still_admits().await;
}

/// What was done to a component's bytes.
#[derive(Debug, Clone)]
enum Damage {
    Cut(Index),
    Flip(Vec<(Index, u8)>),
    Remove(Index, usize),
    Repeat(Index, usize),
}

impl Damage {
    fn done_to(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let size = bytes.len();
        match self {
            Self::Cut(at) => bytes.truncate(at.index(size)),
            Self::Flip(flips) => flips.iter().for_each(|(at, mask)| bytes[at.index(size)] ^= mask),
            Self::Remove(at, length) => {
                let at = at.index(size);
                bytes.drain(at..size.min(at + length));
            }
            Self::Repeat(at, length) => {
                let at = at.index(size);
                let again = bytes[at..size.min(at + length)].to_vec();
                bytes.splice(at..at, again);
            }
        }
        bytes
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let flips = proptest::collection::vec((any::<Index>(), 1..=255_u8), 1..6);
    prop_oneof![
        any::<Index>().prop_map(Damage::Cut),
        flips.prop_map(Damage::Flip),
        (any::<Index>(), 1..200_usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<Index>(), 1..200_usize).prop_map(|(at, length)| Damage::Repeat(at, length)),
    ]
}

/// Most damage is refused; what is not (a changed byte of text) still describes itself within its limits.
#[test]
pub(crate) fn a_damaged_component_is_refused_and_nothing_panics() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let sandbox = Sandbox::new(SandboxLimits {
        cpu: Duration::from_millis(300),
        ..limits()
    })
    .unwrap();
    let whole = hostile();
    let config = ProptestConfig::with_cases(64);
    proptest!(config, |(damage in damage())| {
        let bytes = damage.done_to(whole.clone());
        if let Err(error) = runtime.block_on(sandbox.admit(bytes)) {
            // A compiler that panics does so on a thread of its own, and would look like any other refusal.
            prop_assert!(!error.to_string().contains("panicked"), "{error}");
        }
    });
    runtime.block_on(sandbox.admit(whole)).unwrap();
}
