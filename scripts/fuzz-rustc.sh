#!/usr/bin/env bash
# Compiles the crates of this workspace for libFuzzer; scripts/fuzz.sh has cargo call it for them alone. Effort goes into
# our own code then, and everything else is what other builds have made already.
#
# As fast as a release, with the checks of a debug build, and with the counters that libFuzzer reads. On stable: the pass
# is LLVM's, and no sanitizer is needed, for there is no unsafe code in the parsers. Cargo asks here what is configured
# too, so that `cfg(libfuzzer)` brings its dependency.
set -euo pipefail
rustc=$1
shift
case " $* " in
*" build_script_build "*) exec "$rustc" "$@" ;;
*)
    exec "$rustc" "$@" --cfg libfuzzer \
        -Copt-level=3 -Cdebug-assertions=on -Coverflow-checks=on \
        -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
