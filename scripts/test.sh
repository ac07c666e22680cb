#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what the tests need, then runs lint, types and tests. `--all` adds the slow tests; other arguments go to
# pytest, in place of the default selection: ./scripts/test.sh tests/models/test_families.py -k bert
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment demo,dev
cd "$project"

if ! command -v chromium chromium-browser google-chrome >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing chromium for the browser tests ..."
    (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium) >/dev/null 2>&1 ||
        echo "chromium could not be installed; the browser tests will be skipped." >&2
fi

selection=()
if [ "${1:-}" = --all ]; then
    shift
    selection=(-m "slow or not slow")
fi
if [ $# = 0 ]; then
    # A file of tests stays in one process, for the models that its tests share; a thread each, or they would fight.
    selection+=(--numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder)
    export OMP_NUM_THREADS=1
fi
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy
exec "$python" -m pytest "${selection[@]}" "$@"
