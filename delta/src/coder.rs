//! Binary range coder with adaptive 16-bit probabilities.
//!
//! Written and read in the same order. The reader is fed byte by byte and can stop before any decision.

/// Reading side.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    range: u32,
    code: u32,
    /// Bytes still to come before the first decision.
    start_bytes: usize,
}

impl Decoder {
    pub(crate) const fn new() -> Self {
        Self { range: u32::MAX, code: 0, start_bytes: START_BYTES }
    }

    /// Takes the bytes that the next decision needs; false when `input` has not enough.
    pub(crate) fn fill(&mut self, input: &mut &[u8]) -> bool {
        while self.start_bytes > 0 || self.range < RENORMALISE {
            let Some((&byte, rest)) = input.split_first() else {
                return false;
            };
            *input = rest;
            self.code = self.code << 8 | u32::from(byte);
            match self.start_bytes.checked_sub(1) {
                Some(left) => self.start_bytes = left,
                None => self.range <<= 8,
            }
        }
        true
    }

    /// Reads one decision; [`Self::fill`] must have returned true since the last.
    pub(crate) fn decode(&mut self, one: u16) -> bool {
        let bound = split(self.range, one);
        // A stream that no encoder wrote can hold a code past the range; it reads as zeros.
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code = self.code.wrapping_sub(bound);
            self.range -= bound;
        }
        bit
    }
}

/// Part of `range` that stands for a one; never 0 and never the whole, as `one` is 1 ..= 65535.
const fn split(range: u32, one: u16) -> u32 {
    (range >> 16) * one as u32
}

/// Bytes of `code`, all of which the first decision needs.
const START_BYTES: usize = 4;

/// Below this, a byte is moved in or out.
const RENORMALISE: u32 = 1 << 24;

#[cfg(any(test, feature = "make"))]
pub(crate) use encoder::Encoder;

#[cfg(any(test, feature = "make"))]
mod encoder {
    use std::vec::Vec;

    use super::{RENORMALISE, START_BYTES, split};

    /// Writing side.
    pub(crate) struct Encoder {
        low: u64,
        range: u32,
        /// Last byte that a carry can still reach, and how many 0xff stand behind it.
        held: Option<u8>,
        held_ones: usize,
        out: Vec<u8>,
        /// Bytes moved out, and how many of them were before the latest decision.
        shifts: usize,
        shifts_before: Option<usize>,
    }

    impl Encoder {
        pub(crate) const fn new() -> Self {
            Self {
                low: 0,
                range: u32::MAX,
                held: None,
                held_ones: 0,
                out: Vec::new(),
                shifts: 0,
                shifts_before: None,
            }
        }

        pub(crate) fn encode(&mut self, bit: bool, one: u16) {
            self.shifts_before = Some(self.shifts);
            let bound = split(self.range, one);
            if bit {
                self.range = bound;
            } else {
                self.low += u64::from(bound);
                self.range -= bound;
            }
            while self.range < RENORMALISE {
                self.range <<= 8;
                self.shift_out();
            }
        }

        /// Ends the stream with the last byte that the decoder asks for.
        pub(crate) fn finish(mut self) -> Vec<u8> {
            let bytes = self.shifts_before.map_or(0, |shifts| shifts + START_BYTES);
            for _ in 0..=START_BYTES {
                self.shift_out();
            }
            self.out.truncate(bytes);
            self.out
        }

        fn shift_out(&mut self) {
            self.shifts += 1;
            let carry = u8::from(self.low >> 32 != 0);
            let top = self.low.to_be_bytes()[4];
            if carry == 1 || top != 0xff {
                if let Some(held) = self.held {
                    self.out.push(held.wrapping_add(carry));
                }
                let run = if carry == 1 { 0 } else { 0xff };
                self.out.extend(core::iter::repeat_n(run, self.held_ones));
                self.held_ones = 0;
                self.held = Some(top);
            } else {
                self.held_ones += 1;
            }
            self.low = (self.low & 0x00ff_ffff) << 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // Probabilities at both ends and long runs of one bit are where carries run far.
        #[test]
        fn any_decisions_come_back_and_need_every_byte(
            decisions in proptest::collection::vec((any::<bool>(), prop_oneof![Just(22), Just(65_514), 22..65_514_u16]), 1..300),
        ) {
            let mut encoder = Encoder::new();
            for &(bit, one) in &decisions {
                encoder.encode(bit, one);
            }
            let bytes = encoder.finish();
            let (mut decoder, mut rest) = (Decoder::new(), bytes.as_slice());
            for &(bit, one) in &decisions {
                prop_assert!(decoder.fill(&mut rest));
                prop_assert_eq!(decoder.decode(one), bit);
            }
            prop_assert_eq!(rest.len(), 0);
        }
    }
}
