//! SHA-256 of images, whole or shortened.

use sha2::{Digest, Sha256};

/// What a patch says of the SHA-256 of an image: its first eight bytes where a manifest has the others, else all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ImageDigest {
    bytes: [u8; DIGEST_BYTES_MAX],
    is_full: bool,
}

/// Bytes of a SHA-256, of which a short digest has the first.
pub(crate) const DIGEST_BYTES_MAX: usize = 32;
const SHORT_BYTES: usize = 8;

impl ImageDigest {
    /// A digest of zeros, to be filled.
    pub(crate) const fn none(is_full: bool) -> Self {
        Self { bytes: [0; DIGEST_BYTES_MAX], is_full }
    }

    /// Digest of an image.
    #[cfg(any(test, feature = "make"))]
    pub(crate) fn of(image: &[u8], is_full: bool) -> Self {
        let mut digest = Self { bytes: Sha256::digest(image).into(), is_full };
        if !is_full {
            digest.bytes[SHORT_BYTES..].fill(0);
        }
        digest
    }

    /// Returns the bytes that are known: eight or 32.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let (short, _) = self.bytes.split_at(SHORT_BYTES);
        if self.is_full { &self.bytes } else { short }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let known = if self.is_full { DIGEST_BYTES_MAX } else { SHORT_BYTES };
        self.bytes.split_at_mut(known).0
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Says whether what was hashed has this digest, and starts the hash anew.
    pub(crate) fn ends(&self, hash: &mut Hash) -> bool {
        hash.end().starts_with(self.bytes())
    }
}

/// SHA-256 of what it takes, piece by piece.
#[derive(Clone)]
pub(crate) struct Hash(Sha256);

impl Hash {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all that was taken, and starts anew.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn end(&mut self) -> [u8; DIGEST_BYTES_MAX] {
        self.0.finalize_reset().into()
    }
}
