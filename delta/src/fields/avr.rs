//! AVR with up to 128 KiB of flash. Data addresses stand from `0x80_0000` on, as linkers place them.
//!
//! Source: AVR Instruction Set Manual.

use super::{Field, bits, half, signed, with_half};

pub(super) const CALL: u8 = 1;
const RELATIVE: u8 = 2;
pub(super) const DATA: u8 = 3;
const BRANCH: u8 = 4;
/// Two LDI that load neighbouring registers, low byte first.
pub(super) const LOAD_PAIR: u8 = 5;

/// Where data addresses stand.
const DATA_START: u32 = 0x80_0000;

pub(super) const fn instruction_bytes(bytes: [u8; 8]) -> u32 {
    let first = half(bytes, 0);
    if first & 0xfe0c == 0x940c || first & 0xfc0f == 0x9000 { 4 } else { 2 }
}

pub(super) const fn unit(kind: u8) -> i32 {
    if kind == RELATIVE || kind == BRANCH { 2 } else { 1 }
}

pub(super) const fn recognise(bytes: [u8; 8], address: u32) -> Option<Field> {
    let (first, second) = (half(bytes, 0), half(bytes, 2));
    let from = address.wrapping_add(2);
    if first == 0x940e || first == 0x940c {
        return Field::new(CALL, 4, second << 1);
    }
    if first & 0xfc0f == 0x9000 {
        return Field::new(DATA, 4, DATA_START + second);
    }
    match first >> 12 {
        0xc | 0xd => Field::new(RELATIVE, 2, from.wrapping_add(signed(first & 0xfff, 12) << 1)),
        0xf if first & 0x0800 == 0 => {
            Field::new(BRANCH, 2, from.wrapping_add(signed(bits(first, 3, 7), 7) << 1))
        }
        0xe if second >> 12 == 0xe && bits(first, 4, 4) + 1 == bits(second, 4, 4) => {
            Field::new(LOAD_PAIR, 4, DATA_START + (byte_of(first) | byte_of(second) << 8))
        }
        _ => None,
    }
}

/// Constant of an LDI.
const fn byte_of(load: u32) -> u32 {
    bits(load, 8, 4) << 4 | load & 15
}

const fn with_byte(load: u32, byte: u32) -> u32 {
    load & 0xf0f0 | bits(byte, 4, 4) << 8 | byte & 15
}

pub(super) const fn relocated(kind: u8, bytes: [u8; 8], target: u32, address: u32) -> [u8; 8] {
    let first = half(bytes, 0);
    let words = target.wrapping_sub(address.wrapping_add(2)) >> 1;
    match kind {
        CALL => with_half(bytes, 2, target >> 1 & 0xffff),
        RELATIVE => with_half(bytes, 0, first & 0xf000 | words & 0xfff),
        DATA => with_half(bytes, 2, target & 0xffff),
        BRANCH => with_half(bytes, 0, first & !0x03f8 | (words & 0x7f) << 3),
        _ => {
            let low = with_byte(first, target & 0xff);
            let high = with_byte(half(bytes, 2), target >> 8 & 0xff);
            with_half(with_half(bytes, 0, low), 2, high)
        }
    }
}
