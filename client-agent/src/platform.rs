//! What the device's board gives: flash and randomness, as traits.

#[cfg(feature = "embedded-storage")]
pub mod nor;

/// An area of the flash with one purpose.
///
/// `Record`, `Boot` and `Anchors` hold two copies each, a half for each; see [`crate::update::journal`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Region {
    /// The record of the update core.
    Record,
    /// Two halves, each for one manifest.
    Manifest,
    /// The first image slot of a component, numbered as in [`crate::update::Facts::components`].
    SlotA(u8),
    /// The second image slot of a component, as large as its first.
    SlotB(u8),
    /// Which slot of each component boots, and whether on trial: twice [`crate::update::boot::BOOT_COPY_BYTES`].
    Boot,
    /// The anchors that replaced those of the unit file: twice [`crate::update::journal::COPY_BYTES_MAX`].
    Anchors,
}

/// Flash of the device, by region.
///
/// Offsets and lengths are bytes. A write may be torn by a power cut; what [`Flash::commit`] returned for is not
/// lost by one, and nothing written after it reaches the flash before what was written ahead of it.
pub trait Flash {
    /// Why the flash could not be read or written.
    type Error: core::error::Error;

    /// Tells how many bytes a region has.
    fn bytes(&self, region: Region) -> u32;

    /// Fills `into` from `offset` of the region.
    ///
    /// # Errors
    ///
    /// The board's own, also for a range outside of the region.
    fn read(&mut self, region: Region, offset: u32, into: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes `from` at `offset` of the region.
    ///
    /// # Errors
    ///
    /// The board's own, also for a range outside of the region.
    fn write(&mut self, region: Region, offset: u32, from: &[u8]) -> Result<(), Self::Error>;

    /// Makes everything written so far survive a power cut.
    ///
    /// # Errors
    ///
    /// The board's own.
    fn commit(&mut self) -> Result<(), Self::Error>;
}

impl<T: Flash> Flash for &mut T {
    type Error = T::Error;

    fn bytes(&self, region: Region) -> u32 {
        T::bytes(self, region)
    }

    fn read(&mut self, region: Region, offset: u32, into: &mut [u8]) -> Result<(), Self::Error> {
        T::read(self, region, offset, into)
    }

    fn write(&mut self, region: Region, offset: u32, from: &[u8]) -> Result<(), Self::Error> {
        T::write(self, region, offset, from)
    }

    fn commit(&mut self) -> Result<(), Self::Error> {
        T::commit(self)
    }
}

/// Random bytes, good enough for nonces.
pub trait Random {
    /// Fills `into` with fresh random bytes.
    fn fill(&mut self, into: &mut [u8]);
}
