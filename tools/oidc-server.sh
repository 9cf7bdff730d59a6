#!/bin/sh
# Installs the real OAuth 2.0 server that the plugin `auth` is tested with, in the folder given, with Node's own npm.
# Without Node its tests are skipped, except where CI is set.
set -eu
cd "$1"

if ! command -v npm >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null || true
fi
if ! command -v npm >/dev/null; then
    echo "node and npm are not installed (Debian: apt-get install nodejs npm): no tests with a real OAuth 2.0 server." >&2
    [ -z "${CI:-}" ]
    exit
fi
npm ci --no-audit --no-fund --loglevel=error >/dev/null
