//! In which order the target is made, and which bytes of the base are there meanwhile.
//!
//! With a slot for each, the target is made from its start on and the base is always there. In place, a page of the
//! target takes the place of a page of the base, which is kept in one of a few spare pages until they are all taken
//! by later ones.

use core::ops::Range;

use crate::codec::{VIEW_BEFORE, VIEW_BYTES};
use crate::format::IMAGE_BYTES_MAX;

/// How a patch is applied where base and target share a slot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Layout {
    /// Binary logarithm of the bytes of a page: 8 ..= 23.
    page_bits: u8,
    /// Pages of the base that are kept after their place was taken: at least one.
    spare_pages: u8,
    sequence: Sequence,
}

/// Which page is made after which, and which pages of the base are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sequence {
    /// From low to high; the pages whose places were taken last are kept.
    Rising,
    /// Blocks of `1 << bits` pages from the last one to the first, each from low to high; the same are kept.
    Blocks { bits: u8 },
    /// The patch says after each page which one comes next, and in which spare page its base is kept. First comes the
    /// page that stands where this many 256ths of all do.
    Told { first: u8 },
}

/// Smallest page, which is what a sink is given at a time.
const PAGE_BITS_MIN: u8 = 8;

impl Layout {
    /// Checks a layout: pages of 256 bytes to 8 MiB by twos, 1 to 255 spare ones.
    #[must_use]
    pub const fn new(page_bytes: u32, spare_pages: u8) -> Option<Self> {
        if !page_bytes.is_power_of_two() || page_bytes < 1 << PAGE_BITS_MIN || page_bytes > 1 << 23 {
            return None;
        }
        if spare_pages == 0 {
            return None;
        }
        Some(Self { page_bits: page_bytes.ilog2() as u8, spare_pages, sequence: Sequence::Rising })
    }

    /// The layout from its two bytes in a header; `is_told` says that the patch tells the sequence of pages.
    pub(crate) const fn unpacked([sizes, spare]: [u8; 2], is_told: bool) -> Option<Self> {
        let (page_bits, block) = (PAGE_BITS_MIN + (sizes >> 4), sizes & 15);
        let (spare_pages, sequence) = match block {
            // Both lower halves are one number.
            _ if is_told => (spare >> 4, Sequence::Told { first: block << 4 | spare & 15 }),
            0 => (spare, Sequence::Rising),
            _ if page_bits + block > IMAGE_BYTES_MAX.ilog2() as u8 => return None,
            _ => (spare, Sequence::Blocks { bits: block - 1 }),
        };
        if spare_pages == 0 { None } else { Some(Self { page_bits, spare_pages, sequence }) }
    }

    pub(crate) const fn packed(self) -> [u8; 2] {
        let (block, spare) = match self.sequence {
            Sequence::Rising => (0, self.spare_pages),
            Sequence::Blocks { bits } => (bits + 1, self.spare_pages),
            Sequence::Told { first } => (first >> 4, self.spare_pages << 4 | first & 15),
        };
        [(self.page_bits - PAGE_BITS_MIN) << 4 | block, spare]
    }

    /// Returns the same pages, made in blocks of `1 << bits` of them from the last one on.
    #[cfg(any(test, feature = "make"))]
    pub(crate) const fn in_blocks(self, bits: u8) -> Option<Self> {
        let [sizes, spare_pages] = Self { sequence: Sequence::Rising, ..self }.packed();
        Self::unpacked([sizes & 0xf0 | (bits + 1), spare_pages], false)
    }

    /// Returns the same pages in a sequence that the patch tells, from a page on; `None` for too many spare pages.
    #[cfg(any(test, feature = "make"))]
    pub(crate) const fn told_from(self, first: u8) -> Option<Self> {
        if self.spare_pages() > SPARES_MAX as u32 {
            return None;
        }
        Some(Self { sequence: Sequence::Told { first }, ..self })
    }

    /// Says whether the patch tells the sequence of pages.
    #[must_use]
    pub const fn is_told(self) -> bool {
        matches!(self.sequence, Sequence::Told { .. })
    }

    const fn block_bits(self) -> Option<u8> {
        match self.sequence {
            Sequence::Rising | Sequence::Told { .. } => None,
            Sequence::Blocks { bits } => Some(bits),
        }
    }

    /// Returns the bytes of a page.
    #[must_use]
    pub const fn page_bytes(self) -> u32 {
        1 << self.page_bits
    }

    /// Returns how many spare pages it takes.
    #[must_use]
    pub const fn spare_pages(self) -> u32 {
        self.spare_pages as u32
    }

    /// Says whether the target is made from its end on, and how many pages a block has then.
    #[must_use]
    pub const fn descends(self) -> Option<u32> {
        match self.sequence {
            Sequence::Rising | Sequence::Told { .. } => None,
            Sequence::Blocks { bits } => Some(1 << bits),
        }
    }
}

/// Spare pages, at most, of a patch that tells which of them it takes: their number has four bits.
#[cfg(any(feature = "one-slot", test))]
pub(crate) const SPARES_MAX: usize = 15;

/// The order for one pair of images.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Order {
    pub(crate) base_size: u32,
    pub(crate) target_size: u32,
    pub(crate) layout: Option<Layout>,
}

impl Order {
    /// How both images share a slot, if they do. Builds for devices with a slot for each have no code for it.
    pub(crate) const fn layout(&self) -> Option<Layout> {
        if cfg!(feature = "one-slot") { self.layout } else { None }
    }

    /// The piece that is made from low to high and has byte number `made` of what is made: where it starts and ends.
    pub(crate) fn block(&self, made: u32) -> Range<u32> {
        let Some(bits) = self.block_bits() else {
            return 0..self.target_size;
        };
        let bytes = 1 << bits;
        let whole = self.target_size >> bits << bits;
        let last = self.target_size - whole;
        if made < last || whole == 0 {
            return whole..self.target_size;
        }
        // What is complete ends in the first block.
        let after = ((made - last) >> bits << bits).min(whole - bytes);
        let end = whole - after;
        end - bytes..end
    }

    /// Place in the target of byte number `made` of what is made, within its block.
    pub(crate) fn place(&self, made: u32) -> (u32, Range<u32>) {
        let block = self.block(made);
        // All blocks above this one were made before it.
        (block.start + (made - (self.target_size - block.end)), block)
    }

    /// Binary logarithm of the bytes of a block.
    fn block_bits(&self) -> Option<u32> {
        self.layout().and_then(|layout| layout.block_bits().map(|bits| u32::from(bits + layout.page_bits)))
    }

    /// Bytes of a block, where there are several.
    #[cfg(any(test, feature = "make"))]
    pub(crate) fn block_bytes(&self) -> Option<u32> {
        self.block_bits().map(|bits| 1 << bits)
    }

    /// Pages that the target takes the place of.
    pub(crate) fn pages(&self) -> u32 {
        self.layout().map_or(0, |layout| self.target_size.div_ceil(layout.page_bytes()))
    }

    /// How many pages are made before a page of the target.
    pub(crate) fn index(&self, page: u32) -> u32 {
        let Some(bits) = self.layout().and_then(Layout::block_bits) else {
            return page;
        };
        let pages = self.pages();
        let next = ((page >> bits) + 1) << bits;
        pages - pages.min(next) + (page & ((1 << bits) - 1))
    }

    /// Says whether the patch tells the sequence of pages.
    pub(crate) const fn is_told(&self) -> bool {
        match self.layout() {
            Some(layout) => layout.is_told(),
            None => false,
        }
    }

    /// The page that a patch begins with which tells the sequence of pages.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn first_page(&self) -> u32 {
        match self.layout().map(|layout| layout.sequence) {
            // Fewer pages than 2^16 are told.
            Some(Sequence::Told { first }) => self.pages().saturating_mul(u32::from(first)) >> 8,
            _ => 0,
        }
    }

    /// Number of the page that a place is in.
    pub(crate) fn page_of(&self, at: u32) -> u32 {
        self.layout().map_or(0, |layout| at >> layout.page_bits)
    }

    /// What the target has in a page.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn page(&self, page: u32) -> Range<u32> {
        let bytes = self.layout().map_or(0, Layout::page_bytes);
        let start = page.saturating_mul(bytes).min(self.target_size);
        start..start.saturating_add(bytes).min(self.target_size)
    }

    /// How many pages are begun once `made` bytes are written, which end a page; `None` where they do not.
    #[cfg(feature = "one-slot")]
    pub(crate) fn begun(&self, made: u32) -> Option<u32> {
        let layout = self.layout()?;
        if made == self.target_size {
            return Some(self.pages());
        }
        let start = self.place(made).0;
        start.is_multiple_of(layout.page_bytes()).then(|| self.index(start >> layout.page_bits))
    }

    /// Says whether a page of the base is there while byte `position` of the target is made.
    pub(crate) fn is_kept(&self, page: u32, position: u32) -> bool {
        self.layout().is_none_or(|layout| {
            let now = self.index(position >> layout.page_bits);
            page >= self.pages() || self.index(page) + layout.spare_pages() > now
        })
    }

    /// Says whether a byte of the base is there while byte `position` of the target is made.
    #[cfg(any(test, feature = "make"))]
    pub(crate) fn is_byte_kept(&self, at: u32, position: u32) -> bool {
        self.layout().is_none_or(|layout| self.is_kept(at >> layout.page_bits, position))
    }

    /// What is there of the base in the pages around a place; `is_kept` says of a page whether it is.
    pub(crate) fn readable(&self, at: u32, is_kept: impl Fn(u32) -> bool) -> Range<u32> {
        let Some(layout) = self.layout() else {
            return 0..self.base_size;
        };
        let bits = layout.page_bits;
        let low = at.saturating_sub(VIEW_BEFORE as u32) >> bits;
        let high = at.saturating_add((VIEW_BYTES - VIEW_BEFORE) as u32 - 1) >> bits;
        let start = if is_kept(low) { low } else { low + 1 } << bits;
        let end = if is_kept(high) { high + 1 } else { high } << bits;
        start..end.min(self.base_size)
    }
}
