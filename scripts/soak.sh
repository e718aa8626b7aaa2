#!/usr/bin/env bash
# Kills servers, gateways and devices again and again, each round at other moments.
set -euo pipefail
cd "$(dirname "$0")/.."

export ROUNDS=${ROUNDS:-25}
cargo build --workspace --bins --locked
echo "== $ROUNDS rounds"
cargo test --locked -p bellwether-tests --test system -- --nocapture killed
# The same order of steps each time, but more of them.
cargo test --locked -p bellwether-decide --test model -- --nocapture --test-threads 1
