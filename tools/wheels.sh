#!/bin/sh
# Builds every distribution into a folder in place of older ones, each wheel from its sdist, and prints the command that
# installs them: by file, since pip looks a name up on its indexes too, and takes the newest that anybody put there.
#   wheels.sh PYTHON FOLDER
set -eu
python=$1
folder=$2

rm -f "$folder"/flext_plugins*.whl "$folder"/flext_plugins*.tar.gz
for project in . contrib/*/; do
    if ! said=$("$python" -m build --no-isolation --outdir "$folder" "$project" 2>&1); then
        echo "$said" >&2
        exit 1
    fi
done

line="pip install"
for wheel in "$folder"/flext_plugins*.whl; do
    case "${wheel##*/}" in
        flext_plugins-*) line="$line '$wheel[standard,cli]'" ;;
        *) line="$line $wheel" ;;
    esac
done
echo "$line"
