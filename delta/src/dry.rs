//! Applying without a place for the target.

use thiserror::Error;

use crate::image::Sink;

/// A sink for dry runs: the patcher hashes what it gives out, and whether that is the target is all that comes of it.
///
/// Copies from the target need what was given out before, so the latest bytes are kept in what memory there is. With as much as
/// the target has, every patch can be tried; with none, those that copy from the base alone.
#[derive(Debug)]
pub struct HashOnly<'a> {
    kept: &'a mut [u8],
    /// Bytes that were given out.
    made: u32,
}

/// Says that a patch copies from what a dry run did not keep. Nothing was found wrong with it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("patch copies from more of the target than the dry run keeps")]
pub struct NotKept;

impl<'a> HashOnly<'a> {
    /// Starts a dry run that keeps as many bytes of the target as `kept` has.
    pub const fn new(kept: &'a mut [u8]) -> Self {
        Self { kept, made: 0 }
    }
}

impl Sink for HashOnly<'_> {
    type Error = NotKept;

    fn write(&mut self, bytes: &[u8]) -> Result<(), NotKept> {
        let length = self.kept.len();
        for byte in bytes {
            if let Some(place) = (self.made as usize).checked_rem(length) {
                self.kept[place] = *byte;
            }
            self.made += 1;
        }
        Ok(())
    }

    fn read_back(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), NotKept> {
        let (first, length) = (offset as usize, self.kept.len());
        let is_kept = first + length >= self.made as usize && first + buf.len() <= self.made as usize;
        if !is_kept {
            return Err(NotKept);
        }
        for (at, byte) in buf.iter_mut().enumerate() {
            *byte = self.kept[(first + at) % length];
        }
        Ok(())
    }
}
