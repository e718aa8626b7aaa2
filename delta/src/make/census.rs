//! What a division of the target cost when it was written, by what the parse weighs.

use super::bits;
use super::parse::{BIT, Costs, HITS};
use crate::coder::Subject;

/// Sum and number of costs of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: u64,
    count: u64,
}

impl Mean {
    fn add(&mut self, sum: u64, count: u64) {
        self.sum += sum;
        self.count += count;
    }

    /// Mean in 256ths of a bit; where little was seen, `usual` weighs more.
    fn or(self, usual: i32) -> i32 {
        let sum = self.sum / (bits::BIT / u64::from(BIT.unsigned_abs()));
        let usual = u64::from(usual.unsigned_abs());
        ((sum + usual * USUAL_COUNT) / (self.count + USUAL_COUNT)).min(COST_MAX) as i32
    }
}

/// Costs that the usual one weighs as much as.
const USUAL_COUNT: u64 = 8;
const COST_MAX: u64 = 1 << 14;

/// Costs of everything that the parse weighs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    hit: [Mean; HITS],
    field: Mean,
    miss: Mean,
    again: Mean,
    end: Mean,
    near: Mean,
    far: Mean,
    literal: Mean,
    /// Units of the present copy since the last miss.
    run: usize,
}

impl Census {
    /// Counts a step of the codec: what each subject took in it, and how many bytes of its unit of `unit` are not the source's.
    pub(crate) fn count(&mut self, spent: [u64; 7], unit: u32, differing: usize) {
        let of = |subject: Subject| spent[subject as usize];
        let all: u64 = spent.iter().sum();
        let length = u64::from(unit);
        if of(Subject::Literal) > 0 {
            self.literal.add(all, length);
            return;
        }
        let (mut copy, seek) = (all, of(Subject::Seek));
        if seek > 0 {
            let start = seek + of(Subject::Flow);
            if seek < NEAR_MAX { &mut self.near } else { &mut self.far }.add(start, 1);
            copy -= start;
            self.run = HITS / 2;
        }
        if length == 0 {
            self.end.add(copy, 1);
        } else if length > 1 && differing > 0 {
            self.field.add(copy, differing as u64);
            self.run += unit as usize;
        } else if length > 1 || of(Subject::Difference) == 0 {
            self.hit[self.run.min(HITS - 1)].add(copy, length);
            self.run += unit as usize;
        } else {
            if self.run == 0 { &mut self.again } else { &mut self.miss }.add(copy, 1);
            self.run = 0;
        }
    }

    /// The costs that were measured; `expected` is what the usual ones make of the literals there are.
    pub(crate) fn costs(&self, usual: &Costs, expected: u64) -> Costs {
        let mut costs = *usual;
        for (cost, hit) in costs.hit.iter_mut().zip(self.hit) {
            *cost = hit.or(*cost);
        }
        costs.field = self.field.or(usual.field);
        costs.miss = self.miss.or(usual.miss);
        costs.again = self.again.or(usual.again);
        costs.end = self.end.or(usual.end);
        costs.near = self.near.or(usual.near);
        costs.far = self.far.or(usual.far);
        let count = self.literal.count + LITERALS_USUAL;
        let measured = self.literal.sum / (bits::BIT / u64::from(BIT.unsigned_abs()));
        let more = (measured.cast_signed() - expected.cast_signed()) / count.cast_signed();
        costs.literal += more.clamp(-2 * i64::from(BIT), 2 * i64::from(BIT)) as i32;
        costs
    }
}

/// A seek that takes less went to one of the guesses.
const NEAR_MAX: u64 = 8 * bits::BIT;
/// Literals that have to be seen before their costs count.
const LITERALS_USUAL: u64 = 64;
