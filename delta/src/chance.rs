//! Adaptive probabilities, and how several of them become one.
//!
//! A chance is 16 bits: the probability of a one in the high twelve, the number of lessons in the low four. The
//! first lessons count most, so that a rare context is of use early. All of it is whole numbers, so that every
//! device reads what every server writes.

use crate::coder::Coder;

/// An even chance without a lesson.
pub(crate) const EVEN: u16 = 2048 << 4;

/// Returns the probability of a one in 4096ths, 1 ..= 4095.
pub(crate) const fn one(chance: u16) -> u32 {
    (chance >> 4) as u32
}

/// Learns the outcome of a decision; after `lessons_max` lessons the rate stays.
#[inline]
pub(crate) fn learn(chance: &mut u16, bit: bool, lessons_max: u16) {
    let lessons = *chance & 15;
    let rate = RATES[usize::from(lessons)];
    let now = i32::from(*chance >> 4);
    let goal = if bit { 4095 } else { 0 };
    let step = ((goal - now) * rate + 0x8000) >> 16;
    let next = (now + step).clamp(1, 4095).cast_unsigned() as u16;
    *chance = next << 4 | if lessons < lessons_max { lessons + 1 } else { lessons };
}

/// Codes a decision under one chance alone.
#[inline]
pub(crate) fn code<C: Coder>(coder: &mut C, chance: &mut u16, bit: bool, lessons_max: u16) -> bool {
    let bit = coder.code(one(*chance) << 4 | 8, bit);
    learn(chance, bit, lessons_max);
    bit
}

/// Codes a decision under a fine chance: two words, the probability of a one in the high 22 bits, the number of lessons
/// in the low ten. For decisions that nearly always go one way.
#[inline]
pub(crate) fn code_fine<C: Coder>(coder: &mut C, words: &mut [u16], bit: bool, lessons_max: u32) -> bool {
    let bit = coder.code(u32::from(words[0]).clamp(FINE_MIN, 65_536 - FINE_MIN), bit);
    learn_fine(words, bit, lessons_max);
    bit
}

/// Learns the outcome of a decision under a fine chance.
#[inline]
pub(crate) fn learn_fine(words: &mut [u16], bit: bool, lessons_max: u32) {
    let fine = u32::from(words[0]) << 16 | u32::from(words[1]);
    let (now, lessons) = ((fine >> 10).cast_signed(), fine & 0x3ff);
    let goal = if bit { (1 << 22) - 1 } else { 0 };
    let share = 2 * lessons.cast_signed() + 3;
    // Rounded away from zero: a chance that would stop short of certainty costs bits on every byte of a large image.
    let round = if bit { share - 1 } else { 1 - share };
    let next = now + ((goal - now) * 2 + round) / share;
    let fine = next.cast_unsigned() << 10 | if lessons < lessons_max { lessons + 1 } else { lessons };
    words[0] = (fine >> 16) as u16;
    words[1] = fine as u16;
}

/// Fine chances from 1 / 32768 on, so that no decision takes more than 15 bits.
const FINE_MIN: u32 = 2;

/// Words of a fine chance.
pub(crate) const FINE_WORDS: usize = 2;

/// Share of the distance, in 65536ths, that the n-th lesson moves: 1 / (n + 1.5), slower at the end.
const RATES: [i32; 16] = [
    43_690, 26_214, 18_724, 14_563, 11_915, 10_082, 8738, 7710, 6898, 6241, 5461, 4369, 3640, 2978, 2340,
    1820,
];

/// Returns ln(p / (1 - p)) * 256 of a chance: -2047 ..= 2047.
#[inline]
pub(crate) const fn stretch(one: u32) -> i32 {
    if one >= 2048 { -stretched_low(4095 - one) } else { stretched_low(one) }
}

#[inline]
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
#[inline]
pub(crate) const fn squash(at: i32) -> u32 {
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

/// Inputs of a mixer at most.
pub(crate) const INPUTS_MAX: usize = 5;

/// Weights of one set of so many inputs, [`WEIGHT_ONE`] each for a weight of one.
pub(crate) type Weights<const INPUTS: usize> = [i16; INPUTS];

/// A weight of one.
pub(crate) const WEIGHT_ONE: i32 = 8192;

/// Several predictions of one decision.
pub(crate) struct Mix {
    stretched: [i32; INPUTS_MAX],
    count: usize,
}

impl Mix {
    pub(crate) const fn new() -> Self {
        Self { stretched: [0; INPUTS_MAX], count: 0 }
    }

    /// Adds what a chance says, the less the fewer lessons it had.
    #[inline]
    pub(crate) fn add(&mut self, chance: u16) {
        let trust = TRUST[usize::from(chance & 15)];
        self.stretched[self.count] = (stretch(one(chance)) * trust) >> 3;
        self.count += 1;
    }

    /// Adds what a fine chance says, by its first word.
    #[inline]
    fn add_fine(&mut self, high: u16) {
        self.stretched[self.count] = stretch(u32::from(high >> 4).clamp(1, 4095));
        self.count += 1;
    }

    /// Codes a decision, and teaches the weights which predictions were right.
    #[inline]
    pub(crate) fn code<C: Coder>(&self, coder: &mut C, weights: &mut [i16], bit: bool, rate: i32) -> bool {
        let inputs = || self.stretched.iter().take(self.count);
        let sum: i32 = inputs().zip(weights.iter()).map(|(input, weight)| input * i32::from(*weight)).sum();
        let probability = squash((sum / WEIGHT_ONE).clamp(-2047, 2047));
        let bit = coder.code(probability, bit);
        let error = (i32::from(bit) << 16) - probability.cast_signed();
        for (input, weight) in inputs().zip(weights.iter_mut()) {
            let step = ((input * (error >> 4)) * rate + (1 << 16)) >> 17;
            *weight = (i32::from(*weight) + step).clamp(-32_768, 32_767) as i16;
        }
        bit
    }
}

/// Codes a decision under a fine chance and two others, by where they stand, mixed; all of them learn.
#[inline]
pub(crate) fn code_mixed<C: Coder>(
    words: &mut [u16],
    coder: &mut C,
    (fine, others): (usize, [usize; 2]),
    weights: &mut Weights<3>,
    (rate, lessons_max): (i32, u32),
    bit: bool,
) -> bool {
    let mut mix = Mix::new();
    mix.add_fine(words[fine]);
    for slot in others {
        mix.add(words[slot]);
    }
    let bit = mix.code(coder, weights, bit, rate);
    learn_fine(&mut words[fine..fine + FINE_WORDS], bit, lessons_max);
    for slot in others {
        learn(&mut words[slot], bit, MIXED_LESSONS);
    }
    bit
}

const MIXED_LESSONS: u16 = 15;

/// Eighths of a prediction that count after 0 ..= 15 lessons.
const TRUST: [i32; 16] = [0, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8];

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
