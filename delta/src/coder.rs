//! Binary range coder: one decision at a time, under a probability of 16 bits.
//!
//! Maker and applier run the same code over a [`Coder`]: one writes the decisions, the other reads them.

use crate::checkpoint::Record;

/// Takes or gives one decision after the other.
pub(crate) trait Coder {
    /// Whether decisions are known beforehand. Where not, what would find them out is left out of the build.
    const WRITES: bool;

    /// Codes a decision whose probability of a one is `one` / 65536, with `one` in 1 ..= 65535. `bit` is what
    /// a writing coder writes; returns what was coded.
    fn code(&mut self, one: u32, bit: bool) -> bool;

    /// Says what the next decisions are about.
    fn turn_to(&mut self, _: Subject) {}
}

/// What decisions are about, for those who want to know where a patch's bytes went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subject {
    /// Where copies and literals start and end.
    Flow,
    /// Where copies come from.
    Seek,
    /// Whether fields went where they were expected.
    Field,
    /// Where fields went that did not.
    Target,
    /// Whether copied bytes are as in the base.
    Hit,
    /// What they are where they are not.
    Difference,
    /// Bytes that are not copied.
    Literal,
}

/// Reading side: state between two pieces of input.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    range: u32,
    /// Value of the stream less the lower end of the range.
    code: u32,
}

impl Decoder {
    /// Starts with the first [`START_BYTES`] of the stream.
    pub(crate) const fn new(start: [u8; START_BYTES]) -> Self {
        Self { range: u32::MAX, code: u32::from_be_bytes(start) }
    }
}

impl Decoder {
    /// Passes both numbers to or from a checkpoint.
    pub(crate) fn pass(&mut self, record: &mut Record<'_>) {
        record.u32(&mut self.range);
        record.u32(&mut self.code);
    }

    /// Whether the range is one that steps leave behind: a smaller one would never grow.
    pub(crate) const fn is_sound(&self) -> bool {
        self.range >= RENORMALISE
    }
}

/// Reading side over a piece of input. Past its end it reads zeros, which the writer has cut off.
pub(crate) struct Reading<'a> {
    pub(crate) decoder: &'a mut Decoder,
    pub(crate) input: &'a [u8],
    /// Bytes taken, those past the end of the input included.
    pub(crate) taken: usize,
}

impl Coder for Reading<'_> {
    const WRITES: bool = false;

    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    fn code(&mut self, one: u32, _: bool) -> bool {
        let decoder = &mut *self.decoder;
        let bound = split(decoder.range, one);
        // A stream that no encoder wrote can hold a code past the range; it reads as zeros.
        let bit = decoder.code < bound;
        if bit {
            decoder.range = bound;
        } else {
            decoder.code = decoder.code.wrapping_sub(bound);
            decoder.range -= bound;
        }
        while decoder.range < RENORMALISE {
            let byte = self.input.get(self.taken).copied().unwrap_or(0);
            self.taken += 1;
            decoder.code = decoder.code << 8 | u32::from(byte);
            decoder.range <<= 8;
        }
        bit
    }
}

/// Part of `range` that stands for a one; never 0 and never the whole.
const fn split(range: u32, one: u32) -> u32 {
    (range >> 16) * one + (((range & 0xffff) * one) >> 16)
}

/// Bytes of the code, all of which the first decision needs.
pub(crate) const START_BYTES: usize = 4;

/// Below this, a byte is moved in or out.
const RENORMALISE: u32 = 1 << 24;

#[cfg(any(test, feature = "make"))]
pub(crate) use encoder::Encoder;

#[cfg(any(test, feature = "make"))]
mod encoder {
    use std::vec::Vec;

    use super::{Coder, RENORMALISE, START_BYTES, Subject, split};
    use crate::make::bits;

    /// Writing side.
    pub(crate) struct Encoder {
        low: u64,
        range: u32,
        /// Last byte that a carry can still reach, and how many 0xff stand behind it.
        held: Option<u8>,
        held_ones: usize,
        out: Vec<u8>,
        subject: Subject,
        /// What each subject took, in parts of a bit as [`bits`] counts them.
        pub(crate) bits: [u64; 7],
    }

    impl Encoder {
        pub(crate) const fn new() -> Self {
            Self {
                low: 0,
                range: u32::MAX,
                held: None,
                held_ones: 0,
                out: Vec::new(),
                subject: Subject::Flow,
                bits: [0; 7],
            }
        }

        /// Ends the stream: of all values that read alike, the one with the fewest bytes before its zeros.
        pub(crate) fn finish(mut self) -> Vec<u8> {
            let end = self.low + u64::from(self.range);
            let fits = |zeros: u32| (self.low + (1 << zeros) - 1) >> zeros << zeros;
            self.low =
                [32, 24, 16, 8, 0].map(fits).into_iter().find(|&value| value < end).unwrap_or(self.low);
            for _ in 0..=START_BYTES {
                self.shift_out();
            }
            while self.out.pop_if(|last| *last == 0).is_some() {}
            self.out
        }

        fn shift_out(&mut self) {
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

    impl Coder for Encoder {
        const WRITES: bool = true;

        fn code(&mut self, one: u32, bit: bool) -> bool {
            let bound = split(self.range, one);
            let part = if bit { one } else { 65_536 - one };
            self.bits[self.subject as usize] += bits::of_chance(part);
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
            bit
        }

        fn turn_to(&mut self, subject: Subject) {
            self.subject = subject;
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
        fn any_decisions_come_back_with_zeros_past_the_end(
            decisions in proptest::collection::vec(
                (any::<bool>(), prop_oneof![Just(1), Just(65_535), 1..65_536_u32]),
                0..300,
            ),
        ) {
            let mut encoder = Encoder::new();
            for &(bit, one) in &decisions {
                encoder.code(one, bit);
            }
            let bytes = encoder.finish();
            let mut start = [0; START_BYTES];
            for (place, byte) in start.iter_mut().zip(&bytes) {
                *place = *byte;
            }
            let mut decoder = Decoder::new(start);
            let input = bytes.get(START_BYTES..).unwrap_or_default();
            let mut reading = Reading { decoder: &mut decoder, input, taken: 0 };
            for &(bit, one) in &decisions {
                prop_assert_eq!(reading.code(one, false), bit);
            }
            prop_assert!(reading.taken >= input.len());
        }
    }
}
