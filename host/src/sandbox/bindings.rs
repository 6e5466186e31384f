//! Generated from `wit/`; nothing else stands here.
#![allow(
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    unsafe_code,
    clippy::all,
    reason = "generated code"
)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "connector",
    with: { "exeunt:connector/credentials.access-token": crate::capability::Token },
    imports: {
        "exeunt:connector/http.send": async | trappable,
        "exeunt:connector/credentials.jwt-bearer": async | trappable,
        "exeunt:connector/credentials.client-credentials": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});
