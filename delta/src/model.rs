//! Which probability each decision of the stream is under. Maker and applier walk it in the same order.
//!
//! Every decision is predicted twice, in two contexts; the coder uses a mean of both, and both learn. Changing
//! anything here changes the format: it then needs an algorithm number of its own.

/// Adaptive probabilities and the history that chooses among them.
#[derive(Clone)]
pub(crate) struct Model {
    hits: [u16; HIT_SLOTS],
    learned: [Learned; LEARNED_SLOTS],
    /// Latest hit flags, newest lowest.
    hit_history: u8,
    /// Latest difference that was not zero.
    difference: u8,
    /// Latest byte of the target.
    previous: u8,
}

/// A number of the stream, each with statistics of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Number {
    CopyLength = 0,
    Shift = 1,
    InsertLength = 2,
}

/// One bit that is coded next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decision {
    /// Whether a copied byte is the base's. `upper` is the upper byte of the halfword it is in.
    Hit { base_at: u32, upper: u8 },
    /// Next bit of the difference of a byte that is not; `node` is 1, then the bits so far.
    Difference { node: u8 },
    /// Next bit of an inserted byte.
    Literal { node: u8 },
    /// Whether the highest bit of a number is above position `at`.
    Width { number: Number, at: u8 },
    /// Bit `at` of a number whose highest bit is at `width`.
    Bit { number: Number, width: u8, at: u8 },
}

impl Model {
    pub(crate) const fn new() -> Self {
        Self {
            hits: [HIT_AT_FIRST; HIT_SLOTS],
            learned: [Learned::NEW; LEARNED_SLOTS],
            hit_history: 0xff,
            difference: 0,
            previous: 0,
        }
    }

    /// Returns the probability of a one, in 65536ths and never 0.
    pub(crate) fn one(&self, decision: Decision) -> u16 {
        match self.slots(decision) {
            Slots::Hit { history, upper } => self.hits[history] / 2 + self.hits[upper] / 2,
            Slots::Learned { broad, narrow } => self.learned[broad].mean(self.learned[narrow]),
        }
    }

    /// Learns the outcome of a decision.
    pub(crate) fn learn(&mut self, decision: Decision, bit: bool) {
        match self.slots(decision) {
            Slots::Hit { history, upper } => {
                self.hits[history] = moved(self.hits[history], bit, 5);
                self.hits[upper] = moved(self.hits[upper], bit, 4);
                self.hit_history = self.hit_history << 1 | u8::from(bit);
            }
            Slots::Learned { broad, narrow } => {
                self.learned[broad].learn(bit);
                if broad != narrow {
                    self.learned[narrow].learn(bit);
                }
            }
        }
    }

    /// Remembers a byte of the target.
    pub(crate) fn wrote(&mut self, byte: u8) {
        self.previous = byte;
    }

    /// Remembers the difference of a byte that was not a hit.
    pub(crate) fn missed_by(&mut self, difference: u8) {
        self.difference = difference;
    }

    fn slots(&self, decision: Decision) -> Slots {
        match decision {
            Decision::Hit { base_at, upper } => {
                let lane = usize::from(base_at % 2 == 1);
                Slots::Hit {
                    history: usize::from(self.hit_history) * 2 + lane,
                    upper: HIT_UPPER_AT + usize::from(upper) * 2 + lane,
                }
            }
            Decision::Difference { node } => Slots::Learned {
                broad: DIFFERENCE_AT + usize::from(node),
                narrow: DIFFERENCE_HASHED_AT + hashed(self.difference, node, DIFFERENCE_HASHED_SLOTS),
            },
            Decision::Literal { node } => Slots::Learned {
                broad: LITERAL_AT + usize::from(node),
                narrow: LITERAL_HASHED_AT + hashed(self.previous, node, LITERAL_HASHED_SLOTS),
            },
            Decision::Width { number, at } => number_slot(number, usize::from(at)),
            // The highest bit below the width tells most; the others are near to even.
            Decision::Bit { number, width, at } if at + 1 == width => {
                number_slot(number, POSITIONS + usize::from(width))
            }
            Decision::Bit { number, at, .. } => number_slot(number, 2 * POSITIONS + usize::from(at)),
        }
    }
}

/// Where the two predictions of a decision stand.
enum Slots {
    Hit { history: usize, upper: usize },
    Learned { broad: usize, narrow: usize },
}

/// Probability of a one in the high 12 bits, number of lessons in the low 4.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Learned(u16);

impl Learned {
    const NEW: Self = Self(1 << 15);

    /// The first lessons count most, so that a rare context is of use early.
    fn learn(&mut self, bit: bool) {
        let lessons = self.lessons();
        let rate = RATES[usize::from(lessons)];
        let more = if usize::from(lessons) + 1 < RATES.len() { lessons + 1 } else { lessons };
        self.0 = moved(self.one(), bit, rate) & !LESSONS_MASK | more;
    }

    /// Mean of two predictions, weighted by what they have learned; the narrower one counts double.
    fn mean(self, narrow: Self) -> u16 {
        let broad_weight = 1 + u32::from(self.lessons());
        let narrow_weight = 1 + 2 * u32::from(narrow.lessons());
        let sum = u32::from(self.one()) * broad_weight + u32::from(narrow.one()) * narrow_weight;
        // A mean of two numbers of 16 bits has 16 bits.
        u16::try_from(sum / (broad_weight + narrow_weight)).unwrap_or(u16::MAX)
    }

    const fn lessons(self) -> u16 {
        self.0 & LESSONS_MASK
    }

    /// The middle of what the 12 bits stand for, so never 0 or 65536.
    const fn one(self) -> u16 {
        self.0 & !LESSONS_MASK | 8
    }
}

/// Moves a probability by a part of its distance. Neither end is reached, as the distance is cut off to whole
/// numbers: 2^rate - 1 stays.
const fn moved(one: u16, bit: bool, rate: u32) -> u16 {
    if bit { one + ((u16::MAX - one) >> rate) } else { one - (one >> rate) }
}

/// Slot of a node of a byte's tree in a context, among `slots`. Two that share a slot cost compression only.
fn hashed(context: u8, node: u8, slots: u32) -> usize {
    let key = u32::from(u16::from_be_bytes([context, node]));
    let hash = key.wrapping_mul(GOLDEN_RATIO);
    ((u64::from(hash) * u64::from(slots)) >> 32) as usize
}

const fn number_slot(number: Number, slot: usize) -> Slots {
    let slot = NUMBERS_AT + number as usize * 3 * POSITIONS + slot;
    Slots::Learned { broad: slot, narrow: slot }
}

/// 2^32 divided by the golden ratio: neighbouring keys land far apart.
const GOLDEN_RATIO: u32 = 0x9e37_79b1;

/// Shift of the n-th lesson.
const RATES: [u32; 12] = [1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 5];
const LESSONS_MASK: u16 = 0xf;

/// Nearly every byte of a copy is a hit, and a new image of the same firmware may have nothing else.
const HIT_AT_FIRST: u16 = 64_000;
/// Eight flags and the lane, then one byte and the lane.
const HIT_UPPER_AT: usize = 512;
const HIT_SLOTS: usize = 1024;

/// Bits of a number, see `NUMBER_WIDTH_MAX`, rounded up.
const POSITIONS: usize = 32;
/// As many as keep the whole patcher under 8 KiB.
const LITERAL_HASHED_SLOTS: u32 = 1400;
const DIFFERENCE_HASHED_SLOTS: u32 = 512;
const LITERAL_AT: usize = 0;
const LITERAL_HASHED_AT: usize = 256;
const DIFFERENCE_AT: usize = LITERAL_HASHED_AT + LITERAL_HASHED_SLOTS as usize;
const DIFFERENCE_HASHED_AT: usize = DIFFERENCE_AT + 256;
const NUMBERS_AT: usize = DIFFERENCE_HASHED_AT + DIFFERENCE_HASHED_SLOTS as usize;
const LEARNED_SLOTS: usize = NUMBERS_AT + 3 * 3 * POSITIONS;
