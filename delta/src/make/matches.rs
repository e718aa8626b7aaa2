//! Places where pieces of the target are found in the base, and earlier in the target.

use std::vec;
use std::vec::Vec;

use super::schedule::Plan;
use super::suffixes;
use super::watch::Watch;

/// A place of the target that stands elsewhere as well: in the base, or earlier in the target.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Match {
    pub(crate) target_at: u32,
    /// Place in the base, or from `base_size` on, place in the target plus that.
    pub(crate) source: u32,
}

const NONE: u32 = u32::MAX;

/// Finds the longest matches at every place, and keeps those that do not just go on from the place before. `text` is
/// the base, and the target behind it.
pub(crate) fn find(text: &[u8], base_size: u32, plan: &Plan<'_>, watch: &Watch<'_>) -> Vec<Match> {
    let mut sorted = suffixes::sorted(text);
    let mut found = Vec::new();
    let near = nearest_base(sorted.iter(), base_size, text.len());
    watch.count(starts(text, base_size, &near, &mut found));
    drop(near);
    let near = nearest_base(sorted.iter().rev(), base_size, text.len());
    watch.count(starts(text, base_size, &near, &mut found));
    drop(near);
    sorted.retain(|&start| start >= base_size);
    sorted.shrink_to_fit();
    for places in nearest_own(sorted, base_size, plan) {
        watch.count(starts(text, base_size, &places, &mut found));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Per place of the target, the suffix of the base that came last in an order of all.
fn nearest_base<'a>(order: impl Iterator<Item = &'a u32>, base_size: u32, text_size: usize) -> Vec<u32> {
    let (mut near, mut latest) = (vec![NONE; text_size - base_size as usize], NONE);
    for &start in order {
        match start.checked_sub(base_size) {
            None => latest = start,
            Some(at) => near[at as usize] = latest,
        }
    }
    near
}

/// Per place of the target, the suffixes of earlier places of the target next to its own in the order.
fn nearest_own(sorted: Vec<u32>, base_size: u32, plan: &Plan<'_>) -> [Vec<u32>; 2] {
    let (mut before, mut after) = (vec![NONE; sorted.len()], vec![NONE; sorted.len()]);
    let mut latest = NONE;
    for at in sorted.iter().map(|start| start - base_size) {
        before[at as usize] = latest;
        if latest != NONE {
            after[latest as usize] = at;
        }
        latest = at;
    }
    drop(sorted);
    // Taken out from the last one that is made on, each leaves only earlier ones as neighbours.
    for at in plan.latest_first(before.len()) {
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

/// Collects where a neighbour's match is not the one of the place before, moved on by one. Returns the
/// bytes that were found alike.
fn starts(text: &[u8], base_size: u32, neighbours: &[u32], found: &mut Vec<Match>) -> u64 {
    let target = &text[base_size as usize..];
    let (mut source, mut left, mut compared) = (NONE, 0_usize, 0);
    for (at, &neighbour) in neighbours.iter().enumerate() {
        left = left.saturating_sub(1);
        let goes_on = neighbour != NONE && source != NONE && neighbour == source + 1;
        source = neighbour;
        if neighbour == NONE || goes_on && left > 0 {
            continue;
        }
        let from = neighbour as usize;
        let source_end = if neighbour < base_size { base_size as usize } else { text.len() };
        // The neighbour of the place before is alike in one byte less from here on, and this one is nearer.
        left = left.min(source_end - from);
        let more = common_bytes(&text[from + left..source_end], &target[at + left..]);
        left += more;
        compared += more as u64;
        let is_new = at == 0 || from == 0 || text[from - 1] != target[at - 1] || from as u32 == base_size;
        if left >= MATCH_MIN && (is_new || !goes_on) {
            found.push(Match { target_at: at as u32, source: neighbour });
        }
    }
    compared
}

/// Number of bytes that both start with.
fn common_bytes(one: &[u8], other: &[u8]) -> usize {
    let words = one.chunks_exact(8).zip(other.chunks_exact(8)).take_while(|(a, b)| a == b).count();
    let at = words * 8;
    at + one[at..].iter().zip(&other[at..]).take_while(|(a, b)| a == b).count()
}

/// Shorter matches seldom pay for where they are.
const MATCH_MIN: usize = 5;
