//! Divides the target into copies and literals at the least cost, as a model of the coder estimates it.
//!
//! Forward over the target, every *alignment* that a match starts is followed as long as it may still be part of the
//! best division: bytes that differ cost, and so does leaving it. Fields that moved cost little, since they are masked.

#![expect(
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "positions are below 2^29, and costs are estimates"
)]

use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

use super::bits;
use super::matches::Match;
use super::schedule::Plan;
use super::watch::{LOOK_STEPS, Watch};

/// A piece of the target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Piece {
    pub(crate) target_at: u32,
    pub(crate) length: u32,
    /// Place in the base, or `base_size` plus a place in the target; `None` for a literal.
    pub(crate) source: Option<u32>,
}

/// Both images, as they are and with their fields masked.
pub(crate) struct Images<'a> {
    pub(crate) base: &'a [u8],
    pub(crate) target: &'a [u8],
    /// Base and target, one after the other, with all fields masked.
    pub(crate) masked: &'a [u8],
    /// What is there of the base while the target is made.
    pub(crate) plan: Plan<'a>,
    pub(crate) watch: &'a Watch<'a>,
}

/// Costs in 256ths of a bit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// A byte that is the source's, by how many of them there were just before.
    pub(crate) hit: [i32; HITS],
    /// A byte of a field that moved.
    pub(crate) field: i32,
    /// A byte that differs, and one right after such a byte.
    pub(crate) miss: i32,
    pub(crate) again: i32,
    /// The end of a copy.
    pub(crate) end: i32,
    /// The start of a copy: where it is expected, and elsewhere at most.
    pub(crate) near: i32,
    pub(crate) far: i32,
    /// A literal, besides what its byte takes by how rare it is.
    pub(crate) literal: i32,
}

/// Runs of bytes that cost differently.
pub(crate) const HITS: usize = 16;

/// One bit.
pub(crate) const BIT: i32 = 256;

impl Costs {
    /// Costs where most of what changed is fields that the codec has learned, and where it is not.
    pub(crate) const TRIED: [Self; 4] =
        [Self::of(8, 179), Self::of(9, 2 * BIT), Self::of(11, 179), Self::of(12, 3 * BIT)];

    const fn of(miss_bits: i32, field: i32) -> Self {
        Self { miss: miss_bits * BIT, again: miss_bits * BIT - BIT * 3 / 2, field, ..Self::USUAL }
    }

    /// As measured on firmware.
    const USUAL: Self = Self {
        hit: [205, 128, 90, 64, 51, 38, 31, 26, 20, 18, 15, 13, 13, 10, 10, 5],
        field: 179,
        miss: 7 * BIT,
        again: 6 * BIT,
        end: 6 * BIT,
        near: 4 * BIT,
        far: 21 * BIT,
        literal: BIT,
    };
}

/// An alignment that is followed.
#[derive(Clone, Copy)]
struct Live {
    /// Source less target position.
    alignment: i64,
    is_own: bool,
    cost: i64,
    entry: u32,
    run: u32,
}

/// Best way to have coded everything before a place.
#[derive(Clone, Copy)]
struct Best {
    cost: i64,
    last: Last,
    /// Source less target position of the last copy from the base, and where that ended.
    copied: i64,
    copy_end: u32,
}

/// Last piece of the best way to a place: where it starts, and its source less its target position; [`LITERAL`] for
/// none.
#[derive(Clone, Copy)]
struct Last {
    entry: u32,
    alignment: i32,
}

impl Seed {
    /// Whether what it copies is of the target.
    pub(crate) fn is_own(self, base_size: i64) -> bool {
        i64::from(self.target_at) + i64::from(self.alignment) >= base_size
    }
}

const LITERAL: i32 = i32::MAX;

/// Divides the target.
pub(crate) fn parse(images: &Images<'_>, seeds: &[Seed], costs: &Costs) -> Vec<Piece> {
    let literal_costs = literal_costs(images.target, costs);
    let mut best = Vec::with_capacity(images.target.len());
    let mut here = Best { cost: 0, last: Last { entry: 0, alignment: LITERAL }, copied: 0, copy_end: 0 };
    let mut walk =
        Walk { images, costs, live: Vec::new(), absent: VecDeque::new(), latest: [0; 6], literal: here };
    let is_in_place = images.plan.order.layout.is_some();
    let (mut next, mut followed) = (0, 0);
    for (at, &literal_cost) in literal_costs.iter().enumerate() {
        if at % LOOK_STEPS == 0 && !images.watch.look() {
            return Vec::new();
        }
        if is_in_place && at > 0 && images.plan.starts_anew(at as u32) {
            walk.begin_block(here);
        }
        walk.bring_back(at, here);
        while let Some(seed) = seeds.get(next).filter(|seed| seed.target_at as usize <= at) {
            walk.enter(at, here, seed.alignment.into());
            next += 1;
        }
        walk.resume(at, here);
        followed += (walk.live.len() + walk.absent.len()) as u64;
        here = walk.advance(at, here, literal_cost.into());
        best.push(here.last);
    }
    images.watch.count(followed);
    pieces(images, &best)
}

/// An alignment, and where it is worth trying from.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Seed {
    target_at: u32,
    alignment: i32,
}

/// Adds where each alignment is worth trying from: its matches, and what stands before them.
pub(crate) fn add_seeds(images: &Images<'_>, matches: Vec<Match>, seeds: &mut Vec<Seed>) {
    let base_size = images.base.len() as i64;
    seeds.extend(matches.into_iter().map(|found| {
        let alignment = i64::from(found.source) - i64::from(found.target_at);
        let is_own = i64::from(found.source) >= base_size;
        let least = if is_own { base_size } else { 0 };
        let target_at = backwards(images, found.target_at, alignment, least);
        images.watch.count(u64::from(found.target_at - target_at));
        Seed { target_at, alignment: alignment as i32 }
    }));
    seeds.sort_unstable();
    seeds.dedup();
}

/// Walks back from a match as long as what is before it may be worth copying as well.
fn backwards(images: &Images<'_>, target_at: u32, alignment: i64, least: i64) -> u32 {
    let base_size = images.base.len();
    let (mut score, mut best_score, mut best) = (0_i32, 0, target_at);
    for at in (target_at.saturating_sub(BACK_BYTES)..target_at).rev() {
        let from = i64::from(at) + alignment;
        if from < least || score < best_score - BACK_SLACK {
            break;
        }
        let is_alike = images.masked[from as usize] == images.masked[base_size + at as usize];
        score += if is_alike { 1 } else { -3 };
        if score > best_score {
            (best_score, best) = (score, at);
        }
    }
    best
}

struct Walk<'a> {
    images: &'a Images<'a>,
    costs: &'a Costs,
    live: Vec<Live>,
    /// Alignments of the base that were left as what they copy was not there.
    absent: VecDeque<i64>,
    /// Alignments of the base that the best way used last.
    latest: [i64; 6],
    /// Best way that ends in a literal.
    literal: Best,
}

impl Walk<'_> {
    /// Ends all copies, as blocks are not made in the order of their places.
    fn begin_block(&mut self, here: Best) {
        let ways: Vec<i64> =
            self.live.iter().filter(|live| !live.is_own).map(|live| live.alignment).collect();
        for alignment in ways {
            self.leave(alignment);
        }
        self.live.clear();
        self.literal = Best { cost: i64::MAX / 2, ..here };
    }

    /// Remembers an alignment that can't be followed now.
    fn leave(&mut self, alignment: i64) {
        if !self.absent.contains(&alignment) {
            self.absent.truncate(ABSENT_MAX - 1);
            self.absent.push_front(alignment);
        }
    }

    /// Follows alignments again that can be followed from here on.
    fn bring_back(&mut self, at: usize, here: Best) {
        if self.absent.is_empty() {
            return;
        }
        for alignment in core::mem::take(&mut self.absent) {
            if self.is_there(at, alignment) {
                self.enter(at, here, alignment);
            } else if at as i64 + alignment < self.images.base.len() as i64 {
                self.absent.push_back(alignment);
            }
        }
    }

    /// Whether the byte of the base that an alignment copies is there.
    fn is_there(&self, at: usize, alignment: i64) -> bool {
        let from = at as i64 + alignment;
        (0..self.images.base.len() as i64).contains(&from)
            && self.images.plan.is_byte_kept(from as u32, at as u32)
    }

    /// Follows anew what was copied before, where it looks the same again.
    fn resume(&mut self, at: usize, here: Best) {
        if i64::from(here.last.alignment) == here.copied {
            return;
        }
        let goes_on = i64::from(here.copy_end) - at as i64 + here.copied;
        for alignment in [here.copied, goes_on].into_iter().chain(self.latest) {
            let is_live = self.live.iter().any(|live| live.alignment == alignment && !live.is_own);
            if !is_live && self.is_there(at, alignment) && self.looks_alike(at, alignment) {
                self.enter(at, here, alignment);
            }
        }
    }

    /// Whether a few bytes of the base are, but for fields, as in the target.
    fn looks_alike(&self, at: usize, alignment: i64) -> bool {
        let base_size = self.images.base.len();
        let from = at as i64 + alignment;
        if from < 0 || from as usize + ALIKE_BYTES > base_size || at + ALIKE_BYTES > self.images.target.len()
        {
            return false;
        }
        let (from, masked) = (from as usize, self.images.masked);
        masked[from..from + ALIKE_BYTES] == masked[base_size + at..base_size + at + ALIKE_BYTES]
    }

    /// Starts following an alignment.
    fn enter(&mut self, at: usize, here: Best, alignment: i64) {
        let is_own = at as i64 + alignment >= self.images.base.len() as i64;
        if !is_own && !self.is_there(at, alignment) {
            self.leave(alignment);
            return;
        }
        let cost = here.cost + self.seek_cost(at, here, alignment, is_own);
        let known = self.live.iter_mut().find(|live| live.alignment == alignment && live.is_own == is_own);
        match known {
            Some(live) if live.cost <= cost => {}
            Some(live) => (live.cost, live.entry, live.run) = (cost, at as u32, 0),
            None => {
                self.live.push(Live { alignment, is_own, cost, entry: at as u32, run: 8 });
            }
        }
    }

    fn seek_cost(&self, at: usize, here: Best, alignment: i64, is_own: bool) -> i64 {
        let costs = self.costs;
        let end = if here.last.alignment == LITERAL { 0 } else { costs.end };
        let bits_of = |distance: i64| (bits::log2(distance.clamp(1, u32::MAX.into()) as u32) / 256) as i32;
        let seek = if is_own {
            5 * BIT + bits_of(self.images.base.len() as i64 - alignment) * 6 / 5
        } else if alignment == here.copied || alignment == i64::from(here.copy_end) - at as i64 + here.copied
        {
            costs.near
        } else {
            let distance = (alignment - here.copied).abs();
            (costs.near + 3 * BIT + bits_of(distance) * 13 / 10).min(costs.far)
        };
        i64::from(end + seek)
    }

    /// Goes on by one byte on every way, and returns the best.
    fn advance(&mut self, at: usize, here: Best, literal_cost: i64) -> Best {
        let (base_size, costs) = (self.images.base.len(), self.costs);
        let (base, target, masked) = (self.images.base, self.images.target, self.images.masked);
        let mut least: Option<Live> = None;
        let mut live = core::mem::take(&mut self.live);
        live.retain_mut(|live| {
            let from = at as i64 + live.alignment;
            if from < 0 || !live.is_own && from >= base_size as i64 {
                return false;
            }
            let from = from as usize;
            if self.images.plan.order.layout.is_some() {
                if live.is_own
                    && !(from - base_size < target.len() && self.images.plan.is_made(from - base_size, at))
                {
                    return false;
                }
                if !live.is_own && !self.is_there(at, live.alignment) {
                    self.leave(live.alignment);
                    return false;
                }
            }
            let byte = if live.is_own { target[from - base_size] } else { base[from] };
            let cost = if byte == target[at] {
                let cost = costs.hit[live.run.min(HITS as u32 - 1) as usize];
                live.run += 1;
                cost
            } else if masked[from] == masked[base_size + at] {
                live.run += 1;
                costs.field
            } else {
                let cost = if live.run == 0 { costs.again } else { costs.miss };
                live.run = 0;
                cost
            };
            live.cost += i64::from(cost);
            if least.is_none_or(|least| live.cost < least.cost) {
                least = Some(*live);
            }
            true
        });
        self.live = live;
        let end = i64::from(costs.end);
        let mut literal = if self.literal.cost <= here.cost + end {
            self.literal
        } else {
            Best { last: Last { entry: at as u32, alignment: LITERAL }, cost: here.cost + end, ..here }
        };
        literal.cost += literal_cost;
        self.literal = literal;
        let best = match least {
            Some(live) if live.cost < literal.cost => {
                if !live.is_own && live.alignment != self.latest[0] {
                    let known = self.latest.iter().position(|&known| known == live.alignment);
                    self.latest[..=known.unwrap_or(5)].rotate_right(1);
                    self.latest[0] = live.alignment;
                }
                let copied = if live.is_own { here.copied } else { live.alignment };
                let copy_end = if live.is_own { here.copy_end } else { at as u32 + 1 };
                let piece = Last { entry: live.entry, alignment: live.alignment as i32 };
                Best { cost: live.cost, last: piece, copied, copy_end }
            }
            _ => literal,
        };
        self.live.retain(|live| live.cost < best.cost + LEFT_BEHIND);
        if self.live.len() > LIVE_MAX {
            self.live.sort_unstable_by_key(|live| (live.cost, live.alignment));
            self.live.truncate(LIVE_MAX);
        }
        best
    }
}

/// A way that costs this much more than the best one never becomes it: one could change over to it instead.
const LEFT_BEHIND: i64 = 40 * BIT as i64;
/// Alignments that are remembered while what they copy is not there.
const ABSENT_MAX: usize = 32;
/// Ways followed at a time.
const LIVE_MAX: usize = 32;
/// Bytes that make a former alignment worth trying again.
const ALIKE_BYTES: usize = 4;
/// Bytes before a match that are looked at.
const BACK_BYTES: u32 = 256;
/// How far the score of going back may fall.
const BACK_SLACK: i32 = 12;

/// Follows the best way back from the end.
fn pieces(images: &Images<'_>, best: &[Last]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut end = images.target.len();
    while let Some(at) = end.checked_sub(1) {
        let Last { entry, alignment } = best[at];
        let source = (alignment != LITERAL).then(|| (i64::from(entry) + i64::from(alignment)) as u32);
        pieces.push(Piece { target_at: entry, length: end as u32 - entry, source });
        end = entry as usize;
    }
    pieces.reverse();
    pieces
}

/// Estimates the cost of each byte as a literal: by how often it follows the byte before it.
pub(crate) fn literal_costs(target: &[u8], costs: &Costs) -> Vec<u16> {
    let (mut pairs, mut singles) = (vec![0_u32; 1 << 16], vec![0_u32; 256]);
    let key = |at: usize| usize::from(at.checked_sub(1).map_or(0, |at| target[at]));
    for (at, &byte) in target.iter().enumerate() {
        pairs[key(at) << 8 | usize::from(byte)] += 1;
        singles[key(at)] += 1;
    }
    let cost = |at: usize| {
        let (pair, single) = (pairs[key(at) << 8 | usize::from(target[at])], singles[key(at)]);
        let rarity = bits::log2(single * 8 + 64) - bits::log2(pair * 8 + 1);
        (costs.literal + (rarity / 256) as i32).clamp(0, u16::MAX.into()) as u16
    };
    (0..target.len()).map(cost).collect()
}
