//! Memory that stands for everything around the core: its flash, its line, its clock.
//!
//! What is in it is known only when the program runs, so nothing of the core can be left out for being unused.

use bellwether_agent::platform::{Flash, Random, Region};
use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering};
use core::time::Duration;

static MEMORY: [AtomicU8; BYTES] = [const { AtomicU8::new(0) }; BYTES];

/// Flash and randomness of the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ram;

/// A range lies outside of the memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Outside;

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the range lies outside of the memory")
    }
}

impl core::error::Error for Outside {}

impl Flash for Ram {
    type Error = Outside;

    fn bytes(&self, region: Region) -> u32 {
        area(region).1
    }

    fn read(&mut self, region: Region, offset: u32, into: &mut [u8]) -> Result<(), Outside> {
        let kept = range(region, offset, into.len())?;
        for (byte, kept) in into.iter_mut().zip(kept) {
            *byte = kept.load(Ordering::Relaxed);
        }
        Ok(())
    }

    fn write(&mut self, region: Region, offset: u32, from: &[u8]) -> Result<(), Outside> {
        let kept = range(region, offset, from.len())?;
        for (byte, kept) in from.iter().zip(kept) {
            kept.store(*byte, Ordering::Relaxed);
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Outside> {
        Ok(())
    }
}

impl Random for Ram {
    fn fill(&mut self, into: &mut [u8]) {
        into.fill_with(|| MEMORY[NOISE].load(Ordering::Relaxed));
    }
}

/// Sends a message and gives its answer, in `into`; `None` where that is longer.
pub(crate) fn exchange<'b>(sent: &[u8], into: &'b mut [u8]) -> Option<&'b [u8]> {
    for (byte, line) in sent.iter().zip(&MEMORY[LINE..CLOCK]) {
        line.store(*byte, Ordering::Relaxed);
    }
    let head = [MEMORY[LINE].load(Ordering::Relaxed), MEMORY[LINE + 1].load(Ordering::Relaxed)];
    let answer = into.get_mut(..usize::from(u16::from_be_bytes(head)))?;
    for (byte, line) in answer.iter_mut().zip(&MEMORY[LINE + 2..CLOCK]) {
        *byte = line.load(Ordering::Relaxed);
    }
    Some(answer)
}

/// Tells how long the device has been up.
pub(crate) fn uptime() -> Duration {
    Duration::from_secs(MEMORY[CLOCK].load(Ordering::Relaxed).into())
}

/// Start and bytes of a region.
fn area(region: Region) -> (u32, u32) {
    match region {
        Region::Record => (0, COPIES_BYTES),
        Region::Boot => (COPIES_BYTES, COPIES_BYTES),
        Region::Manifest => (2 * COPIES_BYTES, COPIES_BYTES),
        Region::SlotA(0) => (3 * COPIES_BYTES, SLOT_BYTES),
        Region::SlotB(0) => (3 * COPIES_BYTES + SLOT_BYTES, SLOT_BYTES),
        Region::Anchors => (3 * COPIES_BYTES + 2 * SLOT_BYTES, COPIES_BYTES),
        // This device has one component.
        Region::SlotA(_) | Region::SlotB(_) => (0, 0),
    }
}

fn range(region: Region, offset: u32, length: usize) -> Result<&'static [AtomicU8], Outside> {
    let (start, bytes) = area(region);
    let region = &MEMORY[start as usize..][..bytes as usize];
    region.get(offset as usize..).and_then(|rest| rest.get(..length)).ok_or(Outside)
}

/// Bytes of the regions that hold two copies each.
const COPIES_BYTES: u32 = 8192;

/// Bytes of an image slot. They stand for flash, so they need not suit any image.
const SLOT_BYTES: u32 = 8192;

// What lies behind the flash: the line with the answer's length before it, the clock, the source of noise.
const LINE: usize = (4 * COPIES_BYTES + 2 * SLOT_BYTES) as usize;
const CLOCK: usize = LINE + 2 + 4096;
const NOISE: usize = CLOCK + 1;

/// All of it; what the program needs beside this is its own.
const BYTES: usize = NOISE + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_keeps_its_own_bytes() {
        let regions = [
            Region::Record,
            Region::Boot,
            Region::Manifest,
            Region::SlotA(0),
            Region::SlotB(0),
            Region::Anchors,
        ];
        // From the last region to the first, so that one that reaches into the next would overwrite it.
        for (number, region) in (1u8..=6).zip(regions).rev() {
            for offset in 0..Ram.bytes(region) {
                assert_eq!(Ram.write(region, offset, &[number]), Ok(()));
            }
        }
        for (number, region) in (1..=6).zip(regions) {
            let (mut first, mut last) = ([0], [0]);
            assert_eq!(Ram.read(region, 0, &mut first), Ok(()));
            assert_eq!(Ram.read(region, Ram.bytes(region) - 1, &mut last), Ok(()));
            assert_eq!((first, last), ([number], [number]), "{region:?}");
            assert_eq!(Ram.write(region, Ram.bytes(region), &[0]), Err(Outside));
        }
    }
}
