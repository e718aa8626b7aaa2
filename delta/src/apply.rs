//! Applies a patch as its bytes come in.

use core::fmt;

use sha2::{Digest, Sha256};

use crate::codec::{Codec, Source, Unknown, View};
use crate::coder::{Decoder, Reading, START_BYTES};
use crate::digest::ImageDigest;
use crate::error::{ApplyError, PatchError};
use crate::format::{Algorithm, IMAGE_BYTES_MAX};
use crate::header::Header;
use crate::image::{Base, OUT_BYTES, Sink, Window};

/// One patch being applied, with `WORDS` of state. A clone goes on independently from the same place.
#[derive(Clone)]
pub struct PatcherOf<const WORDS: usize> {
    stage: Stage,
    base_size: u32,
    target_size: u32,
    /// Input that is not used yet.
    input: [u8; INPUT_BYTES],
    input_length: usize,
    base_window: Window,
    target_window: Window,
    out: [u8; OUT_BYTES],
    out_length: usize,
    /// Bytes that the sink has taken.
    given: u32,
    hash: Sha256,
    words: [u16; WORDS],
}

/// How far a patch is.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "the large one is what patchers are most of the time")]
enum Stage {
    Header,
    Body { decoder: Decoder, codec: Codec, target_digest: ImageDigest },
    Complete,
    GivenUp,
}

/// Error of a piece, by the base and sink it was pushed with.
type PushError<B, S> = ApplyError<<B as Base>::Error, <S as Sink>::Error>;

/// Input that one step takes at most, and a step that starts the coder: 70 decisions of at most 12 bits.
const STEP_BYTES_MAX: usize = 112;

/// Room for a header, and for a step and what is left of the piece before.
const INPUT_BYTES: usize = 224;
const _: () = assert!(INPUT_BYTES >= crate::header::HEADER_BYTES_MAX && INPUT_BYTES >= 2 * STEP_BYTES_MAX);

impl<const WORDS: usize> PatcherOf<WORDS> {
    /// Starts a patch; sizes in bytes.
    ///
    /// # Errors
    ///
    /// [`PatchError::UnknownAlgorithm`], [`PatchError::Parameters`], [`PatchError::ImageTooLarge`].
    pub fn new(
        algorithm: i32,
        base_size: u32,
        target_size: u32,
        parameters: &[u8],
    ) -> Result<Self, PatchError> {
        let mut patcher = Self::idle();
        patcher.begin(algorithm, base_size, target_size, parameters)?;
        Ok(patcher)
    }

    /// Makes one that waits for [`PatcherOf::begin`]: until then every piece is [`PatchError::GivenUp`].
    ///
    /// Both together are [`PatcherOf::new`], for a device that can't afford to move kilobytes over its stack.
    #[must_use]
    pub fn idle() -> Self {
        Self {
            stage: Stage::GivenUp,
            base_size: 0,
            target_size: 0,
            input: [0; INPUT_BYTES],
            input_length: 0,
            base_window: Window::EMPTY,
            target_window: Window::EMPTY,
            out: [0; OUT_BYTES],
            out_length: 0,
            given: 0,
            hash: Sha256::new(),
            words: [0; WORDS],
        }
    }

    /// Starts a patch in place, whatever this was used for before; sizes in bytes.
    ///
    /// # Errors
    ///
    /// As [`PatcherOf::new`]; it is then as it was.
    pub fn begin(
        &mut self,
        algorithm: i32,
        base_size: u32,
        target_size: u32,
        parameters: &[u8],
    ) -> Result<(), PatchError> {
        Algorithm::parse(algorithm, parameters)?;
        for bytes in [base_size, target_size] {
            if bytes > IMAGE_BYTES_MAX {
                return Err(PatchError::ImageTooLarge { bytes });
            }
        }
        self.stage = Stage::Header;
        (self.base_size, self.target_size) = (base_size, target_size);
        (self.input_length, self.out_length, self.given) = (0, 0, 0);
        (self.base_window, self.target_window) = (Window::EMPTY, Window::EMPTY);
        // The words are set once the header has been read.
        Digest::reset(&mut self.hash);
        Ok(())
    }

    /// Takes the next piece of the patch, of any size, and gives out what it completes. Some of it is kept until
    /// more comes, or until the end is said.
    ///
    /// The header at its start is checked against the whole base before anything is given out.
    ///
    /// # Errors
    ///
    /// [`ApplyError`]; after one, every further piece is [`PatchError::GivenUp`].
    pub fn push<B: Base, S: Sink>(
        &mut self,
        input: &[u8],
        base: &mut B,
        sink: &mut S,
    ) -> Result<(), PushError<B, S>> {
        let pushed = self.take(input, base, sink);
        if pushed.is_err() {
            self.stage = Stage::GivenUp;
        }
        pushed
    }

    /// Ends the patch; the target has then been given out completely, and has the digest that the header says.
    ///
    /// # Errors
    ///
    /// [`ApplyError`]; [`PatchError::Incomplete`] where the patch ended in its header.
    pub fn finish<B: Base, S: Sink>(&mut self, base: &mut B, sink: &mut S) -> Result<(), PushError<B, S>> {
        let finished = self.run(true, base, sink);
        if finished.is_err() {
            self.stage = Stage::GivenUp;
        }
        finished?;
        match self.stage {
            Stage::Complete if self.input_length > 0 => {
                self.stage = Stage::GivenUp;
                Err(PatchError::TrailingInput.into())
            }
            Stage::Complete => Ok(()),
            _ => Err(PatchError::Incomplete { produced: self.produced() }.into()),
        }
    }

    /// Returns how many bytes of the target the sink has been given.
    #[must_use]
    pub const fn produced(&self) -> u32 {
        self.given
    }

    /// Says whether the target is complete, so that no input is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Complete)
    }

    fn take<B: Base, S: Sink>(
        &mut self,
        mut input: &[u8],
        base: &mut B,
        sink: &mut S,
    ) -> Result<(), PushError<B, S>> {
        loop {
            let room = self.input.get_mut(self.input_length..).unwrap_or_default();
            let count = room.len().min(input.len());
            let (head, rest) = input.split_at(count);
            room[..count].copy_from_slice(head);
            self.input_length += count;
            input = rest;
            self.run(false, base, sink)?;
            match self.stage {
                Stage::GivenUp => return Err(PatchError::GivenUp.into()),
                Stage::Complete if self.input_length > 0 || !input.is_empty() => {
                    return Err(PatchError::TrailingInput.into());
                }
                _ if input.is_empty() => return Ok(()),
                _ => {}
            }
        }
    }

    /// Does the steps for which there is input; `is_end` says that no more will come.
    fn run<B: Base, S: Sink>(
        &mut self,
        is_end: bool,
        base: &mut B,
        sink: &mut S,
    ) -> Result<(), PushError<B, S>> {
        match self.stage {
            Stage::Header => {
                if !self.start(is_end, base)? {
                    return Ok(());
                }
            }
            Stage::Body { .. } => {}
            Stage::Complete => return Ok(()),
            Stage::GivenUp => return Err(PatchError::GivenUp.into()),
        }
        self.steps(is_end, base, sink)
    }

    /// Reads the header and the start of the coder, and checks the base; false where input is missing.
    fn start<B: Base, S>(&mut self, is_end: bool, base: &mut B) -> Result<bool, ApplyError<B::Error, S>> {
        let input = &self.input[..self.input_length];
        let Some((header, length)) = Header::parse(input)? else {
            return Ok(false);
        };
        if !is_end && input.len() < length + START_BYTES {
            return Ok(false);
        }
        let words = header.tables.profile.words();
        if words > WORDS {
            return Err(PatchError::State { words: words as u32 }.into());
        }
        if (header.base_size, header.target_size) != (self.base_size, self.target_size) {
            return Err(PatchError::Sizes { base: header.base_size, target: header.target_size }.into());
        }
        self.hash_base(base).map_err(ApplyError::Base)?;
        if !header.base_digest.ends(&mut self.hash) {
            return Err(PatchError::WrongBase.into());
        }
        let mut start = [0; START_BYTES];
        let input = &self.input[..self.input_length];
        let given = input.len().min(length + START_BYTES);
        start[..given - length].copy_from_slice(&input[length..given]);
        self.drop_input(given);
        let codec = Codec::new(&header, &mut self.words[..words]);
        self.stage = Stage::Body { decoder: Decoder::new(start), codec, target_digest: header.target_digest };
        Ok(true)
    }

    /// Reads the whole base for its digest.
    fn hash_base<B: Base>(&mut self, base: &mut B) -> Result<(), B::Error> {
        let mut at = 0;
        while at < self.base_size {
            let length = (self.base_size - at).min(OUT_BYTES as u32);
            let piece = &mut self.out[..length as usize];
            base.read(at, piece)?;
            self.hash.update(&*piece);
            at += length;
        }
        Ok(())
    }

    fn steps<B: Base, S: Sink>(
        &mut self,
        is_end: bool,
        base: &mut B,
        sink: &mut S,
    ) -> Result<(), PushError<B, S>> {
        let mut used = 0;
        while let Stage::Body { decoder, codec, target_digest } = &mut self.stage {
            if codec.is_complete() {
                let expected = *target_digest;
                self.end(expected, sink)?;
                break;
            }
            let input = &self.input[used.min(self.input_length)..self.input_length];
            if !is_end && input.len() < STEP_BYTES_MAX {
                break;
            }
            let mut reading = Reading { decoder, input, taken: 0 };
            let mut images = Images {
                base,
                base_size: self.base_size,
                base_window: &mut self.base_window,
                sink,
                target_window: &mut self.target_window,
                out: &self.out[..self.out_length],
                written: self.given,
            };
            let unit = codec.step(&mut self.words, &mut reading, &mut images, &Unknown)?;
            used += reading.taken;
            for byte in unit.bytes.into_iter().take(unit.length) {
                self.put(byte, sink).map_err(ApplyError::Sink)?;
            }
        }
        self.drop_input(used.min(self.input_length));
        Ok(())
    }

    fn put<S: Sink>(&mut self, byte: u8, sink: &mut S) -> Result<(), S::Error> {
        self.out[self.out_length] = byte;
        self.out_length += 1;
        if self.out_length == OUT_BYTES {
            self.give_out(sink)?;
        }
        Ok(())
    }

    fn give_out<S: Sink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
        let bytes = &self.out[..self.out_length];
        if !bytes.is_empty() {
            self.hash.update(bytes);
            sink.write(bytes)?;
            self.given += bytes.len() as u32;
        }
        self.out_length = 0;
        Ok(())
    }

    fn end<B, S: Sink>(
        &mut self,
        expected: ImageDigest,
        sink: &mut S,
    ) -> Result<(), ApplyError<B, S::Error>> {
        self.give_out(sink).map_err(ApplyError::Sink)?;
        if !expected.ends(&mut self.hash) {
            return Err(PatchError::WrongTarget.into());
        }
        self.stage = Stage::Complete;
        Ok(())
    }

    fn drop_input(&mut self, count: usize) {
        self.input.copy_within(count..self.input_length, 0);
        self.input_length -= count;
    }
}

/// Both images, as far as they are there.
struct Images<'a, B, S> {
    base: &'a mut B,
    base_size: u32,
    base_window: &'a mut Window,
    sink: &'a mut S,
    target_window: &'a mut Window,
    /// Bytes of the target that were not given out yet.
    out: &'a [u8],
    /// Bytes of the target that were.
    written: u32,
}

impl<B: Base, S: Sink> Source for Images<'_, B, S> {
    type Error = ApplyError<B::Error, S::Error>;

    fn base(&mut self, at: u32) -> Result<View, Self::Error> {
        let view = self.base_window.view(at, self.base_size, |from, bytes| self.base.read(from, bytes));
        view.map_err(ApplyError::Base)
    }

    fn target(&mut self, at: u32) -> Result<View, Self::Error> {
        let made = self.written + self.out.len() as u32;
        let (written, out) = (self.written, self.out);
        let view = self.target_window.view(at, made, |from, bytes| {
            let split = bytes.len().min(written.saturating_sub(from) as usize);
            let (old, new) = bytes.split_at_mut(split);
            if !old.is_empty() {
                self.sink.read_back(from, old)?;
            }
            let from = from.saturating_sub(written) as usize;
            new.copy_from_slice(&out[from..from + new.len()]);
            Ok(())
        });
        view.map_err(ApplyError::Sink)
    }
}

impl<const WORDS: usize> fmt::Debug for PatcherOf<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The statistics and the bytes of an image say nothing to a reader.
        f.debug_struct("Patcher")
            .field("produced", &self.produced())
            .field("target_size", &self.target_size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
