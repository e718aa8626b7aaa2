//! x86, 64 bits: calls, jumps and what is addressed relative to the instruction pointer.
//!
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, 2.2.1.6 and chapter 3.

use super::{Field, with_word, word};

const CALL: u8 = 1;
const JUMP: u8 = 2;
const BRANCH: u8 = 3;
const RELATIVE: u8 = 4;

/// Farther than this, four bytes are hardly the distance of a jump.
const DISTANCE_MAX: u32 = 1 << 24;

pub(super) const fn recognise(bytes: [u8; 8], address: u32) -> Option<Field> {
    let [first, second, third, ..] = bytes;
    let (kind, at) = match (first, second) {
        (0xe8, _) => (CALL, 1),
        (0xe9, _) => (JUMP, 1),
        (0x0f, 0x80..=0x8f) => (BRANCH, 2),
        (0x48 | 0x4c, 0x8b | 0x8d | 0x89 | 0x39 | 0x3b | 0x03 | 0x63) if third & 0xc7 == 0x05 => {
            (RELATIVE, 3)
        }
        _ => return None,
    };
    let distance = word(bytes, at as usize);
    if distance.wrapping_add(DISTANCE_MAX) > 2 * DISTANCE_MAX {
        return None;
    }
    Field::new(kind, at + 4, address.wrapping_add(at as u32 + 4).wrapping_add(distance))
}

pub(super) const fn relocated(bytes: [u8; 8], target: u32, address: u32) -> [u8; 8] {
    let at = match bytes[0] {
        0xe8 | 0xe9 => 1,
        0x0f => 2,
        _ => 3,
    };
    with_word(bytes, at, target.wrapping_sub(address).wrapping_sub(at as u32 + 4))
}
