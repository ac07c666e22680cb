#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fine-tunes a small real encoder with MHEX heads on the embedded corpus and shows which words made it decide.
# Offline after the installation, no GPU. Arguments go to `mhex demo`; see `./scripts/demo.sh --help`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment demo
exec "$python" -m mhex_nlp demo "$@"
