#!/usr/bin/env bash
# Runs the targets of fuzz/ under libFuzzer, each for its share of the time, and prints what came of it.
# It needs stable Rust and a C++ compiler, nothing else: libFuzzer is built from the sources of libfuzzer-sys, and the
# counters that it reads are a pass of rustc's own LLVM (scripts/fuzz-rustc.sh).
#
#   FUZZ_SECONDS   time for all targets together (600)
#   FUZZ_JOBS      targets at a time (1)
#   FUZZ_TARGETS   names of targets, others are left out (all)
#   FUZZ_KEEP=1    takes what reached new code into fuzz/corpus, minimised
#   FUZZ_COVERAGE=1  prints too how much of each parser the inputs reach, see scripts/fuzz-coverage.sh
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-600}
jobs=${FUZZ_JOBS:-1}
target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work="$target_dir/fuzzing"

# Targets that write files wait for the disk where it is one; and libFuzzer ends without clearing up.
scratch=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")" bellwether-fuzz-XXXXXX)
trap 'rm -rf "$scratch"' EXIT
if [ -z "${CXX:-}" ] && ! command -v c++ >/dev/null 2>&1; then
    export CXX=clang++
fi
echo "== building"
by_hand="$target_dir/debug/bellwether-fuzz"
fuzzer="$work/bellwether-fuzz"
mkdir -p "$work"
RUSTC_WORKSPACE_WRAPPER="$PWD/scripts/fuzz-rustc.sh" cargo build --quiet --locked -p bellwether-fuzz
cp "$by_hand" "$fuzzer"
# The one that replays takes its place again.
cargo build --quiet --locked -p bellwether-fuzz

declare -A bytes_max=()
targets=()
while read -r name bytes; do
    bytes_max[$name]=$bytes
    if [ -z "${FUZZ_TARGETS:-}" ] || [[ " $FUZZ_TARGETS " == *" $name "* ]]; then
        targets+=("$name")
    fi
done < <("$by_hand" list)
[ "${#targets[@]}" -gt 0 ] || { echo "no such target: $FUZZ_TARGETS" >&2; exit 2; }
share=$((seconds * jobs / ${#targets[@]}))
[ "$share" -gt 0 ] || share=1

# One target: from the committed corpus, and what earlier runs here have found.
fuzz() {
    local name=$1 folder="$work/$1"
    mkdir -p "$folder/corpus" "$folder/found"
    "$by_hand" unpack "$name" "$folder/corpus"
    "$by_hand" words "$name" >"$folder/words"
    local options=(-max_total_time="$share" -max_len="${bytes_max[$name]}" -artifact_prefix="$folder/found/"
        -timeout=10 -rss_limit_mb=2048 -print_final_stats=1)
    [ ! -s "$folder/words" ] || options+=(-dict="$folder/words")
    FUZZ_TARGET=$name TMPDIR=$scratch "$fuzzer" "${options[@]}" "$folder/corpus" >"$folder/log" 2>&1 || true
}

# Writes the smallest set of inputs that reaches the same.
keep() {
    local name=$1 folder="$work/$1"
    rm -rf "$folder/kept"
    mkdir "$folder/kept"
    FUZZ_TARGET=$name TMPDIR=$scratch "$fuzzer" -set_cover_merge=1 -max_len="${bytes_max[$name]}" -timeout=10 \
        "$folder/kept" "$folder/corpus" >"$folder/merge.log" 2>&1
    "$by_hand" pack "$name" "$folder/kept"
}

row() {
    local name=$1 folder="$work/$1" reached found
    # The last line that tells: edges, features, corpus, executions a second.
    reached=$(grep -E '^#[0-9]+.* cov: ' "$folder/log" | tail -n 1 || true)
    found=$(find "$folder/found" -type f | wc -l)
    field() { sed -nE "s/.* $1: ([0-9]+).*/\1/p" <<<"$reached"; }
    printf '%-16s %12s %9s %7s %7s %6s\n' "$name" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/log" | tail -n 1)" \
        "$(sed -n 's/^stat::average_exec_per_sec: *//p' "$folder/log" | tail -n 1)" \
        "$(field cov)" "$(field corp)" "$found"
}

echo "== ${#targets[@]} targets, $share s each, $jobs at a time"
printf '%-16s %12s %9s %7s %7s %6s\n' target executions exec/s edges corpus found
running=0
for name in "${targets[@]}"; do
    if [ "$running" -ge "$jobs" ]; then
        wait -n
        running=$((running - 1))
    fi
    { fuzz "$name"; row "$name"; } &
    running=$((running + 1))
done
wait

if [ "${FUZZ_KEEP:-}" = 1 ]; then
    echo "== keeping what reached new code"
    for name in "${targets[@]}"; do
        keep "$name"
    done
fi

if [ "${FUZZ_COVERAGE:-}" = 1 ]; then
    scripts/fuzz-coverage.sh "${targets[@]}"
fi

executed=0
findings=()
for name in "${targets[@]}"; do
    units=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$name/log" | tail -n 1)
    executed=$((executed + ${units:-0}))
    while read -r file; do
        findings+=("$name $file")
    done < <(find "$work/$name/found" -type f)
    grep -q '^stat::number_of_executed_units' "$work/$name/log" || findings+=("$name $work/$name/log")
done
echo "$executed executions, ${#findings[@]} findings"
for finding in "${findings[@]}"; do
    echo "    cargo run -p bellwether-fuzz -- run $finding"
done
[ "${#findings[@]}" -eq 0 ]
