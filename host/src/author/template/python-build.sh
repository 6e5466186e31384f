#!/usr/bin/env bash
# Builds NAME.wasm and runs its cases. Needs Python 3.10 or newer; `pip install componentize-py==0.25.1` first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Stubs in place of WASI: a connector has what the contract gives it and nothing else.
"${COMPONENTIZE_PY:-componentize-py}" -q -d wit -w connector \
    componentize --stub-wasi plugin -o NAME.wasm
"${EXEUNT:-exeunt}" plugin test NAME.wasm --script cases.toml
