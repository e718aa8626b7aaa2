//! The board's flash chip, played by a window of memory.

use crate::layout::SECTOR_BYTES;
use crate::metal::FLASH;
use crate::nor::Chip;

/// The chip.
#[derive(Clone, Copy, Debug, Default)]
pub struct BoardChip;

impl Chip for BoardChip {
    fn read(&self, at: u32, into: &mut [u8]) {
        let (mut left, mut at) = (into, at as usize);
        while !left.is_empty() {
            let word = FLASH.read(at - at % 4).to_le_bytes();
            let taken = &word[at % 4..];
            let taken = &taken[..taken.len().min(left.len())];
            let (now, later) = left.split_at_mut(taken.len());
            now.copy_from_slice(taken);
            (left, at) = (later, at + taken.len());
        }
    }

    fn program(&mut self, at: u32, word: u32) {
        FLASH.write(at as usize, FLASH.read(at as usize) & word);
    }

    fn erase(&mut self, at: u32) {
        for word in (at..at + SECTOR_BYTES).step_by(4) {
            FLASH.write(word as usize, u32::MAX);
        }
    }
}
