#!/usr/bin/env bash
# Builds exeunt for production, optimised by what a run of it did: target/trained/exeunt.
#
# It is built twice, the first time with counters in it, and closes ten thousand accounts at the simulator in between. A
# leaver then takes about an eighth less of a processor than with `cargo build --release`. That needs rustup's llvm-tools
# and the plugins of `make plugins`.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
[ -x "$profdata" ] || rustup component add llvm-tools
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT

# With --target, the flags are for what is built and not for what builds it. Both are put where target/plugins is beside.
# The flags are encoded, since in RUSTFLAGS a blank in a path would end it.
build() {
    local folder=$1 IFS=$'\x1f'
    shift
    CARGO_ENCODED_RUSTFLAGS="$*" \
        cargo build --release --locked --target "$host" --target-dir "$folder" --workspace --bin exeunt --bin bench
    install -m 755 "$folder/$host/release/exeunt" "$folder/$host/release/bench" "$folder"
}

# Counts are written to where the variable says. The processes that compile components have no variables and may write no
# files; the folder that cannot be is for them.
build target/training -Cprofile-generate=/dev/null/none
LLVM_PROFILE_FILE=$runs/%p.profraw target/training/bench train
"$profdata" merge -o target/training/exeunt.profdata "$runs"/*.profraw

# Of the simulator's and the benchmarks' own code there may be no counts; nobody needs to hear that.
build target/trained "-Cprofile-use=$PWD/target/training/exeunt.profdata" -Cllvm-args=-pgo-warn-missing-function=false
echo "target/trained/exeunt is built, and target/trained/bench to measure it"
