#!/bin/sh
# Installs a Debian package for the tests where its program is missing; silent where it is there. The tests start servers
# of their own from its programs, so the package's own server is not started.
# Arguments: the package, and where its program is (a pattern).
set -eu

package=$1
for program in $2; do
    if [ -x "$program" ]; then exit 0; fi
done

echo "installing Debian's package $package for the tests"
if [ "$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q -y "$@" >>"$log" 2>&1
}
if ! apt update || ! apt install --no-install-recommends "$package"; then
    cat "$log" >&2
    echo "the package $package could not be installed; install it by hand" >&2
    exit 1
fi
