//! A file that somebody put where a plugin belongs: it is refused in words, or admitted and bounded. Text that begins
//! with `(` is the text format, so that seeds can be read.

use std::sync::LazyLock;
use std::time::Duration;

use exeunt::sandbox::{Sandbox, SandboxLimits};
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
    let limits = SandboxLimits {
        component: 256 * 1024,
        memory: 16 * 1024 * 1024,
        cpu: Duration::from_millis(50),
        concurrency: 2,
        ..SandboxLimits::default()
    };
    let _inside = RUNTIME.enter();
    Sandbox::new(limits).expect("a sandbox")
});

pub(crate) fn holds(data: &[u8]) {
    let bytes = match data.first() {
        Some(b'(') => match wat::parse_bytes(data) {
            Ok(bytes) => bytes.into_owned(),
            Err(_) => return,
        },
        _ => data.to_vec(),
    };
    match RUNTIME.block_on(SANDBOX.admit(bytes)) {
        Ok(plugin) => assert!(plugin.imports.len() <= 6, "{:?}", plugin.imports),
        Err(error) => {
            let text = error.to_string();
            // A compiler that panics does so on a thread of its own, and would look like any other refusal.
            assert!(!text.contains("panicked"), "{text}");
            assert!(text.len() < 64 * 1024, "{} bytes of words", text.len());
        }
    }
}
