//! What lies where in the board's flash.

use bellwether_agent::platform::Region;

/// Start and length of a region, in bytes; a region that this board does not have is empty.
#[must_use]
pub const fn area(region: Region) -> (u32, u32) {
    match region {
        Region::Boot => (COPIES, COPIES_BYTES),
        Region::Record => (COPIES + COPIES_BYTES, COPIES_BYTES),
        Region::Anchors => (COPIES + 2 * COPIES_BYTES, COPIES_BYTES),
        Region::Manifest => (COPIES + 3 * COPIES_BYTES, COPIES_BYTES),
        Region::SlotA(0) => (SLOTS, SLOT_BYTES),
        Region::SlotB(0) => (SLOTS + SLOT_BYTES, SLOT_BYTES),
        // This device has one component.
        Region::SlotA(_) | Region::SlotB(_) => (0, 0),
    }
}

/// What is erased at once.
pub const SECTOR_BYTES: u32 = 4096;

/// Where the factory's settings lie.
pub const SETTINGS: u32 = 0;

/// Bytes for them: a unit file has at most 4 KiB of anchors and about 1 KiB beside them.
pub const SETTINGS_BYTES: u32 = 2 * SECTOR_BYTES;

/// Bytes of an image slot: they hold an image of this board, of at most [`IMAGE_BYTES_MAX`], and a patch beside it.
pub const SLOT_BYTES: u32 = 1024 * 1024;

/// Bytes of an image: what the board has where an image is started.
pub const IMAGE_BYTES_MAX: u32 = 512 * 1024;

/// Bytes of the whole flash. Source: the board's PSRAM of 16 MiB, which stands for it.
pub const FLASH_BYTES: u32 = 16 * 1024 * 1024;

// Regions of two copies each, a sector for each.
const COPIES: u32 = SETTINGS + SETTINGS_BYTES;
const COPIES_BYTES: u32 = 2 * SECTOR_BYTES;

const SLOTS: u32 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_begin_on_sectors_and_none_reaches_into_the_next() {
        let regions = [
            Region::Boot,
            Region::Record,
            Region::Anchors,
            Region::Manifest,
            Region::SlotA(0),
            Region::SlotB(0),
        ];
        let mut end = SETTINGS + SETTINGS_BYTES;
        for (start, bytes) in regions.map(area) {
            assert!(start >= end && start % SECTOR_BYTES == 0 && bytes % SECTOR_BYTES == 0);
            end = start + bytes;
        }
        assert!(end <= FLASH_BYTES);
        assert_eq!(area(Region::SlotA(1)), (0, 0));
    }
}
