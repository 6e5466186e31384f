#!/usr/bin/env bash
# Builds NAME.wasm and runs its cases. Needs Node 20 or newer; `npm install` first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

node build.mjs plugin.js wit NAME.wasm
"${EXEUNT:-exeunt}" plugin test NAME.wasm --script cases.toml
