//! Where the bytes of a patch went.

use std::vec;

use crate::PatchError;
use crate::chance::Chances;
use crate::codec::{Codec, Desk, Unknown};
use crate::coder::{Coder, Decoder, Reading, START_BYTES, Subject};
use crate::digest::ImageDigest;
use crate::header::Header;

use super::writer::Slices;

/// What the bytes of a patch are about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Explanation {
    /// Bytes of the header.
    pub header: usize,
    /// Bytes that each [`Subject`] took, in the order of its variants.
    pub spent: [f32; 7],
    /// Decisions that were coded.
    pub decisions: u64,
}

/// Applies a patch in memory and counts what each of its subjects took.
///
/// # Errors
///
/// [`PatchError::WrongBase`], [`PatchError::WrongTarget`], and every other that applying ends in.
pub fn explain(base: &[u8], patch: &[u8]) -> Result<Explanation, PatchError> {
    let (header, length) = Header::parse(patch)?.ok_or(PatchError::Incomplete { produced: 0 })?;
    if header.base_size as usize != base.len()
        || header.base_digest != ImageDigest::of(base, header.base_digest.is_full())
    {
        return Err(PatchError::WrongBase);
    }
    let body = patch.get(length..).unwrap_or_default();
    let mut start = [0; START_BYTES];
    for (place, byte) in start.iter_mut().zip(body) {
        *place = *byte;
    }
    let mut decoder = Decoder::new(start);
    let input = body.get(START_BYTES..).unwrap_or_default();
    let reading = Reading { decoder: &mut decoder, input, taken: 0 };
    let mut counting = Counting { reading, subject: Subject::Flow, bits: [0.0; 7], decisions: 0 };
    let mut words = vec![0; header.tables.profile.words()];
    let mut codec = Codec::new(&header, &mut words);
    let mut target = vec![0; header.target_size as usize];
    while !codec.is_complete() {
        let at = codec.position() as usize;
        let chances = Chances { words: &mut words, coder: &mut counting };
        let source = &mut Slices { base, target: &target };
        let step = codec.step(&mut Desk { chances, source, truth: &Unknown });
        let length = step.map_err(|outside| outside.error(codec.made()))? as usize;
        let bytes = codec.latest().to_be_bytes();
        target[at..at + length].copy_from_slice(&bytes[8 - length..]);
    }
    if counting.reading.taken < input.len() {
        return Err(PatchError::TrailingInput);
    }
    if header.target_digest != ImageDigest::of(&target, header.target_digest.is_full()) {
        return Err(PatchError::WrongTarget);
    }
    let spent = counting.bits.map(|bits| (bits / 8.0) as f32);
    Ok(Explanation { header: length, spent, decisions: counting.decisions })
}

/// Reads decisions, and weighs each by its subject.
struct Counting<'a> {
    reading: Reading<'a>,
    subject: Subject,
    bits: [f64; 7],
    decisions: u64,
}

impl Coder for Counting<'_> {
    const WRITES: bool = false;

    fn code(&mut self, one: u32, bit: bool) -> bool {
        let coded = self.reading.code(one, bit);
        let part = if coded { one } else { 65_536 - one };
        self.bits[self.subject as usize] += 16.0 - f64::from(part).log2();
        self.decisions += 1;
        coded
    }

    fn turn_to(&mut self, subject: Subject) {
        self.subject = subject;
    }
}
