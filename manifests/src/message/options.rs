//! The map of options at the end of a message.

use minicbor::encode::{Encoder, Error, Write};

use super::{MessageError, Part, bound};
use crate::cbor::{KeyOrder, Reader, told, write_raw};

/// Options with negative keys, which a reader may skip: kept as received, so that they are written back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Skipped<'a> {
    count: usize,
    entries: &'a [u8],
}

impl<'a> Skipped<'a> {
    /// No option was skipped.
    pub const NONE: Self = Self { count: 0, entries: &[] };

    /// Options that the reader skipped itself: `count` pairs, encoded one after the other.
    pub(crate) const fn received(count: usize, entries: &'a [u8]) -> Self {
        Self { count, entries }
    }

    /// Number of options that were skipped.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there were none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        write_raw(encoder, self.entries)
    }
}

/// Reads the options; `known` reads the value of a key and returns whether it knows it. A negative key that it knows must
/// come before those that it doesn't: they are kept in one piece.
pub(crate) fn read<'a>(
    reader: &mut Reader<'a>,
    mut known: impl FnMut(i64, &mut Reader<'a>) -> Result<bool, MessageError>,
) -> Result<Skipped<'a>, MessageError> {
    let count = reader.map()?;
    bound(count <= OPTIONS_MAX, Part::NumberOfOptions)?;
    let mut order = KeyOrder::default();
    let mut skipped = Skipped::default();
    let mut skipped_from = None;
    for _ in 0..count {
        let start = reader.position();
        let key = order.next(reader)?;
        if key != 0 && skipped_from.is_none() && known(key, reader)? {
            continue;
        }
        if let Ok(key) = u64::try_from(key) {
            return Err(MessageError::UnknownOption(told(key)));
        }
        // The order of keys puts all negative ones after the positive ones, so they are one piece.
        skipped_from.get_or_insert(start);
        skipped.count += 1;
        reader.item()?;
    }
    if let Some(start) = skipped_from {
        skipped.entries = reader.since(start);
    }
    Ok(skipped)
}

/// Options of a message. Eight are defined; the rest is room for what a later version may add.
pub const OPTIONS_MAX: usize = 16;
