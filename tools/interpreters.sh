#!/bin/sh
# Looks for Python interpreters on this machine.
#   tested          prints the versions that the project is tested with, which the classifiers name
#   first           prints the interpreter to use: what `python3` means, otherwise the oldest; any from 3.11 on will do
#   oldest, newest  print the interpreter of the oldest and the newest tested version that is here
#   find VERSION    prints the interpreter of that version, or fails
#   check PYTHON    makes sure that this interpreter can make an environment, and says so if it has not been tested
set -u

tested="3.11 3.12 3.13"
newer="3.14 3.15 3.16 3.17 3.18 3.19"

version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find() {
    for python in python3 "python$1" "$HOME"/.pyenv/versions/"$1".*/bin/python; do
        if [ "$(version "$python")" = "$1" ]; then
            echo "$python"
            return
        fi
    done
    return 1
}

first() {
    if new_enough python3; then
        echo python3
        return
    fi
    for each in $tested $newer; do
        find "$each" && return
    done
}

check() {
    if [ -z "$1" ] || ! new_enough "$1"; then
        echo "Python 3.11 or newer is needed, and ${1:-none was found}${1:+ is not}." >&2
        return 1
    fi
    is=$(version "$1")
    case " $tested " in
        *" $is "*) ;;
        *) echo "Python $is has not been tested; newest tested: ${tested##* }" >&2 ;;
    esac
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1 && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq "python$is-venv" >/dev/null && return
    fi
    echo "$1 cannot make an environment: install its venv module (Debian: python3-venv)." >&2
    return 1
}

case "$1" in
    tested) echo "$tested" ;;
    first) first ;;
    find) find "$2" ;;
    check) check "${2:-}" ;;
    oldest)
        for each in $tested; do
            find "$each" && exit
        done
        first
        ;;
    newest)
        newest=$(first)
        for each in $tested; do
            newest=$(find "$each" || echo "$newest")
        done
        echo "$newest"
        ;;
esac
