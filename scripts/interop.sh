#!/usr/bin/env bash
# Sets other people's code upon the real server, and prints a row for each peer and case; docs/interop.md has a run.
# Installs what it needs below target/interop from PyPI, npm and Maven Central, in the versions that are written down
# in tests/interop. Ends with 1 where a row failed.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/interop"
tools=$(cd "$target/interop" && pwd)
binaries=$(cd "$target" && pwd)/debug

# Runs a step unless its inputs are as they were when it was last done.
unless_done() {
    local name=$1 inputs=$2
    shift 2
    local now
    now=$(find $inputs -type f -exec sha256sum {} + | sort | sha256sum)
    [ "$(cat "$tools/$name.done" 2>/dev/null)" = "$now" ] && return
    echo "== $name"
    "$@" >"$tools/$name.log" 2>&1 || { tail -n 20 "$tools/$name.log" >&2; exit 1; }
    echo "$now" >"$tools/$name.done"
}

python_packages() {
    rm -rf "$tools/python"
    python3 -m venv "$tools/python"
    # DTLSSocket is built from source, and names no version of what builds it.
    "$tools/python/bin/pip" install --quiet setuptools==84.2.1 wheel==0.48.0 cython==3.3.1
    "$tools/python/bin/pip" install --quiet --requirement tests/interop/requirements.txt
}

node_packages() {
    rm -rf "$tools/node"
    cp -r tests/interop/node "$tools/node"
    (cd "$tools/node" && npm ci --ignore-scripts --no-audit --no-fund)
}

java_client() {
    rm -rf "$tools/leshan"
    cp -r tests/interop/leshan "$tools/leshan"
    mvn -q -B -Dmaven.repo.local="$tools/maven" -f "$tools/leshan/pom.xml" package
}

scripts/tools.sh interop
echo "== our binaries"
cargo build --quiet --locked -p bellwether-server -p bellwether -p bellwether-gateway -p bellwether-agent-host \
    -p bellwether-demo
cargo build --quiet --locked -p bellwether-tests --example interop_site
unless_done python tests/interop/requirements.txt python_packages
unless_done node tests/interop/node node_packages
unless_done leshan tests/interop/leshan java_client

echo "== rows"
"$tools/python/bin/python" -B tests/interop/run.py "$PWD" "$binaries" "$tools"
