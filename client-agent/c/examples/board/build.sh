#!/usr/bin/env bash
# Builds a program for the emulated board: build.sh LIBRARY VERSION OUT [MAIN], with the static library of the target, and
# main.c of this folder, or another one that includes board.h and brings `main` and `bellwether_panic`.
set -euo pipefail
here=$(dirname "$0")
arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 -std=c11 -Os -Wall -Wextra -Werror \
    -ffreestanding -nostdlib -ffunction-sections -fdata-sections -Wl,--gc-sections -Wl,-z,noexecstack \
    -DVERSION="\"$2\"" -I"$here/../../include" -I"$here" -T"$here/link.ld" \
    "${4:-$here/main.c}" "$here/board.c" "$1" -lgcc -o "$3"
