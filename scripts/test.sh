#!/usr/bin/env bash
# Everything that must be green. Each step is timed; the slowest are printed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTDOCFLAGS="-D warnings"
steps=()
step() {
    local name=$1 began=$SECONDS
    shift
    echo "== $name"
    "$@"
    steps+=("$((SECONDS - began)) s  $name")
}

deny() {
    # Built from source once; the binary stays in the cargo home.
    cargo deny --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-deny --version 0.20.2
    cargo deny --log-level error check bans licenses sources
}

# What runs on a device has no standard library under it.
microcontroller() {
    want_device
    cargo build --release --locked --target "$device" -p lwm2m-rs -p bellwether-manifests \
        -p bellwether-keys -p bellwether-coap -p bellwether-delta -p bellwether-agent
    # By itself: built beside the agent, the update core would have the agent's allocator. This one is linked.
    cargo build --release --locked --target "$device" -p bellwether-link
    # What firmware in C is linked with.
    cargo clippy --release --locked --target "$device" -p bellwether-c -- -D warnings
    # Most of the board's code is for the board alone, so the lints above did not see it.
    cargo clippy --release --locked --target "$device" -p bellwether-boot -- -D warnings
    cargo clippy --release --locked --target "$device" -p bellwether-board -p bellwether-firmware \
        --all-features -- -D warnings
}
. scripts/device_target.sh

step "tools" scripts/tools.sh test
step "format" cargo fmt --all --check
step "lints" cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
step "build" cargo build --workspace --all-targets --all-features --locked
step "tests" cargo test --workspace --all-targets --all-features --locked
step "documentation tests" cargo test --workspace --doc --all-features --locked
step "documentation" cargo doc --workspace --no-deps --all-features --locked
step "device crates for a Cortex-M4" microcontroller
step "flash of deltas on a Cortex-M4" scripts/delta-size.sh
step "licences, sources, forbidden crates" deny

echo
echo "Slowest steps:"
printf '%s\n' "${steps[@]}" | sort -rn | head -n 8
