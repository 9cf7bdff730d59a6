#!/bin/sh
# Prints the Python interpreters from 3.11 to 3.13 that are on this machine, one for each version, the one that `python3`
# means first. `check PYTHON` makes sure that it is there and can make an environment.
set -u

works() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1
}

version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

if [ "${1:-}" = check ]; then
    if [ -z "${2:-}" ]; then
        echo "Python 3.11, 3.12 or 3.13 is needed, and none was found." >&2
        exit 1
    fi
    "$2" -c 'import ensurepip, venv' >/dev/null 2>&1 && exit 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq "python$(version "$2")-venv" >/dev/null && exit 0
    fi
    echo "$2 cannot make an environment: install its venv module (Debian: python3-venv)." >&2
    exit 1
fi

seen=""
for python in python3 python3.11 python3.12 python3.13 \
    "$HOME"/.pyenv/versions/3.11.*/bin/python \
    "$HOME"/.pyenv/versions/3.12.*/bin/python \
    "$HOME"/.pyenv/versions/3.13.*/bin/python; do
    works "$python" || continue
    case " $seen " in *" $(version "$python") "*) continue ;; esac
    seen="$seen $(version "$python")"
    echo "$python"
done
