//! Where a patcher reads the base and gives out the target.

use core::ops::Range;

use thiserror::Error;

use crate::codec::{VIEW_BEFORE, VIEW_BYTES, View};

/// Random access to the image that a device runs.
pub trait Base {
    /// Why the flash could not be read.
    type Error;

    /// Fills `buf` with the bytes from `offset` on. Never called past the size given to [`crate::PatcherOf::new`].
    ///
    /// # Errors
    ///
    /// The flash's own; applying ends with it.
    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), Self::Error>;
}

/// Where the target goes, in order.
pub trait Sink {
    /// Why the flash could not be written or read.
    type Error;

    /// Takes the next bytes: [`OUT_BYTES`] each time, fewer only at the end of the target.
    ///
    /// # Errors
    ///
    /// The flash's own; applying ends with it.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Fills `buf` with bytes that were taken before, from `offset` of the target on.
    ///
    /// # Errors
    ///
    /// The flash's own; applying ends with it.
    fn read_back(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), Self::Error>;
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
    type Error = OutsideSlice;

    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn read_back(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), Self::Error> {
        self.as_slice().read(offset, buf)
    }
}

/// Bytes of an image read at a time: a view, and what follows it.
const WINDOW_BYTES: usize = 64;

/// Piece of an image that was read last.
#[derive(Clone)]
pub(crate) struct Window {
    start: u32,
    length: u32,
    bytes: [u8; WINDOW_BYTES],
}

impl Window {
    pub(crate) const EMPTY: Self = Self { start: 0, length: 0, bytes: [0; WINDOW_BYTES] };

    /// Returns what surrounds `at`; zeros stand outside of `there`. `read` fills bytes of the image from a place on, and
    /// says whether it could.
    pub(crate) fn view(
        &mut self,
        at: u32,
        there: &Range<u32>,
        read: impl FnOnce(u32, &mut [u8]) -> bool,
    ) -> View {
        let mut view = [0; VIEW_BYTES];
        let first = at.saturating_sub(VIEW_BEFORE as u32).max(there.start);
        let end = there.end.min(at.saturating_add((VIEW_BYTES - VIEW_BEFORE) as u32));
        if first >= end {
            return View::default();
        }
        if first < self.start || end > self.start + self.length {
            self.start = first;
            let length = (there.end - first).min(WINDOW_BYTES as u32);
            let bytes = self.bytes.get_mut(..length as usize).unwrap_or_default();
            self.length = if read(first, bytes) { length } else { 0 };
        }
        let from = (first - self.start) as usize;
        let into = (first + VIEW_BEFORE as u32 - at) as usize;
        let count = (end - first) as usize;
        if let (Some(to), Some(bytes)) =
            (view.get_mut(into..into + count), self.bytes.get(from..from + count))
        {
            to.copy_from_slice(bytes);
        }
        View::of(view)
    }
}
