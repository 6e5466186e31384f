#!/usr/bin/env bash
# Builds one package of the workspace as a core wasm module: target/plugins/core/NAME.wasm.
#
#   build-plugin.sh PACKAGE [NAME] [cargo arguments…]
#
# NAME is the package's name without `plugin-` where it is not given. `exeunt plugin build` makes the module a
# component. Guests have their own target folder, so that their builds and native ones do not wait for each other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ $# -ge 1 ] || { echo "usage: build-plugin.sh PACKAGE [NAME] [cargo arguments…]" >&2; exit 2; }
package=$1
shift
name=${package#plugin-}
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
    name=$1
    shift
fi

target=wasm32-unknown-unknown
folder=target/wasm
scripts/toolchain.sh

# `rustc --crate-type cdylib`, since cargo leaves LTO out for a library that is built as an rlib at the same time.
build=(rustc --crate-type cdylib --package "$package" --lib --profile plugin --target "$target" --target-dir "$folder" "$@")
sysroot=$(rustc --print sysroot)
if [ -d "$sysroot/lib/rustlib/$target/lib" ]; then
    cargo "${build[@]}"
else
    # Debian's compiler brings no linker for wasm; the active toolchain's rust-lld serves any version of rustc.
    host=$(rustc -vV | sed -n 's/^host: //p')
    linker=$sysroot/lib/rustlib/$host/bin/rust-lld
    [ -x "$linker" ] || linker=$(command -v wasm-ld) || {
        echo "build-plugin: no linker for wasm: neither rust-lld in $sysroot nor wasm-ld; install lld" >&2
        exit 1
    }
    # RUSTC_BOOTSTRAP lets a stable cargo build the standard library itself, and changes nothing else that we use.
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker \
        /usr/bin/cargo "${build[@]}" -Zbuild-std=std,panic_abort
fi

built=$folder/$target/plugin/${package//-/_}.wasm
kept=target/plugins/core/$name.wasm
mkdir -p target/plugins/core
# Copied only when it differs, so that what is made from it is made again only then.
cmp -s "$built" "$kept" || cp "$built" "$kept"
