//! Chooses the order in which a target is made that takes the place of its base.

#![expect(clippy::cast_sign_loss, reason = "a copy lies inside the base")]

use std::vec::Vec;

use super::Pair;
use super::matches;
use super::parse::{self, Costs, Images, Piece};
use super::schedule::{self, Plan, Schedule};
use crate::order::{Layout, Order};

/// Returns the layout from low to high, the one from high to low under which the fewest bytes that would be copied are
/// gone by then, and the one that the patch tells, if that loses fewer yet.
pub(super) fn likeliest(pair: Pair<'_>, masked: &[u8], layout: Layout) -> Vec<(Layout, Option<Schedule>)> {
    let Pair { base, target, watch, .. } = pair;
    let order = |layout| Order { base_size: base.len() as u32, target_size: target.len() as u32, layout };
    let plan = Plan { order: order(None), told: None };
    let images = Images { base, target, masked, plan, watch };
    let mut seeds = Vec::new();
    parse::add_seeds(&images, matches::find(masked, base.len() as u32, &images.plan, watch), &mut seeds);
    let pieces = parse::parse(&images, &seeds, &Costs::TRIED[0]);
    let blocks = BLOCKS.into_iter().filter_map(|bits| layout.in_blocks(bits));
    let best = blocks.min_by_key(|layout| lost(&order(Some(*layout)), &pieces));
    let untold = core::iter::once(layout).chain(best);
    let least = untold.clone().map(|layout| lost(&order(Some(layout)), &pieces)).min();
    // A patch costs about half of what is lost.
    let told = schedule::find(&images.plan.order, layout, &pieces, least.unwrap_or(0).saturating_mul(2));
    let told = told.map(|(layout, told)| (layout, Some(told)));
    untold.map(|layout| (layout, None)).chain(told).collect()
}

/// Binary logarithms of the pages of blocks that are tried: one page loses the least of the base, many cut the fewest
/// copies.
const BLOCKS: [u8; 5] = [0, 2, 4, 5, 6];

/// Estimates how many bytes an order costs: copied bytes that are gone, and copies that are cut.
fn lost(order: &Order, pieces: &[Piece]) -> u32 {
    let cut = order.block_bytes().map_or(0, |bytes| order.target_size / bytes * CUT_BYTES);
    let copies = pieces.iter().filter_map(|piece| {
        let alignment =
            i64::from(piece.source.filter(|source| *source < order.base_size)?) - i64::from(piece.target_at);
        let places = (piece.target_at..piece.target_at + piece.length).step_by(STEP as usize);
        let gone = places.filter(|&at| !order.is_byte_kept((i64::from(at) + alignment) as u32, at)).count();
        Some((gone as u32 * STEP).min(piece.length))
    });
    cut + copies.sum::<u32>() / 2
}

/// Bytes that starting a copy anew takes.
const CUT_BYTES: u32 = 2;
/// Bytes of a copy that are looked at together.
const STEP: u32 = 16;
