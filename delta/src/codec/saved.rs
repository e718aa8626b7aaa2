//! The codec in a checkpoint.

use super::{ALIGNMENTS, BYTE_SETS, Codec, DIFFERENCES, HIT_SETS, MOVEMENTS, Origin, Place};
use crate::checkpoint::Record;
use crate::fields::KINDS;

/// Numbers in all sets of weights.
const WEIGHTS: usize = 5 * BYTE_SETS + 3 * (HIT_SETS + 1) + 3 * KINDS;

impl Codec {
    /// Bytes of a checkpoint that [`Self::pass`] takes.
    pub(crate) const SAVED_BYTES: usize =
        4 + 9 + 8 + 8 + 4 * ALIGNMENTS + 17 + 4 * MOVEMENTS + KINDS + 4 * DIFFERENCES + 2 * WEIGHTS + 6;

    /// Passes all that changes to or from a checkpoint. What the header says stays as it is.
    pub(crate) fn pass(&mut self, record: &mut Record<'_>) {
        // Named one by one, so that none is forgotten when one comes in.
        let Self {
            architecture: _,
            space: _,
            order: _,
            told_at: _,
            slots: _,
            literal_slots: _,
            substitutions: _,
            position: _,
            block: _,
            made,
            place,
            latest,
            base_end,
            copy_end,
            alignments,
            instruction_at,
            instruction_start,
            operation,
            run,
            misses,
            movements,
            field_misses,
            differences,
            byte_weights,
            hit_weights,
            field_weights,
            anchors,
        } = self;
        record.u32(made);
        place.pass(record);
        record.u64(latest);
        record.u32(base_end);
        record.u32(copy_end);
        for number in alignments {
            record.i32(number);
        }
        for number in [instruction_at, instruction_start, run, misses] {
            record.u32(number);
        }
        record.u8(operation);
        for number in movements {
            record.i32(number);
        }
        record.bytes(field_misses);
        record.bytes(differences.as_flattened_mut());
        let weights = byte_weights.as_flattened_mut().iter_mut();
        let weights = weights.chain(hit_weights.as_flattened_mut()).chain(field_weights.as_flattened_mut());
        for weight in weights {
            let mut unsigned = weight.cast_unsigned();
            record.u16(&mut unsigned);
            *weight = unsigned.cast_signed();
        }
        anchors.pass(record);
    }

    /// Finds the block of a codec that was read, and says whether steps can have left it as it is.
    pub(crate) fn settle_read(&mut self, words: &[u16]) -> bool {
        let order = self.order;
        if self.made > order.target_size || !self.anchors.is_sound() || self.run > order.target_size {
            return false;
        }
        let is_told = order.is_told();
        if !is_told {
            (self.position, self.block) = order.place(self.made);
        } else if !self.settle_told(words) {
            return false;
        }
        match self.place {
            Place::Open { literals } => literals <= self.made,
            Place::Copying { from: Origin::Base, at, length } => {
                at <= order.base_size && length <= at && length <= self.position
            }
            Place::Copying { from: Origin::Target, at, length } => {
                let is_behind = (self.block.start..self.position).contains(&at);
                let is_above = self.block.end <= at && at <= order.target_size;
                length <= self.position && (is_behind || is_above || is_told && at <= order.target_size)
            }
        }
    }
}

impl Place {
    fn pass(&mut self, record: &mut Record<'_>) {
        let (mut kind, mut first, mut second) = match *self {
            Self::Open { literals } => (0, literals, 0),
            Self::Copying { from: Origin::Base, at, length } => (1, at, length),
            Self::Copying { from: Origin::Target, at, length } => (2, at, length),
        };
        record.u8(&mut kind);
        record.u32(&mut first);
        record.u32(&mut second);
        *self = match kind {
            0 => Self::Open { literals: first },
            1 => Self::Copying { from: Origin::Base, at: first, length: second },
            _ => Self::Copying { from: Origin::Target, at: first, length: second },
        };
    }
}
