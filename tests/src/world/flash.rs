//! A device's flash whose power can be cut after any write, and what a cut leaves.
//!
//! It keeps the promise of [`Flash`] and not a byte more. What was committed stays. Of each write since the last commit,
//! a cut leaves all, nothing, a beginning, or a beginning and garbage where the rest would have gone; each by itself, so
//! a later write may stand where an earlier one does not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bellwether_agent::platform::{Flash, Region};
use bellwether_agent::update::boot::BOOT_COPY_BYTES;
use bellwether_agent::update::journal::COPY_BYTES_MAX;
use thiserror::Error;

use super::dice::Dice;

/// The flash chip of one device; clones are the same chip.
#[derive(Clone, Debug)]
pub struct Chip(Arc<Mutex<State>>);

/// The power was cut: the device does nothing more until it is given back.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[error("the power was cut")]
pub struct PowerCut;

#[derive(Debug)]
struct State {
    dice: Dice,
    /// What reads give.
    now: BTreeMap<u8, Vec<u8>>,
    /// What survives a cut for certain.
    committed: BTreeMap<u8, Vec<u8>>,
    /// Writes since the last commit, in order.
    pending: Vec<Write>,
    is_on: bool,
    /// Writes and commits until the power is cut, after the last of them.
    cut_after: Option<u64>,
    steps: u64,
    cuts: u64,
    /// For mutation checks: commits that change nothing.
    deaf: bool,
}

#[derive(Debug)]
struct Write {
    region: Region,
    offset: usize,
    bytes: Vec<u8>,
}

/// What a cut makes of a write that was not committed.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Whole,
    Nothing,
    Beginning,
    Garbage,
}

impl Chip {
    /// Makes an erased chip with slots of so many bytes; `dice` decide what cuts leave.
    pub fn new(slot_bytes: usize, dice: Dice) -> Self {
        let regions: BTreeMap<u8, Vec<u8>> =
            REGIONS.iter().map(|region| (key(*region), vec![ERASED; bytes(*region, slot_bytes)])).collect();
        Self(Arc::new(Mutex::new(State {
            dice,
            committed: regions.clone(),
            now: regions,
            pending: Vec::new(),
            is_on: true,
            cut_after: None,
            steps: 0,
            cuts: 0,
            deaf: false,
        })))
    }

    /// Cuts the power after so many further writes and commits; 0: with the next one, before it does anything.
    pub fn cut_after(&self, steps: u64) {
        self.state().cut_after = Some(steps);
    }

    /// Takes back what [`Chip::cut_after`] said.
    pub fn cut_no_more(&self) {
        self.state().cut_after = None;
    }

    /// Cuts the power now.
    pub fn cut(&self) {
        self.state().cut();
    }

    /// Tells whether there is power.
    pub fn is_on(&self) -> bool {
        self.state().is_on
    }

    /// Gives the power back.
    pub fn power_on(&self) {
        self.state().is_on = true;
    }

    /// Writes and commits since it was made.
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Times that the power was cut.
    pub fn cuts(&self) -> u64 {
        self.state().cuts
    }

    /// Copies what is in it into another chip, without the pending cut, as a thief with a reader does.
    #[must_use]
    pub fn copy(&self, dice: Dice) -> Self {
        let state = self.state();
        Self(Arc::new(Mutex::new(State {
            dice,
            now: state.now.clone(),
            committed: state.committed.clone(),
            pending: Vec::new(),
            is_on: true,
            cut_after: None,
            steps: 0,
            cuts: 0,
            deaf: false,
        })))
    }

    /// Reads the first `length` bytes of a region, powered or not: for properties, not for the device.
    pub fn peek(&self, region: Region, length: usize) -> Vec<u8> {
        self.state().now[&key(region)][..length].to_vec()
    }

    /// Makes commits promise without keeping: what a broken driver does, to see that the world notices.
    pub fn forget_commits(&self) {
        self.state().deaf = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flash for Chip {
    type Error = PowerCut;

    fn bytes(&self, region: Region) -> u32 {
        u32::try_from(self.state().now[&key(region)].len()).unwrap_or(u32::MAX)
    }

    fn read(&mut self, region: Region, offset: u32, into: &mut [u8]) -> Result<(), PowerCut> {
        let state = self.state();
        if !state.is_on {
            return Err(PowerCut);
        }
        let offset = offset as usize;
        into.copy_from_slice(&state.now[&key(region)][offset..offset + into.len()]);
        Ok(())
    }

    fn write(&mut self, region: Region, offset: u32, from: &[u8]) -> Result<(), PowerCut> {
        let mut state = self.state();
        if !state.is_on {
            return Err(PowerCut);
        }
        let write = Write { region, offset: offset as usize, bytes: from.to_vec() };
        write.apply(&mut state.now);
        state.pending.push(write);
        state.step()
    }

    fn commit(&mut self) -> Result<(), PowerCut> {
        let mut state = self.state();
        if !state.is_on {
            return Err(PowerCut);
        }
        if !state.deaf {
            for write in std::mem::take(&mut state.pending) {
                write.apply(&mut state.committed);
            }
        }
        state.step()
    }
}

impl State {
    fn step(&mut self) -> Result<(), PowerCut> {
        self.steps += 1;
        let Some(left) = &mut self.cut_after else { return Ok(()) };
        *left = left.saturating_sub(1);
        if *left > 0 {
            return Ok(());
        }
        self.cut();
        Err(PowerCut)
    }

    fn cut(&mut self) {
        if !self.is_on {
            return;
        }
        self.is_on = false;
        self.cut_after = None;
        self.cuts += 1;
        for mut write in std::mem::take(&mut self.pending) {
            self.tear(&mut write);
            write.apply(&mut self.committed);
        }
        self.now.clone_from(&self.committed);
    }

    /// Leaves of a write what its fate leaves of it.
    fn tear(&mut self, write: &mut Write) {
        let kept = usize::try_from(self.dice.between(0, write.bytes.len() as u64)).unwrap_or_default();
        match self.dice.one_of(&[Fate::Whole, Fate::Nothing, Fate::Beginning, Fate::Garbage]) {
            Fate::Whole => {}
            Fate::Nothing => write.bytes.clear(),
            Fate::Beginning => write.bytes.truncate(kept),
            Fate::Garbage => self.dice.fill(&mut write.bytes[kept..]),
        }
    }
}

impl Write {
    fn apply(&self, regions: &mut BTreeMap<u8, Vec<u8>>) {
        if let Some(area) = regions.get_mut(&key(self.region)) {
            area[self.offset..self.offset + self.bytes.len()].copy_from_slice(&self.bytes);
        }
    }
}

fn bytes(region: Region, slot_bytes: usize) -> usize {
    match region {
        Region::Record | Region::Anchors => 2 * COPY_BYTES_MAX,
        Region::Boot => 2 * BOOT_COPY_BYTES,
        Region::Manifest => MANIFEST_BYTES,
        Region::SlotA(_) | Region::SlotB(_) => slot_bytes,
    }
}

fn key(region: Region) -> u8 {
    let at = REGIONS.iter().position(|other| *other == region);
    u8::try_from(at.unwrap_or(REGIONS.len())).unwrap_or(u8::MAX)
}

const REGIONS: [Region; 8] = [
    Region::Record,
    Region::Manifest,
    Region::SlotA(0),
    Region::SlotB(0),
    Region::SlotA(1),
    Region::SlotB(1),
    Region::Boot,
    Region::Anchors,
];

/// Two halves of 8 KiB: manifests of the world have one or two classes.
const MANIFEST_BYTES: usize = 16 * 1024;
const ERASED: u8 = 0xFF;

#[cfg(test)]
mod tests {
    use super::*;

    fn chip(seed: u64) -> Chip {
        Chip::new(64, Dice::new(seed, "flash"))
    }

    #[test]
    fn committed_write_survives_every_cut() {
        for seed in 0..50 {
            let mut chip = chip(seed);
            chip.write(Region::SlotA(0), 3, b"kept").unwrap();
            chip.commit().unwrap();
            chip.write(Region::SlotA(0), 20, b"perhaps").unwrap();
            chip.cut();
            assert_eq!(chip.read(Region::SlotA(0), 3, &mut [0; 4]), Err(PowerCut));
            chip.power_on();
            assert_eq!(&chip.peek(Region::SlotA(0), 7)[3..], b"kept");
        }
    }

    #[test]
    fn cut_leaves_each_kind_of_rest_and_nothing_outside_of_the_write() {
        let mut rests = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut chip = chip(seed);
            chip.write(Region::SlotB(0), 4, &[0; 8]).unwrap();
            chip.cut();
            let area = chip.peek(Region::SlotB(0), 16);
            assert_eq!((&area[..4], &area[12..]), (&[ERASED; 4][..], &[ERASED; 4][..]));
            let whole = area[4..12] == [0; 8];
            let beginning = area[4] == 0 && area[11] == ERASED;
            let garbage = area[4..12].iter().any(|byte| ![0, ERASED].contains(byte));
            rests.insert((whole, beginning, garbage, area[4..12] == [ERASED; 8]));
        }
        assert!(rests.len() >= 4, "{rests:?}");
    }

    #[test]
    fn power_goes_after_the_step_that_was_named_and_comes_back() {
        let mut chip = chip(1);
        chip.cut_after(3);
        chip.write(Region::Boot, 0, b"a").unwrap();
        chip.commit().unwrap();
        assert_eq!(chip.write(Region::Boot, 1, b"b"), Err(PowerCut));
        assert_eq!((chip.commit(), chip.is_on(), chip.cuts()), (Err(PowerCut), false, 1));
        chip.power_on();
        chip.write(Region::Boot, 2, b"c").unwrap();
        assert_eq!(chip.steps(), 4);
    }

    #[test]
    fn chip_that_forgets_commits_loses_what_they_promised() {
        let lost = (0..50).any(|seed| {
            let mut chip = chip(seed);
            chip.forget_commits();
            chip.write(Region::SlotA(0), 0, b"kept?").unwrap();
            chip.commit().unwrap();
            chip.cut();
            chip.peek(Region::SlotA(0), 5) != b"kept?"
        });
        assert!(lost);
    }
}
