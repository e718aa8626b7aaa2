//! Finds the sequence in which the pages of a target take the places of the base's at the least loss.
//!
//! Each page of the target copies from some pages of the base. Made in its turn, it destroys one, unless that is kept in a
//! spare page. Pages are moved about in the sequence at random, from the sequences that need not be told on, and less and
//! less is put up with that makes it worse; the page that is needed least is always the one that goes.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use super::parse::Piece;
use crate::order::{Layout, Order};

/// A sequence of pages: in which each is made, and until when what the base has there is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Schedule {
    /// Per page of the target, how many are made before it.
    index: Vec<u32>,
    /// Per page, how many are made when its base is gone.
    until: Vec<u32>,
    /// Per page, the page that is made after it and the spare one for its base.
    next: Vec<(u32, u32)>,
    /// All pages in their turn.
    pub(crate) pages: Vec<u32>,
}

/// The order in which a target is made, with the sequence of pages where the patch tells it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) order: Order,
    pub(crate) told: Option<&'a Schedule>,
}

impl Plan<'_> {
    /// Says whether a byte of the base is there while byte `position` of the target is made.
    pub(crate) fn is_byte_kept(&self, at: u32, position: u32) -> bool {
        let Some(told) = self.told else {
            return self.order.is_byte_kept(at, position);
        };
        let until = told.until.get(self.order.page_of(at) as usize);
        until.is_none_or(|&until| told.index[self.order.page_of(position) as usize] < until)
    }

    /// Says whether what is copied at `at` ends there, as the byte before it is not made right before.
    pub(crate) fn starts_anew(&self, at: u32) -> bool {
        match self.told {
            None => self.order.block_bytes().is_some_and(|bytes| at.is_multiple_of(bytes)),
            Some(told) => {
                let (before, here) = (self.order.page_of(at.wrapping_sub(1)), self.order.page_of(at));
                before != here && told.index[before as usize] + 1 != told.index[here as usize]
            }
        }
    }

    /// Says whether a byte of the target is made before another one.
    pub(crate) fn is_made(&self, from: usize, at: usize) -> bool {
        if let Some(told) = self.told {
            let turn = |at: usize| told.index[self.order.page_of(at as u32) as usize];
            return (turn(from), from) < (turn(at), at);
        }
        let bytes = self.order.block_bytes().map_or(usize::MAX, |bytes| bytes as usize);
        let start = at - at % bytes;
        (start..at).contains(&from) || from >= start.saturating_add(bytes)
    }

    /// Places of the target, from the one that is made last on.
    pub(crate) fn latest_first(&self, target_size: usize) -> impl Iterator<Item = usize> {
        let pages = self.told.map(|told| {
            told.pages
                .iter()
                .rev()
                .map(|&page| self.order.page(page))
                .map(|page| page.start as usize..page.end as usize)
        });
        let block = self.order.block_bytes().map_or(target_size.max(1), |bytes| bytes as usize);
        let blocks = self.told.is_none().then(|| {
            (0..target_size).step_by(block).map(move |start| start..(start + block).min(target_size))
        });
        pages.into_iter().flatten().chain(blocks.into_iter().flatten()).flat_map(Iterator::rev)
    }

    /// The page that is made after another one, and the spare one for its base.
    pub(crate) fn next(&self, page: u32) -> (u32, u32) {
        self.told.map_or((0, 0), |told| told.next[page as usize])
    }
}

/// Needs of each page of the target: pages of the base that the target takes the place of, and bytes.
type Needs = Vec<Vec<(u32, u32)>>;

/// Finds a sequence that loses less than `lost` bytes of what `pieces` copy, if there is one that is worth telling.
pub(crate) fn find(order: &Order, layout: Layout, pieces: &[Piece], lost: u32) -> Option<(Layout, Schedule)> {
    let pages = order.target_size.div_ceil(layout.page_bytes());
    if !(2..=PAGES_MAX).contains(&pages) || lost < LOST_MIN {
        return None;
    }
    let needs = needs(order, layout, pieces, pages);
    let spare_pages = (layout.spare_pages() as usize).min(crate::order::SPARES_MAX);
    let mut search = Search { needs: &needs, spare_pages, wanted: vec![0; pages as usize] };
    let sequence = search.best(pages);
    let cost = search.cost(&sequence);
    // The sequence takes bits itself, and pages that do not follow each other cut copies.
    if cost >= lost {
        return None;
    }
    // The first page is told roughly: it is one of 256, and stands first in any case.
    let first = (0..=u8::MAX).find(|&first| (pages * u32::from(first)) >> 8 == sequence[0])?;
    Some((layout.told_from(first)?, search.schedule(&sequence)))
}

/// Pages that are worth so much work; larger images have few conflicts for their size.
const PAGES_MAX: u32 = 2048;
/// Bytes lost that a sequence is looked for.
const LOST_MIN: u32 = 256;

/// Adds up what each page of the target copies from which pages of the base.
fn needs(order: &Order, layout: Layout, pieces: &[Piece], pages: u32) -> Needs {
    let bytes = layout.page_bytes();
    let mut needs = vec![BTreeMap::<u32, u32>::new(); pages as usize];
    for piece in pieces {
        let Some(source) = piece.source.filter(|source| *source < order.base_size) else { continue };
        let (mut target_at, mut source, mut left) = (piece.target_at, source, piece.length);
        while left > 0 {
            let length = left.min(bytes - target_at % bytes).min(bytes - source % bytes);
            if source / bytes < pages {
                *needs[(target_at / bytes) as usize].entry(source / bytes).or_default() += length;
            }
            (target_at, source, left) = (target_at + length, source + length, left - length);
        }
    }
    needs.into_iter().map(|needs| needs.into_iter().collect()).collect()
}

struct Search<'a> {
    needs: &'a Needs,
    spare_pages: usize,
    /// Per page of the base, bytes that pages still to be made want.
    wanted: Vec<u32>,
}

/// Bytes of a patch that a page takes which does not follow the one before: its number, and copies that are cut.
const JUMP_BYTES: u32 = 8;
/// Steps of the search through all needs, in all: some tenths of a second.
const WORK: usize = 60_000_000;
const TURNS_MAX: usize = 60_000;
/// Loss that is put up with at first.
const HEAT: f64 = 3000.0;

impl Search<'_> {
    /// Walks through a sequence: `visit` is told each page, the spare page that it takes, and the page that this ends. Returns the bytes
    /// that are lost.
    fn walk(&mut self, sequence: &[u32], mut visit: impl FnMut(u32, usize, Option<u32>)) -> u32 {
        const NONE: u32 = u32::MAX;
        self.wanted.fill(0);
        for &(page, bytes) in self.needs.iter().flatten() {
            self.wanted[page as usize] += bytes;
        }
        let mut spares = [NONE; crate::order::SPARES_MAX];
        let spares = &mut spares[..self.spare_pages];
        let (mut is_gone, mut lost) = (vec![false; sequence.len()], 0);
        for &here in sequence {
            // The page itself must be kept while its place is taken, so another one always goes.
            let least = (0..spares.len()).min_by_key(|&spare| match spares[spare] {
                NONE => (0, 0),
                page => (self.wanted[page as usize] + 1, spare),
            });
            let spare = least.unwrap_or(0);
            let ended = Some(core::mem::replace(&mut spares[spare], here)).filter(|page| *page != NONE);
            if let Some(page) = ended {
                is_gone[page as usize] = true;
            }
            visit(here, spare, ended);
            for &(page, bytes) in &self.needs[here as usize] {
                self.wanted[page as usize] -= bytes;
                if is_gone[page as usize] {
                    lost += bytes;
                }
            }
        }
        lost
    }

    /// Estimates the bytes of a patch that a sequence costs.
    fn cost(&mut self, sequence: &[u32]) -> u32 {
        let jumps = sequence.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count() as u32;
        self.walk(sequence, |_, _, _| {}) + jumps * JUMP_BYTES
    }

    fn best(&mut self, pages: u32) -> Vec<u32> {
        let edges: usize = self.needs.iter().map(Vec::len).sum();
        let turns = WORK / (2 * edges + 2 * pages as usize * (self.spare_pages + 2));
        let turns = turns.min(TURNS_MAX) as u32;
        let starts: [Vec<u32>; 2] = [(0..pages).collect(), (0..pages).rev().collect()];
        let found = starts.map(|start| self.cooled(start, turns / 2));
        let [one, other] = found;
        if self.cost(&other) < self.cost(&one) { other } else { one }
    }

    /// Moves runs of pages about, and puts up with less and less loss.
    fn cooled(&mut self, start: Vec<u32>, turns: u32) -> Vec<u32> {
        let mut now = start;
        let mut cost = self.cost(&now);
        let (mut best, mut best_cost) = (now.clone(), cost);
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for turn in 0..turns {
            let changed = random.moved(&now);
            let changed_cost = self.cost(&changed);
            let heat = HEAT * (1.0 - f64::from(turn) / f64::from(turns)) + 1.0;
            let worse = (f64::from(changed_cost) - f64::from(cost)) / heat;
            if worse <= 0.0 || (-worse).exp() > random.share() {
                (now, cost) = (changed, changed_cost);
                if cost < best_cost {
                    (best, best_cost) = (now.clone(), cost);
                }
            }
        }
        best
    }

    fn schedule(&mut self, sequence: &[u32]) -> Schedule {
        let pages = sequence.len();
        let (mut index, mut until, mut next) = (vec![0; pages], vec![u32::MAX; pages], vec![(0, 0); pages]);
        let mut before = None;
        let mut turn = 0;
        self.walk(sequence, |page, spare, ended| {
            index[page as usize] = turn;
            if let Some(ended) = ended {
                until[ended as usize] = turn;
            }
            if let Some(before) = before.replace(page) {
                next[before as usize] = (page, spare as u32);
            }
            turn += 1;
        });
        Schedule { index, until, next, pages: sequence.to_vec() }
    }
}

/// Numbers that look random, and are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 32) as usize * count) >> 32
    }

    /// Between 0 and 1.
    fn share(&mut self) -> f64 {
        f64::from(self.below(1 << 16) as u32) / f64::from(1 << 16)
    }

    /// The sequence with a run of pages at another place, or one that is turned round as well.
    fn moved(&mut self, sequence: &[u32]) -> Vec<u32> {
        let mut changed = sequence.to_vec();
        let way = self.below(3);
        let from = self.below(sequence.len());
        let most = if way == 0 { 1 } else { RUN_MAX };
        let length = (1 + self.below(most)).min(sequence.len() - from);
        let mut run: Vec<u32> = changed.drain(from..from + length).collect();
        if way == 2 {
            run.reverse();
        }
        let to = self.below(changed.len() + 1);
        changed.splice(to..to, run);
        changed
    }
}

/// Pages that are moved together.
const RUN_MAX: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u32 = 256;

    fn rotated(pages: u32, by: u32) -> (Order, Vec<Piece>) {
        let size = pages * PAGE;
        let order = Order { base_size: size, target_size: size, layout: None };
        let piece = |page: u32| Piece {
            target_at: page * PAGE,
            length: PAGE,
            source: Some((page + by) % pages * PAGE),
        };
        (order, (0..pages).map(piece).collect())
    }

    #[test]
    fn pages_that_change_places_all_round_lose_nothing_with_two_spare_ones() {
        let (order, pieces) = rotated(16, 5);
        let layout = Layout::new(PAGE, 2).unwrap();
        let (layout, schedule) = find(&order, layout, &pieces, 11 * PAGE).unwrap();
        assert!(layout.is_told());
        let plan = Plan { order: Order { layout: Some(layout), ..order }, told: Some(&schedule) };
        assert_eq!(plan.order.first_page(), schedule.pages[0]);
        for piece in &pieces {
            let source = piece.source.unwrap();
            let is_kept = |at: u32| plan.is_byte_kept(source + at, piece.target_at + at);
            assert!(
                (0..PAGE).all(is_kept),
                "page {} is made when its bytes are gone",
                piece.target_at / PAGE
            );
        }
        let mut places: Vec<usize> = plan.latest_first(order.target_size as usize).collect();
        assert!(places.windows(2).all(|pair| plan.is_made(pair[1], pair[0])));
        places.sort_unstable();
        assert!(places.into_iter().eq(0..order.target_size as usize));
    }

    #[test]
    fn sequence_that_loses_no_less_is_not_told() {
        let (order, pieces) = rotated(16, 5);
        // With one, a page is lost whichever is made first.
        let layout = Layout::new(PAGE, 1).unwrap();
        assert_eq!(find(&order, layout, &pieces, PAGE), None);
        assert_eq!(find(&order, layout, &[], 0), None);
    }
}
