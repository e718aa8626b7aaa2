#!/usr/bin/env bash
# Prints the flash that applying deltas takes on a Cortex-M4 with opt-level "s", by what a device uses: of the decoder, of
# its tables, and of what it shares with the rest of a firmware: SHA-256, copying of memory. Fails where a use takes more
# than its budget.
# Usage: scripts/delta-size.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/device_target.sh
want_device
root=$PWD
out=${CARGO_TARGET_DIR:-$root/target}/delta-size
# Built incrementally, the same code is larger; whoever builds so otherwise has it in the environment.
export CARGO_INCREMENTAL=0
mkdir -p "$out/src"
cp Cargo.lock "$out/"
cat >"$out/src/lib.rs" <<'RUST'
#![no_std]
use bellwether_delta::{Base, Patcher, Sink};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

unsafe extern "C" {
    fn flash(area: u32, at: u32, to: *mut u8, bytes: usize) -> i32;
    fn give(at: u32, from: *const u8, bytes: usize) -> i32;
}

pub struct Flash;
pub struct Failed;

fn read(area: u32, at: u32, to: &mut [u8]) -> Result<(), Failed> {
    if unsafe { flash(area, at, to.as_mut_ptr(), to.len()) } == 0 { Ok(()) } else { Err(Failed) }
}

fn write(at: u32, from: &[u8]) -> Result<(), Failed> {
    if unsafe { give(at, from.as_ptr(), from.len()) } == 0 { Ok(()) } else { Err(Failed) }
}

impl Base for Flash {
    type Error = Failed;
    fn read(&mut self, at: u32, to: &mut [u8]) -> Result<(), Failed> {
        read(0, at, to)
    }
}

impl Sink for Flash {
    type Error = Failed;
    fn write(&mut self, from: &[u8]) -> Result<(), Failed> {
        write(0, from)
    }
    fn read_back(&mut self, at: u32, to: &mut [u8]) -> Result<(), Failed> {
        read(1, at, to)
    }
}

#[unsafe(no_mangle)]
pub fn start(patcher: &mut Patcher, base: u32, target: u32) -> bool {
    patcher.begin(-2, base, target, &[]).is_ok()
}

#[unsafe(no_mangle)]
pub fn push(patcher: &mut Patcher, piece: &[u8]) -> bool {
    patcher.push(piece, &mut Flash, &mut Flash).is_ok()
}

#[unsafe(no_mangle)]
pub fn finish(patcher: &mut Patcher) -> bool {
    patcher.finish(&mut Flash, &mut Flash).is_ok()
}

#[unsafe(no_mangle)]
pub fn keep(patcher: &mut Patcher) -> bool {
    patcher.checkpoint(|at, piece| write(at, piece)).is_ok()
}

#[unsafe(no_mangle)]
pub fn resume(patcher: &mut Patcher) -> bool {
    Patcher::resume(&mut Flash, &mut Flash).map(|read| *patcher = read).is_ok()
}

#[cfg(feature = "one-slot")]
mod one_slot {
    use super::{Failed, Flash, Patcher, read, write};
    use bellwether_delta::{Area, Room, Slot};

    impl Slot for Flash {
        type Error = Failed;
        fn room(&self) -> Room {
            Room { erase_bytes: 4096, slot_bytes: 1 << 20, spare_bytes: 1 << 14 }
        }
        fn read(&mut self, area: Area, at: u32, to: &mut [u8]) -> Result<(), Failed> {
            read(area as u32, at, to)
        }
        fn erase(&mut self, area: Area, at: u32, bytes: u32) -> Result<(), Failed> {
            write(at + area as u32, &[bytes as u8])
        }
        fn write(&mut self, area: Area, at: u32, from: &[u8]) -> Result<(), Failed> {
            write(at + area as u32, from)
        }
        fn save(&mut self, at: u32, piece: &[u8]) -> Result<(), Failed> {
            write(at, piece)
        }
    }

    #[unsafe(no_mangle)]
    pub fn push_in_place(patcher: &mut Patcher, piece: &[u8]) -> bool {
        patcher.push_in_place(piece, &mut Flash).is_ok()
    }

    #[unsafe(no_mangle)]
    pub fn finish_in_place(patcher: &mut Patcher) -> bool {
        patcher.finish_in_place(&mut Flash).is_ok()
    }

    #[unsafe(no_mangle)]
    pub fn resume_in_place(patcher: &mut Patcher) -> bool {
        Patcher::resume_in_place(&mut Flash, &mut Flash).map(|read| *patcher = read).is_ok()
    }
}
RUST
cat >"$out/Cargo.toml" <<TOML
[package]
name = "delta-size"
version = "0.0.0"
edition = "2024"
[lib]
crate-type = ["staticlib"]
[features]
one-slot = ["bellwether-delta/one-slot"]
architectures = ["bellwether-delta/architectures"]
thumb = ["bellwether-delta/thumb"]
[dependencies]
bellwether-delta = { path = "$root/delta", default-features = false }
[profile.release]
opt-level = "s"
lto = "fat"
codegen-units = 1
panic = "abort"
[workspace]
TOML

# Bytes of tables that any use may have.
tables_max=4096
over=()

# Links what starts at these functions, and adds up the sizes of what is left: at most so many bytes of decoder.
size() {
    local name=$1 decoder_max=$2 features=$3
    shift 3
    cargo build --quiet --release --target "$device" --manifest-path "$out/Cargo.toml" --target-dir "$out" \
        --features "$features"
    local roots=()
    for root in "$@"; do roots+=(-u "$root"); done
    arm-none-eabi-ld --gc-sections -e "$1" "${roots[@]}" --unresolved-symbols=ignore-all -o "$out/linked" \
        "$out/$device/release/libdelta_size.a" 2>/dev/null
    local tables all
    all=$(arm-none-eabi-size -A -d "$out/linked" | awk '$1 == ".text" { print $2 }')
    tables=$(arm-none-eabi-size -A -d "$out/linked" | awk '$1 == ".rodata" { print $2 }')
    arm-none-eabi-nm -S -C --radix=d "$out/linked" | awk -v all="$all" '
        $3 !~ /[tTwW]/ { next }
        $4 ~ /sha256::compress/ { hash += $2 }
        $4 ~ /mem(cpy|move|set|clr|cmp)/ { memory += $2 }
        END { print all - hash - memory, hash + 0, memory + 0 }' >"$out/sums"
    local decoder hash memory
    read -r decoder hash memory <"$out/sums"
    printf '%-36s %8d %8d %8d %8d %8d\n' "$name" "$decoder" "$decoder_max" "$tables" "$hash" "$memory"
    [ "$decoder" -le "$decoder_max" ] || over+=("$name: the decoder takes $decoder bytes, and may take $decoder_max")
    [ "$tables" -le "$tables_max" ] || over+=("$name: tables take $tables bytes, and may take $tables_max")
}

printf '%-36s %8s %8s %8s %8s %8s\n' "A DEVICE'S USE OF DELTAS, bytes" DECODER AT\ MOST TABLES SHA-256 MEMORY
size "two slots, Thumb" 12288 thumb start push finish
size "two slots, every architecture" 12288 architectures start push finish
size "and checkpoints" 16896 architectures start push finish keep resume
size "one slot, Thumb" 22528 thumb,one-slot start push_in_place finish_in_place resume_in_place
size "one slot, every architecture" 22528 architectures,one-slot start push_in_place finish_in_place resume_in_place
if [ "${#over[@]}" -gt 0 ]; then
    printf 'Too large: %s\n' "${over[@]}" >&2
    exit 1
fi
