#!/usr/bin/env bash
# Installs DocuSign's own Python SDK into target/witness, so that the simulator's tests can run it as an outside witness.
# Does nothing, and needs no network, when the pinned versions are there already.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../../target}
venv=$target/witness
stamp=$venv/requirements.txt

if cmp -s "$here/requirements.txt" "$stamp" && [ -x "$venv/bin/python" ]; then
    exit 0
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Debian ships python3 without what venv needs to put pip into the environment.
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    if ! command -v apt-get >/dev/null; then
        echo "witness: python3 with its venv module is needed: install it, then run this again" >&2
        exit 1
    fi
    echo "witness: installing python3-venv"
    if ! as_root apt-get update -qq ||
        ! as_root apt-get install -y -qq --no-install-recommends python3 python3-venv >/dev/null; then
        echo "witness: install python3 and python3-venv, then run this again" >&2
        exit 1
    fi
fi

echo "witness: installing $(head -n 1 "$here/requirements.txt") into target/witness"
rm -rf "$venv"
mkdir -p "$target"
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
# Last, so that an interrupted installation starts again.
cp "$here/requirements.txt" "$stamp"
