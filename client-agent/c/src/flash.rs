//! The update core's regions on a NOR flash: a sector is erased when a write reaches its beginning.
//!
//! That suits how the update core writes: copies of small documents begin on a sector, and a slot is written from its
//! start (or from where a patch is staged) to its end. A piece that begins or ends inside of what is programmed at once is
//! filled up with ones, which leave what stands there as it is.

use crate::abi::BellwetherError;
use bellwether_agent::platform::{Flash, Region};
use thiserror::Error;

/// The chip: what a board brings. `at` and lengths are bytes; everything that is written was erased before.
pub(crate) trait Chip {
    /// Fills `into` from byte `at`; false where the chip failed.
    fn read(&self, at: u32, into: &mut [u8]) -> bool;

    /// Programs a unit of [`Layout::program_bytes`]; false where the chip failed.
    fn program(&mut self, at: u32, unit: &[u8]) -> bool;

    /// Erases the sector that begins at `at`; false where the chip failed.
    fn erase(&mut self, at: u32) -> bool;
}

/// What lies where on the chip.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) sector_bytes: u32,
    pub(crate) program_bytes: u32,
    /// Boot state, record, anchors and manifests, two copies of each.
    pub(crate) documents: u32,
    pub(crate) slots: [u32; 2],
    pub(crate) slot_bytes: u32,
}

impl Layout {
    /// Refuses a layout that cannot be kept to.
    pub(crate) fn check(self) -> Result<Self, BellwetherError> {
        let Self { sector_bytes: sector, program_bytes: unit, documents, slots, slot_bytes } = self;
        let whole = |at: u32| sector > 0 && at.is_multiple_of(sector);
        let unit_fits =
            (1..=PROGRAM_BYTES_MAX).contains(&unit) && unit.is_power_of_two() && whole(sector / unit * unit);
        // So that four documents of two copies each have a number of bytes.
        if sector > SECTOR_BYTES_MAX {
            return Err(BellwetherError::Layout);
        }
        let parts =
            [(documents, DOCUMENTS * self.document_bytes()), (slots[0], slot_bytes), (slots[1], slot_bytes)];
        let end = |part: (u32, u32)| u64::from(part.0) + u64::from(part.1);
        let apart = |one: (u32, u32), other: (u32, u32)| {
            end(one) <= u64::from(other.0) || end(other) <= u64::from(one.0)
        };
        // The place behind a part has an address as well.
        let all_whole = parts.iter().all(|part @ (at, bytes)| {
            whole(*at) && whole(*bytes) && *bytes > 0 && u32::try_from(end(*part)).is_ok()
        });
        let all_apart = (0..3).all(|one| (0..one).all(|other| apart(parts[one], parts[other])));
        if unit_fits && all_whole && all_apart { Ok(self) } else { Err(BellwetherError::Layout) }
    }

    /// Bytes of a document's two copies.
    fn document_bytes(self) -> u32 {
        2 * COPY_BYTES.next_multiple_of(self.sector_bytes.max(1))
    }

    fn area(self, region: Region) -> (u32, u32) {
        let document = |number| (self.documents + number * self.document_bytes(), self.document_bytes());
        match region {
            Region::Boot => document(0),
            Region::Record => document(1),
            Region::Anchors => document(2),
            Region::Manifest => document(3),
            Region::SlotA(0) => (self.slots[0], self.slot_bytes),
            Region::SlotB(0) => (self.slots[1], self.slot_bytes),
            // This device has one component.
            Region::SlotA(_) | Region::SlotB(_) => (0, 0),
        }
    }
}

/// The regions on a chip.
#[derive(Clone, Debug)]
pub(crate) struct Regions<C> {
    chip: C,
    layout: Layout,
}

/// The flash failed, or a range lies outside of its region.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the flash failed")]
pub(crate) struct FlashFailed;

impl<C: Chip> Regions<C> {
    /// Takes a chip, whose layout was checked.
    pub(crate) fn new(chip: C, layout: Layout) -> Self {
        Self { chip, layout }
    }

    /// Where a range of a region begins on the chip.
    fn place(&self, region: Region, offset: u32, bytes: usize) -> Result<u32, FlashFailed> {
        let (start, room) = self.layout.area(region);
        let end = u32::try_from(bytes).ok().and_then(|bytes| offset.checked_add(bytes));
        if end.is_some_and(|end| end <= room) { Ok(start + offset) } else { Err(FlashFailed) }
    }

    /// Programs what of `from`, which goes to byte `at`, falls into the unit at `unit_at`, and looks whether it stands.
    fn program_part(&mut self, unit_at: u32, at: u32, from: &[u8]) -> Result<(), FlashFailed> {
        let unit_bytes = self.layout.program_bytes as usize;
        let mut unit = [0xff; PROGRAM_BYTES_MAX as usize];
        let skipped = at.saturating_sub(unit_at) as usize;
        let part = &from[unit_at.saturating_sub(at) as usize..];
        let part = &part[..part.len().min(unit_bytes - skipped)];
        unit[skipped..skipped + part.len()].copy_from_slice(part);
        let mut stands = [0; PROGRAM_BYTES_MAX as usize];
        let stands = &mut stands[..part.len()];
        let done = self.chip.program(unit_at, &unit[..unit_bytes])
            && self.chip.read(unit_at + u32::try_from(skipped).unwrap_or_default(), stands);
        if done && *stands == *part { Ok(()) } else { Err(FlashFailed) }
    }
}

impl<C: Chip> Flash for Regions<C> {
    type Error = FlashFailed;

    fn bytes(&self, region: Region) -> u32 {
        self.layout.area(region).1
    }

    fn read(&mut self, region: Region, offset: u32, into: &mut [u8]) -> Result<(), FlashFailed> {
        let at = self.place(region, offset, into.len())?;
        if self.chip.read(at, into) { Ok(()) } else { Err(FlashFailed) }
    }

    fn write(&mut self, region: Region, offset: u32, from: &[u8]) -> Result<(), FlashFailed> {
        let at = self.place(region, offset, from.len())?;
        let end = at + u32::try_from(from.len()).map_err(|_| FlashFailed)?;
        let mut sector = at.next_multiple_of(self.layout.sector_bytes);
        while sector < end {
            if !self.chip.erase(sector) {
                return Err(FlashFailed);
            }
            sector += self.layout.sector_bytes;
        }
        let mut unit_at = at - at % self.layout.program_bytes;
        while unit_at < end {
            self.program_part(unit_at, at, from)?;
            unit_at += self.layout.program_bytes;
        }
        Ok(())
    }

    /// What the chip said was programmed is durable.
    fn commit(&mut self) -> Result<(), FlashFailed> {
        Ok(())
    }
}

/// More than any chip erases at once.
const SECTOR_BYTES_MAX: u32 = 1 << 24;

/// Documents of two copies each.
const DOCUMENTS: u32 = 4;

/// Bytes of one copy: the longest manifest, and more than any other document.
const COPY_BYTES: u32 = 4096;

/// The longest unit that a microcontroller's own flash programs at once, of those that we know.
pub(crate) const PROGRAM_BYTES_MAX: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    struct Memory {
        bytes: Vec<u8>,
        erased: Vec<u32>,
        unit: usize,
    }

    impl Chip for Memory {
        fn read(&self, at: u32, into: &mut [u8]) -> bool {
            into.copy_from_slice(&self.bytes[at as usize..][..into.len()]);
            true
        }

        fn program(&mut self, at: u32, unit: &[u8]) -> bool {
            assert!(unit.len() == self.unit && (at as usize).is_multiple_of(self.unit));
            for (byte, written) in self.bytes[at as usize..].iter_mut().zip(unit) {
                *byte &= written;
            }
            true
        }

        fn erase(&mut self, at: u32) -> bool {
            self.bytes[at as usize..][..4096].fill(0xff);
            self.erased.push(at);
            true
        }
    }

    const LAYOUT: Layout = Layout {
        sector_bytes: 4096,
        program_bytes: 8,
        documents: 4096,
        slots: [0x1_0000, 0x2_0000],
        slot_bytes: 0x1_0000,
    };

    fn flash() -> Regions<Memory> {
        // Used before: nothing in it is erased.
        Regions::new(Memory { bytes: vec![0; 0x3_0000], erased: Vec::new(), unit: 8 }, LAYOUT)
    }

    #[test]
    fn pieces_of_any_length_come_back_and_each_sector_is_erased_once() {
        let mut flash = flash();
        let image: Vec<u8> = (0..5_000_u32).flat_map(u32::to_le_bytes).collect();
        for (at, piece) in (0..).step_by(991).zip(image.chunks(991)) {
            flash.write(Region::SlotB(0), at, piece).unwrap();
        }
        let mut read = vec![0; image.len()];
        flash.read(Region::SlotB(0), 0, &mut read).unwrap();
        assert_eq!(read, image);
        assert_eq!(flash.chip.erased, (0x2_0000..0x2_0000 + 20_000).step_by(4096).collect::<Vec<u32>>());
    }

    #[test]
    fn other_bytes_in_the_middle_of_a_sector_are_refused() {
        let mut flash = flash();
        flash.write(Region::SlotA(0), 0, &[0x0f; 16]).unwrap();
        assert_eq!(flash.write(Region::SlotA(0), 5, &[0xf0]), Err(FlashFailed));
    }

    #[test]
    fn range_outside_of_its_region_is_refused() {
        let mut flash = flash();
        assert_eq!(flash.write(Region::Boot, 8191, &[0; 2]), Err(FlashFailed));
        assert_eq!(flash.read(Region::Boot, u32::MAX, &mut [0; 2]), Err(FlashFailed));
        assert_eq!(flash.read(Region::SlotA(1), 0, &mut [0]), Err(FlashFailed));
    }

    #[test]
    fn layouts_that_overlap_or_split_a_sector_are_refused() {
        assert!(LAYOUT.check().is_ok());
        let wrong = [
            Layout { sector_bytes: 0, ..LAYOUT },
            Layout { program_bytes: 0, ..LAYOUT },
            Layout { program_bytes: 3, ..LAYOUT },
            Layout { program_bytes: 64, ..LAYOUT },
            Layout { documents: 100, ..LAYOUT },
            Layout { documents: 0x1_0000 - 4096, ..LAYOUT },
            Layout { slots: [0x1_0000, 0x1_f000], ..LAYOUT },
            Layout { slot_bytes: 0, ..LAYOUT },
            Layout { slot_bytes: u32::MAX - 4095, ..LAYOUT },
            Layout { slots: [0x1_0000, u32::MAX - 4095], ..LAYOUT },
            Layout { slots: [0x1_0000, u32::MAX - 0xffff], ..LAYOUT },
            Layout { sector_bytes: 1 << 31, ..LAYOUT },
            Layout { sector_bytes: 1 << 29, documents: 0, ..LAYOUT },
        ];
        for layout in wrong {
            assert!(layout.check().is_err(), "{layout:?}");
        }
    }

    #[test]
    fn small_sectors_share_a_copy_and_large_ones_hold_one_each() {
        let bytes = |sector_bytes| Layout { sector_bytes, ..LAYOUT }.document_bytes();
        assert_eq!([bytes(2048), bytes(4096), bytes(65_536)], [8192, 8192, 131_072]);
    }
}
