#!/bin/sh
# Runs a command and prints the seconds that it took, also if it fails: stopwatch.sh NAME COMMAND...
set -u
name=$1
shift
started=$(date +%s)
"$@"
status=$?
echo "== $name: $(($(date +%s) - started)) s"
exit "$status"
