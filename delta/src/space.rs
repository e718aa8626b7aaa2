//! Where the bytes of both images stand when the device runs them.

/// Addresses of both images, and which words point into them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Space {
    pub(crate) regions: [Region; REGIONS_MAX],
    pub(crate) regions_count: usize,
    pub(crate) windows: [Window; WINDOWS_MAX],
    pub(crate) windows_count: usize,
    /// Whether a word that may be a pointer is one even where it may be an instruction as well.
    pub(crate) pointers_first: bool,
}

/// A piece of both images that stands at one address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Region {
    pub(crate) address: u32,
    pub(crate) base_start: u32,
    pub(crate) target_start: u32,
    /// Bytes in the base; only words that point in here are taken for pointers.
    pub(crate) length: u32,
}

/// Addresses outside the images that words point to as well, such as RAM.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Window {
    /// First address, in units of 64 KiB.
    pub(crate) start: u16,
    /// Size, in units of 64 KiB.
    pub(crate) count: u8,
}

/// More regions than images of one device have segments: an ESP32 image has five or six.
pub(crate) const REGIONS_MAX: usize = 8;

/// RAM, its alias and two more.
pub(crate) const WINDOWS_MAX: usize = 4;

/// Below this, a word is rather a number than an address.
const POINTER_MIN: u32 = 0x400;

impl Space {
    #[cfg(test)]
    pub(crate) fn flat(address: u32, length: u32) -> Self {
        let mut space = Self { regions_count: 1, ..Self::default() };
        space.regions[0] = Region { address, length, ..Region::default() };
        space
    }

    /// Sets how long each region is: up to the next one.
    pub(crate) fn settle(&mut self, base_size: u32) {
        let mut end = base_size;
        for region in self.regions.iter_mut().take(self.regions_count).rev() {
            region.length = end.saturating_sub(region.base_start);
            end = region.base_start;
        }
    }

    /// The same, with the length of each region set.
    pub(crate) fn settled(mut self, base_size: u32) -> Self {
        self.settle(base_size);
        self
    }

    fn regions(&self) -> &[Region] {
        self.regions.get(..self.regions_count).unwrap_or_default()
    }

    /// Address of a byte of the base.
    pub(crate) fn of_base(&self, at: u32) -> u32 {
        let region = self.regions().iter().rev().find(|region| at >= region.base_start);
        region.map_or(at, |region| (at - region.base_start).wrapping_add(region.address))
    }

    /// Address of a byte of the target.
    pub(crate) fn of_target(&self, at: u32) -> u32 {
        let region = self.regions().iter().rev().find(|region| at >= region.target_start);
        region.map_or(at, |region| (at - region.target_start).wrapping_add(region.address))
    }

    /// Byte of the base that stands at an address.
    pub(crate) fn base_at(&self, address: u32) -> Option<u32> {
        if self.regions_count == 0 {
            return Some(address);
        }
        let region =
            self.regions().iter().find(|region| address.wrapping_sub(region.address) < region.length)?;
        Some(address.wrapping_sub(region.address) + region.base_start)
    }

    /// Says whether a word may point into the images or a window.
    pub(crate) fn holds(&self, value: u32) -> bool {
        let is_in = |region: &Region| value.wrapping_sub(region.address) < region.length;
        let windows = self.windows.get(..self.windows_count).unwrap_or_default();
        let is_seen = |window: &Window| (value >> 16).wrapping_sub(window.start.into()) < window.count.into();
        value >= POINTER_MIN && (self.regions().iter().any(is_in) || windows.iter().any(is_seen))
    }
}
