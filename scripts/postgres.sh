#!/bin/sh
# Installs Debian's PostgreSQL for the tests where it is missing; silent where it is there. The tests start private
# servers from its programs.
set -eu

for program in /usr/lib/postgresql/*/bin/initdb; do
    if [ -x "$program" ]; then exit 0; fi
done

echo "installing Debian's package postgresql for the tests"
if [ "$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" >>"$log" 2>&1
}
if ! apt update || ! apt install --no-install-recommends postgresql; then
    cat "$log" >&2
    echo "PostgreSQL could not be installed; install the package postgresql by hand" >&2
    exit 1
fi
