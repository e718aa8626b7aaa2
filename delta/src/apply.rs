//! Applies a patch as its bytes come in.

use core::fmt;
use core::ops::Range;

use crate::chance::Chances;
use crate::checkpoint::{self, Saved};
use crate::codec::{Codec, Desk, Origin, Source, Unknown, View};
use crate::coder::{Decoder, Reading, START_BYTES};
use crate::digest::{Hash, ImageDigest};
use crate::error::{ApplyError, PatchError};
use crate::format::{Algorithm, IMAGE_BYTES_MAX};
use crate::header::{Header, Tables};
use crate::image::{Base, OUT_BYTES, Sink, Window};
#[cfg(feature = "one-slot")]
use crate::one_slot::Progress;
use crate::order::Order;
use crate::store::{Store, Stored, TwoSlots};

/// One patch being applied, with `WORDS` of state. A clone goes on independently from the same place.
#[derive(Clone)]
pub struct PatcherOf<const WORDS: usize> {
    stage: Stage,
    base_size: u32,
    target_size: u32,
    /// Input that is not used yet.
    input: [u8; INPUT_BYTES],
    input_length: usize,
    /// Pieces of base and target that were read last.
    windows: [Window; 2],
    out: [u8; OUT_BYTES],
    out_length: usize,
    /// Bytes that the sink has taken.
    given: u32,
    /// Bytes of the patch that were used.
    taken: u32,
    #[cfg(feature = "one-slot")]
    pub(crate) progress: Progress,
    hash: Hash,
    words: [u16; WORDS],
}

/// How far a patch is.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "the large one is what patchers are most of the time")]
enum Stage {
    Header,
    Body { decoder: Decoder, codec: Codec, known: Known },
    Complete,
    GivenUp,
}

/// When to stop and hand back control.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pause {
    Never,
    /// Whenever bytes were given out.
    Piece,
    /// Before the first page, and after each.
    Page,
}

/// What the header said that the codec has no use for.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) tables: Tables,
    pub(crate) target: ImageDigest,
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
            windows: [Window::EMPTY; 2],
            out: [0; OUT_BYTES],
            out_length: 0,
            given: 0,
            taken: 0,
            #[cfg(feature = "one-slot")]
            progress: Progress::default(),
            hash: Hash::new(),
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
        (self.input_length, self.out_length, self.given, self.taken) = (0, 0, 0, 0);
        #[cfg(feature = "one-slot")]
        {
            self.progress = Progress::default();
        }
        self.windows = [Window::EMPTY; 2];
        // The words are set once the header has been read.
        self.hash = Hash::new();
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
        self.push_all(input, &mut TwoSlots { base, sink })
    }

    /// Takes the patch as [`Self::push`] does, but stops after [`OUT_BYTES`] of the target. Returns how many bytes of
    /// the piece were taken: where fewer than all, it stopped, and goes on with the rest.
    ///
    /// # Errors
    ///
    /// As [`Self::push`].
    pub fn push_page<B: Base, S: Sink>(
        &mut self,
        input: &[u8],
        base: &mut B,
        sink: &mut S,
    ) -> Result<usize, PushError<B, S>> {
        let pushed = self.take(input, Pause::Piece, &mut TwoSlots { base, sink }).map(|(taken, _)| taken);
        self.given_up_if_failed(pushed)
    }

    /// Ends the patch; the target has then been given out completely, and has the digest that the header says.
    ///
    /// # Errors
    ///
    /// [`ApplyError`]; [`PatchError::Incomplete`] where the patch ended in its header.
    pub fn finish<B: Base, S: Sink>(&mut self, base: &mut B, sink: &mut S) -> Result<(), PushError<B, S>> {
        let mut store = TwoSlots { base, sink };
        let finished = self.run(true, Pause::Never, &mut store);
        self.given_up_if_failed(finished)?;
        self.finished()
    }

    /// Ends the patch as [`Self::finish`] does, but stops after [`OUT_BYTES`] of the target. Returns true where it
    /// stopped, and is to be called again.
    ///
    /// # Errors
    ///
    /// As [`Self::finish`].
    pub fn finish_page<B: Base, S: Sink>(
        &mut self,
        base: &mut B,
        sink: &mut S,
    ) -> Result<bool, PushError<B, S>> {
        let finished = self.run(true, Pause::Piece, &mut TwoSlots { base, sink });
        if self.given_up_if_failed(finished)? {
            return Ok(true);
        }
        self.finished().map(|()| false)
    }

    /// Returns how many bytes of the target the sink has been given.
    #[must_use]
    pub const fn produced(&self) -> u32 {
        self.given
    }

    /// Returns how many bytes of the patch a checkpoint of now needs no more.
    #[must_use]
    pub const fn patch_at(&self) -> u32 {
        self.taken
    }

    /// Says whether the target is complete, so that no input is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Complete)
    }

    /// Writes the patcher down by pieces of at most 64 bytes: where each starts, and its bytes;
    /// [`crate::checkpoint_bytes`] of the patch's profile in all. Returns false, and writes nothing, as long as the
    /// header is not read, and once the target is complete.
    ///
    /// # Errors
    ///
    /// Those of `save`.
    pub fn checkpoint<E>(&mut self, save: impl FnMut(u32, &[u8]) -> Result<(), E>) -> Result<bool, E> {
        self.write(0, save)
    }

    /// Goes on from a checkpoint into the slot that it was made beside, with the patch from [`Self::patch_at`] on.
    ///
    /// What the sink has taken up to [`Self::produced`] is read back; what was written after it is to be given anew.
    ///
    /// # Errors
    ///
    /// [`PatchError::Checkpoint`] where it is torn: take the older one, or start again. [`PatchError::State`].
    pub fn resume<C: Base, S: Sink<Error = C::Error>>(
        checkpoint: &mut C,
        sink: &mut S,
    ) -> Result<Self, ApplyError<C::Error, S::Error>> {
        let (mut patcher, _) = Self::read(checkpoint)?;
        if patcher.order().is_none_or(|order| order.layout.is_some()) {
            return Err(PatchError::InPlace.into());
        }
        let given = patcher.given;
        patcher.hash_target(given, &mut TwoSlots { base: checkpoint, sink })?;
        Ok(patcher)
    }

    /// Writes a checkpoint, with the digest of the page whose place is taken next.
    pub(crate) fn write<E>(
        &mut self,
        mut page: u64,
        save: impl FnMut(u32, &[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Stage::Body { decoder, codec, known } = &mut self.stage else {
            return Ok(false);
        };
        let words = known.tables.profile.words();
        let mut saved = Saved {
            known,
            codec,
            decoder,
            out: &mut self.out,
            out_length: &mut self.out_length,
            taken: &mut self.taken,
            page: &mut page,
        };
        checkpoint::write(&mut saved, &mut self.words[..words], save)?;
        Ok(true)
    }

    /// Reads a checkpoint, and the digest of the page whose place is taken next.
    pub(crate) fn read<C: Base, S>(checkpoint: &mut C) -> Result<(Self, u64), ApplyError<C::Error, S>> {
        let head = checkpoint::head(checkpoint).map_err(ApplyError::Base)??;
        let header = head.header().ok_or(PatchError::Checkpoint)?;
        let words = header.tables.profile.words();
        if words > WORDS {
            return Err(PatchError::State { words: words as u32 }.into());
        }
        let mut patcher = Self::idle();
        (patcher.base_size, patcher.target_size) = (header.base_size, header.target_size);
        let mut codec = Codec::new(&header, &mut patcher.words[..words]);
        let mut decoder = Decoder::new([0; START_BYTES]);
        let mut known = Known { tables: header.tables, target: header.target_digest };
        let mut page = 0;
        let mut saved = Saved {
            known: &mut known,
            codec: &mut codec,
            decoder: &mut decoder,
            out: &mut patcher.out,
            out_length: &mut patcher.out_length,
            taken: &mut patcher.taken,
            page: &mut page,
        };
        checkpoint::body(&mut saved, &mut patcher.words[..words], checkpoint).map_err(ApplyError::Base)?;
        let given = codec
            .settle_read(&patcher.words)
            .then(|| codec.made().checked_sub(patcher.out_length as u32))
            .flatten();
        let is_sound = decoder.is_sound()
            && patcher.out_length < OUT_BYTES
            && patcher.out_length as u32 <= codec.made_of_block();
        patcher.given = given.filter(|_| is_sound).ok_or(PatchError::Checkpoint)?;
        patcher.stage = Stage::Body { decoder, codec, known };
        Ok((patcher, page))
    }

    /// The order of the patch that is being applied.
    pub(crate) const fn order(&self) -> Option<Order> {
        match &self.stage {
            Stage::Body { codec, .. } => Some(codec.order()),
            Stage::Header | Stage::Complete | Stage::GivenUp => None,
        }
    }

    /// Where the target goes on, and where pages of the base are kept, if the patch tells it.
    #[cfg(feature = "one-slot")]
    pub(crate) fn pages(&self) -> Option<(u32, Option<crate::codec::Spares>)> {
        match &self.stage {
            Stage::Body { codec, .. } => {
                Some((codec.position() - self.out_length as u32, codec.told_spares(&self.words)))
            }
            Stage::Header | Stage::Complete | Stage::GivenUp => None,
        }
    }

    pub(crate) fn finished<B, S>(&mut self) -> Result<(), ApplyError<B, S>> {
        match self.stage {
            Stage::Complete if self.input_length > 0 => {
                self.stage = Stage::GivenUp;
                Err(PatchError::TrailingInput.into())
            }
            Stage::Complete => Ok(()),
            _ => Err(PatchError::Incomplete { produced: self.produced() }.into()),
        }
    }

    pub(crate) fn given_up_if_failed<T, E>(&mut self, done: Result<T, E>) -> Result<T, E> {
        if done.is_err() {
            self.stage = Stage::GivenUp;
        }
        done
    }

    pub(crate) fn push_all<S: Store>(&mut self, input: &[u8], store: &mut S) -> Stored<(), S> {
        let taken = self.take(input, Pause::Never, store);
        self.given_up_if_failed(taken).map(|_| ())
    }

    /// Takes input until it is to pause. Returns how much it took, and whether it paused.
    pub(crate) fn take<S: Store>(
        &mut self,
        input: &[u8],
        pause: Pause,
        store: &mut S,
    ) -> Stored<(usize, bool), S> {
        let mut rest = input;
        loop {
            let room = self.input.get_mut(self.input_length..).unwrap_or_default();
            let count = room.len().min(rest.len());
            let (head, tail) = rest.split_at(count);
            room[..count].copy_from_slice(head);
            self.input_length += count;
            rest = tail;
            let is_paused = self.run(false, pause, store)?;
            match self.stage {
                Stage::GivenUp => return Err(PatchError::GivenUp.into()),
                Stage::Complete if self.input_length > 0 || !rest.is_empty() => {
                    return Err(PatchError::TrailingInput.into());
                }
                _ if is_paused || rest.is_empty() => return Ok((input.len() - rest.len(), is_paused)),
                _ => {}
            }
        }
    }

    /// Does the steps for which there is input; `is_end` says that no more will come. Returns whether it paused.
    pub(crate) fn run<S: Store>(&mut self, is_end: bool, pause: Pause, store: &mut S) -> Stored<bool, S> {
        match self.stage {
            Stage::Header => {
                if !self.start(is_end, store)? {
                    return Ok(false);
                }
                if pause == Pause::Page {
                    // What was checked is written down before the base is touched.
                    return Ok(true);
                }
            }
            Stage::Body { .. } => {}
            Stage::Complete => return Ok(false),
            Stage::GivenUp => return Err(PatchError::GivenUp.into()),
        }
        self.steps(is_end, pause, store)
    }

    /// Reads the header and the start of the coder, and checks the base; false where input is missing. By itself, so that
    /// its stack is free when the steps come.
    #[inline(never)]
    fn start<S: Store>(&mut self, is_end: bool, store: &mut S) -> Stored<bool, S> {
        let input = &self.input[..self.input_length];
        let mut header = Header::empty();
        let Some(length) = header.read_from(input)? else {
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
        store.check(&header.order())?;
        self.hash_base(store)?;
        if !header.base_digest.ends(&mut self.hash) {
            return Err(PatchError::WrongBase.into());
        }
        let mut start = [0; START_BYTES];
        let input = &self.input[..self.input_length];
        let given = input.len().min(length + START_BYTES);
        start[..given - length].copy_from_slice(&input[length..given]);
        self.drop_input(given);
        let codec = Codec::new(&header, &mut self.words[..words]);
        let known = Known { tables: header.tables, target: header.target_digest };
        self.stage = Stage::Body { decoder: Decoder::new(start), codec, known };
        Ok(true)
    }

    /// Reads the whole base for its digest.
    pub(crate) fn hash_base<S: Store>(&mut self, store: &mut S) -> Stored<(), S> {
        let mut at = 0;
        while at < self.base_size {
            let length = (self.base_size - at).min(OUT_BYTES as u32);
            let piece = &mut self.out[..length as usize];
            store.base(at, piece).map_err(ApplyError::Base)?;
            self.hash.take(piece);
            at += length;
        }
        Ok(())
    }

    /// Reads the target back for its digest, up to `end`.
    pub(crate) fn hash_target<S: Store>(&mut self, end: u32, store: &mut S) -> Stored<(), S> {
        let mut piece = [0; 64];
        let mut at = 0;
        while at < end {
            let length = (end - at).min(piece.len() as u32);
            let piece = &mut piece[..length as usize];
            store.back(at, piece).map_err(ApplyError::Sink)?;
            self.hash.take(piece);
            at += length;
        }
        Ok(())
    }

    #[inline(never)]
    fn steps<S: Store>(&mut self, is_end: bool, pause: Pause, store: &mut S) -> Stored<bool, S> {
        let mut used = 0;
        let mut is_paused = false;
        while let Stage::Body { decoder, codec, known } = &mut self.stage {
            if is_paused {
                break;
            }
            let order = codec.order();
            if codec.is_complete() {
                let expected = known.target;
                self.end(expected, &order, store)?;
                break;
            }
            let input = &self.input[used.min(self.input_length)..self.input_length];
            if !is_end && input.len() < STEP_BYTES_MAX {
                break;
            }
            let mut reading = Reading { decoder, input, taken: 0 };
            let (mut end, block_end) = (codec.position(), codec.block_end());
            let mut images = Images {
                store,
                windows: &mut self.windows,
                out: &self.out[..self.out_length],
                // It stands right before, in the same block.
                out_at: end - self.out_length as u32,
                failed: None,
            };
            let chances = Chances { words: &mut self.words, coder: &mut reading };
            let step = codec.step(&mut Desk { chances, source: &mut images, truth: &Unknown });
            if let Some(error) = images.failed {
                return Err(error);
            }
            let length = step.map_err(|outside| outside.error(codec.made()))?;
            used += reading.taken;
            let latest = codec.latest();
            for at in (0..length).rev() {
                let byte = (latest >> (8 * at)) as u8;
                end += 1;
                let paused = self.put(byte, pause, (end, block_end), &order, store);
                is_paused |= paused.map_err(ApplyError::Sink)?;
            }
        }
        self.drop_input(used.min(self.input_length));
        Ok(is_paused)
    }

    /// Adds a byte, which ends at `end` of its block, to what is to be given out. Returns whether it is to pause now.
    fn put<S: Store>(
        &mut self,
        byte: u8,
        pause: Pause,
        (end, block_end): (u32, u32),
        order: &Order,
        store: &mut S,
    ) -> Result<bool, S::Write> {
        self.out[self.out_length] = byte;
        self.out_length += 1;
        // A block starts where a piece does, and only the end of the target is no such place.
        if self.out_length < OUT_BYTES && end < block_end {
            return Ok(false);
        }
        self.give_out(end - self.out_length as u32, order, store)?;
        Ok(match (pause, order.layout()) {
            (Pause::Never, _) => false,
            (Pause::Page, Some(layout)) => end.is_multiple_of(layout.page_bytes()) || end == block_end,
            (Pause::Piece, _) | (Pause::Page, None) => true,
        })
    }

    fn give_out<S: Store>(&mut self, at: u32, order: &Order, store: &mut S) -> Result<(), S::Write> {
        let bytes = &self.out[..self.out_length];
        if order.layout().is_none() {
            self.hash.take(bytes);
        }
        store.put(at, bytes)?;
        self.given += bytes.len() as u32;
        self.out_length = 0;
        Ok(())
    }

    fn end<S: Store>(&mut self, expected: ImageDigest, order: &Order, store: &mut S) -> Stored<(), S> {
        if order.layout().is_some() {
            self.hash_target(order.target_size, store)?;
        }
        if !expected.ends(&mut self.hash) {
            return Err(PatchError::WrongTarget.into());
        }
        self.stage = Stage::Complete;
        Ok(())
    }

    fn drop_input(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count as u32);
        self.input.copy_within(count..self.input_length, 0);
        self.input_length -= count;
    }
}

/// Both images, as far as they are there.
struct Images<'a, S: Store> {
    store: &'a mut S,
    windows: &'a mut [Window; 2],
    /// Bytes of the target that were not given out yet, and the place of the first.
    out: &'a [u8],
    out_at: u32,
    /// Why an image could not be read.
    failed: Option<ApplyError<S::Read, S::Write>>,
}

impl<S: Store> Source for Images<'_, S> {
    fn view(&mut self, from: Origin, at: u32, there: Range<u32>) -> View {
        // What is made above the present block was given out.
        let is_below = there.start <= self.out_at && self.out_at <= there.end;
        let given = if is_below { self.out_at } else { there.end };
        let (store, out) = (&mut *self.store, self.out);
        let failed = &mut self.failed;
        self.windows[from as usize].view(at, &there, |place, bytes| {
            let read = match from {
                Origin::Base => store.base(place, bytes).map_err(ApplyError::Base),
                Origin::Target => made(store, (out, given), place, bytes).map_err(ApplyError::Sink),
            };
            read.map_err(|error| *failed = Some(error)).is_ok()
        })
    }
}

/// Reads the target, of which what is before `given` was given out, and what comes then is `out`.
fn made<S: Store>(
    store: &mut S,
    (out, given): (&[u8], u32),
    from: u32,
    bytes: &mut [u8],
) -> Result<(), S::Write> {
    let (old, new) = bytes.split_at_mut(bytes.len().min(given.saturating_sub(from) as usize));
    if !old.is_empty() {
        store.back(from, old)?;
    }
    let from = from.saturating_sub(given) as usize;
    if let Some(out) = out.get(from..from + new.len()) {
        new.copy_from_slice(out);
    }
    Ok(())
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
