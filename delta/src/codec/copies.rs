//! Copied bytes: as the base has them, or differing.

use super::bytes::Surroundings;
use super::slots::{DIFFERENCE_AT, END_AT, HIT_AT, HIT_SOURCE_AT};
use super::{Codec, HIT_SETS, Origin, Place, Source, Truth, Unit, VIEW_BEFORE, View};
use crate::chance::{self, FINE_WORDS};
use crate::coder::{Coder, Subject};
use crate::fields::{self, Architecture};
use crate::substitutions::{Expected, Places, Substitutions};

impl Codec {
    /// Codes the next unit of a copy from `at`, `length` bytes of which are coded, or its end.
    pub(super) fn copy<C: Coder, S: Source, T: Truth>(
        &mut self,
        words: &mut [u16],
        coder: &mut C,
        source: &mut S,
        truth: &T,
        (from, at, length): (Origin, u32, u32),
    ) -> Result<Unit, S::Error> {
        let view = match from {
            Origin::Base => source.base(at, self.order.readable(at, self.position))?,
            Origin::Target => source.target(at, self.made_around(at))?,
        };
        if from == Origin::Base && (ANCHORED_BYTES..ANCHORED_BYTES + 8).contains(&length) {
            self.anchor_copy(words, at, length);
        }
        let [_, _, _, _, bytes @ .., _, _, _, _] = view;
        let is_instruction = at >= self.instruction_at;
        if is_instruction {
            self.instruction_at = at.wrapping_add(self.architecture.instruction_bytes(bytes));
            self.instruction_start = at;
            self.operation = self.architecture.operation(bytes);
        }
        let address = self.address(from, at);
        let available = match from {
            Origin::Base => self.order.base_size - at,
            Origin::Target => self.made_around(at).end - at,
        };
        let field = fields::recognise(self.architecture, bytes, at, address, &self.space, is_instruction)
            .filter(|field| u32::from(field.length) <= self.remaining().min(available));
        let left = truth.left(self.position, length);
        let unit = match field {
            Some(field) => self.field(words, coder, truth, (from, field), (&view, at), (length, left)),
            None => self.copied_byte(words, coder, truth, (from, &view), at, left, length > 0),
        };
        let Some(unit) = unit else {
            self.end_copy(from, at);
            return Ok(Unit::NOTHING);
        };
        let taken = unit.length as u32;
        self.instruction_at = self.instruction_at.max(at + if taken > 1 { taken } else { 0 });
        self.place = Place::Copying { from, at: at + taken, length: length + taken };
        Ok(unit)
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

    /// Codes a byte that is no field; `None` where the copy ends before it.
    #[expect(clippy::too_many_arguments, reason = "the walk's state, each used by both callers")]
    pub(super) fn copied_byte<C: Coder, T: Truth>(
        &mut self,
        words: &mut [u16],
        coder: &mut C,
        truth: &T,
        (from, view): (Origin, &View),
        at: u32,
        left: u32,
        may_end: bool,
    ) -> Option<Unit> {
        let byte = view[VIEW_BEFORE];
        let known = truth.bytes(self.position)[0];
        let places = self.surrounded(from, view, at);
        let expected = places.map_or(Expected::default(), |places| Substitutions::expected(words, &places));
        let guess = byte.wrapping_add(expected.difference);
        coder.turn_to(Subject::Hit);
        let made = if self.hit(words, coder, (expected.source, guess), at, left > 0 && known == guess) {
            self.run += 1;
            guess
        } else {
            if may_end && self.ends(words, coder, left == 0) {
                return None;
            }
            self.run = 0;
            coder.turn_to(Subject::Difference);
            self.missed_byte(words, coder, (byte, expected), known)
        };
        if let Some(places) = places {
            Substitutions::learn(words, &places, made.wrapping_sub(byte));
        }
        self.misses = self.misses << 1 | u32::from(self.run == 0);
        Some(Unit { bytes: [made, 0, 0, 0, 0, 0, 0, 0], length: 1 })
    }

    /// Codes whether a copy that did not go on as expected ends here.
    pub(super) fn ends<C: Coder>(&mut self, words: &mut [u16], coder: &mut C, does: bool) -> bool {
        coder.turn_to(Subject::Flow);
        let slot = END_AT + (self.misses & 3) as usize + 4 * (self.position & 1) as usize;
        chance::code(coder, &mut words[slot], does, END_LESSONS)
    }

    /// Codes whether a byte is as expected. Long runs are told by their length alone; else by what instruction the
    /// byte belongs to as well, and by the byte.
    fn hit<C: Coder>(
        &mut self,
        words: &mut [u16],
        coder: &mut C,
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
            return chance::code_fine(coder, &mut words[slot..slot + FINE_WORDS], does, HIT_LESSONS);
        }
        let slots = self.slots;
        let hash = |key: u32, shift: u32| (key.wrapping_mul(0x9e37_79b1) >> shift) as usize;
        let place = at.wrapping_sub(self.instruction_start) & 3;
        let operation = slots.operation + hash(u32::from(self.operation) << 2 | place, slots.operation_shift);
        let byte = slots.byte + hash(u32::from(guess) << 2 | self.position & 3, slots.byte_shift);
        let set = if source > 0 { HIT_SETS } else { run };
        let (weights, learning) = (&mut self.hit_weights[set], (HIT_RATE, HIT_LESSONS));
        chance::code_mixed(words, coder, (slot, [operation, byte]), weights, learning, does)
    }

    /// Codes a byte that is not what was expected.
    fn missed_byte<C: Coder>(
        &mut self,
        words: &mut [u16],
        coder: &mut C,
        (byte, expected): (u8, Expected),
        known: u8,
    ) -> u8 {
        let lane = (self.position & 3) as usize;
        if expected.difference != 0 {
            let slot = DIFFERENCE_AT + 16 + usize::from(expected.source);
            if chance::code(coder, &mut words[slot], known == byte, DIFFERENCE_LESSONS) {
                return byte;
            }
        }
        let difference = known.wrapping_sub(byte);
        let latest = self.differences[lane];
        for (at, &candidate) in latest.iter().enumerate() {
            // What was ruled out before takes no decision: the byte as it was, and what was expected.
            if candidate == 0 || candidate == expected.difference {
                continue;
            }
            let slot = DIFFERENCE_AT + lane * 4 + at;
            if chance::code(coder, &mut words[slot], candidate == difference, DIFFERENCE_LESSONS) {
                self.differences[lane][..=at].rotate_right(1);
                return byte.wrapping_add(candidate);
            }
        }
        let surroundings =
            Surroundings { is_difference: true, beside: byte, lane: lane as u32, before: self.latest };
        let made = self.byte(words, coder, &surroundings, known);
        self.differences[lane].rotate_right(1);
        self.differences[lane][0] = made.wrapping_sub(byte);
        made
    }

    /// Finds where the substitutions keep a byte of the base: by its word, by the byte after it too, and by those
    /// two without the lowest bits.
    fn surrounded(&self, from: Origin, view: &View, at: u32) -> Option<Places> {
        if !self.substitutions.is_used() || from == Origin::Target {
            return None;
        }
        let read = |start: usize, count: usize| {
            view[start..start + count].iter().rev().fold(0_u64, |word, &byte| word << 8 | u64::from(byte))
        };
        let word = match self.architecture {
            Architecture::Plain | Architecture::Xtensa | Architecture::X86 => {
                read(VIEW_BEFORE - 2, 4) | 1 << 40
            }
            Architecture::Thumb | Architecture::Avr | Architecture::RiscV | Architecture::Arm64 => {
                let in_word = (at & 3) as usize;
                read(VIEW_BEFORE - in_word, 4) | (in_word as u64 + 4) << 40
            }
        };
        let pair = read(VIEW_BEFORE, 2);
        // Numbers that lie near each other changed alike: names that are counted, offsets into one table.
        Some(self.substitutions.places([word, pair | 2 << 40, pair >> NEAR_BITS | 3 << 40]))
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
