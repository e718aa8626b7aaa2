//! Adaptive probabilities, and how several of them become one.
//!
//! A chance is 16 bits: the probability of a one in the high twelve, the number of lessons in the low four. The
//! first lessons count most, so that a rare context is of use early. All of it is whole numbers, so that every
//! device reads what every server writes.

use crate::coder::{Coder, Subject};

/// An even chance without a lesson.
pub(crate) const EVEN: u16 = 2048 << 4;

/// Returns the probability of a one in 4096ths, 1 ..= 4095.
const fn one(chance: u16) -> u32 {
    (chance >> 4) as u32
}

/// The words of a state, and the coder of the decisions that are made under them.
pub(crate) struct Chances<'a, C> {
    pub(crate) words: &'a mut [u16],
    pub(crate) coder: &'a mut C,
}

impl<C: Coder> Chances<'_, C> {
    pub(crate) fn turn_to(&mut self, subject: Subject) {
        self.coder.turn_to(subject);
    }

    /// Codes a decision under one chance alone; after `lessons_max` lessons its rate stays.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn code(&mut self, slot: usize, bit: bool, lessons_max: u16) -> bool {
        let chance = &mut self.words[slot];
        let bit = self.coder.code(one(*chance) << 4 | 8, bit);
        learn(chance, bit, lessons_max);
        bit
    }

    /// Codes a decision under a fine chance: two words, the probability of a one in the high 22 bits, the number of
    /// lessons in the low ten. For decisions that nearly always go one way.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn code_fine(&mut self, slot: usize, bit: bool, lessons_max: u32) -> bool {
        let one = u32::from(self.words[slot]).clamp(FINE_MIN, 65_536 - FINE_MIN);
        let bit = self.coder.code(one, bit);
        learn_fine(&mut self.words[slot..], bit, lessons_max);
        bit
    }

    /// Codes a decision under several chances, mixed, at most [`INPUTS_MAX`]; all of them learn. With `fine_lessons` the
    /// first one is fine, and has so many lessons at most.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn code_mixed(
        &mut self,
        slots: &[usize],
        weights: &mut [i16],
        (rate, fine_lessons): (i32, Option<u32>),
        bit: bool,
    ) -> bool {
        let mut stretched = [0; INPUTS_MAX];
        let (mut sum, mut trust_of_first) = (0, fine_lessons.map(|_| FULL_TRUST));
        for ((&slot, weight), stretched) in slots.iter().zip(&*weights).zip(&mut stretched) {
            let chance = self.words[slot];
            let trust = trust_of_first.take().unwrap_or(TRUST[usize::from(chance & 15)]);
            *stretched = (stretch(one(chance).clamp(1, 4095)) * i32::from(trust)) >> 3;
            sum += *stretched * i32::from(*weight);
        }
        let probability = squash((sum / WEIGHT_ONE).clamp(-2047, 2047));
        let bit = self.coder.code(probability, bit);
        let error = ((i32::from(bit) << 16) - probability.cast_signed()) >> 4;
        let mut lessons_of_first = fine_lessons;
        for ((&slot, weight), stretched) in slots.iter().zip(weights).zip(&stretched) {
            let step = (stretched * error * rate + (1 << 16)) >> 17;
            *weight = (i32::from(*weight) + step).clamp(-32_768, 32_767) as i16;
            match lessons_of_first.take() {
                Some(lessons_max) => learn_fine(&mut self.words[slot..], bit, lessons_max),
                None => learn(&mut self.words[slot], bit, MIXED_LESSONS),
            }
        }
        bit
    }
}

/// Learns the outcome of a decision; after `lessons_max` lessons the rate stays.
#[cfg_attr(target_os = "none", inline(never))]
fn learn(chance: &mut u16, bit: bool, lessons_max: u16) {
    let lessons = *chance & 15;
    let rate = i32::from(RATES[usize::from(lessons)]);
    let now = i32::from(*chance >> 4);
    let goal = if bit { 4095 } else { 0 };
    let step = ((goal - now) * rate + 0x8000) >> 16;
    let next = (now + step).clamp(1, 4095).cast_unsigned() as u16;
    *chance = next << 4 | if lessons < lessons_max { lessons + 1 } else { lessons };
}

/// Learns the outcome of a decision under a fine chance.
fn learn_fine(words: &mut [u16], bit: bool, lessons_max: u32) {
    let [high, low, ..] = words else { return };
    let fine = u32::from(*high) << 16 | u32::from(*low);
    let (now, lessons) = ((fine >> 10).cast_signed(), fine & 0x3ff);
    let goal = if bit { (1 << 22) - 1 } else { 0 };
    let share = 2 * lessons.cast_signed() + 3;
    // Rounded away from zero: a chance that would stop short of certainty costs bits on every byte of a large image.
    let round = if bit { share - 1 } else { 1 - share };
    let next = now + ((goal - now) * 2 + round) / share;
    let fine = next.cast_unsigned() << 10 | if lessons < lessons_max { lessons + 1 } else { lessons };
    *high = (fine >> 16) as u16;
    *low = fine as u16;
}

/// Fine chances from 1 / 32768 on, so that no decision takes more than 15 bits.
const FINE_MIN: u32 = 2;

/// Words of a fine chance.
pub(crate) const FINE_WORDS: usize = 2;

/// Share of the distance, in 65536ths, that the n-th lesson moves: 1 / (n + 1.5), slower at the end.
const RATES: [u16; 16] = [
    43_690, 26_214, 18_724, 14_563, 11_915, 10_082, 8738, 7710, 6898, 6241, 5461, 4369, 3640, 2978, 2340,
    1820,
];

/// Returns ln(p / (1 - p)) * 256 of a chance: -2047 ..= 2047.
const fn stretch(one: u32) -> i32 {
    if one >= 2048 { -stretched_low(4095 - one) } else { stretched_low(one) }
}

const fn stretched_low(one: u32) -> i32 {
    if one < 128 {
        STRETCHED[one as usize] as i32
    } else {
        let (at, part) = (120 + (one >> 4) as usize, (one & 15).cast_signed());
        let (low, high) = (STRETCHED[at] as i32, STRETCHED[at + 1] as i32);
        low + (((high - low) * part) >> 4)
    }
}

/// Returns 65536 / (1 + exp(-at / 256)) for -2047 ..= 2047, in between straight lines.
const fn squash(at: i32) -> u32 {
    let shifted = (at + 2048).cast_unsigned();
    let (index, part) = ((shifted >> 6) as usize, shifted & 63);
    (SQUASHED[index] as u32 * (64 - part) + SQUASHED[index + 1] as u32 * part) >> 6
}

/// round(65536 / (1 + exp(-d / 256))) for d = -2048, -1984 ..= 2048.
const SQUASHED: [u16; 65] = [
    22, 28, 36, 47, 60, 77, 98, 126, 162, 208, 267, 342, 439, 562, 720, 922, 1179, 1506, 1921, 2446, 3108,
    3938, 4971, 6249, 7812, 9702, 11_955, 14_595, 17_625, 21_025, 24_743, 28_693, 32_768, 36_843, 40_793,
    44_511, 47_911, 50_941, 53_581, 55_834, 57_724, 59_287, 60_565, 61_598, 62_428, 63_090, 63_615, 64_030,
    64_357, 64_614, 64_816, 64_974, 65_097, 65_194, 65_269, 65_328, 65_374, 65_410, 65_438, 65_459, 65_476,
    65_489, 65_500, 65_508, 65_514,
];

/// Inverse of [`squash`] for 0 ..= 127, then for 128, 144 ..= 2048, all in 4096ths.
const STRETCHED: [i16; 249] = {
    let mut table = [0; 249];
    let mut at = 0;
    let mut d = -2047;
    while at < 249 {
        let one = if at < 128 { at as u32 } else { (at as u32 - 120) << 4 };
        while d < 0 && squash(d) < one << 4 | 8 {
            d += 1;
        }
        table[at] = d as i16;
        at += 1;
    }
    table
};

/// Inputs of a mix at most.
const INPUTS_MAX: usize = 5;

/// Weights of one set of so many inputs, [`WEIGHT_ONE`] each for a weight of one.
pub(crate) type Weights<const INPUTS: usize> = [i16; INPUTS];

/// A weight of one.
pub(crate) const WEIGHT_ONE: i32 = 8192;

const MIXED_LESSONS: u16 = 15;

/// Eighths of a prediction that count after 0 ..= 15 lessons.
const TRUST: [u8; 16] = [0, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8];
/// Eighths of a fine chance that count.
const FULL_TRUST: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretch_undoes_squash() {
        for one in 1..4096 {
            let back = squash(stretch(one)) >> 4;
            assert!(back.abs_diff(one) <= 12, "{one} came back as {back}");
        }
        assert!((1..4095).all(|one| stretch(one) <= stretch(one + 1)));
    }

    #[test]
    fn chance_follows_what_it_is_taught() {
        let mut chance = EVEN;
        for _ in 0..100 {
            learn(&mut chance, true, 15);
        }
        assert!(one(chance) > 3900);
        for _ in 0..200 {
            learn(&mut chance, false, 15);
        }
        assert!(one(chance) < 200);
    }
}
