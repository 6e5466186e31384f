#!/bin/sh
# Installs a Debian package for the tests where its program is missing; silent where it is there. The tests start servers
# of their own from its programs, so the package's own server is not started.
# Arguments: the package, and where its program is (a pattern).
set -eu

package=$1
for program in $2; do
    if [ -x "$program" ]; then exit 0; fi
done

if [ "$(id -u)" != 0 ]; then
    # Only a sudo that asks nothing: a build must not stop at a password prompt.
    if ! sudo -n true 2>/dev/null; then
        echo "the tests need Debian's package $package, which only root can install: sudo apt-get install $package" >&2
        exit 1
    fi
    exec sudo -n "$0" "$@"
fi

echo "installing Debian's package $package for the tests"
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
ours=
trap 'rm -f "$log" $ours' EXIT
trap 'exit 1' HUP INT TERM
# What Debian asks before it starts a package's server; 101 forbids it. A machine that has a policy keeps it.
if [ ! -e "$policy" ]; then
    ours=$policy
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" >>"$log" 2>&1
}
if ! apt update || ! apt install --no-install-recommends "$package"; then
    cat "$log" >&2
    echo "the package $package could not be installed; install it by hand" >&2
    exit 1
fi
