#!/usr/bin/env bash
# Prints how much of each parser's source the inputs of fuzz/ reach: the committed corpus, and what scripts/fuzz.sh has
# found here. The files are those of fuzz/parsers.txt. Needs LLVM's tools: rustup component add llvm-tools
#
#   scripts/fuzz-coverage.sh [TARGET...]   all targets, if none is named
set -euo pipefail
cd "$(dirname "$0")/.."

target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work="$target_dir/fuzzing"
llvm="$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin"
if ! [ -x "$llvm/llvm-cov" ]; then
    echo "llvm-cov is missing. Run: rustup component add llvm-tools" >&2
    exit 2
fi

by_hand="$target_dir/debug/bellwether-fuzz"
rm -rf "$work/counts"
mkdir -p "$work/counts"
RUSTC_WORKSPACE_WRAPPER="$PWD/scripts/coverage-rustc.sh" cargo build --quiet --locked -p bellwether-fuzz
cp "$by_hand" "$work/counts/counted"
# The one that does not count takes its place again.
cargo build --quiet --locked -p bellwether-fuzz

if [ "$#" -eq 0 ]; then
    mapfile -t names < <("$by_hand" list | cut -d' ' -f1)
    set -- "${names[@]}"
fi
for name in "$@"; do
    folder="$work/$name/corpus"
    mkdir -p "$folder"
    "$by_hand" unpack "$name" "$folder"
    find "$folder" -type f -print0 |
        LLVM_PROFILE_FILE="$work/counts/$name-%p.profraw" xargs -0 "$work/counts/counted" run "$name" >/dev/null
done
find "$work/counts" -name '*.profraw' >"$work/counts/list"
"$llvm/llvm-profdata" merge -sparse -f "$work/counts/list" -o "$work/counts/all"

grep -v '^#' fuzz/parsers.txt | sed "s|^|$PWD/|" >"$work/counts/parsers"
printf '%-48s %8s %8s %8s %8s\n' file lines reached regions reached
# Columns of llvm-cov: the file, then all, missed and reached of regions, functions and lines.
xargs "$llvm/llvm-cov" report "$work/counts/counted" -instr-profile="$work/counts/all" <"$work/counts/parsers" |
    awk '$2 ~ /^[0-9]+$/ && $8 > 0 { printf "%-48s %8s %8s %8s %8s\n", $1, $8, $10, $2, $4 }'
