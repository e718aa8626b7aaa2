//! A slot in memory, for those who try patches in place without a device.

use core::convert::Infallible;
use std::vec;
use std::vec::Vec;

use crate::one_slot::{Area, Room, Slot};
use crate::order::Layout;

/// A slot, spare pages and two checkpoints in memory.
#[derive(Clone, Debug)]
pub struct SimulatedSlot {
    slot: Vec<u8>,
    spare: Vec<u8>,
    erase_bytes: u32,
    checkpoints: [Vec<u8>; 2],
    newer: usize,
}

impl SimulatedSlot {
    /// Makes a slot that holds `base`, with room for a target of `target_bytes` and for the pages of `layout`.
    #[must_use]
    pub fn new(base: &[u8], target_bytes: usize, layout: Layout) -> Self {
        let page = layout.page_bytes() as usize;
        let mut slot = base.to_vec();
        slot.resize(base.len().max(target_bytes).next_multiple_of(page), ERASED);
        let spare = vec![ERASED; page * layout.spare_pages() as usize];
        Self {
            slot,
            spare,
            erase_bytes: layout.page_bytes(),
            checkpoints: [Vec::new(), Vec::new()],
            newer: 0,
        }
    }

    /// Returns the first bytes of the slot.
    #[must_use]
    pub fn image(&self, bytes: usize) -> &[u8] {
        self.slot.get(..bytes).unwrap_or(&self.slot)
    }

    /// Returns the checkpoint that was saved last.
    #[must_use]
    pub fn checkpoint(&self) -> &[u8] {
        &self.checkpoints[self.newer]
    }

    fn area(&mut self, area: Area) -> &mut Vec<u8> {
        match area {
            Area::Slot => &mut self.slot,
            Area::Spare => &mut self.spare,
        }
    }
}

/// What erased flash reads as.
const ERASED: u8 = 0xff;

impl Slot for SimulatedSlot {
    type Error = Infallible;

    fn room(&self) -> Room {
        Room {
            erase_bytes: self.erase_bytes,
            slot_bytes: self.slot.len() as u32,
            spare_bytes: self.spare.len() as u32,
        }
    }

    fn read(&mut self, area: Area, offset: u32, buf: &mut [u8]) -> Result<(), Infallible> {
        let at = offset as usize;
        buf.copy_from_slice(&self.area(area)[at..at + buf.len()]);
        Ok(())
    }

    fn erase(&mut self, area: Area, offset: u32, bytes: u32) -> Result<(), Infallible> {
        let at = offset as usize;
        self.area(area)[at..at + bytes as usize].fill(ERASED);
        Ok(())
    }

    fn write(&mut self, area: Area, offset: u32, bytes: &[u8]) -> Result<(), Infallible> {
        let at = offset as usize;
        self.area(area)[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn save(&mut self, at: u32, piece: &[u8]) -> Result<(), Infallible> {
        if at == 0 {
            self.newer = 1 - self.newer;
            self.checkpoints[self.newer].clear();
        }
        self.checkpoints[self.newer].extend_from_slice(piece);
        Ok(())
    }
}
