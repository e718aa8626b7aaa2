//! Codes copies and inserts as the bytes of a patch.

use std::vec::Vec;

use super::copies::Copy;
use crate::coder::Encoder;
use crate::format::NUMBER_WIDTH_MAX;
use crate::model::{Decision, Model, Number};

/// Writes the patch. `copies` stand in order, do not overlap, and lie inside both images.
pub(crate) fn write(base: &[u8], target: &[u8], copies: &[Copy]) -> Vec<u8> {
    let mut writer = Writer { encoder: Encoder::new(), model: Model::new(), alignment: 0 };
    let mut written = 0;
    let mut copies = copies.iter().peekable();
    while written < target.len() {
        match copies.next_if(|copy| copy.target_at == written) {
            Some(copy) => {
                writer.copy(base, target, copy);
                written += copy.length;
            }
            None => writer.number(Number::CopyLength, 0),
        }
        if written < target.len() {
            let end = copies.peek().map_or(target.len(), |copy| copy.target_at);
            writer.insert(&target[written..end]);
            written = end;
        }
    }
    writer.encoder.finish()
}

struct Writer {
    encoder: Encoder,
    model: Model,
    /// Base position less target position of the latest copy.
    alignment: i64,
}

impl Writer {
    fn copy(&mut self, base: &[u8], target: &[u8], copy: &Copy) {
        self.number(Number::CopyLength, position(copy.length));
        let alignment = i64::from(position(copy.base_at)) - i64::from(position(copy.target_at));
        self.number(Number::Shift, zigzag(alignment - self.alignment));
        self.alignment = alignment;
        for at in 0..copy.length {
            let (base_at, byte) = (copy.base_at + at, target[copy.target_at + at]);
            let upper = base.get(base_at | 1).copied().unwrap_or(0);
            let is_hit = base[base_at] == byte;
            self.decide(Decision::Hit { base_at: position(base_at), upper }, is_hit);
            if !is_hit {
                let difference = byte.wrapping_sub(base[base_at]);
                self.byte(difference, |node| Decision::Difference { node });
                self.model.missed_by(difference);
            }
            self.model.wrote(byte);
        }
    }

    fn insert(&mut self, bytes: &[u8]) {
        self.number(Number::InsertLength, position(bytes.len()));
        for &byte in bytes {
            self.byte(byte, |node| Decision::Literal { node });
            self.model.wrote(byte);
        }
    }

    fn byte(&mut self, byte: u8, decision: impl Fn(u8) -> Decision) {
        let mut node = 1_u8;
        for at in (0..8).rev() {
            let bit = byte >> at & 1 != 0;
            self.decide(decision(node), bit);
            node = node << 1 | u8::from(bit);
        }
    }

    fn number(&mut self, number: Number, value: u32) {
        let value = value + 1;
        let width = (0..NUMBER_WIDTH_MAX).find(|&at| value >> at == 1).unwrap_or(NUMBER_WIDTH_MAX);
        for at in 0..width {
            self.decide(Decision::Width { number, at }, true);
        }
        self.decide(Decision::Width { number, at: width }, false);
        for at in (0..width).rev() {
            self.decide(Decision::Bit { number, width, at }, value >> at & 1 != 0);
        }
    }

    fn decide(&mut self, decision: Decision, bit: bool) {
        self.encoder.encode(bit, self.model.one(decision));
        self.model.learn(decision, bit);
    }
}

/// A position or length of an image, which is at most [`crate::IMAGE_BYTES_MAX`].
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// A change of alignment is below 2^29 either way, so that its zigzag fits.
fn zigzag(number: i64) -> u32 {
    u32::try_from((number << 1 ^ number >> 63).cast_unsigned()).unwrap_or(u32::MAX)
}
