//! Where the chances of each decision stand among the words of the state.

use super::ALIGNMENTS;
use crate::chance::FINE_WORDS;
use crate::fields::KINDS;
use crate::format::Profile;
use crate::numbers::NUMBER_WORDS;

pub(super) const HIT_AT: usize = 0;
/// Chances of one class of runs: by the latest two misses.
pub(super) const HIT_CLASS_WORDS: usize = 4 * FINE_WORDS;
pub(super) const HIT_SOURCE_AT: usize = HIT_AT + 12 * HIT_CLASS_WORDS;
pub(super) const FIELD_AT: usize = HIT_SOURCE_AT + 6 * 4 * FINE_WORDS;
/// From here on, chances of one word.
pub(super) const FIELD_MORE_AT: usize = FIELD_AT + KINDS * 8 * FINE_WORDS;
pub(super) const FIELD_NEW_AT: usize = FIELD_MORE_AT + 2 * 8;
pub(super) const FIELD_OWN_AT: usize = FIELD_NEW_AT + KINDS * 2;
pub(super) const FIELD_NEAR_AT: usize = FIELD_OWN_AT + KINDS * 2;
pub(super) const DIFFERENCE_AT: usize = FIELD_NEAR_AT + 2 * 32;
pub(super) const FLOW_AT: usize = DIFFERENCE_AT + 4 * 4 + 7;
pub(super) const END_AT: usize = FLOW_AT + 2 * 16;
pub(super) const SEEK_AT: usize = END_AT + 8;
const SIZED_AT: usize = SEEK_AT + 2 * (ALIGNMENTS + 3);

/// Places of the chances that there are fewer of where there is less room.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Bits of a place in a word that tell chances of order 0 apart.
    pub(super) order_0_lanes: u32,
    /// Shifts of hashes to a chance of [`Self::operation`] and of [`Self::byte`].
    pub(super) operation_shift: u32,
    pub(super) byte_shift: u32,
    /// Latest outcomes of a kind of fields that tell chances of [`Self::latest`] apart.
    pub(super) latest_misses: u8,
    pub(super) seek_number: usize,
    pub(super) own_number: usize,
    pub(super) target_number: usize,
    pub(super) near_number: usize,
    pub(super) order_0: usize,
    pub(super) operation: usize,
    pub(super) byte: usize,
    pub(super) latest: usize,
    /// From here on, the tables whose sizes the header gives.
    pub(crate) tables: usize,
}

impl Slots {
    pub(crate) const fn of(profile: Profile) -> &'static Self {
        match profile {
            Profile::Kib4 => &FEW,
            Profile::Kib8 | Profile::Kib16 => &MANY,
        }
    }
}

static MANY: Slots = {
    let order_0 = SIZED_AT + 4 * NUMBER_WORDS;
    let operation = order_0 + 512;
    let byte = operation + 256;
    let latest = byte + 128;
    Slots {
        order_0_lanes: 1,
        operation_shift: 24,
        byte_shift: 25,
        latest_misses: 7,
        seek_number: SIZED_AT,
        own_number: SIZED_AT + NUMBER_WORDS,
        target_number: SIZED_AT + 2 * NUMBER_WORDS,
        near_number: SIZED_AT + 3 * NUMBER_WORDS,
        order_0,
        operation,
        byte,
        latest,
        tables: latest + KINDS * 32,
    }
};

static FEW: Slots = {
    let order_0 = SIZED_AT + 2 * NUMBER_WORDS;
    let operation = order_0 + 256;
    let byte = operation + 64;
    let latest = byte + 64;
    Slots {
        order_0_lanes: 0,
        operation_shift: 26,
        byte_shift: 26,
        latest_misses: 1,
        seek_number: SIZED_AT,
        own_number: SIZED_AT,
        target_number: SIZED_AT + NUMBER_WORDS,
        near_number: SIZED_AT + NUMBER_WORDS,
        order_0,
        operation,
        byte,
        latest,
        tables: latest + KINDS * 8,
    }
};
