#!/usr/bin/env bash
# Compiles the crates of this workspace so that they count which of their lines run; scripts/fuzz.sh has cargo call it
# for them alone, for a figure of what its inputs reach.
set -euo pipefail
rustc=$1
shift
exec "$rustc" "$@" -Cinstrument-coverage
