//! Reading an image slot in pieces.

use crate::platform::{Flash, Region};
use sha2::{Digest, Sha256};

/// Computes SHA-256 over the first `bytes` of a slot, named by its region.
///
/// # Errors
///
/// The flash's own.
pub fn digest_of_slot<F: Flash>(flash: &mut F, slot: Region, bytes: u32) -> Result<[u8; 32], F::Error> {
    digest_of_range(flash, slot, 0, bytes)
}

/// Computes SHA-256 over `bytes` of a slot from `offset` on.
///
/// # Errors
///
/// The flash's own.
pub fn digest_of_range<F: Flash>(
    flash: &mut F,
    slot: Region,
    offset: u32,
    bytes: u32,
) -> Result<[u8; 32], F::Error> {
    let mut hash = Sha256::new();
    let mut piece = [0; PIECE_BYTES as usize];
    let mut done = 0;
    while done < bytes {
        let length = (bytes - done).min(PIECE_BYTES);
        let piece = &mut piece[..length as usize];
        flash.read(slot, offset + done, piece)?;
        hash.update(piece);
        done += length;
    }
    Ok(hash.finalize().into())
}

/// Bytes read at a time: a page of common flash, small beside the stack that a signature check needs.
pub(crate) const PIECE_BYTES: u32 = 256;
