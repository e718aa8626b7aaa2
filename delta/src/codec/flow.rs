//! Where literals and copies start, and where copies come from.

use super::slots::{FLOW_AT, SEEK_AT};
use super::{ALIGNMENTS, Codec, Desk, Origin, Outside, Part, Place, Source, Truth};
use crate::chance::Chances;
use crate::coder::{Coder, Subject};
use crate::numbers::{self, unzigzag, zigzag};

impl Codec {
    /// Codes a literal, or starts a copy and codes its first unit. Returns its bytes.
    pub(super) fn open<C: Coder, S: Source, T: Truth>(
        &mut self,
        desk: &mut Desk<'_, C, S, T>,
        literals: u32,
    ) -> Result<u32, Outside> {
        let chances = &mut desk.chances;
        chances.turn_to(Subject::Flow);
        let part = desk.truth.part(self.position);
        let slot = FLOW_AT + literals.min(15) as usize * 2 + (self.position & 1) as usize;
        if chances.code(slot, part == Part::Literal, FLOW_LESSONS) {
            self.place = Place::Open { literals: literals + 1 };
            return Ok(self.literal(desk));
        }
        chances.turn_to(Subject::Seek);
        let (from, at) = self.seek(chances, part)?;
        self.instruction_at = at;
        if from == Origin::Base {
            let alignment = at.wrapping_sub(self.position).cast_signed();
            to_front(&mut self.alignments, alignment);
        }
        Ok(self.copy(desk, (from, at, 0)))
    }

    /// Ends the present copy, of which nothing is left. Returns the bytes that this gives: none.
    pub(super) fn end_copy(&mut self, from: Origin, at: u32) -> u32 {
        if from == Origin::Base {
            self.base_end = at;
            self.copy_end = self.position;
        }
        self.place = Place::Open { literals: 0 };
        0
    }

    fn seek<C: Coder>(&mut self, chances: &mut Chances<'_, C>, part: Part) -> Result<(Origin, u32), Outside> {
        let (guesses, count) = self.guesses(chances.words);
        let after_gap = usize::from(self.copy_end != self.position);
        for (at, &guess) in guesses.iter().enumerate().take(count) {
            if chances.code(SEEK_AT + at * 2 + after_gap, part == Part::Base(guess), SEEK_LESSONS) {
                return Ok((Origin::Base, guess));
            }
        }
        let slot = SEEK_AT + (ALIGNMENTS + 2) * 2 + after_gap;
        let is_own = matches!(part, Part::Target(_));
        if chances.code(slot, is_own, SEEK_LESSONS) {
            return self.seek_own(chances, part).map(|at| (Origin::Target, at));
        }
        let expected = self.position.wrapping_add_signed(self.alignments[0]);
        let distance = match part {
            Part::Base(at) => at.wrapping_sub(expected).cast_signed(),
            Part::Literal | Part::Target(_) => 0,
        };
        let distance = unzigzag(numbers::code(chances, self.slots.seek_number, zigzag(distance)));
        let at = expected.wrapping_add_signed(distance);
        if at < self.order.base_size { Ok((Origin::Base, at)) } else { Err(Outside(Origin::Base)) }
    }

    fn seek_own<C: Coder>(&self, chances: &mut Chances<'_, C>, part: Part) -> Result<u32, Outside> {
        let is_told = self.order.is_told();
        let behind = if is_told { self.position } else { self.position - self.block.start };
        let distance = match part {
            Part::Target(at) if at < self.position => self.position - at - 1,
            Part::Target(at) if is_told => self.order.target_size - 1 - at + self.position,
            Part::Target(at) => at - self.block.end + behind,
            Part::Literal | Part::Base(_) => 0,
        };
        let distance = numbers::code(chances, self.slots.own_number, distance);
        // Back to the start of the block, then on from its end.
        let at = match distance.checked_sub(behind) {
            None => self.position - distance - 1,
            // Told: on from the end of the target.
            Some(after) if is_told => self.order.target_size.wrapping_sub(after).wrapping_sub(1),
            Some(after) => self.block.end.saturating_add(after),
        };
        if at < self.order.target_size { Ok(at) } else { Err(Outside(Origin::Target)) }
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

/// Moves what a list holds to its front, or puts it there in place of the last one.
pub(super) fn to_front(list: &mut [i32], value: i32) {
    let mut carried = value;
    for place in list {
        core::mem::swap(place, &mut carried);
        if carried == value {
            break;
        }
    }
}

const FLOW_LESSONS: u16 = 13;
const SEEK_LESSONS: u16 = 13;
