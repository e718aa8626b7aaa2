//! Copied bytes: as the base has them, or differing.

use super::bytes::Surroundings;
use super::slots::{DIFFERENCE_AT, END_AT, HIT_AT, HIT_SOURCE_AT};
use super::{Codec, Desk, HIT_SETS, Origin, Place, Source, Truth, View};
use crate::chance::{Chances, FINE_WORDS};
use crate::coder::{Coder, Subject};
use crate::fields::{self, Architecture};
use crate::substitutions::{Expected, Places, Substitutions};

/// A unit of a copy that is to be coded.
pub(super) struct Copied<'a> {
    pub(super) from: Origin,
    /// Place in the source.
    pub(super) at: u32,
    pub(super) view: &'a View,
    /// Bytes of the copy that are coded, and those that are still to be, as far as they are known.
    pub(super) length: u32,
    pub(super) left: u32,
    /// The target's bytes, as far as they are known.
    pub(super) known: u64,
}

impl Codec {
    /// Codes the next unit of a copy from `at`, `length` bytes of which are coded, or its end. Returns its bytes.
    pub(super) fn copy<C: Coder, S: Source, T: Truth>(
        &mut self,
        desk: &mut Desk<'_, C, S, T>,
        (from, at, length): (Origin, u32, u32),
    ) -> u32 {
        let view = self.view(desk, from, at);
        let chances = &mut desk.chances;
        if from == Origin::Base && (ANCHORED_BYTES..ANCHORED_BYTES + 8).contains(&length) {
            self.anchor_copy(chances.words, at, length);
        }
        let is_instruction = at >= self.instruction_at;
        if is_instruction {
            self.instruction_at = at.wrapping_add(self.architecture.instruction_bytes(view.bytes));
            self.instruction_start = at;
            self.operation = self.architecture.operation(view.bytes);
        }
        let address = self.address(from, at);
        let available = match from {
            Origin::Base => self.order.base_size - at,
            Origin::Target => self.made_around(chances.words, at).end - at,
        };
        let known = desk.truth.bytes(self.position);
        let left = desk.truth.left(self.position, length);
        let copied = Copied { from, at, view: &view, length, left, known };
        let field =
            fields::recognise(self.architecture, view.bytes, at, address, &self.space, is_instruction)
                .filter(|field| field.length() <= self.remaining().min(available));
        let taken = match field {
            Some(field) => self.field(chances, &copied, field),
            None => self.copied_byte(chances, &copied, length > 0),
        };
        if taken == 0 {
            return self.end_copy(from, at);
        }
        self.instruction_at = self.instruction_at.max(at + if taken > 1 { taken } else { 0 });
        self.place = Place::Copying { from, at: at + taken, length: length + taken };
        taken
    }

    pub(super) fn address(&self, from: Origin, at: u32) -> u32 {
        match from {
            Origin::Base => self.space.of_base(at),
            Origin::Target => self.space.of_target(at),
        }
    }

    /// Remembers how far the start of a copy moved, once it is long enough to tell.
    fn anchor_copy(&mut self, words: &mut [u16], at: u32, length: u32) {
        let address = self.space.of_base(at - length);
        let moved = self.space.of_target(self.position - length).wrapping_sub(address).cast_signed();
        if !self.anchors.told(words, address).is_exact {
            self.anchors.insert(words, address, moved);
        }
    }

    /// Codes a byte that is no field. Returns how many bytes that are: none where the copy ends before it.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn copied_byte<C: Coder>(
        &mut self,
        chances: &mut Chances<'_, C>,
        copied: &Copied<'_>,
        may_end: bool,
    ) -> u32 {
        let (byte, known) = (copied.view.bytes as u8, copied.known as u8);
        let places = self.surrounded(copied);
        let expected = match &places {
            Some(places) => Substitutions::expected(chances.words, places),
            None => Expected::default(),
        };
        let guess = byte.wrapping_add(expected.difference);
        chances.turn_to(Subject::Hit);
        let hits = copied.left > 0 && known == guess;
        let made = if self.hit(chances, (expected.source, guess), copied.at, hits) {
            self.run += 1;
            guess
        } else {
            if may_end && self.ends(chances, copied.left == 0) {
                return 0;
            }
            self.run = 0;
            chances.turn_to(Subject::Difference);
            self.missed_byte(chances, (byte, expected), known)
        };
        if let Some(places) = &places {
            Substitutions::learn(chances.words, places, made.wrapping_sub(byte));
        }
        self.misses = self.misses << 1 | u32::from(self.run == 0);
        self.give(made.into(), 1)
    }

    /// Codes whether a copy that did not go on as expected ends here.
    pub(super) fn ends<C: Coder>(&mut self, chances: &mut Chances<'_, C>, does: bool) -> bool {
        chances.turn_to(Subject::Flow);
        let slot = END_AT + (self.misses & 3) as usize + 4 * (self.position & 1) as usize;
        chances.code(slot, does, END_LESSONS)
    }

    /// Codes whether a byte is as expected. Long runs are told by their length alone; else by what instruction the
    /// byte belongs to as well, and by the byte.
    fn hit<C: Coder>(
        &mut self,
        chances: &mut Chances<'_, C>,
        (source, guess): (u8, u8),
        at: u32,
        does: bool,
    ) -> bool {
        let run = run_class(self.run);
        let slot = match source.checked_sub(1) {
            None => HIT_AT + (run * 4 + (self.misses & 3) as usize) * FINE_WORDS,
            Some(source) => HIT_SOURCE_AT + (usize::from(source) * 4 + run.min(3)) * FINE_WORDS,
        };
        if run >= HIT_SETS {
            return chances.code_fine(slot, does, HIT_LESSONS);
        }
        let slots = self.slots;
        let hash = |key: u32, shift: u32| (key.wrapping_mul(0x9e37_79b1) >> shift) as usize;
        let place = at.wrapping_sub(self.instruction_start) & 3;
        let operation = slots.operation + hash(u32::from(self.operation) << 2 | place, slots.operation_shift);
        let byte = slots.byte + hash(u32::from(guess) << 2 | self.position & 3, slots.byte_shift);
        let set = if source > 0 { HIT_SETS } else { run };
        let weights = &mut self.hit_weights[set];
        chances.code_mixed(&[slot, operation, byte], weights, (HIT_RATE, Some(HIT_LESSONS)), does)
    }

    /// Codes a byte that is not what was expected.
    fn missed_byte<C: Coder>(
        &mut self,
        chances: &mut Chances<'_, C>,
        (byte, expected): (u8, Expected),
        known: u8,
    ) -> u8 {
        let lane = (self.position & 3) as usize;
        if expected.difference != 0 {
            let slot = DIFFERENCE_AT + 16 + usize::from(expected.source);
            if chances.code(slot, known == byte, DIFFERENCE_LESSONS) {
                return byte;
            }
        }
        let difference = known.wrapping_sub(byte);
        let latest = self.differences[lane];
        for (at, candidate) in latest.into_iter().enumerate() {
            // What was ruled out before takes no decision: the byte as it was, and what was expected.
            if candidate == 0 || candidate == expected.difference {
                continue;
            }
            let slot = DIFFERENCE_AT + lane * 4 + at;
            if chances.code(slot, candidate == difference, DIFFERENCE_LESSONS) {
                self.differences[lane].copy_within(..at, 1);
                self.differences[lane][0] = candidate;
                return byte.wrapping_add(candidate);
            }
        }
        let surroundings =
            Surroundings { is_difference: true, beside: byte, lane: lane as u32, before: self.latest };
        let made = self.byte(chances, &surroundings, known);
        let [newest, newer, older, _] = latest;
        self.differences[lane] = [made.wrapping_sub(byte), newest, newer, older];
        made
    }

    /// Finds where the substitutions keep a byte of the base: by its word, by the byte after it too, and by those
    /// two without the lowest bits.
    fn surrounded(&self, copied: &Copied<'_>) -> Option<Places> {
        if !self.substitutions.is_used() || copied.from == Origin::Target {
            return None;
        }
        let View { before, bytes } = *copied.view;
        // From four bytes before the place on.
        let around = u64::from(before) | bytes << 32;
        let (from, key) = match self.architecture {
            Architecture::Plain | Architecture::Xtensa | Architecture::X86 => (2, 1),
            Architecture::Thumb | Architecture::Avr | Architecture::RiscV | Architecture::Arm64 => {
                (4 - (copied.at & 3), (copied.at & 3) + 4)
            }
        };
        let word = u64::from((around >> (8 * from)) as u32);
        let pair = u64::from(bytes as u16);
        // Numbers that lie near each other changed alike: names that are counted, offsets into one table.
        let keys = [word | u64::from(key) << 40, pair | 2 << 40, pair >> NEAR_BITS | 3 << 40];
        Some(self.substitutions.places(keys))
    }
}

/// Class of a run of hits, 0 ..= 11: each to 4, then by doubling.
const fn run_class(run: u32) -> usize {
    if run < 4 {
        run as usize
    } else if run >= 512 {
        11
    } else {
        run.ilog2() as usize + 2
    }
}

/// A copy this long tells how far what it holds moved.
const ANCHORED_BYTES: u32 = 8;
/// Lowest bits of a number of two bytes that near ones differ in.
const NEAR_BITS: u32 = 5;
const HIT_LESSONS: u32 = 1000;
const HIT_RATE: i32 = 7;
const END_LESSONS: u16 = 13;
const DIFFERENCE_LESSONS: u16 = 13;
