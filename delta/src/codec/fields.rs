//! Fields of copies: where they point to now.

use super::copies::Copied;
use super::flow::to_front;
use super::slots::{FIELD_AT, FIELD_MORE_AT, FIELD_NEAR_AT, FIELD_NEW_AT, FIELD_OWN_AT};
use super::{Codec, MOVEMENTS, Origin};
use crate::chance::{Chances, FINE_WORDS};
use crate::coder::{Coder, Subject};
use crate::fields::{self, Field, KINDS};
use crate::numbers::{self, unzigzag, zigzag};

/// Movements that a field may have had, likeliest first.
#[derive(Default)]
struct Candidates {
    movements: [i32; 3 + MOVEMENTS],
    count: usize,
    /// Contexts of the first one: what is known of it, how near that is, and how the latest ones went.
    context: usize,
    near: usize,
    latest: usize,
}

impl Codec {
    /// Codes a field. Returns its bytes: none where the copy ends before it.
    pub(super) fn field<C: Coder>(
        &mut self,
        chances: &mut Chances<'_, C>,
        copied: &Copied<'_>,
        field: Field,
    ) -> u32 {
        let (from, kind) = (copied.from, field.kind());
        let candidates = self.candidates(chances.words, copied, field);
        let goal = if C::WRITES { self.goal(&candidates, copied, field) } else { None };
        chances.turn_to(Subject::Field);
        if self.goes_first(chances, (from, kind), &candidates, goal.is_some_and(|(at, _)| at == 0)) {
            return self.settle(chances.words, copied, field, (candidates.movements[0], true));
        }
        if copied.length > 0 && self.ends(chances, copied.left == 0) {
            return 0;
        }
        chances.turn_to(Subject::Field);
        let slot = FIELD_NEW_AT + kind * 2 + (self.misses & 1) as usize;
        if chances.code(slot, goal.is_none(), FIELD_LESSONS) {
            self.field_misses[kind] = self.field_misses[kind] << 1 | 1;
            return self.copied_byte(chances, copied, false);
        }
        for index in 1..candidates.count {
            let slot = match from {
                Origin::Target => FIELD_OWN_AT + kind * 2 + index,
                Origin::Base => FIELD_MORE_AT + kind.min(1) * 8 + index.min(8) - 1,
            };
            if chances.code(slot, goal.is_some_and(|(at, _)| at == index), FIELD_LESSONS) {
                return self.settle(chances.words, copied, field, (candidates.movements[index], false));
            }
        }
        let numbers_at = if field.length() > 3 { self.slots.target_number } else { self.slots.near_number };
        let movement =
            far(chances, field, numbers_at, (candidates.movements[0], goal.map_or(0, |(_, far)| far)));
        self.settle(chances.words, copied, field, (movement, false))
    }

    /// Finds the candidate that makes the field what it is in the target, or the movement that does.
    fn goal(&self, candidates: &Candidates, copied: &Copied<'_>, field: Field) -> Option<(usize, i32)> {
        if copied.left < field.length() {
            return None;
        }
        let movements = &candidates.movements[..candidates.count];
        let is_known = |movement: &i32| self.goes_to(field, copied, *movement);
        let found = movements.iter().position(is_known).map(|index| (index, movements[index]));
        found.or_else(|| self.movement_of(field, copied, movements[0]).map(|far| (usize::MAX, far)))
    }

    /// Codes whether a field moved as is likeliest.
    fn goes_first<C: Coder>(
        &mut self,
        chances: &mut Chances<'_, C>,
        (from, kind): (Origin, usize),
        candidates: &Candidates,
        does: bool,
    ) -> bool {
        if from == Origin::Target {
            return chances.code(FIELD_OWN_AT + kind * 2, does, FIELD_LESSONS);
        }
        let slot = FIELD_AT + (kind * 8 + candidates.context) * FINE_WORDS;
        let near = FIELD_NEAR_AT + candidates.near + if kind == 0 { 0 } else { 32 };
        let latest = self.slots.latest + candidates.latest * KINDS + kind;
        let weights = &mut self.field_weights[kind];
        chances.code_mixed(&[slot, near, latest], weights, (FIRST_RATE, Some(FIRST_LESSONS)), does)
    }

    /// The field as it is in the target, if what it points to moved this far.
    fn moved(&self, field: Field, bytes: u64, movement: i32) -> u64 {
        let target = field.target.wrapping_add_signed(movement);
        fields::relocated(field, bytes, target, self.space.of_target(self.position))
    }

    /// Says whether the field is what it is in the target, if what it points to moved this far.
    fn goes_to(&self, field: Field, copied: &Copied<'_>, movement: i32) -> bool {
        let differing = self.moved(field, copied.view.bytes, movement) ^ copied.known;
        differing << (64 - 8 * field.length()) == 0
    }

    /// Finds the movement that makes the field what it is in the target, if any does.
    fn movement_of(&self, field: Field, copied: &Copied<'_>, expected: i32) -> Option<i32> {
        let address = self.space.of_target(self.position);
        let at = self.position & !3;
        let space = &self.space;
        let now = if field.kind() == fields::POINTER {
            let target = copied.known as u32;
            // Any word can be written as a pointer, but a number takes more that way than its bytes.
            space.holds(target).then_some(Field { target, ..field })?
        } else {
            fields::recognise(self.architecture, copied.known, at | 1, address, space, true)?
        };
        let movement = now.target.wrapping_sub(field.target).cast_signed();
        let far = movement.wrapping_sub(expected);
        let is_coded = far.unsigned_abs() < FAR_MAX && far % field.unit() == 0;
        (now.kind() == field.kind() && is_coded && self.goes_to(field, copied, movement)).then_some(movement)
    }

    /// Takes a movement for known, and gives the field with it; `is_first` says that it was the likeliest. Returns its
    /// bytes.
    #[cfg_attr(target_os = "none", inline(never))]
    fn settle(
        &mut self,
        words: &mut [u16],
        copied: &Copied<'_>,
        field: Field,
        (movement, is_first): (i32, bool),
    ) -> u32 {
        self.run += 1;
        self.misses <<= 1;
        if copied.from == Origin::Base {
            let misses = &mut self.field_misses[field.kind()];
            *misses = *misses << 1 | u8::from(!is_first);
            // What is near is seldom pointed to from elsewhere.
            if !is_first && field.length() > 2 {
                self.anchors.insert(words, field.target, movement);
            }
            if movement != 0 {
                to_front(&mut self.movements, movement);
            }
        }
        let bytes = self.moved(field, copied.view.bytes, movement);
        let length = field.length();
        self.give(bytes.swap_bytes() >> (64 - 8 * length), length)
    }

    fn candidates(&self, words: &[u16], copied: &Copied<'_>, field: Field) -> Candidates {
        let Copied { from, at, length, .. } = *copied;
        let mut candidates = Candidates::default();
        let here = self.address(from, at);
        let is_absolute = field.is_absolute(self.architecture);
        let moved = self.space.of_target(self.position).wrapping_sub(here).cast_signed();
        let shift = if is_absolute { 0 } else { moved };
        if from == Origin::Target {
            candidates.add(0);
            candidates.add(shift);
            return candidates;
        }
        let told = self.anchors.told(words, field.target);
        // What this copy brought moved with it; so did what is near, unless something is known in between.
        let is_brought = here.wrapping_sub(field.target) <= length;
        let is_near = here.wrapping_add(NEAR_BYTES).wrapping_sub(field.target) < 2 * NEAR_BYTES;
        let is_between = told.below.is_some() && told.below_at.wrapping_sub(here) < NEAR_BYTES;
        let with_copy = !is_absolute && (is_brought || is_near && !is_between);
        let likeliest = [with_copy.then_some(shift), told.below, Some(shift), told.above];
        for movement in likeliest.into_iter().flatten().chain(self.movements) {
            candidates.add(movement);
        }
        let is_even = told.below == told.above;
        let agrees = if with_copy { is_brought } else { is_even };
        let class = |far: u32| ((u32::BITS - far.leading_zeros()) / 2).min(7) as usize;
        let below = told.below.map_or(7, |_| class(field.target.wrapping_sub(told.below_at)));
        let flags = |one: bool, other: bool| usize::from(one) * 2 + usize::from(other);
        let misses = self.field_misses[field.kind()] & self.slots.latest_misses;
        let first = candidates.movements[0];
        candidates.context = flags(told.is_exact, agrees) * 2 + usize::from(self.run >= 8);
        candidates.near = below * 4 + flags(is_even, first == shift);
        candidates.latest = usize::from(misses) * 4 + flags(first == self.movements[0], with_copy);
        candidates
    }
}

impl Candidates {
    fn add(&mut self, movement: i32) {
        let known = self.movements.get(..self.count).unwrap_or_default();
        if !known.contains(&movement)
            && let Some(place) = self.movements.get_mut(self.count)
        {
            *place = movement;
            self.count += 1;
        }
    }
}

/// A movement that differs more from the expected one takes more than the field's bytes.
const FAR_MAX: u32 = 1 << 22;

/// Code this near is mostly of the same function.
const NEAR_BYTES: u32 = 2048;

/// Codes a movement that is none of the candidates, by how far it is from the likeliest.
fn far<C: Coder>(
    chances: &mut Chances<'_, C>,
    field: Field,
    numbers_at: usize,
    (expected, goal): (i32, i32),
) -> i32 {
    chances.turn_to(Subject::Target);
    let unit = field.unit();
    let farther = if C::WRITES { zigzag(goal.wrapping_sub(expected) / unit) } else { 0 };
    expected.wrapping_add(unzigzag(numbers::code(chances, numbers_at, farther)).wrapping_mul(unit))
}

const FIELD_LESSONS: u16 = 15;
const FIRST_LESSONS: u32 = 400;
const FIRST_RATE: i32 = 3;
