#!/usr/bin/env bash
# Kills servers, gateways and devices again and again, each round at other moments; and runs simulated worlds.
set -euo pipefail
cd "$(dirname "$0")/.."

export ROUNDS=${ROUNDS:-25}
worlds=${SEEDS:-1000} first=${SEED:-1}
kills=${KILLS:-1000}
unset SEEDS SEED KILLS
echo "== $worlds worlds from seed $first on"
SEED=$first SEEDS=$worlds cargo test --locked -p bellwether-tests --test world whatever -- --nocapture
cargo build --workspace --bins --locked
echo "== $ROUNDS rounds"
# The whole fleet comes after them by itself, since it takes as many kills as it is told and not rounds.
cargo test --locked -p bellwether-tests --test system -- --nocapture killed --skip fleet_killed
echo "== $kills kills in a whole fleet, from seed $first on"
SEED=$first KILLS=$kills cargo test --locked -p bellwether-tests --test system -- --nocapture fleet_killed
# A cut at every write of every kind of update, and at every write of what follows each.
BELLWETHER_ALL_CUTS=1 cargo test --release --locked -p bellwether-agent --lib -- --nocapture cuts::
# The same order of steps each time, but more of them.
cargo test --locked -p bellwether-decide --test model -- --nocapture --test-threads 1
# Hostile input for every parser: an hour, FUZZ_SECONDS for another time.
FUZZ_SECONDS=${FUZZ_SECONDS:-3600} FUZZ_JOBS=${FUZZ_JOBS:-$(nproc)} scripts/fuzz.sh
