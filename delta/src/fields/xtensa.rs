//! Xtensa, little-endian.
//!
//! Source: Xtensa Instruction Set Architecture Reference Manual, chapter 7.

use super::{Field, bits, signed, word};

const CALL: u8 = 1;
pub(super) const LITERAL: u8 = 2;
const JUMP: u8 = 3;
const BRANCH_ZERO: u8 = 4;
const BRANCH: u8 = 5;

pub(super) const fn instruction_bytes(bytes: [u8; 8]) -> u32 {
    if bytes[0] & 15 >= 8 && bytes[0] & 15 < 14 { 2 } else { 3 }
}

pub(super) const fn recognise(bytes: [u8; 8], address: u32) -> Option<Field> {
    let first = word(bytes, 0) & 0xff_ffff;
    let from = address.wrapping_add(4);
    match first & 0x3f {
        _ if first & 15 == 5 => {
            let words = signed(bits(first, 6, 18), 18);
            Field::new(CALL, 3, (address & !3).wrapping_add(4).wrapping_add(words << 2))
        }
        _ if first & 15 == 1 => {
            let words = first >> 8 | 0xffff_0000;
            Field::new(LITERAL, 3, (address.wrapping_add(3) & !3).wrapping_add(words << 2))
        }
        0x06 => Field::new(JUMP, 3, from.wrapping_add(signed(bits(first, 6, 18), 18))),
        0x16 => Field::new(BRANCH_ZERO, 3, from.wrapping_add(signed(first >> 12, 12))),
        _ if first & 15 == 7 || first & 0x3f == 0x26 => {
            Field::new(BRANCH, 3, from.wrapping_add(signed(first >> 16, 8)))
        }
        _ => None,
    }
}

pub(super) const fn relocated(kind: u8, bytes: [u8; 8], target: u32, address: u32) -> [u8; 8] {
    let first = word(bytes, 0) & 0xff_ffff;
    let distance = target.wrapping_sub(address.wrapping_add(4));
    match kind {
        CALL => {
            let words = target.wrapping_sub((address & !3).wrapping_add(4)) >> 2;
            with_three(bytes, first & 0x3f | (words & 0x3_ffff) << 6)
        }
        LITERAL => {
            let words = target.wrapping_sub(address.wrapping_add(3) & !3) >> 2;
            with_three(bytes, first & 0xff | (words & 0xffff) << 8)
        }
        JUMP => with_three(bytes, first & 0x3f | (distance & 0x3_ffff) << 6),
        BRANCH_ZERO => with_three(bytes, first & 0xfff | (distance & 0xfff) << 12),
        _ => with_three(bytes, first & 0xffff | (distance & 0xff) << 16),
    }
}

const fn with_three(mut bytes: [u8; 8], value: u32) -> [u8; 8] {
    let [low, middle, high, _] = value.to_le_bytes();
    bytes[0] = low;
    bytes[1] = middle;
    bytes[2] = high;
    bytes
}
