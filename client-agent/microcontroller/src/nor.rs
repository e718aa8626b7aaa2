//! NOR flash behind the update core's regions: a sector is erased when a write reaches its beginning.
//!
//! That suits how the update core writes: the copies of a small document begin on a sector, and a slot is written from
//! its start (or from where a patch is staged) to its end. What is written again after a power cut is what stood there
//! before the cut, and programming the same bits twice changes nothing.

use crate::layout::{SECTOR_BYTES, area};
use bellwether_agent::platform::{Flash, Region};
use thiserror::Error;

/// A NOR chip: erasing a sector sets all its bits, programming a word only clears some.
pub trait Chip {
    /// Fills `into` from byte `at`.
    fn read(&self, at: u32, into: &mut [u8]);

    /// Clears the bits of the word at byte `at`, a multiple of 4, that are clear in `word`.
    fn program(&mut self, at: u32, word: u32);

    /// Sets all bits of the sector that begins at byte `at`.
    fn erase(&mut self, at: u32);
}

/// The update core's flash on a chip.
#[derive(Clone, Debug)]
pub struct Nor<C>(C);

/// Why the flash could not be read or written.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NorError {
    /// A rule in this program is wrong.
    #[error("the range lies outside of its region")]
    Outside,
    /// The sector is worn out, or was not erased.
    #[error("what was written does not stand in the flash")]
    NotProgrammed,
}

impl<C: Chip> Nor<C> {
    /// Takes a chip.
    pub const fn new(chip: C) -> Self {
        Self(chip)
    }

    /// Gives the chip back.
    pub fn into_chip(self) -> C {
        self.0
    }

    /// Fills `into` from byte `at` of the chip, outside of all regions.
    pub fn read_settings(&self, at: u32, into: &mut [u8]) {
        self.0.read(at, into);
    }

    /// Writes `from` at byte `at` of the chip; sectors whose beginning it reaches are erased.
    ///
    /// # Errors
    ///
    /// [`NorError::NotProgrammed`].
    pub fn write_at(&mut self, at: u32, from: &[u8]) -> Result<(), NorError> {
        let end = at + length(from)?;
        let mut sector = at.next_multiple_of(SECTOR_BYTES);
        while sector < end {
            self.0.erase(sector);
            sector += SECTOR_BYTES;
        }
        let mut word_at = at - at % WORD_BYTES;
        while word_at < end {
            self.program_part(word_at, at, from)?;
            word_at += WORD_BYTES;
        }
        Ok(())
    }

    /// Programs what of `from`, which goes to byte `at`, falls into one word; bits beside it stay.
    fn program_part(&mut self, word_at: u32, at: u32, from: &[u8]) -> Result<(), NorError> {
        let mut wanted = [0xff; WORD_BYTES as usize];
        let mut mask = [0; WORD_BYTES as usize];
        for (byte, place) in (word_at..).zip(0..WORD_BYTES as usize) {
            let written = byte.checked_sub(at).and_then(|index| from.get(index as usize));
            if let Some(written) = written {
                (wanted[place], mask[place]) = (*written, 0xff);
            }
        }
        self.0.program(word_at, u32::from_le_bytes(wanted));
        let mut stands = [0; WORD_BYTES as usize];
        self.0.read(word_at, &mut stands);
        let differs = (u32::from_le_bytes(stands) ^ u32::from_le_bytes(wanted)) & u32::from_le_bytes(mask);
        if differs == 0 { Ok(()) } else { Err(NorError::NotProgrammed) }
    }
}

impl<C: Chip> Flash for Nor<C> {
    type Error = NorError;

    fn bytes(&self, region: Region) -> u32 {
        area(region).1
    }

    fn read(&mut self, region: Region, offset: u32, into: &mut [u8]) -> Result<(), NorError> {
        self.0.read(place(region, offset, into)?, into);
        Ok(())
    }

    fn write(&mut self, region: Region, offset: u32, from: &[u8]) -> Result<(), NorError> {
        self.write_at(place(region, offset, from)?, from)
    }

    /// A word that is programmed is durable.
    fn commit(&mut self) -> Result<(), NorError> {
        Ok(())
    }
}

/// Where a range of a region begins on the chip.
fn place(region: Region, offset: u32, range: &[u8]) -> Result<u32, NorError> {
    let (start, bytes) = area(region);
    let end = offset.checked_add(length(range)?).ok_or(NorError::Outside)?;
    if end <= bytes { Ok(start + offset) } else { Err(NorError::Outside) }
}

fn length(bytes: &[u8]) -> Result<u32, NorError> {
    u32::try_from(bytes.len()).map_err(|_| NorError::Outside)
}

/// What is programmed at once.
const WORD_BYTES: u32 = 4;

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    struct Memory {
        bytes: Vec<u8>,
        erased: Vec<u32>,
    }

    impl Chip for Memory {
        fn read(&self, at: u32, into: &mut [u8]) {
            into.copy_from_slice(&self.bytes[at as usize..][..into.len()]);
        }

        fn program(&mut self, at: u32, word: u32) {
            for (byte, written) in self.bytes[at as usize..][..4].iter_mut().zip(word.to_le_bytes()) {
                *byte &= written;
            }
        }

        fn erase(&mut self, at: u32) {
            self.bytes[at as usize..][..SECTOR_BYTES as usize].fill(0xff);
            self.erased.push(at);
        }
    }

    fn flash() -> Nor<Memory> {
        // Used before: nothing in it is erased.
        Nor::new(Memory { bytes: std::vec![0; 4 * 1024 * 1024], erased: Vec::new() })
    }

    fn read(flash: &mut Nor<Memory>, region: Region, offset: u32, bytes: usize) -> Vec<u8> {
        let mut read = std::vec![0; bytes];
        flash.read(region, offset, &mut read).unwrap();
        read
    }

    #[test]
    fn pieces_of_any_length_come_back_and_each_sector_is_erased_once() {
        let mut flash = flash();
        let image: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
        for (at, piece) in (0..).step_by(991).zip(image.chunks(991)) {
            flash.write(Region::SlotB(0), at, piece).unwrap();
        }
        assert_eq!(read(&mut flash, Region::SlotB(0), 0, image.len()), image);
        let start = area(Region::SlotB(0)).0;
        let sectors: Vec<u32> = (start..start + 80_000).step_by(SECTOR_BYTES as usize).collect();
        assert_eq!(flash.into_chip().erased, sectors);
    }

    #[test]
    fn what_stood_there_before_a_cut_is_written_again() {
        let mut flash = flash();
        flash.write(Region::SlotA(0), 0, &[7; 1000]).unwrap();
        flash.write(Region::SlotA(0), 1000, &[9; 1000]).unwrap();
        flash.write(Region::SlotA(0), 1000, &[9; 1000]).unwrap();
        assert_eq!(read(&mut flash, Region::SlotA(0), 999, 3), [7, 9, 9]);
    }

    #[test]
    fn other_bytes_in_the_middle_of_a_sector_are_refused() {
        let mut flash = flash();
        flash.write(Region::SlotA(0), 0, &[0x0f; 8]).unwrap();
        assert_eq!(flash.write(Region::SlotA(0), 5, &[0xf0]), Err(NorError::NotProgrammed));
    }

    #[test]
    fn second_copy_is_written_without_touching_the_first() {
        let mut flash = flash();
        flash.write(Region::Record, 0, b"first").unwrap();
        flash.write(Region::Record, SECTOR_BYTES, b"second").unwrap();
        flash.write(Region::Record, SECTOR_BYTES, b"third!").unwrap();
        assert_eq!(read(&mut flash, Region::Record, 0, 5), b"first");
        assert_eq!(read(&mut flash, Region::Record, SECTOR_BYTES, 6), b"third!");
    }

    #[test]
    fn range_outside_of_its_region_is_refused() {
        let mut flash = flash();
        let bytes = flash.bytes(Region::Boot);
        assert_eq!(flash.write(Region::Boot, bytes - 1, &[0; 2]), Err(NorError::Outside));
        assert_eq!(flash.read(Region::Boot, u32::MAX, &mut [0; 2]), Err(NorError::Outside));
        assert_eq!(flash.read(Region::SlotA(1), 0, &mut [0]), Err(NorError::Outside));
    }
}
