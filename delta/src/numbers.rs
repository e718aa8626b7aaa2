//! Numbers of any size, as decisions.

use crate::chance::Chances;
use crate::coder::Coder;

/// Words of the state for the chances of one kind of number.
pub(crate) const NUMBER_WORDS: usize = WIDTHS + 3 * 8;

/// Chances for how many bits a number has; longer ones share the last.
const WIDTHS: usize = 24;

/// Highest bit of a number plus one, at most.
const WIDTH_MAX: u32 = 31;

/// Codes `value` below 2^31 - 1: how many bits value + 1 has in unary, then those below the highest one. The
/// upper two of them are learned per length, from the word `start` on; the others are taken for even.
pub(crate) fn code<C: Coder>(chances: &mut Chances<'_, C>, start: usize, value: u32) -> u32 {
    let value = value.wrapping_add(1);
    let width = if C::WRITES { value.max(1).ilog2() } else { 0 };
    let mut at = 0;
    while at < WIDTH_MAX && chances.code(start + (at as usize).min(WIDTHS - 1), at < width, LESSONS_MAX) {
        at += 1;
    }
    let mut read = 1_u32;
    for place in (0..at).rev() {
        let bit = value >> place & 1 != 0;
        let below = at - 1 - place;
        let bit = if below < 2 {
            let slot =
                WIDTHS + (at - 1).min(7) as usize * 3 + (read & ((1 << below) - 1)) as usize + below as usize;
            chances.code(start + slot, bit, LESSONS_MAX)
        } else {
            chances.coder.code(1 << 15, bit)
        };
        read = read << 1 | u32::from(bit);
    }
    read - 1
}

/// Numbers are rare: they keep learning fast.
const LESSONS_MAX: u16 = 13;

pub(crate) const fn zigzag(number: i32) -> u32 {
    (number << 1 ^ number >> 31).cast_unsigned()
}

pub(crate) const fn unzigzag(number: u32) -> i32 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}
