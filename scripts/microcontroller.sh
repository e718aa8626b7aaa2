#!/usr/bin/env bash
# Builds the boot loader and two versions of the firmware for an emulated Cortex-M4, and lets boards with them update
# themselves from the real server, some with CUTS (20) cuts of their power. Prints what was measured; ends with 1 where a
# figure is over its budget.
# With --sweep it cuts the power in every operation of the flash instead, in an update of a small image and in the boot
# after a cut, at three words of each page that is programmed; with --every-word at every word, which takes half an hour.
# SEED repeats the moments of a run.
# Usage: scripts/microcontroller.sh [--sweep | --every-word]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/device_target.sh

case "${1:-}" in
"" | --sweep | --every-word) ;;
*) sed -n 's/^# \(Usage: .*\)/\1/p' "$0" >&2; exit 2 ;;
esac

scripts/tools.sh microcontroller
want_device

target=${CARGO_TARGET_DIR:-target}
programs=$target/microcontroller
built=$target/$device/firmware
mkdir -p "$programs"

# firmware NAME: builds one, as a program and as the flat image that goes into flash.
firmware() {
    cargo build --profile firmware --locked --target "$device" -p bellwether-firmware
    cp "$built/bellwether-firmware" "$programs/$1.elf"
    arm-none-eabi-objcopy -O binary "$programs/$1.elf" "$programs/$1.bin"
}

# By itself: beside the firmware it would have the firmware's allocator.
cargo build --profile firmware --locked --target "$device" -p bellwether-boot
cp "$built/bellwether-boot" "$programs/boot.elf"

if [ -n "${1:-}" ]; then
    FIRMWARE_PLACE=resident FIRMWARE_VERSION=resident firmware resident
    cargo build --locked -p bellwether-server -p bellwether -p bellwether-tests --bins --example microcontroller_sweep
    exec "$target/debug/examples/microcontroller_sweep" "$programs" "$1"
fi

for version in 1.0.0 2.0.0; do
    FIRMWARE_VERSION=$version firmware "firmware-$version"
done

cargo build --locked -p bellwether-server -p bellwether -p bellwether-tests --bins --example microcontroller
echo
rustc --version
qemu-system-arm --version | head -n 1
"$target/debug/examples/microcontroller" "$programs" "${CUTS:-20}"
