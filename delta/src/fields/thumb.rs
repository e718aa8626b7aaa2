//! ARM Thumb and Thumb-2.
//!
//! Source: ARMv7-M Architecture Reference Manual, A5 and A7.7.

use super::{Field, bits, half, signed, with_half};

const CALL: u8 = 1;
const BRANCH_WIDE: u8 = 2;
/// MOVW and MOVT of the same register, one after the other.
pub(super) const MOVE: u8 = 3;
const LITERAL: u8 = 4;
const LITERAL_WIDE: u8 = 5;
const BRANCH_CONDITIONAL: u8 = 6;
const BRANCH: u8 = 7;

pub(super) const fn instruction_bytes(bytes: [u8; 8]) -> u32 {
    if half(bytes, 0) >> 11 >= 0x1d { 4 } else { 2 }
}

pub(super) const fn unit(kind: u8) -> i32 {
    if kind == LITERAL {
        4
    } else if kind == LITERAL_WIDE {
        1
    } else {
        2
    }
}

pub(super) const fn recognise(bytes: [u8; 8], address: u32) -> Option<Field> {
    let (first, second) = (half(bytes, 0), half(bytes, 2));
    let from = address.wrapping_add(4);
    match first >> 11 {
        0b01001 => Field::new(LITERAL, 2, (from & !3).wrapping_add((first & 0xff) << 2)),
        0b11010 | 0b11011 if bits(first, 8, 4) < 14 => {
            Field::new(BRANCH_CONDITIONAL, 2, from.wrapping_add(signed(first & 0xff, 8) << 1))
        }
        0b11100 => Field::new(BRANCH, 2, from.wrapping_add(signed(first & 0x7ff, 11) << 1)),
        0b10110 | 0b10111 if first & 0xf500 == 0xb100 => {
            let distance = bits(first, 9, 1) << 6 | bits(first, 3, 5) << 1;
            Field::new(BRANCH_CONDITIONAL, 2, from.wrapping_add(distance))
        }
        0b11110 if second & 0xd000 == 0xd000 => Field::new(CALL, 4, from.wrapping_add(wide(first, second))),
        0b11110 if second & 0xd000 == 0x9000 => {
            Field::new(BRANCH_WIDE, 4, from.wrapping_add(wide(first, second)))
        }
        0b11110 if second & 0xd000 == 0x8000 && bits(first, 6, 4) < 14 => {
            Field::new(BRANCH_WIDE, 4, from.wrapping_add(conditional(first, second)))
        }
        0b11110 => pair(bytes),
        0b11111 if first & 0xff7f == 0xf85f => {
            let distance = second & 0xfff;
            let target = if first & 0x80 == 0 {
                (from & !3).wrapping_sub(distance)
            } else {
                (from & !3).wrapping_add(distance)
            };
            Field::new(LITERAL_WIDE, 4, target)
        }
        _ => None,
    }
}

/// Distance of a BL or B.W.
const fn wide(first: u32, second: u32) -> u32 {
    let sign = bits(first, 10, 1);
    let i1 = 1 ^ bits(second, 13, 1) ^ sign;
    let i2 = 1 ^ bits(second, 11, 1) ^ sign;
    signed(sign << 24 | i1 << 23 | i2 << 22 | (first & 0x3ff) << 12 | (second & 0x7ff) << 1, 25)
}

/// Distance of a B<c>.W.
const fn conditional(first: u32, second: u32) -> u32 {
    let high = bits(first, 10, 1) << 20 | bits(second, 11, 1) << 19 | bits(second, 13, 1) << 18;
    signed(high | (first & 0x3f) << 12 | (second & 0x7ff) << 1, 21)
}

const fn pair(bytes: [u8; 8]) -> Option<Field> {
    let (low, low2, high, high2) = (half(bytes, 0), half(bytes, 2), half(bytes, 4), half(bytes, 6));
    let are_moves = low & 0xfbf0 == 0xf240 && high & 0xfbf0 == 0xf2c0 && (low2 | high2) & 0x8000 == 0;
    if are_moves && bits(low2, 8, 4) == bits(high2, 8, 4) {
        Field::new(MOVE, 8, immediate(low, low2) | immediate(high, high2) << 16)
    } else {
        None
    }
}

const fn immediate(first: u32, second: u32) -> u32 {
    (first & 15) << 12 | bits(first, 10, 1) << 11 | bits(second, 12, 3) << 8 | second & 0xff
}

pub(super) fn relocated(kind: u8, bytes: [u8; 8], target: u32, address: u32) -> [u8; 8] {
    let (first, second) = (half(bytes, 0), half(bytes, 2));
    let from = address.wrapping_add(4);
    let distance = target.wrapping_sub(from);
    match kind {
        LITERAL => {
            let words = target.wrapping_sub(from & !3) >> 2 & 0xff;
            with_half(bytes, 0, first & 0xff00 | words)
        }
        BRANCH => with_half(bytes, 0, first & 0xf800 | distance >> 1 & 0x7ff),
        BRANCH_CONDITIONAL if first >> 12 == 0xd => {
            with_half(bytes, 0, first & 0xff00 | distance >> 1 & 0xff)
        }
        BRANCH_CONDITIONAL => {
            let distance = bits(distance, 6, 1) << 9 | bits(distance, 1, 5) << 3;
            with_half(bytes, 0, first & !0x02f8 | distance)
        }
        CALL => wide_to(bytes, distance),
        BRANCH_WIDE if second & 0x1000 != 0 => wide_to(bytes, distance),
        BRANCH_WIDE => {
            let first = first & !0x043f | bits(distance, 20, 1) << 10 | bits(distance, 12, 6);
            let high = bits(distance, 18, 1) << 13 | bits(distance, 19, 1) << 11;
            with_half(with_half(bytes, 0, first), 2, second & !0x2fff | high | bits(distance, 1, 11))
        }
        LITERAL_WIDE => {
            let ahead = target.wrapping_sub(from & !3);
            let is_back = ahead.cast_signed() < 0;
            let words = if is_back { ahead.wrapping_neg() } else { ahead } & 0xfff;
            let first = first & !0x80 | u32::from(!is_back) << 7;
            with_half(with_half(bytes, 0, first), 2, second & 0xf000 | words)
        }
        _ => {
            let bytes = immediate_to(bytes, 0, target & 0xffff);
            immediate_to(bytes, 4, target >> 16)
        }
    }
}

const fn wide_to(bytes: [u8; 8], distance: u32) -> [u8; 8] {
    let (first, second) = (half(bytes, 0), half(bytes, 2));
    let sign = bits(distance, 24, 1);
    let j1 = 1 ^ bits(distance, 23, 1) ^ sign;
    let j2 = 1 ^ bits(distance, 22, 1) ^ sign;
    let first = first & 0xf800 | sign << 10 | bits(distance, 12, 10);
    with_half(with_half(bytes, 0, first), 2, second & 0xd000 | j1 << 13 | j2 << 11 | bits(distance, 1, 11))
}

const fn immediate_to(bytes: [u8; 8], at: usize, value: u32) -> [u8; 8] {
    let first = half(bytes, at) & !0x040f | bits(value, 12, 4) | bits(value, 11, 1) << 10;
    let second = half(bytes, at + 2) & !0x70ff | bits(value, 8, 3) << 12 | value & 0xff;
    with_half(with_half(bytes, at, first), at + 2, second)
}
