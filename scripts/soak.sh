#!/usr/bin/env bash
# Kills servers, gateways and devices again and again, each round at other moments; runs simulated worlds; cuts the power
# at every write; feeds hostile input to every parser. Goes on where a part fails, and sums all up at the end.
#
#   SEEDS, SEED    simulated worlds, and the first of their seeds (1000, 1)
#   ROUNDS         rounds of each test that kills single processes (25)
#   KILLS          kills in a whole fleet (1000)
#   FUZZ_SECONDS, FUZZ_JOBS   time for all parsers together, targets at a time (3600, all processors)
set -euo pipefail
cd "$(dirname "$0")/.."

export ROUNDS=${ROUNDS:-25}
worlds=${SEEDS:-1000} first=${SEED:-1}
kills=${KILLS:-1000}
unset SEEDS SEED KILLS
logs=$(realpath -m "${CARGO_TARGET_DIR:-target}/soak")
rm -rf "$logs"
mkdir -p "$logs"
failed=()

# part NAME COMMAND...: runs it, and keeps what it says in a file of that name.
part() {
    local name=$1
    shift
    echo "== $name"
    "$@" 2>&1 | tee "$logs/$name" || failed+=("$name")
}

# sum NAME PATTERN: adds up the numbers that a sed expression finds in what a part said.
sum() {
    sed -nE "s/$2/\1/p" "$logs/$1" | awk '{ all += $1 } END { printf "%d", all }'
}

# last NAME PATTERN: the last thing that it finds.
last() {
    sed -nE "s/$2/\1/p" "$logs/$1" | tail -n 1
}

tests=(cargo test --locked -p bellwether-tests)
part worlds env SEED="$first" SEEDS="$worlds" "${tests[@]}" --test world whatever -- --nocapture
part binaries cargo build --workspace --bins --locked
# The whole fleet comes after them by itself, since it takes as many kills as it is told and not rounds.
part processes "${tests[@]}" --test system -- --nocapture killed --skip fleet_killed
part fleet env SEED="$first" KILLS="$kills" "${tests[@]}" --test system -- --nocapture fleet_killed
# A cut at every write of every kind of update, and at every write of what follows each.
part cuts env BELLWETHER_ALL_CUTS=1 cargo test --release --locked -p bellwether-agent --lib -- --nocapture cuts::
# The same order of steps each time, but more of them.
part model cargo test --locked -p bellwether-decide --test model -- --nocapture --test-threads 1
part fuzz env FUZZ_SECONDS="${FUZZ_SECONDS:-3600}" FUZZ_JOBS="${FUZZ_JOBS:-$(nproc)}" scripts/fuzz.sh

echo
echo "== what was done"
echo "worlds      $(last worlds '^Sum \{ (.*) \}$')"
echo "            seeds $first to $((first + worlds - 1)), $(grep -c '^BROKEN in seed' "$logs/worlds" || true) properties broken"
echo "processes   $(last processes '^test result: .* ([0-9]+ passed; [0-9]+ failed).*'), $ROUNDS rounds each"
echo "fleet       $(last fleet '^([0-9]+ of [0-9]+ kills: .*)$'), from seed $first on"
echo "power cuts  $(sum cuts '^.*: ([0-9]+) cuts, .*') cuts, $(sum cuts '^.*, ([0-9]+) recovery cuts$') in what follows them"
echo "model       $(last model '^test result: .* ([0-9]+ passed; [0-9]+ failed).*')"
echo "fuzz        $(last fuzz '^([0-9]+ executions, [0-9]+ findings)$')"
echo "All that was said is in $logs."
if [ "${#failed[@]}" -gt 0 ]; then
    echo "FAILED: ${failed[*]}" >&2
    exit 1
fi
