#!/usr/bin/env bash
# Makes sure that connectors can be built for wasm32-unknown-unknown. Says nothing when there is nothing to do.
#
# First choice is the active toolchain with the target's standard library, which rustup can add. Where rustup cannot
# (a distribution's toolchain, a network without static.rust-lang.org), Debian's packages carry the library as source,
# and build-plugin.sh compiles it with them. Debian's rustc stays beside the active toolchain and builds guests only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=wasm32-unknown-unknown
oldest=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' Cargo.toml)
say() { echo "toolchain: $*" >&2; }

active_has_target() {
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]
}

debian_has_target() {
    [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] || return 1
    local minor
    minor=$(/usr/bin/rustc --version | sed 's/^rustc 1\.\([0-9]*\).*/\1/')
    [ "$minor" -ge "$oldest" ] && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ]
}

# rustup answers within seconds when it has no way to its server; two minutes are for a slow download.
add_with_rustup() {
    command -v rustup >/dev/null || return 1
    timeout 120 rustup target add "$target" >/dev/null 2>&1 && active_has_target
}

install_from_debian() {
    command -v apt-get >/dev/null || return 1
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        # Only a sudo that asks nothing: a build must not stop at a password prompt.
        sudo -n true 2>/dev/null || return 1
        as_root=(sudo -n)
    fi
    say "rustup cannot add $target here; installing Debian's rustc-web and rust-web-src instead"
    local log
    log=$(mktemp)
    if "${as_root[@]}" apt-get -q update >"$log" 2>&1 &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get -qy install --no-install-recommends rustc-web cargo-web rust-web-src >>"$log" 2>&1; then
        rm -f "$log"
        return 0
    fi
    tail -n 3 "$log" >&2
    rm -f "$log"
    return 1
}

command -v rustc >/dev/null || { say "there is no rustc; install Rust 1.$oldest or newer from https://rustup.rs"; exit 1; }
if active_has_target || debian_has_target; then
    exit 0
fi
if add_with_rustup; then
    say "added $target with rustup"
    exit 0
fi
if install_from_debian && debian_has_target; then
    say "installed $(/usr/bin/rustc --version) from Debian, for guests only"
    exit 0
fi
say "cannot build for $target: rustup could not add it, and Debian's packages could not be installed."
say "Do one of these, then try again:"
say "  rustup target add $target"
say "  sudo apt-get install rustc-web cargo-web rust-web-src      (rustc 1.$oldest or newer)"
exit 1
