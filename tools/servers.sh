#!/bin/sh
# Makes sure of the real servers that tests talk to, and of curl, which a page uses: as root on Debian or Ubuntu it installs
# what is missing, elsewhere it says so. A test that misses one is skipped, and fails where CI is set.
set -u

# command:package
servers="curl:curl haproxy:haproxy prometheus:prometheus promtool:prometheus redis-server:redis-server slapd:slapd"

PATH="$PATH:/usr/sbin:/sbin"
missing=""
for server in $servers; do
    command -v "${server%%:*}" >/dev/null || missing="$missing ${server#*:}"
done
orafce='^postgresql-[0-9]+-orafce$'  # for the PostgreSQL of this distribution, which comes along
ls /usr/share/postgresql/*/extension/orafce.control >/dev/null 2>&1 || missing="$missing $orafce"
[ -z "$missing" ] && exit 0

# Tests make databases of their own. Where PostgreSQL is new it is to make none that starts with the machine.
without_cluster() {
    configuration=/etc/postgresql-common/createcluster.d
    [ -e /usr/lib/postgresql ] && return
    mkdir -p $configuration && echo "create_main_cluster = false" >$configuration/flext.conf
}

install() {
    # shellcheck disable=SC2086 # several packages
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1
}

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    without_cluster
    install || { apt-get update -qq >/dev/null && install; } && exit 0
fi
echo "Tests with real servers need these packages, which are not installed:$missing" >&2
