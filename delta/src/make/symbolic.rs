//! What a patch says without the images: where each byte of the target comes from and how it differs. Two of them in a row add
//! up to one, without the image between them.
//!
//! Per byte of the target: its place in the base and its difference to the byte there, modulo 256; or the byte itself.
//! A byte that is copied from a copy is a copy with both differences; one that is copied from a new byte is new.

use std::vec;
use std::vec::Vec;

use sha2::{Digest, Sha256};

use super::parse::Piece;
use super::writer::Slices;
use super::{MakeError, Maker, Options, Pair, Patch, Watch, make_with};
use crate::PatchError;
use crate::chance::Chances;
use crate::codec::{Codec, Desk, Origin, Source, Unknown, View};
use crate::coder::{Coder, Decoder, Reading, START_BYTES, Subject};
use crate::digest::ImageDigest;
use crate::fields::Architecture;
use crate::header::Header;
use core::ops::Range;
use thiserror::Error;

/// A change of an image, byte by byte.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Symbolic {
    base_size: u32,
    base_digest: [u8; 32],
    target_digest: [u8; 32],
    /// Per byte of the target its place in the base, [`NEW`] where it has none.
    sources: Vec<u32>,
    /// Per byte of the target how it differs from the base's, or what it is.
    values: Vec<u8>,
}

const NEW: u32 = u32::MAX;

/// Why changes were not merged.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum MergeError {
    /// A change does not start from the image that the one before ends with. Put them in order.
    #[error("a patch does not start from the image that the one before makes")]
    Order,
    /// A patch is at fault.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// No patch can be made of the change.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// What was kept of a change is cut or altered.
    #[error("change is malformed")]
    Malformed,
}

impl Symbolic {
    /// Works out what a patch says, from the image that it is for. Returns the image that it makes as well.
    ///
    /// # Errors
    ///
    /// [`PatchError::WrongBase`], [`PatchError::WrongTarget`], and every other that applying ends in.
    pub fn of(base: &[u8], patch: &[u8]) -> Result<(Self, Vec<u8>), PatchError> {
        let (header, length) = Header::parse(patch)?.ok_or(PatchError::Incomplete { produced: 0 })?;
        if header.base_size as usize != base.len()
            || header.base_digest != ImageDigest::of(base, header.base_digest.is_full())
        {
            return Err(PatchError::WrongBase);
        }
        let mut walk = Walk::new(&header, base, patch.get(length..).unwrap_or_default());
        walk.run()?;
        let (target, sources) = (walk.target, walk.sources);
        if header.target_digest != ImageDigest::of(&target, header.target_digest.is_full()) {
            return Err(PatchError::WrongTarget);
        }
        let value = |(at, &source): (usize, &u32)| match base.get(source as usize) {
            Some(byte) => target[at].wrapping_sub(*byte),
            None => target[at],
        };
        let symbolic = Self {
            base_size: header.base_size,
            base_digest: Sha256::digest(base).into(),
            target_digest: Sha256::digest(&target).into(),
            values: sources.iter().enumerate().map(value).collect(),
            sources,
        };
        Ok((symbolic, target))
    }

    /// Adds the change that comes after this one.
    ///
    /// # Errors
    ///
    /// [`MergeError::Order`].
    pub fn then(&self, next: &Self) -> Result<Self, MergeError> {
        if self.target_digest != next.base_digest || self.sources.len() != next.base_size as usize {
            return Err(MergeError::Order);
        }
        let added = next.sources.iter().zip(&next.values).map(|(&source, &value)| {
            let before = self.sources.get(source as usize).zip(self.values.get(source as usize));
            before.map_or((NEW, value), |(&source, before)| (source, before.wrapping_add(value)))
        });
        let (sources, values) = added.unzip();
        Ok(Self {
            base_size: self.base_size,
            base_digest: self.base_digest,
            target_digest: next.target_digest,
            sources,
            values,
        })
    }

    /// Returns the SHA-256 of the image that the change starts from, and of the one that it makes.
    #[must_use]
    pub const fn digests(&self) -> [&[u8; 32]; 2] {
        [&self.base_digest, &self.target_digest]
    }

    /// Makes the image.
    ///
    /// # Errors
    ///
    /// [`PatchError::WrongBase`], [`PatchError::WrongTarget`].
    pub fn target(&self, base: &[u8]) -> Result<Vec<u8>, PatchError> {
        if <[u8; 32]>::from(Sha256::digest(base)) != self.base_digest {
            return Err(PatchError::WrongBase);
        }
        let byte = |(&source, value): (&u32, &u8)| {
            base.get(source as usize).copied().unwrap_or(0).wrapping_add(*value)
        };
        let target: Vec<u8> = self.sources.iter().zip(&self.values).map(byte).collect();
        if <[u8; 32]>::from(Sha256::digest(&target)) == self.target_digest {
            Ok(target)
        } else {
            Err(PatchError::WrongTarget)
        }
    }

    /// Makes the patch of the change, from the image that it starts from alone.
    ///
    /// # Errors
    ///
    /// [`MergeError`].
    pub fn patch(&self, base: &[u8], options: Options) -> Result<Patch, MergeError> {
        let target = self.target(base)?;
        let direct = make_with(base, &target, options)?;
        let kept = self.kept(base, &target, options, direct.architecture);
        Ok(if kept.bytes.len() < direct.bytes.len() { kept } else { direct })
    }

    /// Makes the patch that copies as the change does, but for what is copied within the target.
    fn kept(&self, base: &[u8], target: &[u8], options: Options, architecture: Architecture) -> Patch {
        let (pieces, watch) = (self.pieces(), Watch::nobody());
        let written = [false, true].map(|pointers_first| {
            Maker::new(
                Pair { base, target, options, watch: &watch, told: None },
                (architecture, pointers_first),
            )
            .written(&pieces)
        });
        let [one, other] = written;
        let shorter = if other.bytes.len() < one.bytes.len() { other } else { one };
        let (bytes, spent) = (shorter.bytes, shorter.spent);
        Patch { ram: options.profile.bytes(), bytes, architecture, spent, ..Patch::default() }
    }

    fn pieces(&self) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for (at, &source) in self.sources.iter().enumerate() {
            let goes_on = |piece: &&mut Piece| match piece.source {
                None => source == NEW,
                Some(start) => start.wrapping_add(piece.length) == source,
            };
            if let Some(piece) = pieces.last_mut().filter(goes_on) {
                piece.length += 1;
            } else {
                let source = Some(source).filter(|source| *source != NEW);
                pieces.push(Piece { target_at: at as u32, length: 1, source });
            }
        }
        pieces
    }

    /// Writes the change: `MAGIC`, the base's size, both digests, the target's size, then pieces with their values.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.base_digest);
        out.extend(self.target_digest);
        number(&mut out, self.base_size);
        number(&mut out, self.sources.len() as u32);
        for piece in self.pieces() {
            number(&mut out, piece.length);
            number(&mut out, piece.source.map_or(0, |source| source + 1));
            let values = &self.values[piece.target_at as usize..][..piece.length as usize];
            if piece.source.is_none() {
                out.extend(values);
                continue;
            }
            let mut latest = 0;
            for (at, value) in values.iter().enumerate().filter(|(_, value)| **value != 0) {
                number(&mut out, (at - latest) as u32 + 1);
                out.push(*value);
                latest = at;
            }
            number(&mut out, 0);
        }
        out
    }

    /// Says whether bytes start as a change does, and not as a patch.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Reads a change that [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// [`MergeError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MergeError> {
        let mut rest = Kept(bytes.strip_prefix(MAGIC).ok_or(MergeError::Malformed)?);
        let symbolic = Self::read(&mut rest).filter(|_| rest.0.is_empty());
        symbolic.ok_or(MergeError::Malformed)
    }

    fn read(rest: &mut Kept<'_>) -> Option<Self> {
        let (base_digest, target_digest) = (rest.array()?, rest.array()?);
        let [base_size, target_size] = [rest.number()?, rest.number()?];
        if base_size.max(target_size) > crate::IMAGE_BYTES_MAX {
            return None;
        }
        let (mut sources, mut values) = (Vec::new(), Vec::new());
        while sources.len() < target_size as usize {
            let (length, source) = (rest.number()? as usize, rest.number()?);
            if length == 0 || length > target_size as usize - sources.len() {
                return None;
            }
            let Some(start) = source.checked_sub(1) else {
                values.extend(rest.take(length)?);
                sources.resize(sources.len() + length, NEW);
                continue;
            };
            if length > (base_size as usize).checked_sub(start as usize)? {
                return None;
            }
            sources.extend(start..start + length as u32);
            values.resize(values.len() + length, 0);
            let first = values.len() - length;
            rest.differences(values.get_mut(first..)?)?;
        }
        Some(Self { base_size, base_digest, target_digest, sources, values })
    }
}

/// First bytes of a change that was written.
const MAGIC: &[u8] = b"BWC\x01";

fn number(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What is left of a change that is read.
struct Kept<'a>(&'a [u8]);

impl<'a> Kept<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn array(&mut self) -> Option<[u8; 32]> {
        self.take(32)?.first_chunk().copied()
    }

    fn number(&mut self) -> Option<u32> {
        let mut value = 0_u64;
        for at in 0..5 {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                return u32::try_from(value).ok();
            }
        }
        None
    }

    /// Reads the bytes of a copy that differ: how far each is from the one before, plus one; 0 ends them.
    fn differences(&mut self, values: &mut [u8]) -> Option<()> {
        let mut at = 0;
        loop {
            let step = self.number()?;
            if step == 0 {
                return Some(());
            }
            at += step as usize - 1;
            *values.get_mut(at)? = *self.take(1)?.first()?;
        }
    }
}

/// A patch being read, and where its bytes come from.
struct Walk<'a> {
    codec: Codec,
    words: Vec<u16>,
    base: &'a [u8],
    decoder: Decoder,
    input: &'a [u8],
    target: Vec<u8>,
    sources: Vec<u32>,
}

impl<'a> Walk<'a> {
    fn new(header: &Header, base: &'a [u8], body: &'a [u8]) -> Self {
        let mut start = [0; START_BYTES];
        for (place, byte) in start.iter_mut().zip(body) {
            *place = *byte;
        }
        let mut words = vec![0; header.tables.profile.words()];
        let size = header.target_size as usize;
        Self {
            codec: Codec::new(header, &mut words),
            words,
            base,
            decoder: Decoder::new(start),
            input: body.get(START_BYTES..).unwrap_or_default(),
            target: vec![0; size],
            sources: vec![NEW; size],
        }
    }

    fn run(&mut self) -> Result<(), PatchError> {
        let mut reading = Noting {
            reading: Reading { decoder: &mut self.decoder, input: self.input, taken: 0 },
            is_literal: false,
        };
        while !self.codec.is_complete() {
            let at = self.codec.position() as usize;
            reading.is_literal = false;
            let mut images = Noted { images: Slices { base: self.base, target: &self.target }, from: None };
            let chances = Chances { words: &mut self.words, coder: &mut reading };
            let step = self.codec.step(&mut Desk { chances, source: &mut images, truth: &Unknown });
            let length = step.map_err(|outside| outside.error(self.codec.made()))? as usize;
            let bytes = self.codec.latest().to_be_bytes();
            let from = images.from.filter(|_| !reading.is_literal);
            for (more, &byte) in bytes[8 - length..].iter().enumerate() {
                self.target[at + more] = byte;
                self.sources[at + more] = match from {
                    None => NEW,
                    Some((Origin::Base, place)) => place + more as u32,
                    Some((Origin::Target, place)) => self.sources[place as usize + more],
                };
            }
        }
        if reading.reading.taken < self.input.len() { Err(PatchError::TrailingInput) } else { Ok(()) }
    }
}

/// Notes what is looked at.
struct Noted<'a> {
    images: Slices<'a>,
    /// Image that a unit was copied from, and the place.
    from: Option<(Origin, u32)>,
}

impl Source for Noted<'_> {
    fn view(&mut self, from: Origin, at: u32, there: Range<u32>) -> View {
        self.from = Some((from, at));
        self.images.view(from, at, there)
    }
}

/// Notes whether a unit is a literal: it looks at the base as well.
struct Noting<'a> {
    reading: Reading<'a>,
    is_literal: bool,
}

impl Coder for Noting<'_> {
    const WRITES: bool = false;

    fn code(&mut self, one: u32, _: bool) -> bool {
        self.reading.code(one, false)
    }

    fn turn_to(&mut self, subject: Subject) {
        self.is_literal |= subject == Subject::Literal;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> [Vec<u8>; 3] {
        let words =
            |seed: u32| (0..700_u32).flat_map(move |at| (at.wrapping_mul(0x9e37_79b1) >> seed).to_le_bytes());
        let one: Vec<u8> = words(3).collect();
        let mut two = one.clone();
        two.splice(500..500, *b"what the first one does not have");
        two.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x11);
        let mut three = two.clone();
        three.drain(100..140);
        let again = three[400..700].to_vec();
        three.extend(again);
        three.iter_mut().step_by(61).for_each(|byte| *byte = byte.wrapping_add(3));
        [one, two, three]
    }

    #[test]
    fn changes_add_up_without_the_image_between_them() {
        let [one, two, three] = images();
        let in_place = Options { in_place: crate::Layout::new(512, 1), ..Options::default() };
        for options in [Options::default(), in_place] {
            let first = Symbolic::of(&one, &make_with(&one, &two, options).unwrap().bytes).unwrap();
            let next = Symbolic::of(&two, &make_with(&two, &three, options).unwrap().bytes).unwrap();
            assert_eq!((&first.1, &next.1), (&two, &three));
            let kept = [&first.0, &next.0].map(|one| Symbolic::from_bytes(&one.to_bytes()).unwrap());
            let merged = kept[0].then(&kept[1]).unwrap();
            assert_eq!(merged.target(&one), Ok(three.clone()));
            let direct = make_with(&one, &three, options).unwrap().bytes.len();
            let patch = merged.patch(&one, options).unwrap().bytes;
            assert!(patch.len() <= direct, "{} for {direct}", patch.len());
            assert_eq!(Symbolic::of(&one, &patch).unwrap().1, three);
            assert_eq!(kept[1].then(&kept[0]), Err(MergeError::Order));
        }
    }

    #[test]
    fn cut_change_is_refused() {
        let [one, two, _] = images();
        let bytes = Symbolic::of(&one, &make_with(&one, &two, Options::default()).unwrap().bytes)
            .unwrap()
            .0
            .to_bytes();
        for length in (0..bytes.len()).step_by(11) {
            assert_eq!(Symbolic::from_bytes(&bytes[..length]), Err(MergeError::Malformed), "{length}");
        }
        assert!(Symbolic::from_bytes(&[&bytes[..], b"more"].concat()).is_err());
    }
}
