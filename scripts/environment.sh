# SPDX-License-Identifier: Apache-2.0
# Sourced by demo.sh and test.sh: makes .venv beside this folder and installs the package with the extras given, once.
# PYTHON=/path/to/python3.12 chooses the interpreter. A torch that is already in .venv (a CUDA build, say) stays.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$project/.venv/bin/python

prepare_environment() { # $1: extras, such as "demo" or "demo,dev"
    local base=${PYTHON:-python3} stamp wanted
    if ! "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "Python 3.11 or newer is needed; set PYTHON to one (found: $("$base" --version 2>&1))." >&2
        return 1
    fi
    [ -x "$python" ] || "$base" -m venv "$project/.venv" || return 1
    stamp=$project/.venv/installed-${1//,/-}
    wanted=$(cat "$project/pyproject.toml" "$project/scripts/constraints.txt" | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return 0

    echo "Installing into .venv (the first time takes some minutes) ..."
    local constraints=$project/scripts/constraints.txt
    if "$python" -c 'import torch' 2>/dev/null; then
        # keep the build that is there: pin nothing of torch
        constraints=$project/.venv/constraints.txt
        grep -v '^torch==' "$project/scripts/constraints.txt" >"$constraints"
    else
        "$python" -m pip install --quiet --disable-pip-version-check "$(grep '^torch==' "$constraints")" || return 1
    fi
    "$python" -m pip install --quiet --disable-pip-version-check --constraint "$constraints" \
        --editable "$project[$1]" || return 1
    echo "$wanted" >"$stamp"
}
