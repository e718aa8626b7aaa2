//! ARM, 64 bits.
//!
//! Source: Arm Architecture Reference Manual for A-profile, C4.1.

use super::{Field, bits, signed, with_word, word};

const BRANCH: u8 = 1;
/// ADRP and the instruction after it that adds the lower twelve bits.
const PAGE_PAIR: u8 = 2;
const PAGE: u8 = 3;
/// B.cond, CBZ, CBNZ and LDR of a literal: 19 bits from bit 5 on.
const NEAR: u8 = 4;
const TEST: u8 = 5;
const ADDRESS: u8 = 6;

pub(super) const fn unit(kind: u8) -> i32 {
    if kind == BRANCH || kind == NEAR || kind == TEST { 4 } else { 1 }
}

pub(super) const fn recognise(bytes: [u8; 8], address: u32) -> Option<Field> {
    if !address.is_multiple_of(4) {
        return None;
    }
    let first = word(bytes, 0);
    if first & 0x7c00_0000 == 0x1400_0000 {
        return Field::new(BRANCH, 4, address.wrapping_add(signed(first & 0x03ff_ffff, 26) << 2));
    }
    if first & 0x1f00_0000 == 0x1000_0000 {
        return page(bytes, address);
    }
    let is_near = first & 0xff00_0010 == 0x5400_0000
        || first & 0x7e00_0000 == 0x3400_0000
        || first & 0x3b00_0000 == 0x1800_0000;
    if is_near {
        return Field::new(NEAR, 4, address.wrapping_add(signed(bits(first, 5, 19), 19) << 2));
    }
    if first & 0x7e00_0000 == 0x3600_0000 {
        return Field::new(TEST, 4, address.wrapping_add(signed(bits(first, 5, 14), 14) << 2));
    }
    None
}

const fn page(bytes: [u8; 8], address: u32) -> Option<Field> {
    let first = word(bytes, 0);
    let distance = signed(bits(first, 5, 19) << 2 | bits(first, 29, 2), 21);
    if first >> 31 == 0 {
        return Field::new(ADDRESS, 4, address.wrapping_add(distance));
    }
    let start = (address & !0xfff).wrapping_add(distance << 12);
    match scale(word(bytes, 4), first & 31) {
        Some(scale) => Field::new(PAGE_PAIR, 8, start.wrapping_add(bits(word(bytes, 4), 10, 12) << scale)),
        None => Field::new(PAGE, 4, start),
    }
}

/// Scale of the twelve bits of an ADD, LDR or STR that goes on from `register`.
const fn scale(second: u32, register: u32) -> Option<u32> {
    if bits(second, 5, 5) != register {
        None
    } else if second & 0xffc0_0000 == 0x9100_0000 {
        Some(0)
    } else if second & 0x3b00_0000 == 0x3900_0000 {
        Some(if second & 0x0480_0000 == 0x0480_0000 { 4 } else { second >> 30 })
    } else {
        None
    }
}

pub(super) const fn relocated(kind: u8, bytes: [u8; 8], target: u32, address: u32) -> [u8; 8] {
    let first = word(bytes, 0);
    let words = target.wrapping_sub(address) >> 2;
    match kind {
        BRANCH => with_word(bytes, 0, first & 0xfc00_0000 | words & 0x03ff_ffff),
        NEAR => with_word(bytes, 0, first & 0xff00_001f | (words & 0x7_ffff) << 5),
        TEST => with_word(bytes, 0, first & 0xfff8_001f | (words & 0x3fff) << 5),
        ADDRESS => with_word(bytes, 0, with_split(first, target.wrapping_sub(address))),
        _ => {
            let pages = (target >> 12).wrapping_sub(address >> 12);
            let bytes = with_word(bytes, 0, with_split(first, pages));
            let second = word(bytes, 4);
            match scale(second, first & 31) {
                Some(scale) if kind == PAGE_PAIR => {
                    with_word(bytes, 4, second & !(0xfff << 10) | ((target & 0xfff) >> scale) << 10)
                }
                _ => bytes,
            }
        }
    }
}

/// Puts the 21 bits of an ADR or ADRP.
const fn with_split(first: u32, value: u32) -> u32 {
    first & 0x9f00_001f | (value & 3) << 29 | bits(value, 2, 19) << 5
}
