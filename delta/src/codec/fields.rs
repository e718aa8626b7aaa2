//! Fields of copies: where they point to now.

use super::slots::{FIELD_AT, FIELD_MORE_AT, FIELD_NEAR_AT, FIELD_NEW_AT, FIELD_OWN_AT};
use super::{Codec, MOVEMENTS, Origin, Truth, Unit, View};
use crate::chance::{self, FINE_WORDS};
use crate::coder::{Coder, Subject};
use crate::fields::{self, Architecture, Field, KINDS};
use crate::numbers::{self, NUMBER_WORDS, unzigzag, zigzag};

/// Movements that a field may have had, likeliest first.
struct Candidates {
    movements: [i32; 3 + MOVEMENTS],
    count: usize,
    /// Contexts of the first one: what is known of it, how near that is, and how the latest ones went.
    context: usize,
    near: usize,
    latest: usize,
}

impl Codec {
    /// Codes a field; `None` where the copy ends before it. `at` is its place in the source, `left` what the
    /// copy has left.
    pub(super) fn field<C: Coder, T: Truth>(
        &mut self,
        words: &mut [u16],
        coder: &mut C,
        truth: &T,
        (from, field): (Origin, Field),
        (view, at): (&View, u32),
        (length, left): (u32, u32),
    ) -> Option<Unit> {
        let [_, _, _, _, bytes @ .., _, _, _, _] = *view;
        let candidates = self.candidates(words, (from, field), at, length);
        let known = truth.bytes(self.position);
        let is_whole = left >= u32::from(field.length);
        let kind = usize::from(field.kind);
        let is_known =
            |movement: &i32| starts_alike(self.moved(field, bytes, *movement), known, field.length);
        let goal = if C::WRITES && is_whole {
            let found = candidates.movements[..candidates.count].iter().position(is_known);
            found.map(|index| (index, candidates.movements[index])).or_else(|| {
                self.movement_of(field, bytes, known, candidates.movements[0]).map(|far| (usize::MAX, far))
            })
        } else {
            None
        };
        coder.turn_to(Subject::Field);
        if self.goes_first(words, coder, (from, kind), &candidates, goal.is_some_and(|(at, _)| at == 0)) {
            return Some(self.settled(words, (from, field), bytes, (candidates.movements[0], 0)));
        }
        if length > 0 && self.ends(words, coder, left == 0) {
            return None;
        }
        coder.turn_to(Subject::Field);
        let slot = FIELD_NEW_AT + kind * 2 + (self.misses & 1) as usize;
        if chance::code(coder, &mut words[slot], goal.is_none(), FIELD_LESSONS) {
            self.field_misses[kind] = self.field_misses[kind] << 1 | 1;
            return self.copied_byte(words, coder, truth, (from, view), at, left, false);
        }
        for index in 1..candidates.count {
            let slot = match from {
                Origin::Target => FIELD_OWN_AT + kind * 2 + index,
                Origin::Base => FIELD_MORE_AT + kind.min(1) * 8 + index.min(8) - 1,
            };
            if chance::code(coder, &mut words[slot], goal.is_some_and(|(at, _)| at == index), FIELD_LESSONS) {
                return Some(self.settled(words, (from, field), bytes, (candidates.movements[index], index)));
            }
        }
        let movement = far(
            words,
            coder,
            (self.architecture, field),
            if field.length > 3 { self.slots.target_number } else { self.slots.near_number },
            (candidates.movements[0], goal.map_or(0, |(_, far)| far)),
        );
        Some(self.settled(words, (from, field), bytes, (movement, usize::MAX)))
    }

    /// Codes whether a field moved as is likeliest.
    fn goes_first<C: Coder>(
        &mut self,
        words: &mut [u16],
        coder: &mut C,
        (from, kind): (Origin, usize),
        candidates: &Candidates,
        does: bool,
    ) -> bool {
        if from == Origin::Target {
            return chance::code(coder, &mut words[FIELD_OWN_AT + kind * 2], does, FIELD_LESSONS);
        }
        let slot = FIELD_AT + (kind * 8 + candidates.context) * FINE_WORDS;
        let near = FIELD_NEAR_AT + candidates.near + if kind == 0 { 0 } else { 32 };
        let latest = self.slots.latest + candidates.latest * KINDS + kind;
        let weights = &mut self.field_weights[kind];
        chance::code_mixed(words, coder, (slot, [near, latest]), weights, (FIRST_RATE, FIRST_LESSONS), does)
    }

    /// Takes a movement for known, and returns the field with it.
    fn settled(
        &mut self,
        words: &mut [u16],
        (from, field): (Origin, Field),
        bytes: [u8; 8],
        (movement, index): (i32, usize),
    ) -> Unit {
        self.settle(words, from, field, (movement, index));
        Unit { bytes: self.moved(field, bytes, movement), length: field.length.into() }
    }

    /// The field as it is in the target, if what it points to moved this far.
    fn moved(&self, field: Field, bytes: [u8; 8], movement: i32) -> [u8; 8] {
        let target = field.target.wrapping_add_signed(movement);
        let address = self.space.of_target(self.position);
        fields::relocated(self.architecture, field.kind, bytes, target, address)
    }

    /// Finds the movement that makes the field what it is in the target, if any does.
    fn movement_of(&self, field: Field, bytes: [u8; 8], known: [u8; 8], expected: i32) -> Option<i32> {
        let address = self.space.of_target(self.position);
        let at = self.position & !3;
        let space = &self.space;
        let now = if field.kind == fields::POINTER {
            let target = u32::from_le_bytes([known[0], known[1], known[2], known[3]]);
            // Any word can be written as a pointer, but a number takes more that way than its bytes.
            space.holds(target).then_some(Field { target, ..field })?
        } else {
            fields::recognise(self.architecture, known, at | 1, address, space, true)?
        };
        let movement = now.target.wrapping_sub(field.target).cast_signed();
        let is_small = movement.wrapping_sub(expected).unsigned_abs() < FAR_MAX;
        let comes_back = starts_alike(self.moved(field, bytes, movement), known, field.length);
        let unit = fields::unit(self.architecture, field.kind);
        let is_coded = is_small && movement.wrapping_sub(expected) % unit == 0;
        (now.kind == field.kind && is_coded && comes_back).then_some(movement)
    }

    /// Remembers a movement; `index` is its place among the candidates.
    fn settle(&mut self, words: &mut [u16], from: Origin, field: Field, (movement, index): (i32, usize)) {
        self.run += 1;
        self.misses <<= 1;
        if from == Origin::Target {
            return;
        }
        let misses = &mut self.field_misses[usize::from(field.kind)];
        *misses = *misses << 1 | u8::from(index > 0);
        // What is near is seldom pointed to from elsewhere.
        if index > 0 && field.length > 2 {
            self.anchors.insert(words, field.target, movement);
        }
        if movement != 0 {
            let known = self.movements.iter().position(|&known| known == movement);
            self.movements[..=known.unwrap_or(MOVEMENTS - 1)].rotate_right(1);
            self.movements[0] = movement;
        }
    }

    fn candidates(&self, words: &[u16], (from, field): (Origin, Field), at: u32, length: u32) -> Candidates {
        let (mut movements, mut count) = ([0; 3 + MOVEMENTS], 0);
        let mut add = |movement: i32| {
            if !movements[..count].contains(&movement) && count < movements.len() {
                movements[count] = movement;
                count += 1;
            }
        };
        let here = self.address(from, at);
        let is_absolute = fields::is_absolute(self.architecture, field.kind);
        let moved = self.space.of_target(self.position).wrapping_sub(here).cast_signed();
        let shift = if is_absolute { 0 } else { moved };
        if from == Origin::Target {
            add(0);
            add(shift);
            return Candidates { movements, count, context: 0, near: 0, latest: 0 };
        }
        let told = self.anchors.told(words, field.target);
        // What this copy brought moved with it; so did what is near, unless something is known in between.
        let is_brought = here.wrapping_sub(field.target) <= length;
        let is_near = here.wrapping_add(NEAR_BYTES).wrapping_sub(field.target) < 2 * NEAR_BYTES;
        let is_between = told.below.is_some() && told.below_at.wrapping_sub(here) < NEAR_BYTES;
        let with_copy = !is_absolute && (is_brought || is_near && !is_between);
        if with_copy {
            add(shift);
        }
        told.below.into_iter().for_each(&mut add);
        add(shift);
        told.above.into_iter().for_each(&mut add);
        self.movements.into_iter().for_each(&mut add);
        let agrees = if with_copy { is_brought } else { told.below == told.above };
        let class = |far: u32| (u32::BITS - far.leading_zeros()).div_euclid(2).min(7) as usize;
        let below = told.below.map_or(7, |_| class(field.target.wrapping_sub(told.below_at)));
        let flags = |one: bool, other: bool| usize::from(one) * 2 + usize::from(other);
        let misses = self.field_misses[usize::from(field.kind)] & self.slots.latest_misses;
        Candidates {
            movements,
            count,
            context: flags(told.is_exact, agrees) * 2 + usize::from(self.run >= 8),
            near: below * 4 + flags(told.below == told.above, movements[0] == shift),
            latest: usize::from(misses) * 4 + flags(movements[0] == self.movements[0], with_copy),
        }
    }
}

/// A movement that differs more from the expected one takes more than the field's bytes.
const FAR_MAX: u32 = 1 << 22;

/// Code this near is mostly of the same function.
const NEAR_BYTES: u32 = 2048;

/// Codes a movement that is none of the candidates, by how far it is from the likeliest.
fn far<C: Coder>(
    words: &mut [u16],
    coder: &mut C,
    (architecture, field): (Architecture, Field),
    numbers_at: usize,
    (expected, goal): (i32, i32),
) -> i32 {
    coder.turn_to(Subject::Target);
    let unit = fields::unit(architecture, field.kind);
    let chances = &mut words[numbers_at..numbers_at + NUMBER_WORDS];
    let farther = zigzag(goal.wrapping_sub(expected) / unit);
    expected.wrapping_add(unzigzag(numbers::code(coder, chances, farther)).wrapping_mul(unit))
}

fn starts_alike(one: [u8; 8], other: [u8; 8], length: u8) -> bool {
    let length = usize::from(length);
    one[..length] == other[..length]
}

const FIELD_LESSONS: u16 = 15;
const FIRST_LESSONS: u32 = 400;
const FIRST_RATE: i32 = 3;
