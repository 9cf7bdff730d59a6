#!/bin/sh
# Names a command, runs it, and prints the seconds that it took, also if it fails: stopwatch.sh NAME COMMAND...
set -u
name=$1
shift
echo "== $name"
started=$(date +%s)
"$@"
status=$?
echo "== $name: $(($(date +%s) - started)) s"
exit "$status"
