#!/usr/bin/env bash
# Measures our deltas beside those of every peer, over a folder of image pairs; bench/delta/run.py says what the folder
# needs. Installs the peers from Debian (as root) and from PyPI, below target/bench-delta; leaves result.json there.
# Usage: scripts/bench-delta.sh CORPUS [PAIRS] [--reuse] [--independent DECODER]
#        scripts/bench-delta.sh --adversarial [--largest MIB] [--kinds NAME,…]   bad input at growing sizes
set -euo pipefail
cd "$(dirname "$0")/.."

is_adversarial=
if [ "${1:-}" = --adversarial ]; then
    is_adversarial=1
    shift
fi
corpus=${1:-}
if [ -n "$is_adversarial" ]; then
    :
elif [ -z "$corpus" ] || [ ! -f "$corpus/pairs.tsv" ]; then
    echo "Name a folder that has a pairs.tsv: make bench-delta CORPUS=DIR [PAIRS=NAME,…]" >&2
    echo "Its columns: pair, arch, kind, old, new, as in: lamp:1.0>1.1, cortex-m4, minor, 1.0.bin, 1.1.bin" >&2
    exit 2
fi
if [ -z "$is_adversarial" ]; then
    pairs=${2:-}
    shift $(($# < 2 ? $# : 2))
fi

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
if [ -n "$is_adversarial" ]; then
    echo "== bad input"
    exec "$out/python/bin/python" -B bench/delta/adversarial.py --binary "$target/release/bellwether" --out "$out" "$@"
fi
echo "== pairs"
exec "$out/python/bin/python" -B bench/delta/run.py "$corpus" --pairs "$pairs" --binary "$target/release/bellwether" \
    --out "$out" "$@"
