//! RISC-V, 32 and 64 bits, with compressed instructions.
//!
//! Source: The RISC-V Instruction Set Manual, volume I, chapters 2 and 16.

use super::{Field, bits, half, signed, with_half, with_word, word};

const JAL: u8 = 1;
/// AUIPC and the instruction after it that adds the lower twelve bits.
pub(super) const AUIPC: u8 = 2;
/// LUI and the instruction after it that adds the lower twelve bits.
pub(super) const LUI: u8 = 3;
const BRANCH: u8 = 4;
const JUMP_COMPRESSED: u8 = 5;
const BRANCH_COMPRESSED: u8 = 6;

const STORE: u32 = 0x23;

pub(super) const fn instruction_bytes(bytes: [u8; 8]) -> u32 {
    if bytes[0] & 3 == 3 { 4 } else { 2 }
}

pub(super) const fn recognise(bytes: [u8; 8], address: u32) -> Option<Field> {
    let first = word(bytes, 0);
    match first & 0x7f {
        0x6f => Field::new(JAL, 4, address.wrapping_add(jump(first))),
        0x63 => Field::new(BRANCH, 4, address.wrapping_add(branch(first))),
        0x17 | 0x37 => pair(bytes, address),
        _ if first & 3 == 1 => compressed(half(bytes, 0), address),
        _ => None,
    }
}

const fn pair(bytes: [u8; 8], address: u32) -> Option<Field> {
    let (first, second) = (word(bytes, 0), word(bytes, 4));
    let register = bits(first, 7, 5);
    let uses = match second & 0x7f {
        0x13 => bits(second, 12, 3) == 0,
        0x67 | 0x03 | STORE => true,
        _ => false,
    };
    if register == 0 || bits(second, 15, 5) != register || !uses {
        return None;
    }
    let low =
        if second & 0x7f == STORE { bits(second, 25, 7) << 5 | bits(second, 7, 5) } else { second >> 20 };
    let value = (first & 0xffff_f000).wrapping_add(signed(low, 12));
    if first & 0x7f == 0x17 {
        Field::new(AUIPC, 8, address.wrapping_add(value))
    } else {
        Field::new(LUI, 8, value)
    }
}

const fn compressed(first: u32, address: u32) -> Option<Field> {
    match first >> 13 {
        0b101 => Field::new(JUMP_COMPRESSED, 2, address.wrapping_add(jump_compressed(first))),
        0b110 | 0b111 => Field::new(BRANCH_COMPRESSED, 2, address.wrapping_add(branch_compressed(first))),
        _ => None,
    }
}

const fn jump(first: u32) -> u32 {
    let high = bits(first, 31, 1) << 20 | bits(first, 12, 8) << 12 | bits(first, 20, 1) << 11;
    signed(high | bits(first, 21, 10) << 1, 21)
}

const fn branch(first: u32) -> u32 {
    let high = bits(first, 31, 1) << 12 | bits(first, 7, 1) << 11;
    signed(high | bits(first, 25, 6) << 5 | bits(first, 8, 4) << 1, 13)
}

const fn jump_compressed(first: u32) -> u32 {
    let high = bits(first, 12, 1) << 11 | bits(first, 8, 1) << 10 | bits(first, 9, 2) << 8;
    let low = bits(first, 7, 1) << 6 | bits(first, 2, 1) << 5 | bits(first, 11, 1) << 4;
    signed(high | bits(first, 6, 1) << 7 | low | bits(first, 3, 3) << 1, 12)
}

const fn branch_compressed(first: u32) -> u32 {
    let high = bits(first, 12, 1) << 8 | bits(first, 5, 2) << 6 | bits(first, 2, 1) << 5;
    signed(high | bits(first, 10, 2) << 3 | bits(first, 3, 2) << 1, 9)
}

pub(super) const fn relocated(kind: u8, bytes: [u8; 8], target: u32, address: u32) -> [u8; 8] {
    let first = word(bytes, 0);
    let distance = target.wrapping_sub(address);
    match kind {
        JAL => {
            let high = bits(distance, 20, 1) << 31 | bits(distance, 12, 8) << 12;
            let low = bits(distance, 11, 1) << 20 | bits(distance, 1, 10) << 21;
            with_word(bytes, 0, first & 0xfff | high | low)
        }
        BRANCH => {
            let high = bits(distance, 12, 1) << 31 | bits(distance, 11, 1) << 7;
            let low = bits(distance, 5, 6) << 25 | bits(distance, 1, 4) << 8;
            with_word(bytes, 0, first & 0x01ff_f07f | high | low)
        }
        JUMP_COMPRESSED => {
            let high = bits(distance, 11, 1) << 12 | bits(distance, 10, 1) << 8 | bits(distance, 8, 2) << 9;
            let middle = bits(distance, 7, 1) << 6 | bits(distance, 6, 1) << 7 | bits(distance, 5, 1) << 2;
            let low = bits(distance, 4, 1) << 11 | bits(distance, 1, 3) << 3;
            with_half(bytes, 0, first & 0xe003 | high | middle | low)
        }
        BRANCH_COMPRESSED => {
            let high = bits(distance, 8, 1) << 12 | bits(distance, 6, 2) << 5 | bits(distance, 5, 1) << 2;
            let low = bits(distance, 3, 2) << 10 | bits(distance, 1, 2) << 3;
            with_half(bytes, 0, first & 0xe383 | high | low)
        }
        AUIPC => pair_to(bytes, distance),
        _ => pair_to(bytes, target),
    }
}

const fn pair_to(bytes: [u8; 8], value: u32) -> [u8; 8] {
    let (first, second) = (word(bytes, 0), word(bytes, 4));
    let high = value.wrapping_add(0x800) & 0xffff_f000;
    let low = value.wrapping_sub(high);
    let second = if second & 0x7f == STORE {
        second & 0x01ff_f07f | bits(low, 5, 7) << 25 | bits(low, 0, 5) << 7
    } else {
        second & 0xf_ffff | (low & 0xfff) << 20
    };
    with_word(with_word(bytes, 0, first & 0xfff | high), 4, second)
}
