//! Makes patches. Needs an allocator and about twenty times the images' size in memory.

mod copies;
mod suffixes;
mod writer;

use std::vec::Vec;

use thiserror::Error;

use crate::format::{Algorithm, IMAGE_BYTES_MAX};
use suffixes::Suffixes;

/// A patch and what its applier must be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Patch {
    /// Algorithm of the bytes.
    pub algorithm: Algorithm,
    /// Parameters of the algorithm; empty for the one there is.
    pub parameters: Vec<u8>,
    /// RAM that applying takes, in bytes.
    pub ram: u32,
    /// The patch.
    pub bytes: Vec<u8>,
}

/// Why no patch was made.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum MakeError {
    /// An image is larger than the format can say. Send the full image.
    #[error("image of {bytes} bytes is larger than the {IMAGE_BYTES_MAX} bytes that a patch can cover")]
    ImageTooLarge {
        /// Size of the image.
        bytes: usize,
    },
}

/// Makes the patch that turns `base` into `target`.
///
/// Takes about a second per mebibyte in a release build, up to eight where the images have nothing in common.
///
/// # Errors
///
/// [`MakeError::ImageTooLarge`].
pub fn make(base: &[u8], target: &[u8]) -> Result<Patch, MakeError> {
    for image in [base, target] {
        if image.len() > IMAGE_BYTES_MAX as usize {
            return Err(MakeError::ImageTooLarge { bytes: image.len() });
        }
    }
    let suffixes = Suffixes::new(base);
    let candidates = GAINS_MIN.iter().map(|&gain_min| {
        let copies = copies::find(base, target, &suffixes, gain_min);
        writer::write(base, target, &copies)
    });
    let bytes = candidates.min_by_key(Vec::len).unwrap_or_default();
    Ok(Patch {
        algorithm: Algorithm::COPY_INSERT,
        parameters: Vec::new(),
        ram: crate::format::PATCHER_BYTES,
        bytes,
    })
}

/// Which of them gives the smallest patch differs from pair to pair.
const GAINS_MIN: [usize; 2] = [8, 20];
