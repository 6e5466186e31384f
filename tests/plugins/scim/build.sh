#!/usr/bin/env bash
# Builds the SCIM connector in JavaScript and Python: target/plugins/scim-js.wasm and scim-py.wasm. What is newer than
# its sources is left alone: each takes some 20 seconds.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$here/setup.sh"
target=${CARGO_TARGET_DIR:-$here/../../../target}
wit=$(cd "$here/../../../wit" && pwd)
mkdir -p "$target/plugins"
plugins=$(cd "$target/plugins" && pwd)
guests=$(cd "$target/guests" && pwd)

is_newer() {
    local out=$1 from
    shift
    [ -e "$out" ] || return 1
    for from in "$@" "$wit"/*.wit "$here/requirements.txt"; do
        [ ! "$from" -nt "$out" ] || return 1
    done
}

# Node looks for packages beside the program, so that is where the program goes.
if ! is_newer "$plugins/scim-js.wasm" "$here/plugin.js" "$here/build.mjs"; then
    cp "$here/build.mjs" "$guests/build.mjs"
    node "$guests/build.mjs" "$here/plugin.js" "$wit" "$plugins/scim-js.wasm"
fi
if ! is_newer "$plugins/scim-py.wasm" "$here/plugin.py"; then
    # From a copy: the interpreter leaves compiled files beside what it reads.
    mkdir -p "$guests/scim"
    cp "$here/plugin.py" "$guests/scim/plugin.py"
    cd "$guests/scim"
    "$guests/python/bin/componentize-py" -q -d "$wit" -w connector \
        componentize --stub-wasi plugin -o "$plugins/scim-py.wasm"
fi
