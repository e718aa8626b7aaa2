//! Literals, and bytes of copies that are not the base's.

use super::{BYTE_SETS, Codec, Desk, Origin, Source, Truth};
use crate::chance::Chances;
use crate::coder::{Coder, Subject};

/// What is known of a byte before it is coded.
#[derive(Clone, Copy)]
pub(super) struct Surroundings {
    /// Whether the byte stands for one of the base that it differs from, not in a literal.
    pub(super) is_difference: bool,
    /// The byte of the base that stands beside it.
    pub(super) beside: u8,
    /// Place within its word.
    pub(super) lane: u32,
    /// Bytes coded before, the latest one lowest.
    pub(super) before: u64,
}

impl Codec {
    /// Codes one unit of a literal: a byte, or an aligned instruction with its highest byte first. Returns its bytes.
    pub(super) fn literal<C: Coder, S: Source, T: Truth>(&mut self, desk: &mut Desk<'_, C, S, T>) -> u32 {
        desk.chances.turn_to(Subject::Literal);
        let unit_bytes = self.architecture.literal_bytes();
        let is_whole = self.position.is_multiple_of(unit_bytes) && self.remaining() >= unit_bytes;
        let length = if is_whole { unit_bytes } else { 1 };
        let beside_at = self.position.wrapping_add_signed(self.alignments[0]);
        let beside =
            if beside_at < self.order.base_size { self.view(desk, Origin::Base, beside_at).bytes } else { 0 };
        let mut before = if is_whole { in_coding_order(self.latest, unit_bytes) } else { self.latest };
        let known = desk.truth.bytes(self.position);
        let mut unit = 0;
        for at in (0..length).rev() {
            let surroundings = Surroundings {
                is_difference: false,
                beside: (beside >> (8 * at)) as u8,
                lane: (self.position + at) & 3,
                before,
            };
            let byte = self.byte(&mut desk.chances, &surroundings, (known >> (8 * at)) as u8);
            unit |= u64::from(byte) << (8 * (length - 1 - at));
            before = before << 8 | u64::from(byte);
        }
        self.give(unit, length)
    }

    /// Codes one byte.
    pub(super) fn byte<C: Coder>(
        &mut self,
        chances: &mut Chances<'_, C>,
        surroundings: &Surroundings,
        known: u8,
    ) -> u8 {
        let contexts = contexts(surroundings);
        let set = usize::from(surroundings.is_difference) * 4 + surroundings.lane as usize;
        debug_assert!(set < BYTE_SETS);
        let order_0 = self.slots.order_0 + 256 * (surroundings.lane & self.slots.order_0_lanes) as usize;
        let mut node = 1_usize;
        for place in (0..8).rev() {
            let mut slots = [order_0 + node; CONTEXTS + 1];
            let spread = (node as u32).wrapping_mul(0x2545_f491);
            for (slot, context) in slots[1..].iter_mut().zip(contexts) {
                let hash = (context ^ spread).wrapping_mul(0x85eb_ca6b);
                *slot = self.slots.tables + (((hash >> 16) * self.literal_slots) >> 16) as usize;
            }
            let weights = &mut self.byte_weights[set];
            let bit = chances.code_mixed(&slots, weights, (BYTE_RATE, None), known >> place & 1 != 0);
            node = node << 1 | usize::from(bit);
        }
        node as u8
    }
}

/// Hashes of what is known, each a context of its own.
fn contexts(known: &Surroundings) -> [u32; CONTEXTS] {
    let (lane, beside) = (known.lane << 27, u32::from(known.beside));
    let before = |at: u32| (known.before >> (8 * at) & 0xff) as u32;
    let keys = if known.is_difference {
        [
            before(0) | 1 << 24 | lane,
            beside | 4 << 24 | lane,
            before(0) | before(1) << 8 | 2 << 24 | lane,
            beside | before(0) << 8 | 7 << 24,
        ]
    } else {
        [
            before(0) | 1 << 24 | lane,
            before(1) | 5 << 24 | lane,
            before(0) | before(1) << 8 | 2 << 24 | lane,
            beside | 6 << 24 | lane,
        ]
    };
    keys.map(|key| key.wrapping_mul(0x9e37_79b1).rotate_left(13))
}

/// Turns the latest bytes, newest lowest, into the order in which units of `unit_bytes` code them.
const fn in_coding_order(latest: u64, unit_bytes: u32) -> u64 {
    match unit_bytes {
        2 => (latest & 0x00ff_00ff_00ff_00ff) << 8 | latest >> 8 & 0x00ff_00ff_00ff_00ff,
        4 => {
            let (high, low) = ((latest >> 32) as u32, latest as u32);
            (high.swap_bytes() as u64) << 32 | low.swap_bytes() as u64
        }
        _ => latest,
    }
}

const CONTEXTS: usize = 4;
const BYTE_RATE: i32 = 6;
