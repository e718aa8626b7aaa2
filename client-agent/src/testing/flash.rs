//! A flash in memory whose power can be cut at any write.

use crate::platform::{Flash, Random, Region};
use crate::update::boot::BOOT_COPY_BYTES;
use std::collections::HashMap;
use std::vec::Vec;

/// Flash in memory; a region is erased to 0xFF.
#[derive(Clone, Debug)]
pub(crate) struct MemoryFlash {
    regions: HashMap<Region, Vec<u8>>,
    /// Writes until the power is cut; the last one is torn as `cut` says.
    pub(crate) writes_left: Option<u32>,
    /// What a cut leaves.
    pub(crate) cut: Cut,
    /// Writes since the start.
    pub(crate) writes: u32,
    /// What stood where something was written since the last commit, oldest first.
    uncommitted: Vec<(Region, usize, Vec<u8>)>,
    /// What a cut at each write would have left; where it is wanted.
    pub(crate) tape: Option<Vec<Self>>,
}

/// What a power cut leaves of what was not committed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Cut {
    /// Of the write that it falls into.
    pub(crate) torn: Torn,
    /// Whether writes before that one, which were not committed, are gone as if they had never been.
    pub(crate) drops_earlier: bool,
}

/// What is left of a write.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Torn {
    /// Its first half.
    #[default]
    Half,
    /// Its first half, and garbage where the other would have gone.
    Garbage,
    /// Nothing.
    Nothing,
    /// All of it.
    Whole,
}

impl Cut {
    /// All that a cut may leave.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [Torn::Half, Torn::Garbage, Torn::Nothing, Torn::Whole]
            .into_iter()
            .flat_map(|torn| [false, true].map(|drops_earlier| Self { torn, drops_earlier }))
    }
}

/// The power was cut.
#[derive(Debug, thiserror::Error)]
#[error("the power was cut")]
pub(crate) struct PowerCut;

impl MemoryFlash {
    pub(crate) fn new(slot_bytes: usize) -> Self {
        let sizes = [
            (Region::Record, 8192),
            (Region::Boot, 2 * BOOT_COPY_BYTES),
            (Region::Manifest, 8192),
            (Region::SlotA(0), slot_bytes),
            (Region::SlotB(0), slot_bytes),
            (Region::SlotA(1), slot_bytes),
            (Region::SlotB(1), slot_bytes),
            (Region::Anchors, 8192),
        ];
        let regions = sizes.into_iter().map(|(region, bytes)| (region, std::vec![0xFF; bytes])).collect();
        Self {
            regions,
            writes_left: None,
            cut: Cut::default(),
            writes: 0,
            uncommitted: Vec::new(),
            tape: None,
        }
    }

    /// Makes a region of another size, erased.
    pub(crate) fn resize(&mut self, region: Region, bytes: usize) {
        self.regions.insert(region, std::vec![0xFF; bytes]);
    }

    /// Gives the power back.
    pub(crate) fn power_on(&mut self) {
        self.writes_left = None;
        self.uncommitted.clear();
    }

    /// Leaves of a write, and of those before it, what a cut leaves.
    fn cut(&mut self, region: Region, offset: usize, from: &[u8]) {
        if self.cut.drops_earlier {
            for (region, offset, before) in core::mem::take(&mut self.uncommitted).into_iter().rev() {
                self.area(region)[offset..offset + before.len()].copy_from_slice(&before);
            }
        }
        let half = from.len() / 2;
        let torn = self.cut.torn;
        let area = &mut self.area(region)[offset..offset + from.len()];
        match torn {
            Torn::Nothing => {}
            Torn::Whole => area.copy_from_slice(from),
            Torn::Half | Torn::Garbage => {
                area[..half].copy_from_slice(&from[..half]);
                if torn == Torn::Garbage {
                    area[half..]
                        .iter_mut()
                        .zip((0_u8..=255).cycle())
                        .for_each(|(byte, at)| *byte = at ^ 0x5A);
                }
            }
        }
    }

    fn area(&mut self, region: Region) -> &mut Vec<u8> {
        self.regions.get_mut(&region).unwrap()
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
        let offset = offset as usize;
        let cut = self.writes_left.as_mut().is_some_and(|left| {
            *left -= 1;
            *left == 0
        });
        if let Some(mut tape) = self.tape.take() {
            let mut left = self.clone();
            left.cut(region, offset, from);
            left.power_on();
            tape.push(left);
            self.tape = Some(tape);
        }
        if cut {
            self.cut(region, offset, from);
            return Err(PowerCut);
        }
        let area = &mut self.area(region)[offset..offset + from.len()];
        let before = area.to_vec();
        area.copy_from_slice(from);
        self.uncommitted.push((region, offset, before));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), PowerCut> {
        if self.writes_left == Some(0) {
            return Err(PowerCut);
        }
        self.uncommitted.clear();
        Ok(())
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
