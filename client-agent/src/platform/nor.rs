//! The regions on a flash with the traits of `embedded-storage`, which most boards' support crates implement.
//!
//! A sector is erased when a write reaches its beginning, and what begins or ends inside of a unit is filled up with ones,
//! which leave what stands there as it is: hence [`MultiwriteNorFlash`], a flash whose units may be programmed again. What
//! the update core writes suits that: copies of small documents begin on a sector, and a slot is written from its start (or
//! from where a patch is staged) to its end.

use super::{Flash, Region};
use embedded_storage::nor_flash::{MultiwriteNorFlash, NorFlashError, NorFlashErrorKind};
use thiserror::Error;

/// The update core's regions on a NOR flash.
///
/// The layout tells where a region begins and how many bytes it has, both whole sectors; a region that the device does not
/// have is empty. No two may overlap. What a driver's write returned for must survive a power cut.
#[derive(Clone, Copy, Debug)]
pub struct NorRegions<S, L> {
    flash: S,
    layout: L,
}

/// Why the flash could not be read or written.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NorError {
    /// A rule in this program is wrong.
    #[error("the range lies outside of its region")]
    Outside,
    /// What the driver says.
    #[error("the flash failed: {0:?}")]
    Driver(NorFlashErrorKind),
    /// The sector is worn out, or was not erased.
    #[error("what was written does not stand in the flash")]
    NotProgrammed,
}

impl<S: MultiwriteNorFlash, L: Fn(Region) -> (u32, u32)> NorRegions<S, L> {
    /// Takes a flash, and where its regions lie.
    pub const fn new(flash: S, layout: L) -> Self {
        const {
            assert!(S::READ_SIZE <= UNIT_BYTES_MAX && S::WRITE_SIZE <= UNIT_BYTES_MAX, "units are too large");
            assert!(S::ERASE_SIZE.is_multiple_of(S::WRITE_SIZE), "a sector holds whole units");
        }
        Self { flash, layout }
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> S {
        self.flash
    }

    /// Where a range of a region begins on the chip.
    fn place(&self, region: Region, offset: u32, bytes: usize) -> Result<u32, NorError> {
        let (start, room) = (self.layout)(region);
        let end = length(bytes)?.checked_add(offset).ok_or(NorError::Outside)?;
        if end <= room { Ok(start + offset) } else { Err(NorError::Outside) }
    }

    fn read_at(&mut self, mut at: u32, mut into: &mut [u8]) -> Result<(), NorError> {
        while !into.is_empty() {
            let piece = Piece::first(S::READ_SIZE, at, into.len());
            let (now, later) = into.split_at_mut(piece.bytes);
            if piece.is_whole {
                self.flash.read(at, now).map_err(|error| driver(&error))?;
            } else {
                let mut unit = [0; UNIT_BYTES_MAX];
                self.flash
                    .read(at - piece.skipped, &mut unit[..S::READ_SIZE])
                    .map_err(|error| driver(&error))?;
                now.copy_from_slice(&unit[piece.in_unit()]);
            }
            (at, into) = (at + length(piece.bytes)?, later);
        }
        Ok(())
    }

    fn program_at(&mut self, mut at: u32, mut from: &[u8]) -> Result<(), NorError> {
        while !from.is_empty() {
            let piece = Piece::first(S::WRITE_SIZE, at, from.len());
            let (now, later) = from.split_at(piece.bytes);
            if piece.is_whole {
                self.flash.write(at, now).map_err(|error| driver(&error))?;
            } else {
                let mut unit = [0xff; UNIT_BYTES_MAX];
                unit[piece.in_unit()].copy_from_slice(now);
                self.flash
                    .write(at - piece.skipped, &unit[..S::WRITE_SIZE])
                    .map_err(|error| driver(&error))?;
            }
            (at, from) = (at + length(piece.bytes)?, later);
        }
        Ok(())
    }

    /// Erases the sectors whose beginning lies in a range.
    fn erase_begun(&mut self, at: u32, end: u32) -> Result<(), NorError> {
        let sector = length(S::ERASE_SIZE)?;
        let mut begin = at.next_multiple_of(sector);
        while begin < end {
            self.flash.erase(begin, begin + sector).map_err(|error| driver(&error))?;
            begin += sector;
        }
        Ok(())
    }

    fn stands_at(&mut self, mut at: u32, from: &[u8]) -> Result<(), NorError> {
        for wanted in from.chunks(UNIT_BYTES_MAX) {
            let mut stands = [0; UNIT_BYTES_MAX];
            let stands = &mut stands[..wanted.len()];
            self.read_at(at, stands)?;
            if *stands != *wanted {
                return Err(NorError::NotProgrammed);
            }
            at += length(wanted.len())?;
        }
        Ok(())
    }
}

impl<S: MultiwriteNorFlash, L: Fn(Region) -> (u32, u32)> Flash for NorRegions<S, L> {
    type Error = NorError;

    fn bytes(&self, region: Region) -> u32 {
        (self.layout)(region).1
    }

    fn read(&mut self, region: Region, offset: u32, into: &mut [u8]) -> Result<(), NorError> {
        self.read_at(self.place(region, offset, into.len())?, into)
    }

    fn write(&mut self, region: Region, offset: u32, from: &[u8]) -> Result<(), NorError> {
        let at = self.place(region, offset, from.len())?;
        self.erase_begun(at, at + length(from.len())?)?;
        self.program_at(at, from)?;
        self.stands_at(at, from)
    }

    /// A unit that is programmed is durable.
    fn commit(&mut self) -> Result<(), NorError> {
        Ok(())
    }
}

/// The first part of a range that one call of a driver can do: whole units, or what falls into one.
struct Piece {
    bytes: usize,
    is_whole: bool,
    /// Bytes of the unit before it.
    skipped: u32,
}

impl Piece {
    fn first(unit_bytes: usize, at: u32, bytes: usize) -> Self {
        let skipped = at as usize % unit_bytes;
        let whole = bytes - bytes % unit_bytes;
        let is_whole = skipped == 0 && whole > 0;
        let bytes = if is_whole { whole } else { bytes.min(unit_bytes - skipped) };
        Self { bytes, is_whole, skipped: u32::try_from(skipped).unwrap_or_default() }
    }

    fn in_unit(&self) -> core::ops::Range<usize> {
        self.skipped as usize..self.skipped as usize + self.bytes
    }
}

fn driver(error: &impl NorFlashError) -> NorError {
    NorError::Driver(error.kind())
}

fn length(bytes: usize) -> Result<u32, NorError> {
    u32::try_from(bytes).map_err(|_| NorError::Outside)
}

/// Bytes of a unit that is read or programmed at once: internal flash of small parts has at most 32.
const UNIT_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::record::{Record, RecordStore};
    use bellwether_keys::{ChainLength, Seed};
    use embedded_storage::nor_flash::{
        ErrorType, NorFlash, ReadNorFlash, check_erase, check_read, check_write,
    };
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// Erasing sets bits, programming only clears them; whatever is not aligned is refused.
    struct Chip {
        bytes: Vec<u8>,
        erased: Vec<u32>,
        /// Bits that do not clear any more.
        worn: u8,
    }

    impl Chip {
        fn new() -> Self {
            Self { bytes: vec![0x55; 4 * REGION_BYTES as usize], erased: Vec::new(), worn: 0 }
        }
    }

    impl ErrorType for Chip {
        type Error = NorFlashErrorKind;
    }

    impl ReadNorFlash for Chip {
        const READ_SIZE: usize = 4;

        fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
            check_read(self, offset, bytes.len())?;
            bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
            Ok(())
        }

        fn capacity(&self) -> usize {
            self.bytes.len()
        }
    }

    impl NorFlash for Chip {
        const WRITE_SIZE: usize = 8;
        const ERASE_SIZE: usize = 4096;

        fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
            check_erase(self, from, to)?;
            self.bytes[from as usize..to as usize].fill(0xff);
            self.erased.push(from);
            Ok(())
        }

        fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
            check_write(self, offset, bytes.len())?;
            let worn = self.worn;
            let stands = self.bytes[offset as usize..].iter_mut();
            stands.zip(bytes).for_each(|(stands, byte)| *stands &= byte | worn);
            Ok(())
        }
    }

    impl MultiwriteNorFlash for Chip {}

    const REGION_BYTES: u32 = 8192;

    fn layout(region: Region) -> (u32, u32) {
        match region {
            Region::Record => (0, REGION_BYTES),
            Region::SlotA(0) => (REGION_BYTES, 2 * REGION_BYTES),
            _ => (0, 0),
        }
    }

    #[test]
    fn record_comes_back_from_either_copy() {
        let mut flash = NorRegions::new(Chip::new(), layout);
        let mut store = RecordStore::new();
        for counter in 1..=3 {
            let mut record = Record::factory(0, Seed::new([7; 32]), ChainLength::DEFAULT, 0);
            record.counter_reserved = counter;
            store.save(&mut flash, &record).unwrap();
            assert_eq!(RecordStore::new().load(&mut flash).unwrap().counter_reserved, counter);
        }
        assert_eq!(flash.into_flash().erased, [0, 4096, 0]);
    }

    #[test]
    fn range_outside_of_its_region_is_refused_and_changes_nothing() {
        let mut flash = NorRegions::new(Chip::new(), layout);
        for (region, offset, bytes) in
            [(Region::Record, REGION_BYTES, 1), (Region::Record, u32::MAX, 8), (Region::SlotB(0), 0, 1)]
        {
            assert_eq!(flash.write(region, offset, &vec![0; bytes]), Err(NorError::Outside));
            assert_eq!(flash.read(region, offset, &mut vec![0; bytes]), Err(NorError::Outside));
        }
        assert_eq!((flash.bytes(Region::SlotB(0)), flash.bytes(Region::Record)), (0, REGION_BYTES));
        let chip = flash.into_flash();
        assert!(chip.erased.is_empty() && chip.bytes.iter().all(|byte| *byte == 0x55));
    }

    #[test]
    fn bit_that_does_not_clear_is_told() {
        let mut flash = NorRegions::new(Chip { worn: 0x10, ..Chip::new() }, layout);
        assert_eq!(flash.write(Region::SlotA(0), 0, &[0xff; 40]), Ok(()));
        assert_eq!(flash.write(Region::SlotA(0), 40, &[0xef; 3]), Err(NorError::NotProgrammed));
    }

    proptest! {
        #[test]
        fn slot_that_is_written_in_pieces_of_any_length_is_read_in_any_others(
            pieces in proptest::collection::vec(1..700_usize, 1..20),
            at in 0..5000_usize,
            bytes in 1..3000_usize,
        ) {
            let mut flash = NorRegions::new(Chip::new(), layout);
            let mut written = Vec::new();
            for (number, piece) in (1_u8..).zip(pieces) {
                let piece = vec![number; piece];
                flash.write(Region::SlotA(0), u32::try_from(written.len()).unwrap(), &piece).unwrap();
                written.extend(piece);
            }
            let at = at % written.len();
            let mut read = vec![0; bytes.min(written.len() - at)];
            flash.read(Region::SlotA(0), u32::try_from(at).unwrap(), &mut read).unwrap();
            prop_assert_eq!(&read, &written[at..at + read.len()]);
            // What lies before the slot was not touched.
            let chip = flash.into_flash();
            prop_assert!(chip.bytes[..REGION_BYTES as usize].iter().all(|byte| *byte == 0x55));
        }
    }
}
