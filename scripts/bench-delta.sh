#!/usr/bin/env bash
# Measures our deltas beside those of every peer, over a folder of image pairs; bench/delta/run.py says what the folder
# needs. Installs the peers from Debian (as root) and from PyPI, below target/bench-delta; leaves result.json there.
# Usage: scripts/bench-delta.sh CORPUS [PAIRS] [--reuse] [--independent]
set -euo pipefail
cd "$(dirname "$0")/.."

corpus=${1:-}
if [ -z "$corpus" ] || [ ! -f "$corpus/pairs.tsv" ]; then
    echo "Name a folder that has a pairs.tsv: make bench-delta CORPUS=DIR [PAIRS=NAME,…]" >&2
    echo "Its columns: pair, arch, kind, old, new, as in: lamp:1.0>1.1, cortex-m4, minor, 1.0.bin, 1.1.bin" >&2
    exit 2
fi
pairs=${2:-}
shift $(($# < 2 ? $# : 2))

target=${CARGO_TARGET_DIR:-target}
scripts/tools.sh bench-delta
mkdir -p "$target/bench-delta"
out=$(cd "$target/bench-delta" && pwd)
if ! cmp -s bench/delta/requirements.txt "$out/requirements.done"; then
    echo "== peers from PyPI"
    rm -rf "$out/python"
    python3 -m venv "$out/python"
    "$out/python/bin/pip" install --quiet --disable-pip-version-check --requirement bench/delta/requirements.txt
    cp bench/delta/requirements.txt "$out/requirements.done"
fi
echo "== our command"
cargo build --release --quiet --locked -p bellwether
echo "== pairs"
exec "$out/python/bin/python" -B bench/delta/run.py "$corpus" --pairs "$pairs" --binary "$target/release/bellwether" \
    --out "$out" "$@"
