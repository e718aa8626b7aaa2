//! Divides the target into what is copied from the base, with differences, and what is inserted.
//!
//! Exact matches that beat going on as before are *anchors*; each grows in both directions as long as most
//! bytes agree, and where two meet, the border is set where most bytes agree.

use std::vec::Vec;

use super::suffixes::{Suffixes, common_bytes};

/// A piece of the target that is like a piece of the base. Copies stand in the target's order and do not
/// overlap in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Copy {
    pub(crate) target_at: usize,
    pub(crate) base_at: usize,
    pub(crate) length: usize,
}

/// Divides `target`. `gain_min` is the number of bytes that a new anchor must have right beyond what going
/// on as before has right: more makes fewer, longer copies.
pub(crate) fn find(base: &[u8], target: &[u8], suffixes: &Suffixes<'_>, gain_min: usize) -> Vec<Copy> {
    let anchors = anchors(base, target, suffixes, gain_min);
    let mut copies = Vec::new();
    let mut start = 0;
    for (at, anchor) in anchors.iter().enumerate() {
        let next = anchors.get(at + 1);
        let next_at = next.map_or(target.len(), |next| next.target_at);
        let gap = anchor.target_at..next_at;
        let mut forward = best_run(gap.clone().map(|at| anchor.agrees(base, target, at)));
        let mut backward =
            next.map_or(0, |next| best_run(gap.clone().rev().map(|at| next.agrees(base, target, at))));
        if let Some(next) = next
            && forward + backward > gap.len()
        {
            let shared = next_at - backward..anchor.target_at + forward;
            let border = best_border(base, target, anchor, next, shared);
            forward = border - anchor.target_at;
            backward = next_at - border;
        }
        let end = anchor.target_at + forward;
        if let Some(base_at) = anchor.base_position(start)
            && start < end
        {
            copies.push(Copy { target_at: start, base_at, length: end - start });
        }
        start = next_at - backward;
    }
    copies
}

/// A place from which base and target agree for a while.
struct Anchor {
    target_at: usize,
    base_at: usize,
}

impl Anchor {
    /// Position in the base that stands beside a position in the target.
    fn base_position(&self, target_at: usize) -> Option<usize> {
        (self.base_at + target_at).checked_sub(self.target_at)
    }

    /// Whether both have the same byte at a position; `None` outside the base.
    fn agrees(&self, base: &[u8], target: &[u8], target_at: usize) -> Option<bool> {
        let base_byte = self.base_position(target_at).and_then(|at| base.get(at))?;
        Some(target.get(target_at) == Some(base_byte))
    }
}

fn anchors(base: &[u8], target: &[u8], suffixes: &Suffixes<'_>, gain_min: usize) -> Vec<Anchor> {
    let mut latest = Anchor { target_at: 0, base_at: 0 };
    let mut anchors = Vec::new();
    let mut at = 0;
    while let Some(rest) = target.get(at..).filter(|rest| !rest.is_empty()) {
        let (base_at, length) = suffixes.longest_match(rest);
        let kept = (at..at + length).filter(|&at| latest.agrees(base, target, at) == Some(true)).count();
        if length > kept + gain_min {
            let next = Anchor { target_at: at, base_at };
            anchors.push(core::mem::replace(&mut latest, next));
            at += common_bytes(&base[base_at..], rest);
        } else if length == kept {
            at += length.max(1);
        } else {
            at += 1;
        }
    }
    anchors.push(latest);
    anchors
}

/// Length of the start of `agreements` in which right bytes outweigh wrong ones most.
fn best_run(agreements: impl Iterator<Item = Option<bool>>) -> usize {
    let (mut score, mut best_score, mut best) = (0_i64, 0, 0);
    for (at, agrees) in agreements.map_while(|agrees| agrees).enumerate() {
        score += if agrees { 1 } else { -1 };
        if score > best_score {
            (best_score, best) = (score, at + 1);
        }
    }
    best
}

/// Position in `shared` before which `one` and from which on `other` has most bytes right.
fn best_border(
    base: &[u8],
    target: &[u8],
    one: &Anchor,
    other: &Anchor,
    shared: core::ops::Range<usize>,
) -> usize {
    let is_right = |anchor: &Anchor, at| i64::from(anchor.agrees(base, target, at) == Some(true));
    let (mut score, mut best_score, mut best) = (0_i64, 0, shared.start);
    for at in shared {
        score += is_right(one, at) - is_right(other, at);
        if score > best_score {
            (best_score, best) = (score, at + 1);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    #[test]
    fn moved_block_becomes_a_copy_from_where_it_was() {
        let base: Vec<u8> = (0..=255).collect();
        let target = [&base[128..], &base[..128]].concat();
        let copies = find(&base, &target, &Suffixes::new(&base), 8);
        let moved = |target_at, base_at| Copy { target_at, base_at, length: 128 };
        assert_eq!(copies, [moved(0, 128), moved(128, 0)]);
    }

    #[test]
    fn changed_byte_stays_inside_one_copy() {
        let base: Vec<u8> = (0..200).collect();
        let mut target = base.clone();
        target[100] ^= 0x55;
        let whole = Copy { target_at: 0, base_at: 0, length: 200 };
        assert_eq!(find(&base, &target, &Suffixes::new(&base), 8), [whole]);
    }

    #[test]
    fn empty_base_gives_no_copy() {
        assert_eq!(find(&[], b"abc", &Suffixes::new(&[]), 8), vec![]);
    }

    proptest! {
        #[test]
        fn copies_stand_in_order_and_inside_both_images(
            base in proptest::collection::vec(0..3_u8, 0..120),
            target in proptest::collection::vec(0..3_u8, 0..120),
            gain_min in 0..12_usize,
        ) {
            let mut end = 0;
            for copy in find(&base, &target, &Suffixes::new(&base), gain_min) {
                prop_assert!(copy.length > 0 && copy.target_at >= end);
                end = copy.target_at + copy.length;
                prop_assert!(end <= target.len() && copy.base_at + copy.length <= base.len());
            }
        }
    }
}
