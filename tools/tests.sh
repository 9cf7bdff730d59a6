#!/bin/sh
# Runs pytest, and what failed in it once more by itself: tests.sh PYTHON ARGUMENTS... What only a busy machine spoils passes
# then, and stays in what was printed; a fault fails again, and the first that does ends it.
set -u
python=$1
shift
environment=${python%/bin/python}
tests() {
    "$python" -m pytest -o cache_dir=".pytest_cache/${environment#.}" "$@"
}

tests "$@"
status=$?
[ "$status" = 1 ] || exit "$status"
echo "== what failed, by itself"
tests "$@" -n 0 --exitfirst --last-failed --last-failed-no-failures none
