//! Pieces of an image at their addresses, and the flat image that they make.

use crate::error::{ImageError, Regions};
use crate::format::Format;

/// What a file puts where.
#[derive(Debug)]
pub(crate) struct Layout {
    format: Format,
    pieces: Vec<Piece>,
    bytes: usize,
}

#[derive(Debug)]
struct Piece {
    address: u64,
    bytes: Vec<u8>,
}

impl Piece {
    fn end(&self) -> u64 {
        self.address + self.bytes.len() as u64
    }
}

impl Layout {
    pub(crate) const fn new(format: Format) -> Self {
        Self { format, pieces: Vec::new(), bytes: 0 }
    }

    /// Puts bytes at an address. Addresses have at most 48 bits, so that no sum of them overflows.
    pub(crate) fn put(&mut self, address: u64, bytes: &[u8]) -> Result<(), ImageError> {
        self.bytes += bytes.len();
        if self.bytes > IMAGE_BYTES_MAX {
            return Err(ImageError::TooLarge { bytes: self.bytes as u64 });
        }
        if address > ADDRESS_MAX {
            return Err(ImageError::Address { address });
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let count = self.pieces.len();
        match self.pieces.last_mut() {
            Some(last) if last.end() == address => last.bytes.extend_from_slice(bytes),
            _ if count == PIECES_MAX => return Err(ImageError::Scattered),
            _ => self.pieces.push(Piece { address, bytes: bytes.to_vec() }),
        }
        Ok(())
    }

    /// Returns the region with an address, or the only one.
    pub(crate) fn region(mut self, address: Option<u64>) -> Result<Region, ImageError> {
        self.pieces.sort_by_key(|piece| piece.address);
        for pair in self.pieces.windows(2) {
            if let [one, next] = pair
                && next.address < one.end()
            {
                return Err(ImageError::Overlap { address: next.address });
            }
        }
        let mut regions = split(self.pieces);
        let list =
            || Regions(regions.iter().map(|region| (region.start, region.end - region.start)).collect());
        let chosen = match address {
            None if regions.len() > 1 => return Err(ImageError::Regions { regions: list() }),
            None => Some(0),
            Some(at) => regions.iter().position(|region| (region.start..region.end).contains(&at)),
        };
        match (chosen.filter(|&index| index < regions.len()), address) {
            (Some(index), _) => Ok(regions.swap_remove(index)),
            (None, Some(address)) => Err(ImageError::NoRegion { address, regions: list() }),
            (None, None) => Err(ImageError::Empty { format: self.format }),
        }
    }
}

/// Cuts sorted pieces where nothing lies for long.
fn split(pieces: Vec<Piece>) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    for piece in pieces {
        match regions.last_mut() {
            Some(last) if piece.address - last.end <= GAP_BYTES_MAX => {
                last.end = piece.end();
                last.pieces.push(piece);
            }
            _ => regions.push(Region { start: piece.address, end: piece.end(), pieces: vec![piece] }),
        }
    }
    regions
}

/// Pieces that belong together, in the order of their addresses.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) start: u64,
    end: u64,
    pieces: Vec<Piece>,
}

impl Region {
    /// Returns the flat image, and how many bytes of it no piece gave.
    pub(crate) fn flatten(&self) -> Result<(Vec<u8>, usize), ImageError> {
        let bytes = self.end - self.start;
        let length = usize::try_from(bytes).ok().filter(|&length| length <= IMAGE_BYTES_MAX);
        let length = length.ok_or(ImageError::TooLarge { bytes })?;
        let mut image = Vec::with_capacity(length);
        let mut filled = 0;
        for piece in &self.pieces {
            let gap = usize::try_from(piece.address - self.start).unwrap_or(length) - image.len();
            filled += gap;
            image.resize(image.len() + gap, ERASED);
            image.extend_from_slice(&piece.bytes);
        }
        Ok((image, filled))
    }
}

/// Largest image, in bytes: 64 MiB, the flash of the largest devices that take one image.
pub const IMAGE_BYTES_MAX: usize = 64 << 20;

/// Most pieces that do not touch: every section, or every page of a sparse file, is one; 64 MiB in erase blocks of
/// 1 KiB are as many.
pub const PIECES_MAX: usize = 64 * 1024;

/// Longest stretch without bytes inside one region, in bytes: 1 MiB. Flash, RAM and option bytes lie farther apart in
/// every microcontroller's memory map we know.
pub const GAP_BYTES_MAX: u64 = 1 << 20;

/// What erased flash reads as.
const ERASED: u8 = 0xff;

/// What a processor of 64 bits can reach.
const ADDRESS_MAX: u64 = (1 << 48) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(pieces: &[(u64, &[u8])]) -> Layout {
        let mut layout = Layout::new(Format::Elf);
        for (address, bytes) in pieces {
            layout.put(*address, bytes).expect("fits");
        }
        layout
    }

    #[test]
    fn gap_is_filled_as_erased_flash() {
        let region = layout(&[(8, b"cd"), (4, b"ab")]).region(None).expect("one region");
        assert_eq!(region.start, 4);
        assert_eq!(region.flatten(), Ok((b"ab\xff\xffcd".to_vec(), 2)));
    }

    #[test]
    fn two_values_for_a_byte_are_refused_with_its_address() {
        let error = layout(&[(4, b"abc"), (6, b"x")]).region(None).expect_err("overlaps");
        assert_eq!(error, ImageError::Overlap { address: 6 });
    }

    #[test]
    fn far_regions_are_listed_and_the_named_one_is_taken() {
        let far = 0x1000_1000;
        let pieces: [(u64, &[u8]); 2] = [(0, b"flash"), (far, b"option")];
        let error = layout(&pieces).region(None).expect_err("two regions").to_string();
        assert!(error.contains("5 bytes from 0x00000000, 6 bytes from 0x10001000"), "{error}");
        let region = layout(&pieces).region(Some(far + 5)).expect("in the second");
        assert_eq!(region.flatten(), Ok((b"option".to_vec(), 0)));
        let error = layout(&pieces).region(Some(far + 6)).expect_err("past the second");
        assert!(matches!(error, ImageError::NoRegion { .. }));
    }

    #[test]
    fn region_of_small_gaps_can_still_be_too_large() {
        let mut layout = Layout::new(Format::IntelHex);
        for number in 0..=64 {
            layout.put(number << 20, b"x").expect("fits");
        }
        let region = layout.region(None).expect("one region");
        assert_eq!(region.flatten(), Err(ImageError::TooLarge { bytes: (64 << 20) + 1 }));
    }

    #[test]
    fn layout_without_bytes_is_empty() {
        let error = layout(&[(4, b"")]).region(None).expect_err("nothing in it");
        assert_eq!(error, ImageError::Empty { format: Format::Elf });
    }
}
