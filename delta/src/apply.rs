//! Applies a patch as its bytes come in.

use core::fmt;

use crate::coder::Decoder;
use crate::error::{ApplyError, PatchError};
use crate::format::{Algorithm, IMAGE_BYTES_MAX, NUMBER_WIDTH_MAX};
use crate::image::{Base, OUT_BYTES, Sink, Window};
use crate::model::{Model, Number};
use crate::step::{Node, Step, next_node};

/// One patch being applied. A clone goes on independently from the same place.
#[derive(Clone)]
pub struct Patcher {
    decoder: Decoder,
    model: Model,
    step: Step,
    base_size: u32,
    target_size: u32,
    /// Bytes of the target decoded so far, those in `out` included.
    decoded: u32,
    /// Bytes left of the copy or insert.
    left: u32,
    /// Next byte of the base to copy.
    base_at: u32,
    /// Base position less target position of the latest copy.
    alignment: i64,
    /// Whether this round had no copy.
    is_copy_empty: bool,
    window: Window,
    out: [u8; OUT_BYTES],
    out_length: u16,
}

/// Error of a piece, by the base and sink it was pushed with.
type PushError<B, S> = ApplyError<<B as Base>::Error, <S as Sink>::Error>;

impl Patcher {
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
        Algorithm::parse(algorithm, parameters)?;
        for bytes in [base_size, target_size] {
            if bytes > IMAGE_BYTES_MAX {
                return Err(PatchError::ImageTooLarge { bytes });
            }
        }
        Ok(Self {
            decoder: Decoder::new(),
            model: Model::new(),
            step: if target_size == 0 { Step::Complete } else { Step::number(Number::CopyLength) },
            base_size,
            target_size,
            decoded: 0,
            left: 0,
            base_at: 0,
            alignment: 0,
            is_copy_empty: true,
            window: Window::EMPTY,
            out: [0; OUT_BYTES],
            out_length: 0,
        })
    }

    /// Takes the next piece of the patch, of any size, and gives out what it completes.
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
        let pushed = self.run(input, base, sink);
        if pushed.is_err() {
            self.step = Step::GivenUp;
        }
        pushed
    }

    /// Ends the patch; the target has then been given out completely.
    ///
    /// # Errors
    ///
    /// [`PatchError::Incomplete`], [`PatchError::GivenUp`].
    pub fn finish(self) -> Result<(), PatchError> {
        match self.step {
            Step::Complete => Ok(()),
            Step::GivenUp => Err(PatchError::GivenUp),
            _ => Err(PatchError::Incomplete { produced: self.produced() }),
        }
    }

    /// Returns how many bytes of the target the sink has been given.
    #[must_use]
    pub fn produced(&self) -> u32 {
        self.decoded - u32::from(self.out_length)
    }

    /// Says whether the target is complete, so that no input is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.step, Step::Complete)
    }

    fn run<B: Base, S: Sink>(
        &mut self,
        mut input: &[u8],
        base: &mut B,
        sink: &mut S,
    ) -> Result<(), PushError<B, S>> {
        while let Some(decision) = self.step.decision(self.base_at) {
            if !self.decoder.fill(&mut input) {
                return Ok(());
            }
            let bit = self.decoder.decode(self.model.one(decision));
            self.model.learn(decision, bit);
            self.advance(bit, base, sink)?;
        }
        match self.step {
            Step::GivenUp => Err(PatchError::GivenUp.into()),
            _ if input.is_empty() => Ok(()),
            _ => Err(PatchError::TrailingInput.into()),
        }
    }

    fn advance<B: Base, S: Sink>(
        &mut self,
        bit: bool,
        base: &mut B,
        sink: &mut S,
    ) -> Result<(), PushError<B, S>> {
        match self.step {
            Step::Width { at: NUMBER_WIDTH_MAX, .. } if bit => {
                Err(PatchError::NumberTooLarge { produced: self.decoded }.into())
            }
            Step::Width { number, at } if bit => self.go(Step::Width { number, at: at + 1 }),
            Step::Width { number, at: 0 } => self.take_number(number, 0, base),
            Step::Width { number, at } => self.go(Step::Bit { number, width: at, at: at - 1, value: 1 }),
            Step::Bit { number, width, at, value } => {
                let value = value << 1 | u32::from(bit);
                match at.checked_sub(1) {
                    Some(at) => self.go(Step::Bit { number, width, at, value }),
                    None => self.take_number(number, value - 1, base),
                }
            }
            Step::Hit { base: byte, .. } if bit => self.take_copied(byte, base, sink),
            Step::Hit { base: byte, .. } => self.go(Step::Difference { base: byte, node: 1 }),
            Step::Difference { base: byte, node } => match next_node(node, bit) {
                Node::Inner(node) => self.go(Step::Difference { base: byte, node }),
                Node::Leaf(difference) => {
                    self.model.missed_by(difference);
                    self.take_copied(byte.wrapping_add(difference), base, sink)
                }
            },
            Step::Literal { node } => match next_node(node, bit) {
                Node::Inner(node) => self.go(Step::Literal { node }),
                Node::Leaf(byte) => self.take_inserted(byte, sink),
            },
            Step::Complete | Step::GivenUp => Ok(()),
        }
    }

    /// Infallible, and still a `Result`, so that the arms of [`Self::advance`] read alike.
    #[expect(clippy::unnecessary_wraps, reason = "arms of one match beside fallible ones")]
    fn go<E>(&mut self, step: Step) -> Result<(), E> {
        self.step = step;
        Ok(())
    }

    fn take_number<B: Base, S>(
        &mut self,
        number: Number,
        value: u32,
        base: &mut B,
    ) -> Result<(), ApplyError<B::Error, S>> {
        let produced = self.decoded;
        if number != Number::Shift && value > self.target_size - produced {
            return Err(PatchError::PastTarget { produced }.into());
        }
        match (number, value) {
            (Number::CopyLength, 0) => {
                self.is_copy_empty = true;
                self.go(Step::number(Number::InsertLength))
            }
            (Number::CopyLength, length) => {
                self.is_copy_empty = false;
                self.left = length;
                self.go(Step::number(Number::Shift))
            }
            (Number::Shift, shift) => {
                self.start_copy(shift)?;
                self.start_copied_byte(base)
            }
            (Number::InsertLength, 0) if self.is_copy_empty => {
                Err(PatchError::EmptyRound { produced }.into())
            }
            (Number::InsertLength, 0) => self.go(Step::number(Number::CopyLength)),
            (Number::InsertLength, length) => {
                self.left = length;
                self.go(Step::Literal { node: 1 })
            }
        }
    }

    /// Sets where the copy of `left` bytes comes from, and checks that it lies inside the base.
    fn start_copy(&mut self, shift: u32) -> Result<(), PatchError> {
        let outside = PatchError::OutsideBase { produced: self.decoded };
        self.alignment += unzigzag(shift);
        let start = u32::try_from(i64::from(self.decoded) + self.alignment).map_err(|_| outside)?;
        let end = start.checked_add(self.left).ok_or(outside)?;
        if end > self.base_size {
            return Err(outside);
        }
        self.base_at = start;
        Ok(())
    }

    fn start_copied_byte<B: Base, S>(&mut self, base: &mut B) -> Result<(), ApplyError<B::Error, S>> {
        let [byte, upper] = self.window.pair(base, self.base_at, self.base_size).map_err(ApplyError::Base)?;
        self.go(Step::Hit { base: byte, upper })
    }

    fn take_copied<B: Base, S: Sink>(
        &mut self,
        byte: u8,
        base: &mut B,
        sink: &mut S,
    ) -> Result<(), PushError<B, S>> {
        self.base_at += 1;
        if self.put(byte, sink).map_err(ApplyError::Sink)? {
            return Ok(());
        }
        match self.left {
            0 => self.go(Step::number(Number::InsertLength)),
            _ => self.start_copied_byte(base),
        }
    }

    fn take_inserted<B, S: Sink>(&mut self, byte: u8, sink: &mut S) -> Result<(), ApplyError<B, S::Error>> {
        if self.put(byte, sink).map_err(ApplyError::Sink)? {
            return Ok(());
        }
        match self.left {
            0 => self.go(Step::number(Number::CopyLength)),
            _ => self.go(Step::Literal { node: 1 }),
        }
    }

    /// Takes one byte of the target; true when it was the last.
    fn put<S: Sink>(&mut self, byte: u8, sink: &mut S) -> Result<bool, S::Error> {
        self.model.wrote(byte);
        self.left -= 1;
        self.decoded += 1;
        if let Some(place) = self.out.get_mut(usize::from(self.out_length)) {
            *place = byte;
            self.out_length += 1;
        }
        let is_last = self.decoded == self.target_size;
        let length = usize::from(self.out_length);
        if is_last || length == OUT_BYTES {
            sink.write(self.out.get(..length).unwrap_or_default())?;
            self.out_length = 0;
        }
        if is_last {
            self.step = Step::Complete;
        }
        Ok(is_last)
    }
}

impl fmt::Debug for Patcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The statistics and the bytes of an image say nothing to a reader.
        f.debug_struct("Patcher")
            .field("step", &self.step)
            .field("produced", &self.produced())
            .field("target_size", &self.target_size)
            .finish_non_exhaustive()
    }
}

const fn unzigzag(number: u32) -> i64 {
    let number = number as i64;
    number >> 1 ^ -(number & 1)
}

#[cfg(test)]
mod tests;
