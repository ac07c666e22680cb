#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds wheel and sdist twice and compares the bytes, installs the wheel into an empty environment with the runtime
# dependencies alone, and runs there `mhex demo` and README's Python.
#   ./scripts/check_package.sh ENCODER [OUT]
# ENCODER is the folder of a small encoder with its tokenizer; OUT gets the files (default: dist). PYTHON chooses the
# interpreter, TORCH the torch to install (default: that of constraints.txt), VERSIONS=lowest the oldest versions that
# pyproject.toml lets in, in place of the pinned ones; then uv is installed beside the build tools to name them.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
encoder=$(realpath "${1:?the folder of an encoder}")
out=$(realpath -m "${2:-$project/dist}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
base=${PYTHON:-python3}
torch=${TORCH:-$(grep '^torch==' "$project/scripts/constraints.txt")}
pip() { "$1/bin/python" -m pip install --quiet --disable-pip-version-check "${@:2}"; }

"$base" -m venv "$work/tools"
pip "$work/tools" build hatchling
SOURCE_DATE_EPOCH=$(git -C "$project" log -1 --format=%ct)
export SOURCE_DATE_EPOCH
for copy in first second; do # which differ in times and permissions
    git clone --quiet "$project" "$work/$copy"
done
chmod -R go-rwx "$work/second"
for copy in first second; do
    "$work/tools/bin/python" -m build --no-isolation --outdir "$work/$copy-dist" "$work/$copy" >"$work/log" 2>&1 ||
        { cat "$work/log" >&2 && exit 1; }
done
mkdir -p "$out"
for file in "$work/first-dist"/*; do
    cmp "$file" "$work/second-dist/$(basename "$file")"
    cp "$file" "$out"
done
echo "Two builds gave the same bytes:"
(cd "$work/first-dist" && sha256sum -- *)

constraints=$project/scripts/constraints.txt
if [ "${VERSIONS:-}" = lowest ]; then
    pip "$work/tools" uv
    echo "$torch" >"$work/torch.txt"
    "$work/tools/bin/uv" pip compile --quiet --resolution lowest-direct --constraints "$work/torch.txt" \
        --python "$base" --output-file "$work/lowest.txt" "$project/pyproject.toml"
    constraints=$work/lowest.txt
fi
"$base" -m venv "$work/empty"
pip "$work/empty" "$torch"
grep -v '^torch==' "$constraints" >"$work/constraints.txt"
pip "$work/empty" --constraint "$work/constraints.txt" "$work/first-dist"/*.whl
"$work/empty/bin/python" -m pip check
cd "$work" # where no source of the package lies
export HF_HUB_OFFLINE=1
"$work/empty/bin/mhex" demo --model "$encoder" --epochs 1 --no-comparison --output "$work/demo"
"$work/empty/bin/python" -P "$project/tests/helpers/readme.py" "$project/README.md" "$work/demo/model"
