//! Where literals and copies start, and where copies come from.

use super::slots::{FLOW_AT, SEEK_AT};
use super::{ALIGNMENTS, Codec, Origin, Part, Place, Source, Truth, Unit};
use crate::PatchError;
use crate::chance;
use crate::coder::{Coder, Subject};
use crate::numbers::{self, NUMBER_WORDS, unzigzag, zigzag};

impl Codec {
    /// Codes a literal, or starts a copy and codes its first unit.
    pub(super) fn open<C: Coder, S: Source, T: Truth>(
        &mut self,
        words: &mut [u16],
        coder: &mut C,
        source: &mut S,
        truth: &T,
        literals: u32,
    ) -> Result<Unit, S::Error> {
        coder.turn_to(Subject::Flow);
        let part = truth.part(self.position);
        let slot = FLOW_AT + literals.min(15) as usize * 2 + (self.position & 1) as usize;
        if chance::code(coder, &mut words[slot], part == Part::Literal, FLOW_LESSONS) {
            let unit = self.literal(words, coder, source, truth)?;
            self.place = Place::Open { literals: literals + 1 };
            return Ok(unit);
        }
        coder.turn_to(Subject::Seek);
        let (from, at) = self.seek(words, coder, part)?;
        self.instruction_at = at;
        if from == Origin::Base {
            let alignment = at.wrapping_sub(self.position).cast_signed();
            let known = self.alignments.iter().position(|&known| known == alignment);
            self.alignments[..=known.unwrap_or(ALIGNMENTS - 1)].rotate_right(1);
            self.alignments[0] = alignment;
        }
        self.copy(words, coder, source, truth, (from, at, 0))
    }

    pub(super) fn end_copy(&mut self, from: Origin, at: u32) {
        if from == Origin::Base {
            self.base_end = at;
            self.copy_end = self.position;
        }
        self.place = Place::Open { literals: 0 };
    }

    fn seek<C: Coder>(
        &mut self,
        words: &mut [u16],
        coder: &mut C,
        part: Part,
    ) -> Result<(Origin, u32), PatchError> {
        let (guesses, count) = self.guesses(words);
        let after_gap = usize::from(self.copy_end != self.position);
        for (at, &guess) in guesses.iter().enumerate().take(count) {
            let slot = SEEK_AT + at * 2 + after_gap;
            if chance::code(coder, &mut words[slot], part == Part::Base(guess), SEEK_LESSONS) {
                return Ok((Origin::Base, guess));
            }
        }
        let slot = SEEK_AT + (ALIGNMENTS + 2) * 2 + after_gap;
        let is_own = matches!(part, Part::Target(_));
        if chance::code(coder, &mut words[slot], is_own, SEEK_LESSONS) {
            return self.seek_own(words, coder, part).map(|at| (Origin::Target, at));
        }
        let expected = self.position.wrapping_add_signed(self.alignments[0]);
        let distance = match part {
            Part::Base(at) => at.wrapping_sub(expected).cast_signed(),
            Part::Literal | Part::Target(_) => 0,
        };
        let chances = &mut words[self.slots.seek_number..self.slots.seek_number + NUMBER_WORDS];
        let at = expected.wrapping_add_signed(unzigzag(numbers::code(coder, chances, zigzag(distance))));
        if at >= self.order.base_size {
            return Err(PatchError::OutsideBase { produced: self.made });
        }
        Ok((Origin::Base, at))
    }

    fn seek_own<C: Coder>(&self, words: &mut [u16], coder: &mut C, part: Part) -> Result<u32, PatchError> {
        let behind = self.position - self.block.start;
        let distance = match part {
            Part::Target(at) if at < self.position => self.position - at - 1,
            Part::Target(at) => at - self.block.end + behind,
            Part::Literal | Part::Base(_) => 0,
        };
        let chances = &mut words[self.slots.own_number..self.slots.own_number + NUMBER_WORDS];
        let distance = numbers::code(coder, chances, distance);
        // Back to the start of the block, then on from its end.
        let at = match distance.checked_sub(behind) {
            None => self.position - distance - 1,
            Some(after) => self.block.end.saturating_add(after),
        };
        let is_made = at < self.order.target_size;
        is_made.then_some(at).ok_or(PatchError::OutsideTarget { produced: self.made })
    }

    /// Lists the places of the base that a copy most likely starts at, without repeats.
    fn guesses(&self, words: &[u16]) -> ([u32; ALIGNMENTS + 2], usize) {
        let (mut guesses, mut count) = ([0; ALIGNMENTS + 2], 0);
        let aligned = self.alignments.iter().map(|&alignment| self.position.wrapping_add_signed(alignment));
        let address = self.space.of_target(self.position);
        let told = self.anchors.moved_to(words, address);
        let told = told.and_then(|moved| self.space.base_at(address.wrapping_add_signed(-moved)));
        for guess in [self.base_end].into_iter().chain(aligned).chain(told) {
            // Where a copy ended just now, it does not go on.
            let goes_on = guess == self.base_end && self.copy_end == self.position;
            if guess < self.order.base_size && !goes_on && !guesses[..count].contains(&guess) {
                guesses[count] = guess;
                count += 1;
            }
        }
        (guesses, count)
    }
}

const FLOW_LESSONS: u16 = 13;
const SEEK_LESSONS: u16 = 13;
