#!/usr/bin/env bash
# Builds the boot loader and two versions of the firmware for an emulated Cortex-M4, and lets boards with them update
# themselves from the real server, some with CUTS (20) cuts of their power. Prints what was measured; ends with 1 where a figure is over its budget.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/device_target.sh

scripts/tools.sh microcontroller
want_device

target=${CARGO_TARGET_DIR:-target}
programs=$target/microcontroller
built=$target/$device/firmware
mkdir -p "$programs"

# By itself: beside the firmware it would have the firmware's allocator.
cargo build --profile firmware --locked --target "$device" -p bellwether-boot
cp "$built/bellwether-boot" "$programs/boot.elf"
for version in 1.0.0 2.0.0; do
    FIRMWARE_VERSION=$version cargo build --profile firmware --locked --target "$device" -p bellwether-firmware
    cp "$built/bellwether-firmware" "$programs/firmware-$version.elf"
    arm-none-eabi-objcopy -O binary "$programs/firmware-$version.elf" "$programs/firmware-$version.bin"
done

cargo build --locked -p bellwether-server -p bellwether -p bellwether-tests --bins --example microcontroller
echo
rustc --version
qemu-system-arm --version | head -n 1
"$target/debug/examples/microcontroller" "$programs" "${CUTS:-20}"
