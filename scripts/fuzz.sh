#!/usr/bin/env bash
# Runs the fuzz targets one after the other: scripts/fuzz.sh [SECONDS [TARGET…]]. docs/fuzzing.md tells more.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(path target_json tenant_file admission)

cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz --version 0.13.2
# Apart from the workspace's, which `make` names.
export CARGO_TARGET_DIR=$PWD/fuzz/target
# Our code has no unsafe blocks, so no sanitizer: what is looked for are panics, broken promises and endless work.
options=(--sanitizer none --codegen-units 16)

for target in "${targets[@]}"; do
    # An instrumented compiler takes its time, so components are small and get more of it.
    limits=(-timeout=20 -max_len=262144)
    [ "$target" != admission ] || limits=(-timeout=120 -max_len=16384)
    mkdir -p "fuzz/corpus/$target"
    # What is found goes to the first folder; the seeds are only read.
    nice -n 15 cargo +nightly fuzz run "${options[@]}" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -rss_limit_mb=4096 "${limits[@]}" -print_final_stats=1
done
