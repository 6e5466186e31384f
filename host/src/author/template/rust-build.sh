#!/usr/bin/env bash
# Builds NAME.wasm and runs its cases. Needs Rust 1.95 or newer with `rustup target add wasm32-unknown-unknown`; where
# rustup cannot add it, Debian's rustc-web, cargo-web and rust-web-src do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

target=wasm32-unknown-unknown
built=${CARGO_TARGET_DIR:-target}/$target/release/CRATE.wasm
build=(rustc --crate-type cdylib --lib --release --target $target)
sysroot=$(rustc --print sysroot)
if [ -d "$sysroot/lib/rustlib/$target/lib" ]; then
    cargo "${build[@]}"
else
    # Debian's compiler brings no linker for wasm, and the standard library as source.
    linker=$sysroot/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker \
        /usr/bin/cargo "${build[@]}" -Zbuild-std=std,panic_abort
fi
"${EXEUNT:-exeunt}" plugin build "$built" -o NAME.wasm
"${EXEUNT:-exeunt}" plugin test NAME.wasm --script cases.toml
