//! Where a patcher reads the base and gives out the target.

use thiserror::Error;

/// Random access to the image that a device runs.
pub trait Base {
    /// Why the flash could not be read.
    type Error;

    /// Fills `buf` with the bytes from `offset` on. Never called past the size given to [`crate::Patcher::new`].
    ///
    /// # Errors
    ///
    /// The flash's own; applying ends with it.
    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), Self::Error>;
}

/// Where the target goes, in order.
pub trait Sink {
    /// Why the flash could not be written.
    type Error;

    /// Takes the next bytes: [`OUT_BYTES`] each time, fewer only at the end of the target.
    ///
    /// # Errors
    ///
    /// The flash's own; applying ends with it.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Bytes that a [`Sink`] is given at a time: a usual page of serial flash, and a multiple of every write size.
pub const OUT_BYTES: usize = 256;

/// The base as a slice, for images that lie in memory.
impl Base for &[u8] {
    type Error = OutsideSlice;

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), OutsideSlice> {
        let start = offset as usize;
        let bytes = self.get(start..).and_then(|rest| rest.get(..buf.len())).ok_or(OutsideSlice)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

/// Says that the slice is shorter than the base size the patcher was given.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("base is shorter than announced")]
pub struct OutsideSlice;

#[cfg(any(test, feature = "make"))]
impl Sink for std::vec::Vec<u8> {
    type Error = core::convert::Infallible;

    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// Bytes of the base read at a time.
const WINDOW_BYTES: u32 = 64;

/// Piece of the base that was read last; it starts at a multiple of its size.
#[derive(Clone)]
pub(crate) struct Window {
    start: u32,
    length: u32,
    bytes: [u8; WINDOW_BYTES as usize],
}

impl Window {
    pub(crate) const EMPTY: Self = Self { start: 0, length: 0, bytes: [0; WINDOW_BYTES as usize] };

    /// Returns the byte at `at`, and the upper one of the halfword it is in (0 past the end). `at` is below
    /// `base_size`.
    pub(crate) fn pair<B: Base>(
        &mut self,
        base: &mut B,
        at: u32,
        base_size: u32,
    ) -> Result<[u8; 2], B::Error> {
        let within = at % WINDOW_BYTES;
        let start = at - within;
        if self.length == 0 || self.start != start {
            self.start = start;
            self.length = WINDOW_BYTES.min(base_size - start);
            let read =
                self.bytes.get_mut(..self.length as usize).map_or(Ok(()), |bytes| base.read(start, bytes));
            if read.is_err() {
                self.length = 0;
            }
            read?;
        }
        let byte = |at: u32| self.bytes.get(at as usize).copied().filter(|_| at < self.length).unwrap_or(0);
        Ok([byte(within), byte(within | 1)])
    }
}
