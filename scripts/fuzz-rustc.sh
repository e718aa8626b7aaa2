#!/usr/bin/env bash
# Compiles the crates of this workspace with the counters that libFuzzer reads; scripts/fuzz.sh has cargo call it for
# them alone, so that effort goes into our own code. What runs while building (no --target) is left as it is.
# On stable: the pass is LLVM's, and no sanitizer is needed, for there is no unsafe code in the parsers.
set -euo pipefail
rustc=$1
shift
case " $* " in
*" --target "*)
    exec "$rustc" "$@" -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
*) exec "$rustc" "$@" ;;
esac
