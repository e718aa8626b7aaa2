#!/usr/bin/env bash
# Builds the boot loader and two versions of the firmware for an emulated Cortex-M4, and lets boards with them update
# themselves from the real server, some with CUTS (20) cuts of their power; the same, once each, for a firmware in C, a
# Cortex-M3 and a Cortex-M33. Prints what was measured; ends with 1 where a figure is over its budget.
# With --sweep it cuts the power in every operation of the flash instead, in an update of a small image and in the boot
# after a cut, at three words of each page that is programmed; with --every-word at every word, which takes half an hour.
# SEED repeats the moments of a run.
# With --firmware it builds boot loader and firmware of the Cortex-M4 alone, and prints the folder that they are in.
# With --c FILE it builds a program in C of yours in place of the example's main.c, as versions 1.0.0 and 2.0.0, lets a board
# with it update itself, and shows what it said; it switches itself off with status 0 once it was updated.
# Usage: scripts/microcontroller.sh [--sweep | --every-word | --firmware | --c FILE]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/device_target.sh

case "${1:-}" in
"" | --sweep | --every-word | --firmware) ;;
--c) [ -f "${2:-}" ] || { echo "microcontroller.sh: --c wants a file in C" >&2; exit 2; } ;;
*) sed -n 's/^# \(Usage: .*\)/\1/p' "$0" >&2; exit 2 ;;
esac

scripts/tools.sh microcontroller >&2
want_device >&2

target=${CARGO_TARGET_DIR:-target}
programs=$target/microcontroller

# boot TARGET FOLDER: builds the boot loader; by itself, since beside the firmware it would have the firmware's allocator.
boot() {
    cargo build --profile firmware --locked --target "$1" -p bellwether-boot
    mkdir -p "$2"
    cp "$target/$1/firmware/bellwether-boot" "$2/boot.elf"
}

# firmware TARGET FOLDER NAME: builds a firmware, as a program and as the flat image that goes into flash.
firmware() {
    cargo build --profile firmware --locked --target "$1" -p bellwether-firmware
    cp "$target/$1/firmware/bellwether-firmware" "$2/$3.elf"
    arm-none-eabi-objcopy -O binary "$2/$3.elf" "$2/$3.bin"
}

# both TARGET FOLDER: the boot loader and two versions of the firmware.
both() {
    boot "$1" "$2"
    for version in 1.0.0 2.0.0; do
        FIRMWARE_VERSION=$version firmware "$1" "$2" "firmware-$version"
    done
}

# in_c [FILE]: the library, and two versions of a firmware in C.
in_c() {
    cargo rustc --profile firmware --locked --target "$device" -p bellwether-c --crate-type staticlib
    for version in 1.0.0 2.0.0; do
        client-agent/c/examples/board/build.sh "$target/$device/firmware/libbellwether_c.a" "$version" \
            "$programs/c-$version.elf" "$@"
        arm-none-eabi-objcopy -O binary "$programs/c-$version.elf" "$programs/c-$version.bin"
    done
}

if [ "${1:-}" = --firmware ]; then
    both "$device" "$programs" >&2
    echo "$programs"
    exit
fi

if [ "${1:-}" = --c ]; then
    boot "$device" "$programs"
    in_c "$2"
    cargo build --locked -p bellwether-server -p bellwether -p bellwether-tests --bins --example microcontroller
    exec "$target/debug/examples/microcontroller" "$programs" c
fi

if [ -n "${1:-}" ]; then
    boot "$device" "$programs"
    FIRMWARE_PLACE=resident FIRMWARE_VERSION=resident firmware "$device" "$programs" resident
    cargo build --locked -p bellwether-server -p bellwether -p bellwether-tests --bins --example microcontroller_sweep
    exec "$target/debug/examples/microcontroller_sweep" "$programs" "$1"
fi

both "$device" "$programs"

in_c

for other in "${other_devices[@]}"; do
    want_device "$other"
    both "$other" "$programs/$other"
done

cargo build --locked -p bellwether-server -p bellwether -p bellwether-tests --bins --example microcontroller
echo
rustc --version
qemu-system-arm --version | head -n 1
"$target/debug/examples/microcontroller" "$programs" "${CUTS:-20}"
