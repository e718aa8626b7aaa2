//! Places where pieces of the target are found in the base, and earlier in the target.

use std::vec;
use std::vec::Vec;

use super::suffixes;
use crate::order::Order;

/// A piece of the target that stands elsewhere as well: in the base, or earlier in the target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Match {
    pub(crate) target_at: u32,
    /// Place in the base, or from `base_size` on, place in the target plus that.
    pub(crate) source: u32,
    pub(crate) length: u32,
}

const NONE: u32 = u32::MAX;

/// Finds the longest matches at every place, and keeps those that do not just go on from the place before.
pub(crate) fn find(base: &[u8], target: &[u8], order: &Order) -> Vec<Match> {
    let text = [base, target].concat();
    let sorted = suffixes::sorted(&text);
    let base_size = base.len() as u32;
    let mut found = Vec::new();
    for places in
        [nearest_base(&sorted, base_size, target.len()), nearest_own(&sorted, base_size, target.len(), order)]
    {
        for neighbours in places {
            starts(&text, base_size, &neighbours, &mut found);
        }
    }
    found.sort_unstable_by_key(|found| (found.target_at, found.source));
    found.dedup_by_key(|found| (found.target_at, found.source));
    found
}

/// Per place of the target, the suffixes of the base next to its own in the order: the one before, the one after.
fn nearest_base(sorted: &[u32], base_size: u32, target_size: usize) -> [Vec<u32>; 2] {
    let scan = |order: &mut dyn Iterator<Item = &u32>| {
        let (mut near, mut latest) = (vec![NONE; target_size], NONE);
        for &start in order {
            match start.checked_sub(base_size) {
                None => latest = start,
                Some(at) => near[at as usize] = latest,
            }
        }
        near
    };
    [scan(&mut sorted.iter()), scan(&mut sorted.iter().rev())]
}

/// Per place of the target, the suffixes of earlier places of the target next to its own in the order.
fn nearest_own(sorted: &[u32], base_size: u32, target_size: usize, order: &Order) -> [Vec<u32>; 2] {
    let (mut before, mut after) = (vec![NONE; target_size], vec![NONE; target_size]);
    let mut latest = NONE;
    for at in sorted.iter().filter_map(|start| start.checked_sub(base_size)) {
        before[at as usize] = latest;
        if latest != NONE {
            after[latest as usize] = at;
        }
        latest = at;
    }
    // Taken out from the last one that is made on, each leaves only earlier ones as neighbours.
    let block = order.block_bytes().map_or(target_size.max(1), |bytes| bytes as usize);
    let blocks = (0..target_size).step_by(block).map(|start| start..(start + block).min(target_size));
    for at in blocks.flat_map(Iterator::rev) {
        let (previous, next) = (before[at], after[at]);
        if previous != NONE {
            after[previous as usize] = next;
        }
        if next != NONE {
            before[next as usize] = previous;
        }
    }
    for near in before.iter_mut().chain(&mut after).filter(|near| **near != NONE) {
        *near += base_size;
    }
    [before, after]
}

/// Collects where a neighbour's match is not the one of the place before, moved on by one.
fn starts(text: &[u8], base_size: u32, neighbours: &[u32], found: &mut Vec<Match>) {
    let target = &text[base_size as usize..];
    let (mut source, mut left) = (NONE, 0_u32);
    for (at, &neighbour) in neighbours.iter().enumerate() {
        left = left.saturating_sub(1);
        let goes_on = neighbour != NONE && source != NONE && neighbour == source + 1;
        source = neighbour;
        if neighbour == NONE || goes_on && left > 0 {
            continue;
        }
        let from = neighbour as usize;
        let source_end = if neighbour < base_size { base_size as usize } else { text.len() };
        let length = common_bytes(&text[from..source_end], &target[at..]) as u32;
        left = length;
        let is_new = at == 0 || from == 0 || text[from - 1] != target[at - 1] || from as u32 == base_size;
        if length >= if neighbour < base_size { MATCH_MIN } else { OWN_MATCH_MIN } && (is_new || !goes_on) {
            found.push(Match { target_at: at as u32, source: neighbour, length });
        }
    }
}

/// Number of bytes that both start with, up to [`COMPARED_MAX`].
fn common_bytes(one: &[u8], other: &[u8]) -> usize {
    let count = one.len().min(other.len()).min(COMPARED_MAX);
    let (one, other) = (&one[..count], &other[..count]);
    let words = one.chunks_exact(8).zip(other.chunks_exact(8)).take_while(|(a, b)| a == b).count();
    let at = words * 8;
    at + one[at..].iter().zip(&other[at..]).take_while(|(a, b)| a == b).count()
}

/// Shorter matches seldom pay for where they are.
const MATCH_MIN: u32 = 5;
const OWN_MATCH_MIN: u32 = 5;

/// Bounds the time on images with long runs; longer matches go on by themselves.
const COMPARED_MAX: usize = 1024;
