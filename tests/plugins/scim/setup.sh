#!/usr/bin/env bash
# Installs what builds connectors in JavaScript and Python, and a SCIM server to try them on, into target/guests.
# Does nothing, and needs no network, when the pinned versions are there already.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guests=${CARGO_TARGET_DIR:-$here/../../../target}/guests
stamp=$guests/requirements.txt

if cmp -s "$here/requirements.txt" "$stamp" && [ -x "$guests/python/bin/componentize-py" ] &&
    [ -d "$guests/node_modules/@bytecodealliance/componentize-js" ]; then
    exit 0
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}
wanted=()
python3 -c 'import venv, ensurepip' 2>/dev/null || wanted+=(python3 python3-venv)
command -v npm >/dev/null || wanted+=(nodejs npm)
if [ ${#wanted[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || { echo "guests: install ${wanted[*]}, then run this again" >&2; exit 1; }
    echo "guests: installing ${wanted[*]}"
    if ! as_root apt-get update -qq || ! as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null; then
        echo "guests: install ${wanted[*]}, then run this again" >&2
        exit 1
    fi
fi

echo "guests: installing componentize-js, componentize-py and scim2-server into target/guests"
rm -rf "$guests"
mkdir -p "$guests"
python3 -m venv "$guests/python"
"$guests/python/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
echo '{ "private": true, "type": "module" }' >"$guests/package.json"
package=$(sed -n 's/^# npm //p' "$here/requirements.txt")
npm install --prefix "$guests" --no-audit --no-fund --silent "$package"
# Last, so that an interrupted installation starts again.
cp "$here/requirements.txt" "$stamp"
