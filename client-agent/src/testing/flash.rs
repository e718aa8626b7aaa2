//! A flash in memory whose power can be cut at any write.

use crate::platform::{Flash, Random, Region};
use std::collections::HashMap;
use std::vec::Vec;

/// Flash in memory; a region is erased to 0xFF.
#[derive(Clone, Debug)]
pub(crate) struct MemoryFlash {
    regions: HashMap<Region, Vec<u8>>,
    /// Writes until the power is cut; the last one is torn in its middle.
    pub(crate) writes_left: Option<u32>,
    /// Writes since the start.
    pub(crate) writes: u32,
}

/// The power was cut.
#[derive(Debug, thiserror::Error)]
#[error("the power was cut")]
pub(crate) struct PowerCut;

impl MemoryFlash {
    pub(crate) fn new(slot_bytes: usize) -> Self {
        let sizes = [
            (Region::Record, 8192),
            (Region::Boot, 512),
            (Region::Manifest, 8192),
            (Region::SlotA, slot_bytes),
            (Region::SlotB, slot_bytes),
            (Region::Anchors, 8192),
        ];
        let regions = sizes.into_iter().map(|(region, bytes)| (region, std::vec![0xFF; bytes])).collect();
        Self { regions, writes_left: None, writes: 0 }
    }

    /// Gives the power back.
    pub(crate) fn power_on(&mut self) {
        self.writes_left = None;
    }
}

impl Flash for MemoryFlash {
    type Error = PowerCut;

    fn bytes(&self, region: Region) -> u32 {
        u32::try_from(self.regions[&region].len()).unwrap()
    }

    fn read(&mut self, region: Region, offset: u32, into: &mut [u8]) -> Result<(), PowerCut> {
        if self.writes_left == Some(0) {
            return Err(PowerCut);
        }
        let offset = offset as usize;
        into.copy_from_slice(&self.regions[&region][offset..offset + into.len()]);
        Ok(())
    }

    fn write(&mut self, region: Region, offset: u32, from: &[u8]) -> Result<(), PowerCut> {
        if self.writes_left == Some(0) {
            return Err(PowerCut);
        }
        self.writes += 1;
        let cut = self.writes_left.as_mut().is_some_and(|left| {
            *left -= 1;
            *left == 0
        });
        let written = if cut { &from[..from.len() / 2] } else { from };
        let offset = offset as usize;
        let area = self.regions.get_mut(&region).unwrap();
        area[offset..offset + from.len()][..written.len()].copy_from_slice(written);
        if cut { Err(PowerCut) } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), PowerCut> {
        if self.writes_left == Some(0) { Err(PowerCut) } else { Ok(()) }
    }
}

/// Bytes that differ at each draw and are the same in each run.
#[derive(Debug, Default)]
pub(crate) struct CountingRandom(pub(crate) u64);

impl Random for CountingRandom {
    fn fill(&mut self, into: &mut [u8]) {
        for byte in into {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = self.0.to_be_bytes()[0];
        }
    }
}
